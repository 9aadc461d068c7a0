/* Many threads, each in a call of its own kind. usage: threads COUNT
   Every thread keeps 0x5EED0000 + its number in r12 (x86-64) while it waits. */
#include "victim.h"
#include <poll.h>

static pthread_barrier_t all_there;
static int never[2];
static pthread_mutex_t taken = PTHREAD_MUTEX_INITIALIZER;

static void wait_with_mark(uint64_t mark)
{
#ifdef __x86_64__
    /* pause(2), again whenever a signal ends it, with the mark in a register that nothing else uses here. */
    __asm__ volatile("mov %0, %%r12\n1: mov $34, %%eax\nsyscall\njmp 1b" : : "r"(mark) : "r12", "rax", "rcx", "r11", "memory");
#else
    (void)mark;
    sleep_for_ever();
#endif
}

static void *thread(void *number)
{
    uint64_t n = (uintptr_t)number;
    char byte;
    pthread_barrier_wait(&all_there);
    switch (n % 4) {
    case 0: wait_with_mark(0x5EED0000 + n); break;
    case 1: (void)!read(never[0], &byte, 1); break;
    case 2: poll(&(struct pollfd){.fd = never[0], .events = POLLIN}, 1, -1); break;
    case 3: pthread_mutex_lock(&taken); break;
    }
    sleep_for_ever();
    return NULL;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 8;
    pthread_t id;
    pthread_attr_t small;
    if (pipe(never))
        die("pipe");
    pthread_mutex_lock(&taken);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * KIB);
    pthread_barrier_init(&all_there, NULL, (unsigned)count + 1);
    for (long n = 0; n < count; n++)
        if ((errno = pthread_create(&id, &small, thread, (void *)n)))
            die("pthread_create");
    pthread_barrier_wait(&all_there);
    say("ready");
    wait_with_mark(0x5EEDFFFF);
}
