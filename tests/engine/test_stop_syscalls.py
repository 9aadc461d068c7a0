"""System calls that a stop interrupts go on as if nothing had been: a real program waits in each of them."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.engine.take.stop import StoppedThread, StopSession
from tests.engine.stopping import wait_until
from tests.helpers.victims import Victim, compile_c, running, running_c

_EINTR = -4

CALLS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int epfd, pipe_empty[2], pipe_full[2], pair[2], full[2], listener, listener_with_timeout;
static int sem, queue, fd_locked, event, inotify, timer, ring = -1;
static aio_context_t aio;
static struct sockaddr_un crowded; /* where nobody accepts */
static socklen_t crowded_length = sizeof crowded;
static sigset_t signals;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t posix_sem;
static int word;
static pid_t child;
static char byte;
static struct iovec one = {&byte, 1};
static const struct timespec long_time = {1000, 0};       /* in read-only memory */
static const struct timespec short_time = {0, 30000000};  /* 30 ms */
static struct epoll_event ev;
static struct sembuf down = {0, -1, 0};
static struct pollfd pfd;
static struct mmsghdr mmsg;

#define FOREVER(name, call) static long name(void) { return call; }
FOREVER(f_epoll_wait, epoll_wait(epfd, &ev, 1, -1))
FOREVER(f_epoll_wait_1000, epoll_wait(epfd, &ev, 1, 1000000))
FOREVER(f_epoll_pwait, epoll_pwait(epfd, &ev, 1, -1, &signals))
FOREVER(f_epoll_pwait2, syscall(441, epfd, &ev, 1, &long_time, NULL, 8))
FOREVER(f_sigwaitinfo, syscall(SYS_rt_sigtimedwait, &signals, NULL, NULL, 8))
FOREVER(f_semop, semop(sem, &down, 1))
FOREVER(f_semtimedop, semtimedop(sem, &down, 1, &long_time))
FOREVER(f_recv, recv(pair[0], &byte, 1, 0))
FOREVER(f_recvmsg, recvmsg(pair[0], &mmsg.msg_hdr, 0))
FOREVER(f_recvmmsg, recvmmsg(pair[0], &mmsg, 1, 0, NULL))
FOREVER(f_read_socket, read(pair[0], &byte, 1))
FOREVER(f_readv_socket, readv(pair[0], &one, 1))
FOREVER(f_send, send(full[0], &byte, 1, 0))
FOREVER(f_write_socket, write(full[0], &byte, 1))
FOREVER(f_accept, accept(listener, NULL, NULL))
FOREVER(f_accept_timeout, accept(listener_with_timeout, NULL, NULL))
FOREVER(f_accept4, accept4(listener_with_timeout, NULL, NULL, 0))
FOREVER(f_io_getevents, syscall(SYS_io_getevents, aio, 1L, 1L, calloc(1, 64), NULL))
FOREVER(f_io_pgetevents, syscall(SYS_io_pgetevents, aio, 1L, 1L, calloc(1, 64), NULL, NULL))
FOREVER(f_uring, syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0))
FOREVER(f_nanosleep, nanosleep(&long_time, NULL))
FOREVER(f_poll, poll(&pfd, 1, -1))
FOREVER(f_poll_1000, poll(&pfd, 1, 1000000))
FOREVER(f_ppoll, syscall(SYS_ppoll, &pfd, 1, &long_time, NULL, 8))
FOREVER(f_pselect, syscall(SYS_pselect6, 0, NULL, NULL, NULL, &long_time, NULL))
FOREVER(f_select, select(0, NULL, NULL, NULL, NULL))
FOREVER(f_futex, syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0))
FOREVER(f_futex_1000, syscall(SYS_futex, &word, FUTEX_WAIT, 0, &long_time, NULL, 0))
FOREVER(f_cond, (pthread_mutex_lock(&mutex), pthread_cond_wait(&cond, &mutex)))
FOREVER(f_sem, sem_wait(&posix_sem))
FOREVER(f_read_pipe, read(pipe_empty[0], &byte, 1))
FOREVER(f_write_pipe, write(pipe_full[1], &byte, 1))
FOREVER(f_msgrcv, msgrcv(queue, calloc(1, 64), 8, 0, 0))
FOREVER(f_flock, flock(fd_locked, LOCK_EX))
FOREVER(f_wait4, waitpid(child, NULL, 0))
FOREVER(f_waitid, waitid(P_PID, child, NULL, WEXITED))
FOREVER(f_event, read(event, calloc(1, 8), 8))
FOREVER(f_inotify, read(inotify, calloc(1, 4096), 4096))
FOREVER(f_timer, read(timer, calloc(1, 8), 8))
FOREVER(f_pause, pause())
FOREVER(f_sigsuspend, sigsuspend(&signals))
static long f_connect(void) {
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    struct timeval t = {1000, 0};
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    return connect(s, (struct sockaddr *)&crowded, crowded_length);
}
static long f_lock(void) {
    struct flock lock = {.l_type = F_WRLCK};
    return fcntl(fd_locked, F_OFD_SETLKW, &lock);
}
#define ENTRY(name) {#name, name}
static struct { const char *name; long (*call)(void); } forever[] = {
    ENTRY(f_epoll_wait), ENTRY(f_epoll_wait_1000), ENTRY(f_epoll_pwait), ENTRY(f_epoll_pwait2),
    ENTRY(f_sigwaitinfo), ENTRY(f_semop), ENTRY(f_semtimedop), ENTRY(f_recv), ENTRY(f_recvmsg),
    ENTRY(f_recvmmsg), ENTRY(f_read_socket), ENTRY(f_readv_socket), ENTRY(f_send), ENTRY(f_write_socket),
    ENTRY(f_accept), ENTRY(f_accept_timeout), ENTRY(f_accept4), ENTRY(f_connect), ENTRY(f_io_getevents),
    ENTRY(f_io_pgetevents), ENTRY(f_uring), ENTRY(f_nanosleep), ENTRY(f_poll), ENTRY(f_poll_1000),
    ENTRY(f_ppoll), ENTRY(f_pselect), ENTRY(f_select), ENTRY(f_futex), ENTRY(f_futex_1000), ENTRY(f_cond),
    ENTRY(f_sem), ENTRY(f_read_pipe), ENTRY(f_write_pipe), ENTRY(f_msgrcv), ENTRY(f_flock), ENTRY(f_lock),
    ENTRY(f_wait4), ENTRY(f_waitid), ENTRY(f_event), ENTRY(f_inotify), ENTRY(f_timer), ENTRY(f_pause),
    ENTRY(f_sigsuspend),
};

/* Calls that time out after 30 ms: again and again, each time with the result of a timeout. */
#define AGAIN(name, call, expected) static int name(void) { return (call) == expected; }
static struct timeval tv(void) { struct timeval t = {0, 30000}; return t; }
AGAIN(s_epoll, epoll_wait(epfd, &ev, 1, 30), 0)
AGAIN(s_poll, poll(NULL, 0, 30), 0)
AGAIN(s_nanosleep, nanosleep(&short_time, NULL), 0)
AGAIN(s_semtimedop, semtimedop(sem, &down, 1, &short_time) == -1 && errno == EAGAIN, 1)
AGAIN(s_sigtimedwait, sigtimedwait(&signals, NULL, &short_time) == -1 && errno == EAGAIN, 1)
AGAIN(s_recv, recv(pair[1], &byte, 1, 0) == -1 && errno == EAGAIN, 1)
static int s_select(void) { struct timeval t = tv(); return select(0, NULL, NULL, NULL, &t) == 0; }
static struct { const char *name; int (*call)(void); long rounds; } again[] = {
    {"s_epoll", s_epoll}, {"s_poll", s_poll}, {"s_nanosleep", s_nanosleep}, {"s_semtimedop", s_semtimedop},
    {"s_sigtimedwait", s_sigtimedwait}, {"s_recv", s_recv}, {"s_select", s_select},
};
#define COUNT(a) (sizeof a / sizeof *a)

static void *wait_forever(void *index) {
    long i = (long)index;
    for (;;) {
        long result = forever[i].call();
        int error = errno;
        if (forever[i].call == f_uring && error != EINTR) return NULL; /* no io_uring here */
        printf("%s returned %ld: %s\n", forever[i].name, result, strerror(error));
        fflush(stdout);
        if (error != EINTR) return NULL;
    }
}
static void *time_out(void *index) {
    long i = (long)index;
    for (;;) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        int ok = again[i].call();
        int error = errno;
        clock_gettime(CLOCK_MONOTONIC, &b);
        double took = b.tv_sec - a.tv_sec + (b.tv_nsec - a.tv_nsec) / 1e9;
        if (!ok || took < 0.029) {
            printf("%s after %.3f s: %s\n", again[i].name, took, strerror(error));
            fflush(stdout);
        }
        __atomic_add_fetch(&again[i].rounds, 1, __ATOMIC_SEQ_CST);
    }
}
static int listen_at(struct sockaddr_un *address, int backlog) {
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    address->sun_family = AF_UNIX;
    bind(s, (struct sockaddr *)address, sizeof(sa_family_t)); /* an abstract name of the kernel's choice */
    listen(s, backlog);
    return s;
}
static void set_up(void) {
    struct timeval t = {1000, 0}, brief = tv();
    struct sockaddr_un a = {0};
    char path[] = "/tmp/snaptui-calls-XXXXXX";
    int other = mkstemp(path);
    fd_locked = open(path, O_RDWR);
    unlink(path);
    flock(other, LOCK_EX);
    struct flock lock = {.l_type = F_WRLCK};
    fcntl(other, F_OFD_SETLKW, &lock);
    epfd = epoll_create1(0);
    pipe(pipe_empty);
    pipe2(pipe_full, O_NONBLOCK);
    while (write(pipe_full[1], &byte, 1) == 1) ;
    fcntl(pipe_full[1], F_SETFL, 0);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief);
    socketpair(AF_UNIX, SOCK_STREAM, 0, full);
    while (send(full[0], &byte, 1, MSG_DONTWAIT) == 1) ;
    setsockopt(full[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    listener = listen_at(&a, 5);
    memset(&a, 0, sizeof a);
    listener_with_timeout = listen_at(&a, 5);
    setsockopt(listener_with_timeout, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    getsockname(listen_at(&crowded, 0), (struct sockaddr *)&crowded, &crowded_length);
    connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&crowded, crowded_length);
    sem = semget(IPC_PRIVATE, 1, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    event = eventfd(0, 0);
    inotify = inotify_init();
    timer = timerfd_create(CLOCK_MONOTONIC, 0);
    sem_init(&posix_sem, 0, 0);
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR2);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    pfd = (struct pollfd){pipe_empty[0], POLLPRI};
    mmsg.msg_hdr.msg_iov = &one;
    mmsg.msg_hdr.msg_iovlen = 1;
    syscall(SYS_io_setup, 8, &aio);
    struct io_uring_params params = {0};
    ring = syscall(SYS_io_uring_setup, 4, &params);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
}
int main(void) {
    char line[64];
    pthread_t thread;
    set_up();
    for (long i = 0; i < (long)COUNT(forever); i++) pthread_create(&thread, NULL, wait_forever, (void *)i);
    for (long i = 0; i < (long)COUNT(again); i++) pthread_create(&thread, NULL, time_out, (void *)i);
    puts("ready");
    fflush(stdout);
    for (;;) {
        ssize_t got = read(0, line, sizeof line);
        if (got <= 0) break;
        printf("rounds");
        for (size_t i = 0; i < COUNT(again); i++) printf(" %ld", again[i].rounds);
        printf("\n");
        fflush(stdout);
    }
    printf("the main thread's read failed: %s\n", strerror(errno));
    semctl(sem, 0, IPC_RMID);
    msgctl(queue, IPC_RMID, NULL);
    return 0;
}
"""

