/* A child that is gone and not waited for. After `ready` comes its pid. */
#include "victim.h"

int main(void)
{
    siginfo_t info;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
    say("ready");
    printf("%d\n", child);
    fflush(stdout);
    sleep_for_ever();
}
