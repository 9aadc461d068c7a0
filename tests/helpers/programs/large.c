/* Much mixed memory. usage: large MIBS
   Of every 4 MiB one is random, one repeats itself, one is zeros that were touched, and one is text.
   A thread counts on; the count is printed whenever a line comes in. */
#include "victim.h"

static volatile uint64_t counter;

static void *count(void *unused)
{
    (void)unused;
    for (;; usleep(100))
        counter++;
    return NULL;
}

int main(int argc, char **argv)
{
    size_t mibs = argc > 1 ? (size_t)atol(argv[1]) : 64;
    char *p = anonymous(mibs * MIB), line[64];
    pthread_t id;
    for (size_t i = 0; i < mibs; i++) {
        char *at = p + i * MIB;
        switch (i % 4) {
        case 0: fill(at, MIB, i + 1); break;
        case 1:
            for (size_t k = 0; k < MIB; k += PAGE)
                fill(at + k, PAGE, k / PAGE % 16);
            break;
        case 2: memset(at, 1, MIB), memset(at, 0, MIB); break;
        case 3:
            for (size_t k = 0; k < MIB; k += 64)
                snprintf(at + k, 64, "line %5zu of part %5zu: the quick brown fox", k / 64 % 99999, i % 99999);
            break;
        }
    }
    pthread_create(&id, NULL, count, NULL);
    say("ready");
    while (fgets(line, sizeof line, stdin)) {
        printf("%lu\n", (unsigned long)counter);
        fflush(stdout);
    }
    sleep_for_ever();
}
