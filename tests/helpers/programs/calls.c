/* Threads in blocking calls that nothing ever ends. usage: calls
   Each line on standard input is a command:
     report   prints `NAME RESULT ERRNO` for every call that came back all the same, then `end`
     signals  prints the counts `alarms N`, `queued N`, `disorder N`, then `end`
     sleep    sleeps a second and prints `slept MICROSECONDS RESULT`, then `end`
   SIGALRM comes from a timer every 10 ms; SIGRTMIN is counted, and its values must come in order. */
#include "victim.h"
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>

static int never[2], full[2], pair[2], listener, locked, queue, semaphores;
static long returned[64], error[64];
static volatile int back[64];

static long do_read(void) { char c; return read(never[0], &c, 1); }
static long do_write(void) { char c[4096] = {0}; return write(full[1], c, sizeof c); }
static long do_poll(void) { return poll(&(struct pollfd){.fd = never[0], .events = POLLIN}, 1, -1); }
static long do_select(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(never[0], &set);
    return select(never[0] + 1, &set, NULL, NULL, NULL);
}
static long do_timed_poll(void) { return poll(&(struct pollfd){.fd = never[0], .events = POLLIN}, 1, 3600 * 1000); }
static long do_accept(void) { return accept(listener, NULL, NULL); }
static long do_recv(void) { char c; return recv(pair[0], &c, 1, 0); }
static long do_nanosleep(void) { return nanosleep(&(struct timespec){3600, 0}, NULL); }
static long do_clock_nanosleep(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += 3600;
    return -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}
static long do_futex(void)
{
    static uint32_t word;
    return syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
}
static long do_timed_futex(void)
{
    static uint32_t word;
    return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &(struct timespec){3600, 0}, NULL, 0);
}
static long do_msgrcv(void)
{
    struct { long type; char text[8]; } message;
    return msgrcv(queue, &message, sizeof message.text, 0, 0);
}
static long do_waitpid(void)
{
    pid_t child = fork();
    if (child == 0)
        sleep_for_ever();
    return waitpid(child, NULL, 0);
}
static long do_flock(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", locked);
    return flock(open(path, O_RDWR), LOCK_EX);
}
static long do_timerfd(void)
{
    uint64_t count;
    return read(timerfd_create(CLOCK_MONOTONIC, 0), &count, sizeof count);
}
static long do_eventfd(void)
{
    uint64_t count;
    return read(eventfd(0, 0), &count, sizeof count);
}
static long do_signalfd(void)
{
    struct signalfd_siginfo info;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    return read(signalfd(-1, &set, 0), &info, sizeof info);
}
static long do_pause(void) { return pause(); }
/* signal(7): these end with EINTR after a stop even where no handler runs. */
static long do_epoll(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fd = epoll_create1(0);
    epoll_ctl(fd, EPOLL_CTL_ADD, never[0], &event);
    return epoll_wait(fd, &event, 1, -1);
}
static long do_semop(void)
{
    return semop(semaphores, &(struct sembuf){.sem_num = 0, .sem_op = -1}, 1);
}
static long do_sigwait(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigwaitinfo(&set, NULL);
}
static long do_inotify(void)
{
    char event[4096];
    return read(inotify_init1(0), event, sizeof event);
}
static long do_io_getevents(void)
{
    aio_context_t context = 0;
    struct io_event event;
    if (syscall(SYS_io_setup, 4, &context))
        return 0;
    return syscall(SYS_io_getevents, context, 1, 1, &event, NULL);
}

static const struct { const char *name; long (*call)(void); } calls[] = {
    {"read", do_read}, {"write", do_write}, {"poll", do_poll}, {"timed-poll", do_timed_poll}, {"select", do_select},
    {"accept", do_accept}, {"recv", do_recv}, {"nanosleep", do_nanosleep}, {"clock_nanosleep", do_clock_nanosleep},
    {"futex", do_futex}, {"timed-futex", do_timed_futex}, {"msgrcv", do_msgrcv}, {"waitpid", do_waitpid},
    {"flock", do_flock}, {"timerfd", do_timerfd}, {"eventfd", do_eventfd}, {"signalfd", do_signalfd}, {"pause", do_pause},
    {"epoll_wait", do_epoll}, {"semop", do_semop}, {"sigwaitinfo", do_sigwait}, {"inotify", do_inotify},
    {"io_getevents", do_io_getevents},
};
enum { CALLS = sizeof calls / sizeof calls[0] };

static void *make_call(void *number)
{
    long n = (long)number;
    returned[n] = calls[n].call();
    error[n] = errno;
    back[n] = 1;
    sleep_for_ever();
    return NULL;
}

static volatile sig_atomic_t alarms, queued, disorder;

static void on_alarm(int signo) { (void)signo, alarms++; }

static void on_queued(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    if (info->si_value.sival_int != queued)
        disorder++;
    queued++;
}

static void prepare(void)
{
    char filler[4096] = {0};
    if (pipe(never) || pipe2(full, O_NONBLOCK) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        die("pipe");
    while (write(full[1], filler, sizeof filler) > 0)
        ;
    fcntl(full[1], F_SETFL, 0);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    /* No name: Linux binds it to an abstract one of its own choice. */
    if (bind(listener, &(struct sockaddr){AF_UNIX, ""}, sizeof(sa_family_t)) || listen(listener, 1))
        die("listen");
    locked = memfd_create("lock", 0);
    flock(locked, LOCK_EX);
    queue = msgget(IPC_PRIVATE, 0600);
    semaphores = semget(IPC_PRIVATE, 1, 0600);
}

/* System V's objects outlive their processes: a child outside this process group removes them at the end. */
static void remove_afterwards(void)
{
    int alive[2];
    char byte;
    if (pipe(alive))
        die("pipe");
    if (fork() == 0) {
        setsid();
        close(1);
        close(alive[1]);
        while (read(alive[0], &byte, 1) < 0)
            ;
        msgctl(queue, IPC_RMID, NULL);
        semctl(semaphores, 0, IPC_RMID);
        _exit(0);
    }
    close(alive[0]);
}

static void start_threads(void)
{
    pthread_t id;
    sigset_t all, before;
    /* Signals are the main thread's: what ends a call in a thread can only be the stop. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (long n = 0; n < CALLS; n++)
        if ((errno = pthread_create(&id, NULL, make_call, (void *)n)))
            die("pthread_create");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void report(void)
{
    for (int n = 0; n < CALLS; n++)
        if (back[n])
            printf("%s %ld %s\n", calls[n].name, returned[n], strerrorname_np((int)error[n]));
}

static void timed_sleep(void)
{
    struct timespec before, after, left = {1, 0};
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, &old);
    clock_gettime(CLOCK_MONOTONIC, &before);
    int result = nanosleep(&left, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("slept %ld %d\n", (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000, result);
}

int main(void)
{
    char line[64];
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    action = (struct sigaction){.sa_sigaction = on_queued, .sa_flags = SA_RESTART | SA_SIGINFO};
    sigaction(SIGRTMIN, &action, NULL);
    prepare();
    remove_afterwards();
    start_threads();
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 10000}, {0, 10000}}, NULL);
    say("ready");
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!strcmp(line, "report"))
            report();
        else if (!strcmp(line, "signals"))
            printf("alarms %d\nqueued %d\ndisorder %d\n", alarms, queued, disorder);
        else if (!strcmp(line, "sleep"))
            timed_sleep();
        printf("end\n");
        fflush(stdout);
    }
    sleep_for_ever();
}
