"""Looking at all processes again and again: what each uses of the processor, and which stand still."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from snaptui.engine.take.processes import LiveProcess, Wait, list_processes
from snaptui.engine.take.procstat import USER_HZ, read_if_possible

Key = tuple[int, int]
"""A pid and when it started: pids are used again."""

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


@dataclass(slots=True)
class _Memory:
    """What is remembered of a process from one look to the next."""

    cpu_ms: int
    seen: float
    marks: bytes
    since: float


class Watcher:
    """Lists processes and compares them with the list before. For one thread at a time."""

    def __init__(
        self,
        lister: Callable[[], Sequence[LiveProcess]] = list_processes,
        clock: Callable[[], float] = time.monotonic,
        marks: Callable[[LiveProcess], bytes] | None = None,
    ) -> None:
        """`clock` gives seconds since boot; `marks` what changes whenever a thread of a process runs."""
        self._lister = lister
        self._clock = clock
        self._marks = marks or thread_marks
        self._memory: dict[Key, _Memory] = {}

    def look(self) -> list[Watched]:
        """All processes as they are now, by pid."""
        memory: dict[Key, _Memory] = {}
        found = []
        for process in self._lister():
            now = self._clock()
            key = (process.pid, process.start_ticks)
            before = self._memory.get(key)
            marks = b"" if process.kernel_thread or process.is_zombie else self._marks(process)
            used = process.utime_ms + process.stime_ms
            stands = before is not None and marks != b"" and marks == before.marks and used == before.cpu_ms
            since = before.since if before is not None and stands else now
            elapsed = now - before.seen if before is not None else 0.0
            cpu = (used - before.cpu_ms) / elapsed / 10 if before is not None and elapsed > 0 else 0.0
            memory[key] = _Memory(used, now, marks, since)
            age = max(0.0, now - process.start_ticks / USER_HZ)
            found.append(Watched(process, cpu, age, now - since))
        self._memory = memory
        return found


def seconds_since_boot() -> float:
    """The clock that a process's `start_ticks` is told by: it counts the time asleep too (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def thread_marks(process: LiveProcess) -> bytes:
    """What changes whenever a thread of the process runs, however short; empty where that is not told.

    task/TID/schedstat counts nanoseconds on a processor and the turns it had there
    (Documentation/scheduler/sched-stats.rst). It is there for every user's processes.
    """
    try:
        tids = os.listdir(f"/proc/{process.pid}/task")
    except OSError:
        return b""
    marks = [read_if_possible(f"/proc/{process.pid}/task/{tid}/schedstat") for tid in tids]
    return b"".join(marks) if all(marks) else b""
