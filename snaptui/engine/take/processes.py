"""The processes that run now, straight from /proc.

Processes come and go while they are listed: one that vanishes is left out. Measured: 0.1 ms
for each process, with all that `LiveProcess` holds.
"""

from __future__ import annotations

import functools
import os
import pwd
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from snaptui.engine.errors import NoSuchProcess
from snaptui.engine.take.procstat import (
    USER_HZ,
    Stat,
    full_name,
    open_directory,
    parse_stat,
    read_if_possible,
    read_whole,
    resident_size,
    state_name,
    status_field,
    text_of,
)
from snaptui.engine.take.syscalls import parse_syscall

_MS_PER_TICK = 1000 // USER_HZ


@dataclass(frozen=True, slots=True)
class LiveProcess:
    """A running process: times in ms, sizes in bytes, `start_ticks` in 1/100 s since boot.

    `name` is the full name where `comm` (15 bytes at most) was cut. `uid` and `user` are the
    real user. `syscall` is the name of the system call the main thread waits in. It, `wchan` and
    `exe` are empty where they are unknown: the kernel tells them only to who may trace the process.
    """

    pid: int
    ppid: int
    uid: int
    user: str
    name: str
    comm: str
    state: str
    utime_ms: int
    stime_ms: int
    rss: int
    vsize: int
    threads: int
    start_ticks: int
    wchan: str
    syscall: str
    cmdline: tuple[str, ...]
    exe: str
    kernel_thread: bool

    @property
    def is_zombie(self) -> bool:
        """Ended, and not yet waited for by its parent."""
        return self.state in "ZXx" and self.threads <= 1


@dataclass(frozen=True, slots=True)
class Wait:
    """A thread that did not move: its state letter, system call and wait channel ("" where unknown)."""

    tid: int
    comm: str
    state: str
    syscall: str
    wchan: str

    @property
    def place(self) -> str:
        """Where it hangs, in a word: the system call, or in an uninterruptible sleep (D) the wait channel."""
        if self.state == "S":
            return self.syscall or self.wchan or state_name(self.state, "", "")
        return state_name(self.state, self.syscall, self.wchan)


@dataclass(frozen=True, slots=True)
class HungProcess:
    """A process of which no thread moved during the sample; its threads' waits, the main thread's first."""

    process: LiveProcess
    waits: tuple[Wait, ...]

    @property
    def place(self) -> str:
        """Where the process hangs, in a word: its main thread's place."""
        return self.waits[0].place


@functools.cache
def user_name(uid: int) -> str:
    """The login name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def list_processes() -> list[LiveProcess]:
    """All processes that this one can see, by pid."""
    found = []
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isascii() and name.isdigit()):
        try:
            found.append(_read(pid))
        except (OSError, ValueError):  # ValueError: a file cut short by the process's end
            continue
    return found


def read_process(pid: int) -> LiveProcess:
    """One process. Raises NoSuchProcess if there is none, or if `pid` is but a thread of one."""
    try:
        process = _read(pid)
        leader = int(status_field(read_whole(f"/proc/{pid}/status"), "Tgid"))
    except (OSError, ValueError) as error:
        raise NoSuchProcess(f"there is no process {pid}") from error
    if leader != pid:
        raise NoSuchProcess(f"{pid} is a thread of process {leader}: give {leader}")
    return process


def still_runs(process: LiveProcess) -> bool:
    """Whether that very process has not ended: its pid may be another's by now."""
    try:
        stat = parse_stat(read_whole(f"/proc/{process.pid}/stat"))
    except (OSError, ValueError):
        return False
    return stat.start_ticks == process.start_ticks and not stat.has_ended


