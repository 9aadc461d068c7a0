"""The programs that the tests of stopping stop, and what /proc tells of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from snaptui.engine.take.stop import StoppedThread
from tests.helpers.victims import Victim, running_python

T = TypeVar("T")

MANY_THREADS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static volatile long counter;
static void *sleeper(void *_) { for (;;) pause(); }
static void *counting(void *_) { for (;;) { counter++; usleep(1000); } }
int main(int argc, char **argv) {
    pthread_t thread;
    int threads = atoi(argv[1]);
    char line[16];
    pthread_create(&thread, NULL, counting, NULL);
    for (int i = 2; i < threads; i++) pthread_create(&thread, NULL, sleeper, NULL);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) { printf("%ld\n", counter); fflush(stdout); }
    for (;;) pause();
}
"""

CHURN = r"""
#include <pthread.h>
#include <stdio.h>
static void *brief(void *_) { return NULL; }
int main(void) {
    pthread_t thread[8];
    puts("ready");
    fflush(stdout);
    for (;;) {
        for (int i = 0; i < 8; i++) pthread_create(&thread[i], NULL, brief, NULL);
        for (int i = 0; i < 8; i++) pthread_join(thread[i], NULL);
    }
}
"""

# With the argument 0 it has one thread besides the main one, which calls execve: again and again.
EXEC = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static char **arguments;
static void *sleeper(void *_) { for (;;) pause(); }
static void *again(void *_) { execv("/proc/self/exe", arguments); _exit(1); }
int main(int argc, char **argv) {
    pthread_t thread;
    arguments = argv;
    if (!getenv("AGAIN")) { puts("ready"); fflush(stdout); setenv("AGAIN", "1", 1); }
    for (int i = 0; i < atoi(argv[1]); i++) pthread_create(&thread, NULL, sleeper, NULL);
    pthread_create(&thread, NULL, again, NULL);
    for (;;) pause();
}
"""

LEADER_ENDS = r"""
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *rest(void *_) {
    char stat[512], *end;
    do {  /* ready is when the main thread is a zombie */
        FILE *file = fopen("/proc/self/stat", "r");
        fgets(stat, sizeof stat, file);
        fclose(file);
        for (end = stat; *end != ')'; end++) ;
    } while (end[2] != 'Z');
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, rest, NULL);
    pthread_exit(NULL);
}
"""

VFORK = r"""
#define _GNU_SOURCE
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>
int main(void) {
    if (vfork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        write(1, "ready\n", 6);
        char byte;
        read(0, &byte, 1);
        _exit(0);
    }
    write(1, "goes on\n", 8);
    for (;;) pause();
}
"""

SIGNALS = r"""
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>
static volatile int rt, alarms;
static void count_rt(int number) { rt++; }
static void count_alarm(int number) { alarms++; }
int main(void) {
    char line[16];
    struct sigaction action = {.sa_handler = count_rt, .sa_flags = SA_RESTART};
    sigaction(SIGRTMIN, &action, NULL);
    action.sa_handler = count_alarm;
    sigaction(SIGALRM, &action, NULL);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (line[0] == 't') {
            struct itimerval timer = {{0, 0}, {0, 100000}};
            setitimer(ITIMER_REAL, &timer, NULL);
        }
        printf("%d %d\n", rt, alarms);
        fflush(stdout);
    }
}
"""

PARENT = """
import os, signal, subprocess, sys
signals = []
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
child.stdout.readline()
signal.signal(signal.SIGCHLD, lambda *_: signals.append(1))
print("ready")
print(child.pid)
for line in sys.stdin:
    try:
        event = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
    except ChildProcessError:
        event = "gone"
    print(event, len(signals))
"""

SESSION = """
import sys
from snaptui.engine.take.stop import StopSession
session = StopSession([int(sys.argv[1])])
found = session.stop()
print("ready")
print(sum(thread.registers is not None for thread in found))
sys.stdin.readline()
session.release()
print("released")
sys.stdin.readline()
"""


def wait_until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "the condition did not come true"
        time.sleep(0.001)


def in_a_thread(work: Callable[[], T]) -> T:
    """The result of `work` in a thread of its own, which has ended when this returns."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(work).result()


def thread_states(pid: int) -> str:
    """The state letters of a process's threads as /proc shows them."""
    states = ""
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states += path.read_text().rpartition(")")[2].split()[0]
    return states


def status_line(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(name + ":"))


def is_pending(pid: int, number: int) -> bool:
    return bool(int(status_line(pid, "ShdPnd"), 16) >> (number - 1) & 1)


def counter(victim: Victim) -> int:
    victim.send("count")
    return int(victim.readline())


def mapped(pid: int, address: int) -> bool:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        start, end = (int(word, 16) for word in line.split()[0].split("-"))
        if start <= address < end:
            return "x" in line.split()[1]
    return False


def instruction_pointer(thread: StoppedThread) -> int:
    assert thread.registers is not None
    return int.from_bytes(thread.registers.regs[16 * 8 : 17 * 8], "little")  # user_regs_struct.rip


@contextlib.contextmanager
def family(*argv: str | Path) -> Iterator[tuple[Victim, int]]:
    """A parent that reports what it hears of its child, and the child's pid."""
    with running_python(PARENT, *map(str, argv)) as parent:
        yield parent, int(parent.readline())
