"""Waits for a futex: glibc's locks by the functions on the stack and by their layout in memory.

The layouts are those of glibc 2.25 and newer on 64-bit machines: struct __pthread_mutex_s
(sysdeps/nptl/bits/struct_mutex.h), struct __pthread_cond_s and __pthread_rwlock_arch_t
(sysdeps/nptl/bits/thread-shared-types.h, struct_rwlock.h), the futex operations of <linux/futex.h>.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snaptui.engine.inspect.waits.facts import Program, Thread
from snaptui.engine.inspect.waits.finding import Finding, Target
from snaptui.engine.inspect.waits.interpreter import python_finding

_OPERATION: Final = 0x7F  # without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME
_PRIVATE: Final = 0x80
_LOCK_PI: Final = (6, 13)  # FUTEX_LOCK_PI, FUTEX_LOCK_PI2
_TID_MASK: Final = 0x3FFF_FFFF  # FUTEX_TID_MASK
_OWNER: Final = 8  # offset of __owner in a mutex, behind __lock and __count
_KIND: Final = 16  # offset of __kind
_KINDS: Final = {0: "", 1: "recursive ", 2: "error-checking ", 3: "adaptive "}
_SIGNALS: Final = (40, 44)
"""Offsets of __g_signals in a condition variable: a waiter waits on that of its group."""
_WRITER: Final = 24  # offset of __cur_writer in a read-write lock
_RWLOCK_FUTEXES: Final = (8, 12)  # offsets of __wrphase_futex and __writers_futex
_READER_SHIFT: Final = 3  # PTHREAD_RWLOCK_READER_SHIFT

_MUTEX: Final = (
    *("pthread_mutex_lock", "pthread_mutex_lock_full", "pthread_mutex_timedlock", "pthread_mutex_clocklock"),
    *("lll_lock_wait", "lll_lock_wait_private", "pthread_mutex_clocklock_common"),
)
_CONDITION: Final = (
    *("pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait", "pthread_cond_wait_common"),
)
_SEMAPHORE: Final = (
    *("sem_wait", "sem_timedwait", "sem_clockwait", "new_sem_wait", "new_sem_wait_slow64"),
    *("new_sem_wait_slow", "sem_wait_slow64"),
)
_RWLOCK: Final = (
    *("pthread_rwlock_rdlock", "pthread_rwlock_wrlock", "pthread_rwlock_rdlock_full64"),
    *("pthread_rwlock_wrlock_full64", "pthread_rwlock_timedrdlock", "pthread_rwlock_timedwrlock"),
    *("pthread_rwlock_clockrdlock", "pthread_rwlock_clockwrlock"),
)
_JOIN: Final = ("pthread_join", "pthread_clockjoin_ex", "pthread_timedjoin_np", "pthread_clockjoin_np")


def futex_finding(thread: Thread, programs: Mapping[int, Program]) -> Finding:
    """What a thread in futex(2) waits for."""
    assert thread.call is not None
    address, operation, value, timeout = thread.call.arguments[:4]
    timed = timeout != 0 and operation & _OPERATION not in (1, 3, 4, 5)
    if operation & _OPERATION in _LOCK_PI:
        return _mutex(thread, address, programs, timed, "the operation FUTEX_LOCK_PI")
    if found := python_finding(thread, address, timed):
        return found
    kinds: tuple[tuple[tuple[str, ...], Callable[[str], Finding]], ...] = (
        (_JOIN, lambda name: _join(thread, value, name)),
        (_RWLOCK, lambda name: _rwlock(thread, address, timed, name)),
        (_CONDITION, lambda name: _condition(thread, address, timed, name)),
        (_SEMAPHORE, lambda name: _semaphore(thread, address, timed, name)),
        (_MUTEX, lambda name: _mutex(thread, address, programs, timed, f"{name}() on its stack")),
    )
    for functions, finding in kinds:
        if name := thread.is_in(*functions):
            return finding(name)
    return _unnamed(thread, address, value, timed, programs)


def _unnamed(
    thread: Thread, address: int, value: int, timed: bool, programs: Mapping[int, Program]
) -> Finding:
    """A futex that no function on the stack explains: what memory itself says."""
    program = thread.process
    if value in program.threads and program.number(address) == value:
        return _join(thread, value, "")
    word, owner = program.number(address), program.number(address + _OWNER)
    kind = program.number(address + _KIND)
    if value == word == 2 and owner in program.threads and kind is not None and kind & 0x7F in _KINDS:
        return _mutex(thread, address, programs, timed, "memory that looks like a mutex")
    what = f"the futex {program.describe(address)}"
    place = f" in {thread.place}" if thread.place else ""
    return Finding(
        "futex",
        f"waits for {what}{place}",
        f"futex(2) with value {value:#x}; what lock it belongs to is not known",
        timed=timed,
        anyone=True,
    )


def _mutex(
    thread: Thread, address: int, programs: Mapping[int, Program], timed: bool, evidence: str
) -> Finding:
    program = thread.process
    kind = program.number(address + _KIND) or 0
    word = program.number(address) or 0
    owner = program.number(address + _OWNER) or 0
    operation = thread.call.arguments[1] & _OPERATION if thread.call is not None else 0
    if kind & 0x10 or operation in _LOCK_PI:  # robust, or with priority inheritance: the word is the owner
        owner = word & _TID_MASK or owner & _TID_MASK
    shared = _is_shared(thread)
    name = f"{_KINDS.get(kind & 3, '')}mutex {program.describe(address)}"
    holder = _owner(program, owner, programs if shared else {program.pid: program})
    said = f"{evidence}; its owner field says {owner}"
    if owner == thread.tid:
        target = (Target(thread.pid, thread.tid, name),)
        return Finding("mutex", f"waits for the {name}, which it holds itself", said, target, timed)
    if holder is not None:
        target = (Target(holder.pid, holder.tid, name),)
        return Finding("mutex", f"waits for the {name}, held by {who(holder, thread)}", said, target, timed)
    if owner:
        return Finding(
            "mutex",
            f"waits for the {name}, held by thread {owner}, which is not in the snapshot",
            said,
            (),
            timed,
        )
    return Finding("mutex", f"waits for the {name}; its holder is not known", said, (), timed, anyone=True)


def _owner(program: Program, tid: int, programs: Mapping[int, Program]) -> Thread | None:
    if tid in program.threads:
        return program.threads[tid]
    return next((other.threads[tid] for other in programs.values() if tid in other.threads), None)


def who(thread: Thread, asker: Thread) -> str:
    """A thread as another one speaks of it: `thread 12 (worker)`, with its process where that is another."""
    if thread.pid == asker.pid:
        return f"thread {thread.tid}" + (f" ({thread.saved.name})" if thread.saved.name else "")
    if len(thread.process.threads) == 1:
        return f"process {thread.pid} ({thread.process.name})"
    return f"thread {thread.tid} of process {thread.pid} ({thread.process.name})"


def _condition(thread: Thread, address: int, timed: bool, name: str) -> Finding:
    program = thread.process
    arguments = {
        local.name: _pointer(local.value)
        for frame in thread.frames
        for local in frame.locals
        if local.name in ("cond", "__cond")
    }
    base = next((value for value in arguments.values() if value and address - value in _SIGNALS), None)
    what = f"condition variable {program.describe(base if base is not None else address)}"
    place = f" in {thread.place}" if thread.place else ""
    return Finding(
        "condition",
        f"waits for the {what} to be signalled{place}",
        f"{name}() on its stack",
        timed=timed,
        outside=_is_shared(thread),
        anyone=not _is_shared(thread),
    )


def _semaphore(thread: Thread, address: int, timed: bool, name: str) -> Finding:
    what = f"semaphore {thread.process.describe(address)}"
    place = f" in {thread.place}" if thread.place else ""
    shared = _is_shared(thread)
    said = ", shared with other processes" if shared else ""
    evidence = f"{name}() on its stack"
    return Finding(
        "semaphore",
        f"waits for the {what}{said}{place}",
        evidence,
        timed=timed,
        outside=shared,
        anyone=not shared,
    )


def _is_shared(thread: Thread) -> bool:
    """Whether the futex is for threads of several processes: then others than these may wake it."""
    return thread.call is not None and not thread.call.arguments[1] & _PRIVATE


def _rwlock(thread: Thread, address: int, timed: bool, name: str) -> Finding:
    program = thread.process
    base, owner, readers = address, 0, 0
    for offset in _RWLOCK_FUTEXES:
        writer = program.number(address - offset + _WRITER)
        count = program.number(address - offset)
        if (
            writer is not None
            and count is not None
            and (writer in program.threads or (not writer and count < 1 << 20))
        ):
            base, owner, readers = address - offset, writer, count >> _READER_SHIFT
            if writer or readers:
                break
    lock = f"read-write lock {program.describe(base)}"
    verb = "to write" if "wr" in name else "to read"
    evidence = f"{name}() on its stack; its writer field says {owner}"
    if owner in program.threads:
        holder = program.threads[owner]
        said = (
            "which it holds itself" if owner == thread.tid else f"held for writing by {who(holder, thread)}"
        )
        target = (Target(holder.pid, holder.tid, lock),)
        return Finding("rwlock", f"waits for the {lock} {verb}, {said}", evidence, target, timed)
    readers -= verb == "to read"  # a waiting reader has counted itself
    held = (
        f", held by {readers} {'reader' if readers == 1 else 'readers'}: which ones is not recorded"
        if readers > 0
        else ""
    )
    return Finding("rwlock", f"waits for the {lock} {verb}{held}", evidence, (), timed, anyone=True)


def _join(thread: Thread, tid: int, name: str) -> Finding:
    evidence = f"{name}() on its stack" if name else "the futex holds that thread's id"
    holder = thread.process.threads.get(tid)
    if holder is None:
        return Finding("join", f"waits for thread {tid} to end, which is not in the snapshot", evidence)
    target = (Target(thread.pid, tid, "its end"),)
    return Finding("join", f"waits for {who(holder, thread)} to end", evidence, target)


def _pointer(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
