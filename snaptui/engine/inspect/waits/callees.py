"""The function that a frame has called, by the call instruction in its code.

A function that ends by jumping into another one is on no stack, and without debug information those of
libc that are not exported have no names: what the program called is then all that tells a semaphore
from a barrier. x86-64 only: of other machines nothing is said.
"""

from __future__ import annotations

import struct
from typing import Final

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.waits.facts import Program, Thread, is_of_libc

_CALL, _CALL_POINTER = b"\xe8", b"\xff\x15"
"""call rel32; call *disp32(%rip) (Intel's manual, volume 2, CALL)."""
_ENDBR64, _BND, _JUMP_POINTER = bytes.fromhex("f30f1efa"), b"\xf2", b"\xff\x25"
"""What an entry of the procedure linkage table begins with, in this order; the first two may be missing."""
_ADDRESS: Final = (1 << 64) - 1


def called(thread: Thread) -> str:
    """The name of the function that the innermost frame outside of libc has called; empty if unknown."""
    for number, frame in enumerate(thread.frames):
        if frame.language == "native" and not frame.inlined and number and not is_of_libc(frame):
            return callee(thread.process, frame.pc)
    return ""


def callee(program: Program, back: int) -> str:
    """The name of the function that was called so that it returns to `back`; empty if unknown."""
    code = _read(program, back - 6, 6)
    if code[:2] == _CALL_POINTER:
        target = program.number(_relative(back, code[2:6]), 8) or 0
    elif code[1:2] == _CALL:
        target = _relative(back, code[2:6])
        stub = _read(program, target, 16)
        jump = stub.removeprefix(_ENDBR64).removeprefix(_BND)
        if jump[:2] == _JUMP_POINTER:
            after = target + len(stub) - len(jump) + 6
            target = program.number(_relative(after, jump[2:6]), 8) or 0
    else:
        return ""
    name = program.symbols.near(target)
    return "" if "+" in name else name


def _relative(after: int, displacement: bytes) -> int:
    return after + int(struct.unpack("<i", displacement)[0]) & _ADDRESS


def _read(program: Program, address: int, length: int) -> bytes:
    try:
        return program.process.read_memory(address, length)
    except SnapError:
        return bytes(length)
