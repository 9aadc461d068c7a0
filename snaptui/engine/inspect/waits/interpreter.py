"""Waits inside Python: for the GIL, for a lock of `threading`, for what its library makes of locks.

A lock of Python does not record who holds it; a re-entrant one does (rlockobject in
Modules/_threadmodule.c). What is known of holders comes from Python's frames: who is inside of a
`with` block of the lock, else who has it among its variables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from snaptui.engine.inspect.stacks import Frame
from snaptui.engine.inspect.waits.facts import Program, Thread, is_of_python
from snaptui.engine.inspect.waits.finding import Finding, Target
from snaptui.engine.inspect.waits.pyframes import HANDLE, LOCK, RLOCK, THREAD, PythonMemory, python_memory

_OBJECT: Final = re.compile(r"<(?:unlocked |locked )?([\w.]+).* at (0x[0-9a-f]+)")
"""How pystack writes an object: `<_thread.lock at 0x7f..>`, `<Event at 0x7f..>`."""
_RLOCK_OWNER: Final = 24  # offset of rlock_owner, an ident: on Linux the pthread_t
_ACQUIRE: Final = (
    "PyThread_acquire_lock_timed",
    "PyThread_acquire_lock",
    "acquire_timed",
    "PyMutex_LockTimed",
)
_JOIN: Final = ("ThreadHandle_join", "thread_PyThread_join", "PyThreadHandleObject_join")
_GIL: Final = ("take_gil", "drop_gil")
_RESTORES: Final = ("PyEval_RestoreThread", "PyEval_AcquireThread", "PyEval_AcquireLock", "PyGILState_Ensure")
"""Callers of take_gil, which has no name in an interpreter without its symbol table."""
_JOINERS: Final = ("_wait_for_tstate_lock", "join", "_shutdown")
_WORDS: Final = {
    ("Event", "wait"): "the {} to be set",
    ("Condition", "wait"): "the {} to be notified",
    ("Condition", "wait_for"): "the {} to be notified",
    ("Semaphore", "acquire"): "the {} to be released",
    ("BoundedSemaphore", "acquire"): "the {} to be released",
    ("Barrier", "wait"): "the others at the {}",
    ("Queue", "get"): "an item in the {}",
    ("LifoQueue", "get"): "an item in the {}",
    ("PriorityQueue", "get"): "an item in the {}",
    ("Queue", "put"): "room in the {}",
    ("LifoQueue", "put"): "room in the {}",
    ("PriorityQueue", "put"): "room in the {}",
    ("Queue", "join"): "all items of the {} to be done",
    ("Future", "result"): "the result of the {}",
    ("Future", "exception"): "the result of the {}",
    ("ApplyResult", "get"): "the result of the {}",
    ("ApplyResult", "wait"): "the result of the {}",
    ("MapResult", "get"): "the result of the {}",
    ("MapResult", "wait"): "the result of the {}",
    ("_ModuleLock", "acquire"): "the import of a module to end",
    ("", "_worker"): "work, as a worker of a ThreadPoolExecutor",
}
"""What functions of the standard library wait for, by the type of their `self` and their names."""


@dataclass(frozen=True, slots=True)
class _Lock:
    """A lock that a thread waits for."""

    address: int
    kind: str
    name: str

    def __str__(self) -> str:
        kind = "threading.RLock" if self.kind == RLOCK else "threading.Lock"
        return f"{kind} {self.name} ({self.address:#x})" if self.name else f"{kind} {self.address:#x}"


def python_finding(thread: Thread, address: int, timed: bool) -> Finding | None:
    """What a thread of Python in futex(2) waits for; None if it is nothing of Python's."""
    if name := thread.is_in(*_GIL) or _restores(thread, address):
        return _gil(thread, name)
    python = [frame for frame in thread.frames if frame.language == "python"]
    if not python or not thread.is_in(*_ACQUIRE, *_JOIN, "PyParkingLot_Park"):
        return None
    memory = python_memory(thread.process)
    where = _where(_caller(python))
    if thread.is_in(*_JOIN) or python[0].function in _JOINERS:
        return _join(thread, python, memory, address, timed)
    if found := _library_wait(python):
        return Finding("condition", f"waits for {found}", _evidence(python[0]), timed=timed, anyone=True)
    wanted = _wanted(thread, python, memory, address)
    if wanted is None:
        return Finding(
            "lock",
            f"waits in {where} for a lock of Python",
            f"{thread.is_in(*_ACQUIRE)}() on its stack; which lock it is is not among the variables",
            timed=timed,
            anyone=True,
        )
    if wanted.kind == RLOCK and (owner := _rlock_owner(thread.process, wanted.address)) is not None:
        target = (Target(thread.pid, owner.tid, str(wanted)),)
        said = f"waits in {where} for the {wanted}, held by thread {owner.tid} ({owner.saved.name})"
        return Finding("lock", said, "the lock records its owner", target, timed)
    return _lock(thread, where, wanted, memory, timed)


