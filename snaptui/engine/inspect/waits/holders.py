"""Who holds a lock that does not record it: whose stack has its address.

While a thread holds a lock of Rust, or one of C++ by a guard, that guard points to the lock. Others may do so
too, and a guard may be in a register or nowhere: it is a conclusion, and only drawn where one thread is left.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

from snaptui.engine.inspect.waits.facts import Program, Thread
from snaptui.engine.inspect.waits.finding import Target

_PAGE: Final = 4096
_STACK_MAX: Final = 64  # pages of a stack that are looked through
_WIDTH: Final = 8  # bytes of a pointer


def concluded_holder(thread: Thread, lock: range, name: str) -> tuple[str, tuple[Target, ...]]:
    """Words and target for the one other thread that points to a lock, and does not wait for it itself.

    `lock`: the addresses of its bytes.
    """
    program = thread.process
    wanted = lock.start.to_bytes(_WIDTH, "little")
    others = [
        program.threads[tid]
        for tid, stack in _stacks(program).items()
        if tid != thread.tid and _points_to(stack, wanted)
    ]
    others = [other for other in others if not _waits_inside(other, lock)]
    if len(others) != 1:
        return "", ()
    (other,) = others
    who = f"thread {other.tid}" + (f" ({other.saved.name})" if other.saved.name else "")
    said = f"only {who} has its address on its stack"
    return f", but {said}", (Target(other.pid, other.tid, f"{name} ({said})", certain=False),)


def _waits_inside(thread: Thread, lock: range) -> bool:
    """Whether a thread waits for a futex of that lock."""
    return thread.call is not None and thread.call.name == "futex" and thread.call.arguments[0] in lock


def _points_to(stack: bytes, pointer: bytes) -> bool:
    at = stack.find(pointer)
    while at >= 0 and at % _WIDTH:
        at = stack.find(pointer, at + 1)
    return at >= 0


@functools.lru_cache(maxsize=1)  # the threads of a process come one after the other
def _stacks(program: Program) -> Mapping[int, bytes]:
    """The stacks in use of a process's threads, from the stack pointer on."""
    return {tid: _stack(program, thread) for tid, thread in program.threads.items()}


def _stack(program: Program, thread: Thread) -> bytes:
    start = (thread.saved.stack_pointer or 0) // _WIDTH * _WIDTH
    end = start + _STACK_MAX * _PAGE
    # What FS points to lies behind the stack of a thread, but the main one's.
    end = min(end, thread.saved.registers.get("fs_base", 0)) if thread.tid != thread.pid else end
    found = bytearray()
    while start and start < end:
        piece = program.memory(start, min(end - start, _PAGE - start % _PAGE))
        if not piece:
            break
        found += piece
        start += len(piece)
    return bytes(found)
