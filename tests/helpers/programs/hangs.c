/* hangs MODE: a program that hangs in a known way. It says `ready` when every thread stands where it will stay. */
#include "victim.h"
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER, b = PTHREAD_MUTEX_INITIALIZER, c = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t special;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t readers_writer = PTHREAD_RWLOCK_INITIALIZER;
static sem_t tickets;
static pthread_barrier_t met;
static volatile long spun;

struct pair { pthread_mutex_t *held, *wanted; };

static __attribute__((noinline)) void wants_second(pthread_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
    spun++;
}

static void *locks_two(void *argument)
{
    struct pair *pair = argument;
    pthread_mutex_lock(pair->held);
    pthread_barrier_wait(&met);
    wants_second(pair->wanted);
    return NULL;
}

static __attribute__((noinline)) void *consumes(void *unused)
{
    pthread_mutex_lock(&a);
    for (;;)
        pthread_cond_wait(&never, &a);
    return unused;
}

static void *wants_special(void *unused)
{
    pthread_mutex_lock(&special);
    spun++;
    return unused;
}

static void *wants_to_read(void *unused)
{
    pthread_rwlock_rdlock(&readers_writer);
    spun++;
    return unused;
}

static void *wants_ticket(void *unused)
{
    sem_wait(&tickets);
    spun++;
    return unused;
}

static __attribute__((noinline)) void *spins(void *unused)
{
    for (;;)
        spun++;
    return unused;
}

static pthread_t start(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, argument))
        die("pthread_create");
    return thread;
}

/* Every thread but this one asleep. */
static void settled(void)
{
    usleep(100000);
    say("ready");
}

static void ring(int size)
{
    static pthread_mutex_t *all[] = {&a, &b, &c};
    static struct pair pairs[3];
    pthread_t threads[3];
    pthread_barrier_init(&met, NULL, (unsigned)size);
    for (int number = 0; number < size; number++) {
        pairs[number] = (struct pair){all[number], all[(number + 1) % size]};
        threads[number] = start(locks_two, &pairs[number]);
    }
    settled();
    pthread_join(threads[0], NULL);
}

static void special_mutex(int kind, int protocol, int robust)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, kind);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    pthread_mutexattr_setrobust(&attributes, robust);
    pthread_mutex_init(&special, &attributes);
    pthread_mutex_lock(&special);
    pthread_t thread = start(wants_special, NULL);
    settled();
    pthread_join(thread, NULL);
}

static void shared_mutex(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t *shared = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(shared, &attributes);
    pthread_mutex_lock(shared);
    pid_t child = fork();
    if (!child) {
        wants_second(shared);
        _exit(0);
    }
    settled();
    waitpid(child, NULL, 0);
}

static void shared_rwlock(void)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlock_t *shared = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(shared, &attributes);
    pthread_rwlock_wrlock(shared);
    pid_t child = fork();
    if (!child) {
        pthread_rwlock_rdlock(shared);
        _exit(0);
    }
    settled();
    waitpid(child, NULL, 0);
}

static void interrupted(int number)
{
    (void)number;
    wants_second(&b);
}

/* Inside of a wait for a condition a handler of a signal wants a lock that the other thread holds. */
static void signalled(void)
{
    pthread_mutex_lock(&b);
    signal(SIGUSR1, interrupted);
    pthread_t thread = start(consumes, NULL);
    usleep(50000);
    pthread_kill(thread, SIGUSR1);
    settled();
    pthread_join(thread, NULL);
}

static void serves(void)
{
    for (int number = 0; number < 4; number++)
        start(consumes, NULL);
    int listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (listen(listener, 5) || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event))
        die("listen");
    settled();
    epoll_wait(poll, &event, 1, -1);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "abba"))
        ring(2);
    else if (!strcmp(mode, "ring"))
        ring(3);
    else if (!strcmp(mode, "recursive"))
        special_mutex(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    else if (!strcmp(mode, "checking"))
        special_mutex(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    else if (!strcmp(mode, "inheriting"))
        special_mutex(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    else if (!strcmp(mode, "robust"))
        special_mutex(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
    else if (!strcmp(mode, "shared"))
        shared_mutex();
    else if (!strcmp(mode, "itself")) {
        pthread_mutex_lock(&a);
        say("ready");
        wants_second(&a);
    } else if (!strcmp(mode, "condition")) {
        pthread_t thread = start(consumes, NULL);
        settled();
        pthread_join(thread, NULL);
    } else if (!strcmp(mode, "pool")) {
        pthread_t thread = 0;
        for (int number = 0; number < 100; number++)
            thread = start(consumes, NULL);
        settled();
        pthread_join(thread, NULL);
    } else if (!strcmp(mode, "leaderless")) {
        start(consumes, NULL);
        settled();
        pthread_exit(NULL);
    } else if (!strcmp(mode, "timed")) {
        struct timespec until = {.tv_sec = time(NULL) + 1000};
        pthread_mutex_lock(&a);
        say("ready");
        pthread_mutex_timedlock(&a, &until);
    } else if (!strcmp(mode, "signalled"))
        signalled();
    else if (!strcmp(mode, "shared-rwlock"))
        shared_rwlock();
    else if (!strcmp(mode, "rwlock")) {
        pthread_rwlock_wrlock(&readers_writer);
        pthread_t thread = start(wants_to_read, NULL);
        settled();
        pthread_join(thread, NULL);
    } else if (!strcmp(mode, "semaphore")) {
        sem_init(&tickets, 0, 0);
        pthread_t thread = start(wants_ticket, NULL);
        settled();
        pthread_join(thread, NULL);
    } else if (!strcmp(mode, "loop")) {
        pthread_t thread = start(spins, NULL);
        settled();
        pthread_join(thread, NULL);
    } else if (!strcmp(mode, "server"))
        serves();
    else if (!strcmp(mode, "sleep")) {
        say("ready");
        sleep(1000);
    } else if (!strcmp(mode, "fifo")) {
        say("ready");
        if (open(argv[2], O_RDONLY) < 0)
            die("open");
    }
    return 0;
}