CALLS_32 = r"""
static int call(int number, int a, void *b, int c, int d) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
    return result;
}
void _start(void) {
    char event[16];
    int epoll = call(254, 1, 0, 0, 0);
    call(4, 1, "ready\n", 6, 0);
    int result = call(256, epoll, event, 1, -1);
    call(4, 1, result == -4 ? "EINTR\n" : "other\n", 6, 0);
    call(1, 0, 0, 0, 0);
}
"""

HANDLER = r"""
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
static volatile int handled;
static void handler(int number) { handled++; }
int main(void) {
    struct epoll_event event;
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    int epoll = epoll_create1(0);
    puts("ready");
    fflush(stdout);
    int result = epoll_wait(epoll, &event, 1, -1);
    printf("%d %s handled %d\n", result, strerror(errno), handled);
    return 0;
}
"""


def sleeping_calls(victim: Victim) -> list[str]:
    """The number of the call that each thread sleeps in, or `running`, as /proc has it."""
    return [
        path.read_text().split()[0] for path in sorted(Path(f"/proc/{victim.pid}/task").glob("*/syscall"))
    ]


def general_register(thread: StoppedThread, number: int) -> int:
    """A register by its place in struct user_regs_struct (sys/user.h); signed."""
    assert thread.registers is not None
    return int(struct.unpack_from("<q", thread.registers.regs, 8 * number)[0])