def _restores(thread: Thread, address: int) -> str:
    """The function that waits for the GIL, whose condition variable is one of the interpreter's own."""
    if not thread.process.symbols.near(address).startswith("_PyRuntime"):
        return ""
    return thread.is_in(*_RESTORES) or thread.is_in("PyEval_EvalFrameDefault")


def _gil(thread: Thread, name: str) -> Finding:
    evidence = f"{name}() on its stack"
    others = [other for other in thread.process.threads.values() if other is not thread]
    if holder := next((other for other in others if other.stack.holds_gil), None):
        target = (Target(thread.pid, holder.tid, "Python's GIL"),)
        said = f"waits for Python's GIL, held by thread {holder.tid} ({holder.saved.name})"
        return Finding("gil", said, f"{evidence}, and the interpreter's record of the holder", target)
    runs = next((other for other in others if other.call is None and not other.is_in(*_GIL)), None)
    targets = () if runs is None else (Target(thread.pid, runs.tid, "Python's GIL", certain=False),)
    said = "" if runs is None else f"; thread {runs.tid} runs and may hold it"
    return Finding("gil", f"waits for Python's GIL{said}", evidence, targets, anyone=not targets)


def _join(
    thread: Thread, python: Sequence[Frame], memory: PythonMemory, address: int, timed: bool
) -> Finding:
    caller = _caller(python)
    ended = None
    for frame in memory.frames(thread)[:4]:
        for reference in frame.references:
            if reference.kind == THREAD:
                ended = ended or memory.of_handle(reference.address)
            elif thread.process.number(reference.address + HANDLE, 8) == address:
                ended = ended or memory.joined(reference.address)
    if ended is None:
        said = f"waits in {_where(caller)} for a Python thread to end"
        return Finding("join", said, _evidence(python[0]), timed=timed, anyone=True)
    said = f"waits in {_where(caller)} for thread {ended.tid} ({ended.saved.name}) to end"
    target = (Target(thread.pid, ended.tid, "its end"),)
    return Finding("join", said, f"{_evidence(python[0])}, and the interpreter's memory", target, timed)


def _library_wait(python: Sequence[Frame]) -> str:
    """What a function of Python's library waits for, and for whom; empty if it is none of those known."""
    found = ""
    for number, frame in enumerate(python):
        if not is_of_python(frame):
            break
        itself = next((local.value for local in frame.locals if local.name == "self"), "")
        kind = _OBJECT.match(itself)
        words = _WORDS.get((kind[1] if kind else "", frame.function))
        if words:
            named = f"{kind[1]} {kind[2]}" if kind else ""
            caller = next((one for one in python[number + 1 :] if not is_of_python(one)), None)
            found = words.format(named) + (f", in {_where(caller)}" if caller is not None else "")
    return found


def _wanted(thread: Thread, python: Sequence[Frame], memory: PythonMemory, address: int) -> _Lock | None:
    """The lock that a futex is of: among the variables of its frames, else on their value stacks."""
    for kind, lock, name in _locks(python):
        if thread.process.number(lock + HANDLE, 8) == address:
            return _Lock(lock, kind, name)
    for frame in memory.frames(thread):
        for reference in frame.references:
            lock = reference.address
            if reference.kind != THREAD and thread.process.number(lock + HANDLE, 8) == address:
                return _Lock(lock, reference.kind, memory.global_name(frame, lock))
    return None