def _read(pid: int) -> LiveProcess:
    with open_directory(f"/proc/{pid}") as directory:
        stat = parse_stat(read_whole("stat", directory))
        status = read_whole("status", directory)
        # A kernel thread makes no system calls: the file has zeros, which would be `read`.
        wchan, syscall = ("", "") if stat.is_kernel_thread else _wait(directory)
        cmdline = b"" if stat.is_kernel_thread else read_if_possible("cmdline", directory)
        try:
            exe = os.readlink("exe", dir_fd=directory)
        except OSError:
            exe = ""
    uid = int(status_field(status, "Uid").split()[0])
    arguments = tuple(text_of(word) for word in cmdline.removesuffix(b"\0").split(b"\0")) if cmdline else ()
    return LiveProcess(
        pid=pid,
        ppid=stat.ppid,
        uid=uid,
        user=user_name(uid),
        name=full_name(stat.comm, arguments[0] if arguments else "", exe),
        comm=stat.comm,
        state=stat.state,
        utime_ms=stat.utime * _MS_PER_TICK,
        stime_ms=stat.stime * _MS_PER_TICK,
        rss=resident_size(status),
        vsize=stat.vsize,
        threads=stat.threads,
        start_ticks=stat.start_ticks,
        wchan=wchan,
        syscall=syscall,
        cmdline=arguments,
        exe=exe,
        kernel_thread=stat.is_kernel_thread,
    )


def _wait(directory: int) -> tuple[str, str]:
    """The wait channel and the system call's name of the thread whose /proc directory is open."""
    wchan = text_of(read_if_possible("wchan", directory))
    call = parse_syscall(read_if_possible("syscall", directory))
    return "" if wchan == "0" else wchan, call.name() if call else ""


def hung_processes(
    sample: float = 0.3, *, processes: Sequence[LiveProcess] | None = None
) -> list[HungProcess]:
    """Those of `processes` (default: all) that used no CPU and stayed in one wait for `sample` seconds.

    All threads must have stayed. Kernel threads, zombies and the caller itself never count;
    one in uninterruptible sleep (D) or stopped does. A process that waits for its next event in peace
    looks the same as one that will wait for ever: who asks must judge.
    """
    chosen = [
        process
        for process in (list_processes() if processes is None else processes)
        if not process.kernel_thread and not process.is_zombie and process.pid != os.getpid()
    ]
    before = {process.pid: _marks(process.pid) for process in chosen}
    time.sleep(sample)  # not to wait for something: standing still all this time is what is measured
    hung = []
    for process in chosen:
        marks = before[process.pid]
        if marks and marks == _marks(process.pid) and (waits := _waits(process.pid, marks)):
            hung.append(HungProcess(process, waits))
    return hung


_Mark = tuple[str, int, int, int, str, str]


def _marks(pid: int) -> dict[int, _Mark]:
    """For each living thread what changes whenever it moves; empty if one runs, or the process has gone.

    A thread that leaves a wait is counted as a context switch when it next waits or is
    preempted, and until then its state is R: same counts and no R is the very same wait.
    """
    marks: dict[int, _Mark] = {}
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            stat = parse_stat(read_whole(f"/proc/{pid}/task/{tid}/stat"))
            if stat.state == "R":
                return {}
            if not stat.has_ended:
                marks[int(tid)] = _mark(stat, read_whole(f"/proc/{pid}/task/{tid}/status"))
    except (OSError, ValueError):
        return {}
    return marks


def _mark(stat: Stat, status: bytes) -> _Mark:
    voluntary = status_field(status, "voluntary_ctxt_switches")
    involuntary = status_field(status, "nonvoluntary_ctxt_switches")
    return stat.state, stat.start_ticks, stat.utime, stat.stime, voluntary, involuntary


def _waits(pid: int, tids: Iterable[int]) -> tuple[Wait, ...]:
    """Where the threads wait, the main thread first; empty if one has gone."""
    waits = []
    for tid in sorted(tids, key=lambda tid: (tid != pid, tid)):
        try:
            with open_directory(f"/proc/{pid}/task/{tid}") as directory:
                stat = parse_stat(read_whole("stat", directory))
                wchan, syscall = _wait(directory)
        except (OSError, ValueError):
            return ()
        waits.append(Wait(tid, stat.comm, stat.state, syscall, wchan))
    return tuple(waits)
