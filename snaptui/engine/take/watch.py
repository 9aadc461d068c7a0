"""Looking at all processes again and again: what each uses of the processor, and which stand still."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NoSuchProcess
from snaptui.engine.take.hung import Wait
from snaptui.engine.take.processes import LiveProcess, read_process
from snaptui.engine.take.procstat import USER_HZ, open_directory, read_if_possible
from snaptui.engine.take.smallfiles import read_files

Key = tuple[int, int]
"""A pid and when it started: pids are used again."""

_TOGETHER: Final = 256
"""Processes that are looked at together: 3 ms, in which the screen has the interpreter for itself."""

_SETTLED: Final = 2.0
"""Seconds of standing still before that means anything: a program may poll once a second."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A running process, and what became of it between two looks; times in seconds.

    `cpu` is in percent of one processor. `still` is how long it has been seen to stand still: no
    thread of it ran; 0 when it moves.
    """

    process: LiveProcess
    cpu: float
    age: float
    still: float

    @property
    def key(self) -> Key:
        """What tells it from every other process, also from a later one with its pid."""
        return self.process.pid, self.process.start_ticks

    @property
    def place(self) -> str:
        """Where its main thread waits, in a word; empty where the kernel does not tell."""
        return place_of(self.process)

    @property
    def is_hung(self) -> bool:
        """Whether it has stood still long enough to be looked at; it may wait in peace all the same."""
        return self.still >= _SETTLED


def place_of(process: LiveProcess) -> str:
    """The system call, or in an uninterruptible sleep (D) the wait channel; empty where unknown."""
    if process.state in "SD" and not (process.syscall or process.wchan):
        return ""
    return Wait(process.pid, process.comm, process.state, process.syscall, process.wchan).place


def list_pids() -> list[int]:
    """The pids of all processes that this one can see, in their order."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isascii() and name.isdigit())


@dataclass(slots=True)
class _Memory:
    """What is remembered of a process from one look to the next."""

    process: LiveProcess
    seen: float
    marks: bytes
    since: float


class Watcher:
    """Looks at all processes, and compares with the look before. For one thread at a time.

    A process of which no thread has run since is not read again: nothing of it can have changed.
    Measured with 5,000 that sleep: 0.55 s for the first look, 0.07 s for each one after it, of which most is
    spent in the kernel, and other threads have the interpreter.
    """

    def __init__(
        self,
        pids: Callable[[], Sequence[int]] = list_pids,
        read: Callable[[int], LiveProcess] = read_process,
        clock: Callable[[], float] = time.monotonic,
        marks: Callable[[Sequence[int]], Mapping[int, bytes]] | None = None,
    ) -> None:
        """`clock` gives seconds since boot; `marks` what changes whenever a thread of a process runs."""
        self._pids, self._read, self._clock = pids, read, clock
        self._marks = marks or ThreadMarks()
        self._memory: dict[int, _Memory] = {}

    def look(self) -> list[Watched]:
        """All processes as they are now, by pid."""
        memory: dict[int, _Memory] = {}
        found = []
        pids = self._pids()
        for at in range(0, len(pids), _TOGETHER):
            some = pids[at : at + _TOGETHER]
            marks = self._marks(some)
            for pid in some:
                try:
                    memory[pid], watched = self._look_at(pid, marks.get(pid, b""), self._memory.get(pid))
                except NoSuchProcess:  # it has ended meanwhile
                    continue
                found.append(watched)
        self._memory = memory
        if isinstance(self._marks, ThreadMarks):
            self._marks.forget_all_but(memory)
        return found

    def _look_at(self, pid: int, marks: bytes, before: _Memory | None) -> tuple[_Memory, Watched]:
        now = self._clock()
        stands = before is not None and marks != b"" and marks == before.marks
        process = before.process if before is not None and stands else self._read(pid)
        age = max(0.0, now - process.start_ticks / USER_HZ)
        if before is None or before.process.start_ticks != process.start_ticks:
            return _Memory(process, now, marks, now), Watched(process, 0.0, age, 0.0)
        elapsed = now - before.seen
        cpu = (_cpu_ms(process) - _cpu_ms(before.process)) / elapsed / 10 if elapsed > 0 else 0.0
        since = before.since if stands else now
        # The kernel's own threads wait for work for ever, and what has ended does not wait.
        still = 0.0 if process.kernel_thread or process.is_zombie else now - since
        return _Memory(process, now, marks, since), Watched(process, cpu, age, still)


def _cpu_ms(process: LiveProcess) -> int:
    return process.utime_ms + process.stime_ms


class ThreadMarks:
    """What changes whenever a thread of a process runs, however short; empty where that is not told.

    task/TID/schedstat counts nanoseconds on a processor and the turns it had there
    (Documentation/scheduler/sched-stats.rst). It is there for every user's processes. A thread is only
    made by one that runs, so the list of threads is good as long as the marks of all are the same.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[list[str], bytes]] = {}

    def __call__(self, pids: Sequence[int]) -> dict[int, bytes]:
        """The marks of each of the processes; empty for one that has ended."""
        known = {pid: self._known[pid] for pid in pids if pid in self._known}
        with open_directory("/proc") as directory:
            files = read_files(directory, [path for paths, _ in known.values() for path in paths])
        stand = {pid: before for pid, (paths, before) in known.items() if _joined(paths, files) == before}
        return {pid: stand.get(pid) or self._anew(pid) for pid in pids}

    def _anew(self, pid: int) -> bytes:
        """Those of one that has run: of the threads that it has now."""
        try:
            paths = [f"{pid}/task/{tid}/schedstat" for tid in os.listdir(f"/proc/{pid}/task")]
        except OSError:
            return b""
        marks = _joined(paths, {path: read_if_possible(f"/proc/{path}") for path in paths})
        self._known[pid] = paths, marks
        return marks

    def forget_all_but(self, pids: Container[int]) -> None:
        """Forget those that have ended."""
        for pid in [pid for pid in self._known if pid not in pids]:
            del self._known[pid]


def _joined(paths: Sequence[str], files: Mapping[str, bytes]) -> bytes:
    """The contents of all of these; empty if one is missing."""
    marks = [files.get(path, b"") for path in paths]
    return b"".join(marks) if all(marks) else b""


def seconds_since_boot() -> float:
    """The clock that a process's `start_ticks` is told by: it counts the time asleep too (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
