/* A process that would see whatever a copy of it left behind. usage: watchful [orphans|seccomp|shares]
   One thread counts in every page of `pages`, private first and then shared; the main one looks, between the
   commands that it is given, for children, signals and calls that come back too early.
   After `ready` comes `pages ADDRESS LENGTH`, `shared ADDRESS LENGTH` and `end`. Commands: `report` answers
   `faults N`, `children N` (SIGCHLD) and `rounds N`. With an argument it is of a kind that is not copied. */
#include "victim.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>

#define COUNTED (256 * PAGE)

static volatile uint64_t *pages, *shared;
static volatile sig_atomic_t children;
static volatile uint64_t rounds;
static long faults;

static void on_child(int signo) { (void)signo, children++; }

static void *count(void *_)
{
    for (uint64_t number = 1;; rounds = number++)
        for (size_t at = 0; at < COUNTED / 8; at += PAGE / 8) {
            pages[at] = number;
            shared[at] = number;
        }
    return _;
}

static void look(void)
{
    if (waitpid(-1, NULL, __WALL | WNOHANG) != -1 || errno != ECHILD)
        faults++;
    if (nanosleep(&(struct timespec){0, 300 * 1000}, NULL))
        faults++;
}

static void fall_under_seccomp(void)
{
    struct sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    struct sock_fprog program = {1, &allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        die("seccomp");
}

static void become(const char *kind)
{
    if (!strcmp(kind, "orphans") && prctl(PR_SET_CHILD_SUBREAPER, 1))
        die("prctl");
    if (!strcmp(kind, "seccomp"))
        fall_under_seccomp();
    if (!strcmp(kind, "shares"))
        memset(map(257 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1), 7, 257 * MIB);
}

static void answer(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char line[64];
    for (;;) {
        look();
        if (poll(&input, 1, 0) == 1) {
            if (!fgets(line, sizeof line, stdin))
                return;
            printf("faults %ld\nchildren %d\nrounds %lu\nend\n", faults, (int)children, (unsigned long)rounds);
            fflush(stdout);
        }
    }
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_child};
    sigaction(SIGCHLD, &action, NULL);
    pages = anonymous(COUNTED);
    shared = map(COUNTED, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    become(argc > 1 ? argv[1] : "");
    pthread_t thread;
    pthread_create(&thread, NULL, count, NULL);
    while (!rounds)
        sched_yield();
    printf("ready\npages %p %zu\nshared %p %zu\nend\n", (void *)pages, COUNTED, (void *)shared, COUNTED);
    fflush(stdout);
    answer();
}
