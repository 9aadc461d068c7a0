/* Threads that wait deep in functions of their own: inlined ones, a library's callback, a signal handler. */
#include "victim.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static volatile int standing, depth_reached;

static inline __attribute__((always_inline)) int waits_inlined(int amount)
{
    pthread_mutex_lock(&lock);
    standing++;
    while (amount)
        pthread_cond_wait(&never, &lock);
    pthread_mutex_unlock(&lock);
    return amount + 1;
}

static __attribute__((noinline)) int descends(int depth)
{
    int here = depth * 3;
    int below = depth ? descends(depth - 1) : waits_inlined(here + 1);
    depth_reached += below;
    return below + here;
}

static __attribute__((noinline)) int compares(const void *left, const void *right)
{
    int result = descends(2) + *(const int *)left - *(const int *)right;
    depth_reached += result;
    return result;
}

static __attribute__((noinline)) void sorts(void)
{
    int values[] = {3, 1, 2};
    qsort(values, 3, sizeof *values, compares);
    depth_reached += values[0];
}

static __attribute__((noinline)) void handles(int number)
{
    depth_reached += number;
    standing++;
    for (;;)
        pause();
}

static __attribute__((noinline)) void interrupted(void)
{
    signal(SIGUSR1, handles);
    pthread_kill(pthread_self(), SIGUSR1);
    depth_reached++;
}

static void *by_callback(void *unused)
{
    sorts();
    depth_reached++;
    return unused;
}

static void *by_signal(void *unused)
{
    interrupted();
    depth_reached++;
    return unused;
}

static void *by_descent(void *depth)
{
    depth_reached += descends((int)(intptr_t)depth);
    return depth;
}

int main(void)
{
    pthread_t threads[6];
    pthread_create(&threads[0], NULL, by_callback, NULL);
    pthread_create(&threads[1], NULL, by_signal, NULL);
    for (int number = 2; number < 6; number++)
        pthread_create(&threads[number], NULL, by_descent, (void *)(intptr_t)5);
    while (standing < 6)
        usleep(1000);
    say("ready");
    pthread_join(threads[0], NULL);
    return depth_reached;
}
