"""What /proc says of the threads of a process that are to be stopped."""

from __future__ import annotations

import os
from typing import NamedTuple

from snaptui.engine.take.procstat import parse_stat, read_if_possible, status_field, text_of

_VFORK_WAITS = frozenset({"kernel_clone", "_do_fork", "do_fork", "wait_for_vfork_done"})
"""Kernel functions in which a parent waits until its vfork(2) child calls execve or ends."""


class Tracer(NamedTuple):
    """Who traces a thread: the tracer's thread, as `TracerPid` of proc_pid_status(5) has it, and its name."""

    tid: int
    name: str


def thread_ids(pid: int) -> list[int]:
    """The threads of a process, the main thread first; none when it has gone."""
    try:
        names = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return sorted(map(int, names), key=lambda tid: (tid != pid, tid))


def living_thread(pid: int) -> int:
    """A thread that shows the process's memory in /proc: the main one, unless it has ended before others."""
    living = (tid for tid in thread_ids(pid) if not has_ended(thread_state(pid, tid)))
    return next(living, pid)


def parent_of(pid: int) -> int:
    """The process's real parent, 0 when unknown; who traces it does not matter."""
    stat = read_if_possible(f"/proc/{pid}/stat")
    return parse_stat(stat).ppid if stat else 0


def thread_state(pid: int, tid: int) -> str:
    """The state letter of proc_pid_stat(5), "" when the thread has gone."""
    stat = read_if_possible(f"/proc/{pid}/task/{tid}/stat")
    return parse_stat(stat).state if stat else ""


def has_ended(state: str) -> bool:
    """Whether a state letter is that of a thread that has ended: gone, a zombie, or about to vanish."""
    return not state or state in "ZXx"


def tracer_of(pid: int, tid: int) -> Tracer | None:
    """Who traces a thread; None when nobody does, or somebody outside of our pid namespace."""
    tracer = status_field(read_if_possible(f"/proc/{pid}/task/{tid}/status"), "TracerPid")
    if not tracer or tracer == "0":
        return None
    comm = text_of(read_if_possible(f"/proc/{tracer}/comm")).rstrip("\n")
    return Tracer(int(tracer), comm)


def sleeping_place(pid: int, tid: int) -> str:
    """The kernel function in which a thread sleeps, "" if unknown; `vfork` when it waits for such a child."""
    place = text_of(read_if_possible(f"/proc/{pid}/task/{tid}/wchan")).strip()
    if place in _VFORK_WAITS:
        return "vfork"
    return "" if place == "0" else place
