"""Which threads have moved, by their registers, system calls, CPU time and context switches.

A thread that has not been woken and has used no CPU time has not moved: it cannot. The counters are
those of the kernel, read just before the stop; being saved moves them too, by an amount that is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.diff.model import Movement, ThreadChange
from snaptui.engine.inspect.diff.moments import start_ticks, stat_words
from snaptui.engine.inspect.opened import Opened
from snaptui.engine.inspect.threads import SavedThread
from snaptui.engine.snapfile import Process

_USER, _SYSTEM = 11, 12
"""Where CPU times are in a stat file, counted in words behind the name (proc_pid_stat(5))."""
_TICK: Final = 0.01  # seconds: USER_HZ, include/asm-generic/param.h
_WOKEN: Final = re.compile(rb"^voluntary_ctxt_switches:\s*([0-9]+)$", re.MULTILINE)

_WAKEUPS_OF_A_STOP: Final = 2
"""Voluntary context switches that being saved costs a thread that sleeps: into the stop, and to sleep again.
Measured on Linux 6, for each call of futex, read, poll, epoll_wait, nanosleep and pause: 2 each time."""

_NUMBERS: Final = ("orig_rax", "orig_eax", "orig_r0")
"""Registers that hold the number of the system call."""
_RESTARTED: Final = {"orig_rax": 219, "orig_eax": 0, "orig_r0": 0}
"""Of restart_syscall(2): what the kernel goes on with, after a stop, where it waited with a timeout."""
_RESTART: Final = "restart_syscall"

_PLAN9_TIMES: Final = (slice(68, 80), slice(80, 92))
"""User and system time in ms in Plan 9's status (proc(3))."""

_SHOWN: Final = 4  # registers that are named in a sentence


@dataclass(frozen=True, slots=True)
class _Seen:
    """A thread in one of the snapshots. What is not recorded is None."""

    thread: SavedThread
    opened: Opened
    started: int | None
    cpu: float | None
    woken: int | None

    @property
    def place(self) -> str:
        """The system call that it was in, or the function; empty if neither is known."""
        if self.thread.where:
            return self.thread.where
        at = self.thread.registers.get(self.thread.pc)
        return "" if at is None else self.opened.describe(at) or f"{at:#x}"


class ThreadComparison:
    """Compares the threads of a process; `stops` is how often it was saved from the first on."""

    def __init__(self, before: Opened, after: Opened, stops: int) -> None:
        self._pid = after.process.pid
        self._own_wakeups = stops * _WAKEUPS_OF_A_STOP
        self._before, self._after = _seen(before), _seen(after)

    def changes(self) -> Iterator[ThreadChange]:
        """What became of each thread: those that went, then the others, the main one first."""
        for tid, seen in self._before.items():
            if tid not in self._after or not _same(seen, self._after[tid]):
                place = seen.place
                said = f"has ended; it was in {place}" if place else "has ended"
                yield ThreadChange(self._pid, tid, seen.thread.name, "went", said, before=place)
        for tid, seen in self._after.items():
            if tid in self._before and _same(self._before[tid], seen):
                yield self._compared(self._before[tid], seen)
            else:
                place = seen.place
                said = f"has been started; it is in {place}" if place else "has been started"
                yield ThreadChange(self._pid, tid, seen.thread.name, "came", said, after=place)

    def _compared(self, before: _Seen, after: _Seen) -> ThreadChange:
        restarted = _is_restarted(after.thread)
        cpu = None if before.cpu is None or after.cpu is None else round(after.cpu - before.cpu, 3)
        wakeups = None
        if before.woken is not None and after.woken is not None:
            wakeups = max(0, after.woken - before.woken - self._own_wakeups)
        registers = _different(before.thread, after.thread, restarted=restarted)
        places = before.place, before.place if restarted and after.thread.where == _RESTART else after.place
        both = bool(before.thread.data and after.thread.data)
        movement = _movement(places, differ=bool(registers), has_run=_has_run(cpu, wakeups), both=both)
        names = tuple(name for name in registers if name)
        said = _sentence(movement, places, names, _effort(cpu, wakeups), both=both)
        return ThreadChange(
            *(self._pid, after.thread.tid, after.thread.name, movement, said),
            *(*places, cpu, wakeups, names),
        )


