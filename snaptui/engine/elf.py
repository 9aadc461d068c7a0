"""The little of ELF that taking and looking need: is it ELF, for which machine, and its build-id (elf(5))."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

MAGIC: Final = b"\x7fELF"

_CLASS_32: Final = 1
_PT_NOTE: Final = 4
_NT_GNU_BUILD_ID: Final = 3
_NOTES_MAX: Final = 1 << 16
"""Bytes of a note segment that are looked at; real ones have some hundred."""

_ARCH: Final = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}  # EM_386 and so on

Pread = Callable[[int, int], bytes]
"""`pread(offset, size)`: bytes of the file, fewer at its end."""


def architecture(pread: Pread) -> str:
    """The machine that an ELF file is for, as `uname -m` has it; empty if it is no ELF file."""
    header = pread(0, 20)
    if header[:4] != MAGIC or len(header) < 20:
        return ""
    machine = struct.unpack_from("<H", header, 18)[0]
    return _ARCH.get(machine, f"machine {machine}")


def build_id(pread: Pread) -> str:
    """The build-id of an ELF file, in hex; empty if it has none (or is garbled)."""
    try:
        for offset, size in _note_segments(pread):
            found = _find_build_id(pread(offset, min(size, _NOTES_MAX)))
            if found:
                return found
    except struct.error:
        pass  # cut short: what is not there is no build-id
    return ""


def _note_segments(pread: Pread) -> list[tuple[int, int]]:
    """(file offset, size) of each PT_NOTE program header."""
    header = pread(0, 64)
    if header[4] == _CLASS_32:
        table, size, count = *struct.unpack_from("<I", header, 28), *struct.unpack_from("<HH", header, 42)
        headers = (struct.unpack_from("<8I", pread(table + k * size, 32)) for k in range(count))
        return [(h[1], h[4]) for h in headers if h[0] == _PT_NOTE]
    table, size, count = *struct.unpack_from("<Q", header, 32), *struct.unpack_from("<HH", header, 54)
    wide = (struct.unpack_from("<IIQQQQQQ", pread(table + k * size, 56)) for k in range(count))
    return [(h[2], h[5]) for h in wide if h[0] == _PT_NOTE]


def _find_build_id(notes: bytes) -> str:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        start = at + 12 + _aligned(name_size)
        if kind == _NT_GNU_BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0":
            return notes[start : start + size].hex()
        at = start + _aligned(size)
    return ""


def _aligned(size: int) -> int:
    return -(-size // 4) * 4
