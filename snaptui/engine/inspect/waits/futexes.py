"""Waits for a futex: what lock it is of, by the functions on the stack, by the call, and by memory.

The operations are those of <linux/futex.h>. The locks of glibc are in pthreads.py, those of the
libraries of C++ and Rust in runtimes.py, those of Python in interpreter.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from snaptui.engine.inspect.waits import pthreads
from snaptui.engine.inspect.waits.callees import called
from snaptui.engine.inspect.waits.facts import Program, Thread, plain_name
from snaptui.engine.inspect.waits.finding import Finding
from snaptui.engine.inspect.waits.interpreter import python_finding
from snaptui.engine.inspect.waits.runtimes import runtime_finding

_OPERATION: Final = 0x7F  # without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME
_WAIT: Final = 0  # FUTEX_WAIT
_NOT_TIMED: Final = (1, 3, 4, 5)
"""Operations whose fourth argument is no time: FUTEX_WAKE, _REQUEUE, _CMP_REQUEUE, _WAKE_OP."""
_LOCK_PI: Final = (6, 13)  # FUTEX_LOCK_PI, FUTEX_LOCK_PI2
_CONTENDED: Final = 2  # what glibc's lll_lock waits with (lowlevellock.h)

_MUTEX: Final = (
    *("pthread_mutex_lock", "pthread_mutex_lock_full", "pthread_mutex_timedlock", "pthread_mutex_clocklock"),
    *(
        "pthread_mutex_clocklock_common",
        "pthread_mutex_cond_lock",
        "pthread_mutex_cond_lock_full",
        "mtx_lock",
    ),
    "mtx_timedlock",
)
_LOW_LEVEL: Final = ("lll_lock_wait", "lll_lock_wait_private")
_CONDITION: Final = (
    *("pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait", "pthread_cond_wait_common"),
    *("cnd_wait", "cnd_timedwait"),
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
_JOIN: Final = (
    *("pthread_join", "pthread_clockjoin_ex", "pthread_timedjoin_np", "pthread_clockjoin_np", "thrd_join"),
)
_BARRIER: Final = ("pthread_barrier_wait",)
_ONCE: Final = ("pthread_once", "pthread_once_slow", "call_once")
_PUBLIC: Final = (_RWLOCK, _CONDITION, _SEMAPHORE, _BARRIER, _MUTEX, _JOIN, _ONCE)


def futex_finding(thread: Thread, programs: Mapping[int, Program]) -> Finding:
    """What a thread in futex(2) waits for."""
    assert thread.call is not None
    address, operation, value, timeout = thread.call.arguments[:4]
    timed = timeout != 0 and operation & _OPERATION not in _NOT_TIMED
    found = (
        python_finding(thread, address, timed)
        or _of_libc(thread, programs, timed)
        or runtime_finding(thread, address, timed)
        or _unnamed(thread, address, value, timed, programs)
    )
    return replace(found, sentence=f"{found.sentence} (with a time limit)") if found.timed else found


def _of_libc(thread: Thread, programs: Mapping[int, Program], timed: bool) -> Finding | None:
    """A lock of glibc, recognised by a function of it on the stack, or by the one that was called."""
    assert thread.call is not None
    address, operation, value = thread.call.arguments[:3]
    if operation & _OPERATION in _LOCK_PI:
        return pthreads.mutex(thread, address, programs, timed, "the operation FUTEX_LOCK_PI")
    evidence = "{}() on its stack"
    functions, name = _innermost(thread)
    if functions in ((), _ONCE, _LOW_LEVEL) and pthreads.is_end(thread, address, value):
        return pthreads.join(thread, value, "the futex, which holds that thread's id")
    if functions in ((), _ONCE, _LOW_LEVEL):
        call = plain_name(called(thread))
        of_call = next((some for some in _PUBLIC if call in some), ())
        if of_call:
            functions, name, evidence = of_call, call, "its call of {}()"
    said = evidence.format(name)
    if not functions:
        return None
    if not pthreads.is_known(thread.process):
        return pthreads.of_other_libc(thread, address, timed, name)
    if functions is _CONDITION and operation & _OPERATION == _WAIT and value == _CONTENDED:
        functions = _MUTEX  # signalled, it waits for its mutex
    if functions is _MUTEX:
        return pthreads.mutex(thread, address, programs, timed, said)
    if functions is _RWLOCK:
        return pthreads.rwlock(thread, address, programs, timed, name, said)
    if functions is _CONDITION:
        return pthreads.condition(thread, address, timed, said)
    if functions is _SEMAPHORE:
        return pthreads.semaphore(thread, address, timed, said)
    if functions is _BARRIER:
        return pthreads.barrier(thread, address, said)
    if functions is _JOIN:
        return pthreads.join(thread, value, said)
    if functions is _ONCE:
        return pthreads.once(thread, address, said)
    return pthreads.low_level(thread, address, said)


def _innermost(thread: Thread) -> tuple[tuple[str, ...], str]:
    """The functions that say what lock it is, and the one of them on the stack.

    It is the innermost one: a handler of a signal, or of pthread_once(), may wait for a lock of its own.
    """
    for frame in thread.frames:
        name = plain_name(frame.function)
        functions = next((some for some in _PUBLIC if name in some), None)
        if functions is not None:
            return functions, name
    return (_LOW_LEVEL, name) if (name := thread.is_in(*_LOW_LEVEL)) else ((), "")


def _unnamed(
    thread: Thread, address: int, value: int, timed: bool, programs: Mapping[int, Program]
) -> Finding:
    """A futex that no function explains: what memory itself says."""
    program = thread.process
    if value == _CONTENDED and pthreads.is_mutex(program, address):
        return pthreads.mutex(thread, address, programs, timed, "memory that looks like a mutex")
    place = f" in {thread.place}" if thread.place else ""
    return Finding(
        "futex",
        f"waits for the futex {program.describe(address)}{place}",
        f"futex(2) with value {value:#x}; what lock it belongs to is not known",
        timed=timed,
        anyone=True,
    )
