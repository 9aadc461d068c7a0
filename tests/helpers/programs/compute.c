/* Computes the same thing again and again, in general, floating point and vector registers, and compares.
   Each line on standard input is answered by `rounds N`, `wrong N`, then `end`. */
#include "victim.h"
#include <math.h>

static volatile long rounds, wrong;

/* The volatile seed keeps the compiler from doing it once and for all. */
static volatile uint64_t seed = 42;

static double series(void)
{
    uint64_t x = seed;
    float lanes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    long double sum = 0;
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        for (int k = 0; k < 8; k++)
            lanes[k] = lanes[k] * 0.999f + (float)(x >> (8 * k) & 0xff);
        sum += sqrtl((long double)(x & 0xffff)) / (i + 1);
    }
    return (double)sum + lanes[0] + lanes[7];
}

static void *compute(void *unused)
{
    double expected = series();
    for (;;) {
        if (series() != expected)
            wrong++;
        rounds++;
    }
    return unused;
}

int main(void)
{
    char line[64];
    pthread_t id;
    pthread_create(&id, NULL, compute, NULL);
    say("ready");
    while (fgets(line, sizeof line, stdin)) {
        printf("rounds %ld\nwrong %ld\nend\n", rounds, wrong);
        fflush(stdout);
    }
    sleep_for_ever();
}