def rounds(victim: Victim) -> list[int]:
    """How often each call with a timeout has timed out; fails when any call complained before."""
    victim.send("how many?")
    words = victim.readline().split()
    assert words[0] == "rounds", " ".join(words)
    return [int(word) for word in words[1:]]


@contextlib.contextmanager
def waiting_in_every_call() -> Iterator[Victim]:
    """The program, each thread in its call; it ends by itself, to remove its System V semaphore and queue."""
    with running_c(CALLS, "-O1", "-w", "-pthread") as victim:
        wait_until(lambda: "running" not in sleeping_calls(victim))
        try:
            yield victim
        finally:
            victim.popen.communicate(timeout=10)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="restarting calls is for x86-64 only")
def test_no_system_call_notices_that_it_was_stopped() -> None:
    """Given a program that waits in fifty ways, when it is stopped many times, then no call returns early."""
    interrupted = set()
    with waiting_in_every_call() as victim:
        before = rounds(victim)
        for _ in range(25):
            with StopSession([victim.pid]) as session:
                for thread in session.stop():
                    rax, orig_rax = general_register(thread, 10), general_register(thread, 15)
                    if rax == _EINTR:
                        interrupted.add(orig_rax)
            wait_until(lambda: sleeping_calls(victim).count("running") < 8)
        # The stop did reach those calls that the kernel answers with EINTR: without help they had failed.
        epoll_wait, semtimedop, rt_sigtimedwait, recvfrom, io_getevents = 232, 220, 128, 45, 208
        assert interrupted >= {epoll_wait, semtimedop, rt_sigtimedwait, recvfrom, io_getevents}
        after = rounds(victim)
        wait_until(lambda: all(b > a for a, b in zip(after, rounds(victim), strict=True)))
    assert all(b >= a for a, b in zip(before, after, strict=True))


