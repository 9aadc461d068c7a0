"""Locks of glibc: who holds them, from their layout in memory.

The layouts are those of glibc 2.25 and newer on 64-bit machines: struct __pthread_mutex_s
(sysdeps/nptl/bits/struct_mutex.h), struct __pthread_cond_s and __pthread_rwlock_arch_t
(sysdeps/nptl/bits/thread-shared-types.h, struct_rwlock.h), struct pthread_barrier (internaltypes.h),
_IO_lock_t (stdio-lock.h).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from snaptui.engine.inspect.waits.callees import called, callee
from snaptui.engine.inspect.waits.facts import Program, Thread, plain_name
from snaptui.engine.inspect.waits.finding import Finding, Target
from snaptui.engine.inspect.waits.holders import concluded_holder

_OPERATION: Final = 0x7F  # of futex(2), without its flags
_PRIVATE: Final = 0x80  # FUTEX_PRIVATE_FLAG
_LOCK_PI: Final = (6, 13)  # FUTEX_LOCK_PI, FUTEX_LOCK_PI2
_TID_MASK: Final = 0x3FFF_FFFF  # FUTEX_TID_MASK
_OWNER: Final = 8  # offset of __owner in a mutex, behind __lock and __count; of `owner` in _IO_lock_t
_KIND: Final = 16  # offset of __kind
_KINDS: Final = {0: "", 1: "recursive ", 2: "error-checking ", 3: "adaptive "}
_SIGNALS: Final = ((40, 44), (32, 36))
"""Offsets of __g_signals in a condition variable, up to glibc 2.40 and since: what a waiter waits on."""
_WRITER, _SHARED, _FLAGS = 24, 28, 48  # offsets of __cur_writer, __shared and __flags in a read-write lock
_RWLOCK_FUTEXES: Final = (8, 12, 0)
"""Offsets of what is waited on: __wrphase_futex, __writers_futex, and __readers where writers go first."""
_RWLOCK_SIZE: Final = 56
_READER_SHIFT: Final = 3  # PTHREAD_RWLOCK_READER_SHIFT
_READERS_MAX: Final = 1 << 20
_ROUND, _COUNT = 4, 8  # offsets of current_round and count in a barrier, behind `in`
_LIBC: Final = re.compile(r"/libc(-2\.\d+)?\.so")
_ONCE: Final = ("pthread_once", "pthread_once_slow")
_PTHREAD_MAX: Final = 4096
"""Bytes of a struct pthread, which begins where FS points to: 2304 in glibc 2.36."""


def is_known(program: Program) -> bool:
    """Whether these are the layouts of the process's C library: it is glibc."""
    return any(_LIBC.search(file.path) for file in program.linux.text_files) or (
        program.symbols.address_of("gnu_get_libc_version") is not None
        or program.symbols.address_of("__libc_start_main_impl") is not None
    )


def of_other_libc(thread: Thread, address: int, timed: bool, name: str) -> Finding:
    """A lock of a C library whose layouts are not known here: musl's, say."""
    what = thread.process.describe(address)
    return Finding(
        "futex",
        f"waits in {name}() for {what}; who holds it is not known",
        f"{name}() on its stack; its C library is not glibc",
        timed=timed,
        anyone=True,
    )


def is_mutex(program: Program, address: int) -> bool:
    """Whether memory looks like a mutex that a thread of the process holds, and another one waits for."""
    kind = program.number(address + _KIND)
    owner = program.by_inner(program.number(address + _OWNER) or 0)
    return program.number(address) == 2 and owner is not None and kind is not None and kind & 0x7F in _KINDS


def mutex(
    thread: Thread, address: int, programs: Mapping[int, Program], timed: bool, evidence: str
) -> Finding:
    """A mutex, with its owner."""
    program = thread.process
    kind = program.number(address + _KIND) or 0
    word = program.number(address) or 0
    owner = program.number(address + _OWNER) or 0
    operation = thread.call.arguments[1] & _OPERATION if thread.call is not None else 0
    if kind & 0x10 or operation in _LOCK_PI:  # robust, or with priority inheritance: the word is the owner
        owner = word & _TID_MASK or owner & _TID_MASK
    name = f"{_KINDS.get(kind & 3, '')}mutex {program.describe(address)}"
    said = f"{evidence}; its owner field says {owner}"
    if not owner:
        lost = ": its memory is not in the snapshot" if program.number(address) is None else ""
        sentence = f"waits for the {name}; its holder is not known{lost}"
        shared = is_shared(thread)
        return Finding("mutex", sentence, said, (), timed, outside=shared, anyone=not shared)
    holder = _owner(thread, owner, programs)
    if holder is None or holder.has_ended:
        how, by = _abandoned(thread, owner, holder, programs)
        return Finding(how, f"waits for the {name}, held by thread {owner}{by}", said, timed=timed)
    target = (Target(holder.pid, holder.tid, name),)
    return Finding("mutex", f"waits for the {name}, {_held_by(holder, thread)}", said, target, timed)


