"""Waits inside Python: for the GIL, for a lock of `threading`, for a thread to end.

A lock of Python does not record who holds it; a re-entrant one does (rlockobject in
Modules/_threadmodule.c). What is known of holders comes from the variables of Python's frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from snaptui.engine.inspect.stacks import Frame
from snaptui.engine.inspect.waits.facts import Program, Thread
from snaptui.engine.inspect.waits.finding import Finding, Target

_LOCK: Final = re.compile(r"<(?:unlocked |locked )?_thread\.(lock|RLock).* at (0x[0-9a-f]+)>")
_HANDLE: Final = 16
"""Offset of the lock in a lock object, behind PyObject_HEAD (CPython 3.7 to 3.13)."""
_RLOCK_OWNER: Final = 24  # offset of rlock_owner, an ident: on Linux the pthread_t
_TID: Final = 0x2D0  # offset of tid in glibc's struct pthread on x86-64 (nptl/descr.h)
_ACQUIRE: Final = (
    "PyThread_acquire_lock_timed",
    "PyThread_acquire_lock",
    "acquire_timed",
    "PyMutex_LockTimed",
)
_JOIN: Final = ("ThreadHandle_join", "thread_PyThread_join", "PyThreadHandleObject_join")
_JOINERS: Final = ("_wait_for_tstate_lock", "join", "_shutdown")


def python_finding(thread: Thread, address: int, timed: bool) -> Finding | None:
    """What a thread of Python in futex(2) waits for; None if it is nothing of Python's."""
    if name := thread.is_in("take_gil"):
        return _gil(thread, name)
    python = [frame for frame in thread.frames if frame.language == "python"]
    if not python or not thread.is_in(*_ACQUIRE, *_JOIN, "PyParkingLot_Park"):
        return None
    where = f"{python[0].function}() at {python[0].place}"
    if thread.is_in(*_JOIN) or python[0].function in _JOINERS:
        return Finding(
            "join",
            f"waits in {where} for a Python thread to end",
            _evidence(python[0]),
            timed=timed,
            anyone=True,
        )
    wanted = [found for found in _locks(python) if thread.process.number(found[1] + _HANDLE, 8) == address]
    if not wanted:
        return Finding(
            "lock",
            f"waits in {where} for a lock of Python",
            f"{thread.is_in(*_ACQUIRE)}() on its stack; which lock it is is not among the variables",
            timed=timed,
            anyone=True,
        )
    name, lock, kind = wanted[0][2], wanted[0][1], wanted[0][0]
    what = f"{'threading.RLock' if kind == 'RLock' else 'threading.Lock'} {name} ({lock:#x})"
    if kind == "RLock" and (owner := _rlock_owner(thread.process, lock)) is not None:
        target = (Target(thread.pid, owner.tid, what),)
        return Finding(
            "lock",
            f"waits in {where} for the {what}, held by thread {owner.tid} ({owner.saved.name})",
            "the lock records its owner",
            target,
            timed,
        )
    return _lock(thread, where, what, lock, timed)


def _gil(thread: Thread, name: str) -> Finding:
    others = (other for other in thread.process.threads.values() if other is not thread)
    runs = next((other for other in others if other.call is None and not other.is_in("take_gil")), None)
    targets = () if runs is None else (Target(thread.pid, runs.tid, "Python's GIL", certain=False),)
    holder = "" if runs is None else f"; thread {runs.tid} runs and may hold it"
    return Finding(
        "gil", f"waits for Python's GIL{holder}", f"{name}() on its stack", targets, anyone=not targets
    )


def _lock(thread: Thread, where: str, what: str, lock: int, timed: bool) -> Finding:
    """A lock without an owner: who has it among its variables, and does not wait for it itself."""
    for other in thread.process.threads.values():
        if other is thread:
            continue
        for frame in other.frames:
            held = next((name for _, address, name in _locks([frame]) if address == lock), None)
            if held is None or _waits_for(other, lock):
                continue
            said = f"{frame.function}() of thread {other.tid} has it as {held}"
            target = (Target(thread.pid, other.tid, f"{what} ({said})", certain=False),)
            return Finding(
                "lock",
                f"waits in {where} for the {what}; Python does not record who holds it, but {said}",
                "the variables of Python's frames, and the lock's memory",
                target,
                timed,
            )
    return Finding(
        "lock",
        f"waits in {where} for the {what}; Python does not record who holds it",
        "the variables of Python's frames, and the lock's memory",
        (),
        timed,
        anyone=True,
    )


def _waits_for(thread: Thread, lock: int) -> bool:
    """Whether a thread waits for that lock object."""
    if thread.call is None or thread.call.name != "futex":
        return False
    return thread.process.number(lock + _HANDLE, 8) == thread.call.arguments[0]


def _locks(frames: list[Frame]) -> Iterator[tuple[str, int, str]]:
    """Locks among the variables of frames: kind, address of the object, name of the variable."""
    for frame in frames:
        for local in frame.locals:
            if found := _LOCK.match(local.value):
                yield found[1], int(found[2], 16), local.name


def _rlock_owner(program: Program, lock: int) -> Thread | None:
    ident = program.number(lock + _RLOCK_OWNER, 8)
    tid = program.number(ident + _TID) if ident else None
    return program.threads.get(tid) if tid is not None else None


def _evidence(frame: Frame) -> str:
    return f"Python's frame {frame.function}()"
