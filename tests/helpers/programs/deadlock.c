/* Two threads that wait for each other's mutex for ever, and a main thread that waits for them. */
#include "victim.h"

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both_hold_one;

static void *forwards(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&first);
    pthread_barrier_wait(&both_hold_one);
    pthread_mutex_lock(&second);
    return NULL;
}

static void *backwards(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&second);
    pthread_barrier_wait(&both_hold_one);
    pthread_mutex_lock(&first);
    return NULL;
}

int main(void)
{
    pthread_t one, other;
    pthread_barrier_init(&both_hold_one, NULL, 3);
    pthread_create(&one, NULL, forwards, NULL);
    pthread_create(&other, NULL, backwards, NULL);
    pthread_barrier_wait(&both_hold_one);
    say("ready");
    pthread_join(one, NULL);
    pthread_join(other, NULL);
}