def _owner(thread: Thread, owner: int, programs: Mapping[int, Program]) -> Thread | None:
    """The thread that a lock calls its owner: of this process, or of another one that shares the lock."""
    found = thread.process.by_inner(owner)
    if found is None and owner and is_shared(thread):
        found = next((one for other in programs.values() if (one := other.by_inner(owner))), None)
    return found


def _held_by(holder: Thread, thread: Thread) -> str:
    return "which it holds itself" if holder is thread else f"held by {who(holder, thread)}"


def _abandoned(
    thread: Thread, owner: int, holder: Thread | None, programs: Mapping[int, Program]
) -> tuple[str, str]:
    """The kind of wait, and words, for a mutex whose owner is no thread that is known to live."""
    if holder is not None:
        return "abandoned", ", which has ended"
    if is_shared(thread):
        return "mutex", ", which is not in the snapshot"
    parent = programs.get(int(thread.process.status("PPid") or 0))
    if parent is not None and parent.by_inner(owner) is not None:
        whose = f" of process {parent.pid} ({parent.name}), from which this one was forked meanwhile"
        return "abandoned", f"{whose}: here nobody can release it"
    return "abandoned", ", which is none of this process: it ended, or was not there any more after fork()"


def who(thread: Thread, asker: Thread) -> str:
    """A thread as another one speaks of it: `thread 12 (worker)`, with its process where that is another."""
    if thread.pid == asker.pid:
        return f"thread {thread.tid}" + (f" ({thread.saved.name})" if thread.saved.name else "")
    if len(thread.process.threads) == 1:
        return f"process {thread.pid} ({thread.process.name})"
    return f"thread {thread.tid} of process {thread.pid} ({thread.process.name})"


def is_shared(thread: Thread) -> bool:
    """Whether the futex is for threads of several processes: then others than these may wake it."""
    return thread.call is not None and not thread.call.arguments[1] & _PRIVATE


def condition(thread: Thread, address: int, timed: bool, evidence: str) -> Finding:
    """A condition variable: nothing records who will signal it."""
    what = f"condition variable {thread.process.describe(_condition_at(thread, address))}"
    place = f" in {thread.place}" if thread.place else ""
    shared = is_shared(thread)
    sentence = f"waits for the {what} to be signalled{place}"
    return Finding("condition", sentence, evidence, timed=timed, outside=shared, anyone=not shared)