def test_a_signal_with_a_handler_still_interrupts_a_call() -> None:
    """Given epoll_wait and a signal that arrives while stopped, then it fails after the handler."""
    with running_c(HANDLER) as victim:
        wait_until(lambda: "running" not in sleeping_calls(victim))
        with StopSession([victim.pid]) as session:
            session.stop()
            victim.popen.send_signal(signal.SIGUSR1)
        assert victim.readline() == "-1 Interrupted system call handled 1"


def _compile_32_bit() -> Path | None:
    flags = ("-m32", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector")
    try:
        return compile_c(CALLS_32, *flags)
    except subprocess.CalledProcessError:
        return None


def test_a_32_bit_program_has_its_short_registers_and_its_calls_restart() -> None:
    binary = _compile_32_bit()
    if binary is None:
        pytest.skip("the compiler makes no 32-bit programs")
    try:
        with running([binary]) as victim:
            wait_until(lambda: sleeping_calls(victim) == ["256"])
            for _ in range(3):
                with StopSession([victim.pid]) as session:
                    (thread,) = session.stop()
                    assert thread.registers is not None
                    assert len(thread.registers.regs) == 17 * 4  # struct user_regs_struct32
                wait_until(lambda: sleeping_calls(victim) == ["256"])
            assert victim.popen.poll() is None
    except OSError as error:  # a kernel without CONFIG_IA32_EMULATION
        pytest.skip(f"32-bit programs do not run here: {error}")
