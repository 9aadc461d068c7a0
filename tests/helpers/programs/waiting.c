/* Threads that wait in functions of known names, one of them in a library. Built with -g -O0. */
#include "victim.h"

int library_wait(int depth);

struct item {
    int number;
    const char *name;
};

static int never[2];

static int waits_in_alpha(struct item *item)
{
    int local_alpha = item->number * 2;
    sleep_for_ever();
    return local_alpha;
}

static int waits_in_beta(struct item *item)
{
    volatile double local_beta = item->number / 4.0;
    char byte;
    return (int)read(never[0], &byte, 1) + (int)local_beta;
}

static void *alpha(void *item)
{
    waits_in_alpha(item);
    return NULL;
}

static void *beta(void *item)
{
    waits_in_beta(item);
    return NULL;
}

int main(void)
{
    static struct item first = {21, "twenty-one"}, second = {7, "seven"};
    pthread_t one, other;
    if (pipe(never))
        die("pipe");
    pthread_create(&one, NULL, alpha, &first);
    pthread_create(&other, NULL, beta, &second);
    say("ready");
    return library_wait(3);
}