def _lock(thread: Thread, where: str, wanted: _Lock, memory: PythonMemory, timed: bool) -> Finding:
    """A lock without an owner: who is inside of its block, else who has it among its variables."""
    threads = thread.process.threads.values()
    holders = _inside(threads, wanted.address, memory) or _using(thread, wanted.address, memory)
    for other, said, certain in holders:
        itself = ", this thread itself" if other is thread else ""
        how = f"{said}{itself}" if certain else f"Python does not record who holds it, but {said}"
        target = (Target(thread.pid, other.tid, f"{wanted} ({said})", certain=False),)
        evidence = "Python's frames, and the lock's memory"
        return Finding("lock", f"waits in {where} for the {wanted}; {how}", evidence, target, timed)
    return Finding(
        "lock",
        f"waits in {where} for the {wanted}; Python does not record who holds it",
        "the variables of Python's frames, and the lock's memory",
        timed=timed,
        anyone=True,
    )


def _inside(threads: Iterable[Thread], lock: int, memory: PythonMemory) -> list[tuple[Thread, str, bool]]:
    """The thread that is inside of a `with` block of the lock, if the lock is held at all."""
    if not memory.is_locked(lock):
        return []
    for other in threads:
        frames = memory.frames(other)
        python = [frame for frame in other.frames if frame.language == "python"]
        for number, frame in enumerate(frames):
            held = any(one.is_held and one.address == lock for one in frame.references)
            # The innermost frame may be on its way into the block.
            if held and not (number == 0 and _waits_for(other, lock)):
                known = len(frames) == len(python)
                place = _where(python[number]) if known else "a function"
                return [(other, f"thread {other.tid} is inside of its `with` block in {place}", True)]
    return []


def _using(thread: Thread, lock: int, memory: PythonMemory) -> list[tuple[Thread, str, bool]]:
    """The one other thread with a function that uses the lock, and does not wait for it itself."""
    found: dict[int, tuple[Thread, str]] = {}
    for other in thread.process.threads.values():
        frames = memory.frames(other)
        python = [frame for frame in other.frames if frame.language == "python"]
        if other is thread or _waits_for(other, lock) or len(frames) != len(python):
            continue
        for frame, named in zip(frames, python, strict=True):
            if memory.uses(frame, lock):
                found.setdefault(other.tid, (other, named.function))
    # The module that makes a lock names it as well.
    functions = [one for one in found.values() if one[1] != "<module>"] or list(found.values())
    if len(functions) != 1:
        return []
    ((other, function),) = functions
    return [(other, f"only {function}() of thread {other.tid} uses it", False)]


def _waits_for(thread: Thread, lock: int) -> bool:
    """Whether a thread waits for that lock object."""
    if thread.call is None or thread.call.name != "futex":
        return False
    return thread.process.number(lock + HANDLE, 8) == thread.call.arguments[0]


def _locks(frames: Sequence[Frame]) -> Iterator[tuple[str, int, str]]:
    """Locks among the variables of frames: kind, address of the object, name of the variable."""
    for frame in frames:
        for local in frame.locals:
            found = _OBJECT.match(local.value)
            if found and found[1] in (LOCK, RLOCK):
                yield found[1], int(found[2], 16), local.name


def _rlock_owner(program: Program, lock: int) -> Thread | None:
    return program.by_pthread(program.number(lock + _RLOCK_OWNER, 8) or 0)


def _where(frame: Frame) -> str:
    """`worker() at script.py:12`: the path without its directories, which the stack has."""
    place = f"{os.path.basename(frame.source)}:{frame.line}" if frame.source else frame.place
    return f"{frame.function}() at {place}"


def _caller(python: Sequence[Frame]) -> Frame:
    """The innermost frame that is the program's own, if one is."""
    return next((frame for frame in python if not is_of_python(frame)), python[0])


def _evidence(frame: Frame) -> str:
    return f"Python's frame {frame.function}()"
