"""Waits inside the libraries of C++ and Rust, which make locks of futexes of their own, by their functions.

None of these records who holds it. The names are those of libstdc++ 12 and Rust 1.62 to 1.9x.
"""

from __future__ import annotations

import re
from typing import Final

from snaptui.engine.inspect.waits.facts import Thread
from snaptui.engine.inspect.waits.finding import Finding, Target
from snaptui.engine.inspect.waits.holders import concluded_holder

_NOT_KNOWN: Final = "; it does not record who holds it"
_WRITER: Final = 4
"""Offset in a RwLock of Rust of what those wait on who write; in other locks it is the first word."""
_SIZE: Final = 8
"""Bytes of the words that a lock of Rust waits on; the next one may begin right behind."""
_WAITS: Final = tuple(
    (re.compile(pattern), kind, words)
    for pattern, kind, words in (
        (r"\bMutex\b.*::lock", "lock", "the Mutex {}"),
        (r"\bRwLock\b.*::read", "lock", "the RwLock {} to read"),
        (r"\bRwLock\b.*::write", "lock", "the RwLock {} to write"),
        (r"\bCondvar\b.*::wait", "condition", "the Condvar {} to be notified"),
        (r"\bBarrier\b.*::wait", "barrier", "the others at a Barrier"),
        (r"::(Parker|Thread|thread::functions)\b.*::park|std::thread::park", "park", "to be unparked"),
        (r"::mp[ms]c::.*::recv", "condition", "a message from a channel"),
        (r"::mp[ms]c::.*::send", "condition", "room in a channel, or its receiver"),
        (
            r"::(Once|OnceLock|LazyLock)\b.*::(call|initialize|wait|force)",
            "once",
            "the initialization {} to end",
        ),
        (r"::thread::scoped::scope", "join", "the threads of a scope to end"),
        (r"__future_base|std::(shared_)?future\b", "condition", "the result of a std::future"),
        (r"__atomic_semaphore|counting_semaphore", "semaphore", "the std::counting_semaphore {}"),
        (r"std::latch\b|::latch::", "barrier", "the others at the std::latch {}"),
        (r"std::barrier\b|__tree_barrier", "barrier", "the others at a std::barrier"),
        (r"std::call_once|__cxxabiv1.*guard|__cxa_guard_acquire", "once", "the initialization {} to end"),
        (
            r"__atomic_wait_address|__atomic_base.*::wait|std::atomic\b",
            "atomic",
            "the std::atomic {} to change",
        ),
    )
)
_INSIDE: Final = re.compile(
    r"^<?(std|core|alloc|__gnu_cxx|__cxxabiv1)::|^_?_?(M_|S_|cxa_|atomic_|gthread|platform|invoke)|^syscall$"
)
"""Functions of the libraries: what they were called for is named by the outermost of them."""


def runtime_finding(thread: Thread, address: int, timed: bool) -> Finding | None:
    """What a thread waits for in the library of C++ or Rust; None if no function on its stack tells."""
    found = None
    for frame in thread.frames:
        if frame.function and not frame.inlined and not _INSIDE.search(frame.function):
            break
        for pattern, kind, words in _WAITS:
            if pattern.search(frame.function):
                # A lock is wanted for itself, and what runs an initialization does not wait for its end.
                if found is None or (found[0] not in ("lock", "once") and kind != "once"):
                    found = kind, words, frame.function
                break
    if found is None:
        return None
    kind, words, function = found
    place = f" in {thread.place}" if thread.place else ""
    base = address - _WRITER if "RwLock" in words and "write" in words else address
    what = words.format(thread.process.describe(base))
    verb = "waits" if words.startswith("to ") else "waits for"
    said, targets = "", tuple[Target, ...]()
    if kind == "lock":
        concluded, targets = concluded_holder(thread, range(base, base + _SIZE), what)
        said = _NOT_KNOWN + concluded
    sentence = f"{verb} {what}{place}{said}"
    evidence = f"{function}() on its stack"
    return Finding(kind, sentence, evidence, targets, timed=timed, anyone=not targets)
