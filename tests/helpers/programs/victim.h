/* What the test programs share: saying `ready`, naming memory, filling it. */
#ifndef VICTIM_H
#define VICTIM_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024UL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* The pages of the machine on which these tests run. */
#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

static inline void die(const char *what)
{
    fprintf(stderr, "victim: %s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void say(const char *line)
{
    char text[256];
    int length = snprintf(text, sizeof text, "%s\n", line);
    if (write(1, text, (size_t)length) != length)
        _exit(1);
}

/* Bytes that no two seeds share: xorshift64*. */
static inline void fill(void *to, size_t length, uint64_t seed)
{
    uint64_t x = seed * 0x9E3779B97F4A7C15UL + 1;
    uint64_t *p = to;
    for (size_t i = 0; i < length / 8; i++) {
        x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
        p[i] = x * 0x2545F4914F6CDD1DUL;
    }
}

static inline void *map(size_t length, int prot, int flags, int fd)
{
    void *p = mmap(NULL, length, prot, flags, fd, 0);
    if (p == MAP_FAILED)
        die("mmap");
    return p;
}

static inline void *anonymous(size_t length)
{
    return map(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static inline void sleep_for_ever(void)
{
    for (;;)
        pause();
}
#endif