def _seen(opened: Opened) -> dict[int, _Seen]:
    found = {}
    for thread in opened.threads:
        words = stat_words(opened.process, f"task/{thread.tid}/stat")
        if opened.process.linux is None:
            found[thread.tid] = _Seen(thread, opened, None, _plan9_cpu(opened.process), None)
        else:
            times = words[_USER : _SYSTEM + 1]
            cpu = sum(int(time) for time in times) * _TICK if len(times) == 2 else None
            woken = _woken(opened.process, thread.tid)
            found[thread.tid] = _Seen(thread, opened, start_ticks(words), cpu, woken)
    return found


def _woken(process: Process, tid: int) -> int | None:
    try:
        assert process.linux is not None
        found = _WOKEN.search(process.linux.read(f"task/{tid}/status"))
    except NotCaptured:
        return None
    return int(found[1]) if found else None


def _plan9_cpu(process: Process) -> float | None:
    fields = [process.read("status")[at].strip() for at in _PLAN9_TIMES if "status" in process.records]
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None
    return sum(int(field) for field in fields) / 1000


def _same(before: _Seen, after: _Seen) -> bool:
    """Whether it is the same thread: ids are given again."""
    return None in (before.started, after.started) or before.started == after.started


def _is_restarted(thread: SavedThread) -> bool:
    """Whether the kernel has restarted the thread's system call, as it does after a stop."""
    return any(thread.registers.get(name) == number for name, number in _RESTARTED.items()) and (
        thread.where in (_RESTART, "")
    )


def _different(before: SavedThread, after: SavedThread, *, restarted: bool) -> list[str]:
    """The registers that differ; one nameless one where their layout is not known."""
    if not before.registers or not after.registers:
        both = bool(before.data and after.data)
        return [""] if both and before.data != after.data else []
    return [
        name
        for name, value in after.registers.items()
        if before.registers.get(name) != value and not (restarted and name in _NUMBERS)
    ]


def _has_run(cpu: float | None, wakeups: int | None) -> bool | None:
    """Whether the counters say that it ran, beyond being saved; None if they do not tell.

    CPU times are cut to whole ticks: the few microseconds of being saved can show as one. So one
    tick of a thread that was not woken is no proof that it ran, and two are.
    """
    if wakeups is not None:
        return wakeups > 0 or (cpu or 0.0) > 1.5 * _TICK
    return None if cpu is None else cpu > 0


def _movement(places: tuple[str, str], *, differ: bool, has_run: bool | None, both: bool) -> Movement:
    """What a thread did; `both`: its registers were saved both times, and `differ` or not."""
    if differ or (all(places) and places[0] != places[1]):
        return "moved"
    if has_run:
        return "returned" if both else "ran"
    return "unknown" if has_run is None else "still"


def _effort(cpu: float | None, wakeups: int | None) -> str:
    """Like `0.31 s of CPU time, woken 5 times`; empty if there was none."""
    words = []
    if cpu:
        words.append(f"{cpu:.2f} s of CPU time")
    if wakeups:
        words.append(f"woken {wakeups} time{'' if wakeups == 1 else 's'}")
    return ", ".join(words)


def _sentence(
    movement: Movement, places: tuple[str, str], registers: tuple[str, ...], effort: str, *, both: bool
) -> str:
    """What a thread did; `both`: its registers were saved both times."""
    here = f" in {places[1]}" if places[1] else ""
    more = f" ({effort})" if effort else ""
    if movement == "moved" and places[0] != places[1]:
        return f"moved from {places[0] or 'somewhere'} to {places[1] or 'somewhere'}{more}"
    if movement == "moved":
        named = ", ".join(registers[:_SHOWN]) + (", ..." if len(registers) > _SHOWN else "")
        return f"moved: is{here} again, with other registers{f': {named}' if named else ''}{more}"
    if movement == "returned":
        return f"came back to the same place{here}: {effort}"
    if movement == "ran":
        return f"ran: {effort}; its registers were not saved"
    if movement == "still":
        return f"has not moved: is{here}" if here else "has not moved"
    return f"{_state_of(here, both=both)}; whether it ran in between is not recorded"


def _state_of(here: str, *, both: bool) -> str:
    if not both:
        return f"is{here}, its registers were not saved" if here else "its registers were not saved"
    return f"is{here} with the same registers" if here else "has the same registers"
