"""Processes that stand still: none of their threads moves from where it waits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from snaptui.engine.take.processes import LiveProcess, list_processes, read_wait
from snaptui.engine.take.procstat import (
    Stat,
    open_directory,
    parse_stat,
    read_whole,
    state_name,
    status_field,
)


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
                wchan, syscall = read_wait(directory)
        except (OSError, ValueError):
            return ()
        waits.append(Wait(tid, stat.comm, stat.state, syscall, wchan))
    return tuple(waits)
