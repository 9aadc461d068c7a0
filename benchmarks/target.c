// A process to save: MIB of private memory, a quarter random, a quarter written with zeros, a quarter copies
// of 256 pages, a quarter untouched; THREADS threads, of which one measures the pauses that it suffers.
//
//     target MIB THREADS [RESERVED_GIB] [WORKERS SHARED_MIB]
//
// RESERVED_GIB: so much more address space is reserved and never touched. WORKERS: so many children are forked
// that share SHARED_MIB copy-on-write. Says `ready`; answers each line on standard input with the longest
// pause since the last, in nanoseconds.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static atomic_long longest;

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void *measure(void *unused) {
    const struct timespec nap = {0, 50000};
    for (long last = now();;) {
        nanosleep(&nap, NULL);
        long time = now();
        if (time - last > longest) longest = time - last;
        last = time;
    }
    return unused;
}

static void *sleep_on(void *unused) {
    for (;;) pause();
    return unused;
}

static void fill(uint64_t *words, size_t bytes, uint64_t seed) {
    for (size_t at = 0; at < bytes / 8; at++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        words[at] = seed;
    }
}

static char *map(size_t bytes) {
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) perror("mmap"), exit(1);
    return memory;
}

int main(int count, char **words) {
    size_t quarter = (size_t)atol(words[1]) << 18;
    int threads = atoi(words[2]);
    long reserved = count > 3 ? atol(words[3]) : 0;
    int workers = count > 5 ? atoi(words[4]) : 0;
    prctl(PR_SET_NAME, "bench-target");
    char *memory = map(4 * quarter);
    fill((uint64_t *)memory, quarter, 88172645463325252ULL);
    memset(memory + quarter, 1, quarter), memset(memory + quarter, 0, quarter);
    for (size_t at = 0; at < quarter; at += 1 << 20)
        memcpy(memory + 2 * quarter + at, memory, quarter - at < 1 << 20 ? quarter - at : 1 << 20);
    if (reserved) map((size_t)reserved << 30);
    if (workers) {
        size_t shared = (size_t)atol(words[5]) << 20;
        fill((uint64_t *)map(shared), shared, 362436069ULL);
    }
    for (int worker = 0; worker < workers; worker++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            fill((uint64_t *)map(1 << 16), 1 << 16, 521288629ULL + worker);
            sleep_on(NULL);
        }
    for (int thread = 1; thread < threads; thread++) {
        pthread_t id;
        pthread_create(&id, NULL, thread == 1 ? measure : sleep_on, NULL);
    }
    puts("ready"), fflush(stdout);
    for (char line[64]; fgets(line, sizeof line, stdin);)
        printf("%ld\n", (long)atomic_exchange(&longest, 0)), fflush(stdout);
    return 0;
}