def _condition_at(thread: Thread, address: int) -> int:
    """Where the condition variable begins that a futex is in."""
    names = (local for frame in thread.frames for local in frame.locals if local.name in ("cond", "__cond"))
    for local in names:
        base = _pointer(local.value) or 0
        if any(address - base in offsets for offsets in _SIGNALS):
            return base
    # It is aligned to 8 bytes, and the two are not.
    bases = [address - offsets[address % 8 // 4] for offsets in _SIGNALS]
    named = (base for base in bases if "+" not in (thread.process.symbols.near(base) or "+"))
    return next(named, bases[0])


def semaphore(thread: Thread, address: int, timed: bool, evidence: str) -> Finding:
    """A semaphore: nothing records who will post it. A handler of a signal may, as sem_post(3) says."""
    what = f"semaphore {thread.process.describe(address)}"
    place = f" in {thread.place}" if thread.place else ""
    shared = is_shared(thread)
    said = ", shared with other processes" if shared else ""
    sentence = f"waits for the {what}{said}{place}"
    outside = shared or thread.process.handles_signals
    return Finding("semaphore", sentence, evidence, timed=timed, outside=outside, anyone=not shared)


def barrier(thread: Thread, address: int, evidence: str) -> Finding:
    """A barrier: how many have come is recorded, who is missing is not."""
    program = thread.process
    base = address - _ROUND
    come, count = program.number(base) or 0, program.number(base + _COUNT) or 0
    come -= program.number(address) or 0
    known = f", where {come} of {count} threads have come" if 0 < come < count < _READERS_MAX else ""
    shared = is_shared(thread)
    sentence = f"waits at the barrier {program.describe(base)}{known}"
    return Finding("barrier", sentence, evidence, outside=shared, anyone=not shared)


def once(thread: Thread, address: int, evidence: str) -> Finding:
    """An initialization that another thread runs: whichever stands inside of pthread_once()."""
    program = thread.process
    sentence = f"waits for the initialization {program.describe(address)} in pthread_once() to end"
    runs = [
        other
        for other in program.threads.values()
        if _depth(other) > (other.call is not None and other.call.arguments[:1] == (address,))
    ]
    if len(runs) != 1:
        return Finding("once", f"{sentence}; who runs it is not recorded", evidence, anyone=True)
    (runner,) = runs
    by = "it is inside of one itself" if runner is thread else f"only {who(runner, thread)} is inside of one"
    target = (Target(runner.pid, runner.tid, f"an initialization ({by})", certain=False),)
    return Finding("once", f"{sentence}; who runs it is not recorded, but {by}", evidence, target)


def _depth(thread: Thread) -> int:
    """How many times pthread_once() stands on a stack."""
    inner = 0
    for frame in thread.frames:
        names = (frame.function, callee(thread.process, frame.pc) if not frame.function else "")
        inner += any(plain_name(name) == "pthread_once_slow" for name in names)
    return inner or sum(
        plain_name(callee(thread.process, frame.pc)) in _ONCE for frame in thread.frames if frame.pc
    )


def low_level(thread: Thread, address: int, evidence: str) -> Finding:
    """A lock that libc uses inside, of a FILE, which records its holder, or of anything else."""
    program = thread.process
    within = called(thread) or next((one.function for one in thread.frames if _is_public(one.function)), "")
    place = f" in {plain_name(within)}()" if within else ""
    holder = program.by_pthread(program.number(address + _OWNER, 8) or 0)
    if holder is not None:
        name = f"lock of a stdio stream ({address:#x})"
        said = f"{evidence}, and the holder that the lock records"
        target = (Target(holder.pid, holder.tid, name),)
        return Finding("mutex", f"waits{place} for the {name}, {_held_by(holder, thread)}", said, target)
    sentence = f"waits{place} for a lock inside of libc ({address:#x}), which does not record its holder"
    return Finding("libc lock", sentence, evidence, anyone=True)


def _is_public(function: str) -> bool:
    return bool(function) and not plain_name(function).startswith(("lll_", "futex", "_"))


def rwlock(
    thread: Thread, address: int, programs: Mapping[int, Program], timed: bool, name: str, evidence: str
) -> Finding:
    """A read-write lock: a writer is recorded, readers are counted."""
    program = thread.process
    base = next((address - at for at in _RWLOCK_FUTEXES if _is_rwlock(thread, address - at)), address)
    owner, readers = program.number(base + _WRITER) or 0, (program.number(base) or 0) >> _READER_SHIFT
    lock = f"read-write lock {program.describe(base)}"
    verb = "to write" if "wr" in name else "to read"
    said = f"{evidence}; its writer field says {owner}"
    holder = _owner(thread, owner, programs)
    if holder is not None:
        by = "which it holds itself" if holder is thread else f"held for writing by {who(holder, thread)}"
        target = (Target(holder.pid, holder.tid, lock),)
        return Finding("rwlock", f"waits for the {lock} {verb}, {by}", said, target, timed)
    # A reader that waits for the phase of writing to end has counted itself.
    readers -= verb == "to read" and address - base == _RWLOCK_FUTEXES[0]
    held, targets = "", tuple[Target, ...]()
    if 0 < readers < _READERS_MAX:
        count = f"{readers} {'reader' if readers == 1 else 'readers'}"
        first = ", and writers that wait go first" if verb == "to read" else ""
        concluded = ""
        if readers == 1:
            concluded, targets = concluded_holder(thread, range(base, base + _RWLOCK_SIZE), lock)
        held = f", held by {count}: which ones is not recorded{concluded}{first}"
    shared = is_shared(thread)
    if owner and shared:
        held = f", held for writing by thread {owner}, which is not in the snapshot"
    sentence = f"waits for the {lock} {verb}{held}"
    return Finding("rwlock", sentence, said, targets, timed, outside=shared, anyone=not shared)


def _is_rwlock(thread: Thread, base: int) -> bool:
    """Whether a read-write lock that somebody holds may begin there."""
    program = thread.process
    readers, writer = program.number(base), program.number(base + _WRITER)
    shared = is_shared(thread)
    if program.number(base + _SHARED) != shared or (program.number(base + _FLAGS) or 0) > 2:
        return False
    if readers is None or writer is None or readers >> _READER_SHIFT >= _READERS_MAX:
        return False
    if writer:
        return shared or program.by_inner(writer) is not None
    return readers >> _READER_SHIFT > 0


def is_end(thread: Thread, address: int, value: int) -> bool:
    """Whether a futex is what the kernel clears when a thread ends, by what it holds: that thread's id."""
    program = thread.process
    other = program.by_inner(value)
    base = other.saved.registers.get("fs_base", 0) if other is not None else 0
    return program.number(address) == value and 0 < address - base < _PTHREAD_MAX if base else False


def join(thread: Thread, tid: int, evidence: str) -> Finding:
    """The end of a thread, whose id the kernel clears in memory then."""
    holder = thread.process.by_inner(tid)
    if holder is None:
        return Finding("join", f"waits for thread {tid} to end, which is not in the snapshot", evidence)
    target = (Target(thread.pid, holder.tid, "its end"),)
    return Finding("join", f"waits for {who(holder, thread)} to end", evidence, target)


def _pointer(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
