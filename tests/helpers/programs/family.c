/* Processes with much in common. usage: family CHILDREN MIBS
   All share MIBS of private memory by fork and MIBS of shared memory; each has one page of its own.
   After `ready` come the children's pids, a line each, and `end`. */
#include "victim.h"

int main(int argc, char **argv)
{
    int children = argc > 1 ? atoi(argv[1]) : 1;
    size_t length = (argc > 2 ? (size_t)atol(argv[2]) : 8) * MIB;
    char *both = map(length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    char *copied = anonymous(length);
    pid_t pids[64];
    fill(both, length, 80);
    fill(copied, length, 81);
    for (int n = 0; n < children && n < 64; n++) {
        pids[n] = fork();
        if (pids[n] == 0) {
            fill(copied, PAGE, 82 + (uint64_t)n);
            sleep_for_ever();
        }
    }
    say("ready");
    for (int n = 0; n < children; n++)
        printf("%d\n", pids[n]);
    printf("end\n");
    fflush(stdout);
    sleep_for_ever();
}
