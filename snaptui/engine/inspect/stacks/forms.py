"""How DWARF is written: numbers, forms, abbreviations, lists of files (DWARF 5, sections 6.2.4 and 7.5)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from snaptui.engine.elf import Pread

_SECTION_MAX: Final = 64 << 20
"""Bytes of a section that is read: what has more is a browser, and its stacks have no inlined functions."""
_SHF_COMPRESSED, _ELFCOMPRESS_ZLIB = 0x800, 1  # elf.h
_CHDR64: Final = 24  # bytes of Elf64_Chdr
_FIXED: Final = {
    0x0B: 1,
    0x05: 2,
    0x06: 4,
    0x07: 8,
    0x1E: 16,
    0x0C: 1,
    0x11: 1,
    0x12: 2,
    0x13: 4,
    0x14: 8,
    0x20: 8,
    0x0E: 4,
    0x1F: 4,
    0x17: 4,
    0x19: 0,
    0x21: 0,
    0x25: 1,
    0x26: 2,
    0x27: 3,
    0x28: 4,
    0x29: 1,
    0x2A: 2,
    0x2B: 3,
    0x2C: 4,
    0x10: 4,
    0x1C: 4,
    0x1D: 4,
    0x24: 8,
    0x1F20: 4,
    0x1F21: 4,
    0x01: 8,
}
"""Forms of a fixed size, in bytes, in the 32-bit format on a 64-bit machine."""
LEB: Final = (0x0D, 0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23)
_BLOCKS: Final = {0x0A: 1, 0x03: 2, 0x04: 4}
_BLOCK, _EXPRLOC, _INDIRECT = 0x09, 0x18, 0x16
STRING, IMPLICIT = 0x08, 0x21
"""DW_FORM_string, whose text stands there itself, and DW_FORM_implicit_const."""


class Abbreviation(NamedTuple):
    """What a DIE of a kind is made of."""

    tag: int
    has_children: bool
    attributes: tuple[tuple[int, int, int], ...]
    """Name, form, and the value where the form is DW_FORM_implicit_const."""
    size: int
    """Bytes of the attributes; -1 if that varies."""


def files4(lines: bytes, at: int) -> tuple[list[tuple[str, int]], int]:
    """The names of files with the numbers of their directories, up to DWARF 4, and where they end."""
    found = []
    while lines[at]:
        end = lines.index(b"\0", at)
        name = lines[at:end].decode("utf-8", "replace")
        index, at = uleb(lines, end + 1)
        _, at = uleb(lines, at)
        _, at = uleb(lines, at)
        found.append((name, index))
    return found, at + 1


def strings(data: bytes, at: int) -> tuple[list[str], int]:
    """Texts up to an empty one, and where they end."""
    found = []
    while data[at]:
        end = data.index(b"\0", at)
        found.append(data[at:end].decode("utf-8", "replace"))
        at = end + 1
    return found, at + 1


def abbreviations(data: bytes, at: int) -> dict[int, Abbreviation]:
    """The table of .debug_abbrev that begins there, by code."""
    found: dict[int, Abbreviation] = {}
    while True:
        code, at = uleb(data, at)
        if not code:
            return found
        tag, at = uleb(data, at)
        has_children, at = data[at] == 1, at + 1
        attributes, size = [], 0
        while True:
            name, at = uleb(data, at)
            form, at = uleb(data, at)
            value = 0
            if form == IMPLICIT:
                value, at = uleb(data, at)  # of the attributes read here none is negative
            if not name and not form:
                break
            attributes.append((name, form, value))
            size = size + _FIXED[form] if size >= 0 and form in _FIXED else -1
        found[code] = Abbreviation(tag, has_children, tuple(attributes), size)


def behind(data: bytes, at: int, form: int) -> int:
    """Where an attribute's value ends."""
    if form in _FIXED:
        return at + _FIXED[form]
    if form in LEB:
        return uleb(data, at)[1]
    if form == STRING:
        return data.index(b"\0", at) + 1
    if form in (_EXPRLOC, _BLOCK):
        length, at = uleb(data, at)
        return at + length
    if form in _BLOCKS:
        width = _BLOCKS[form]
        return at + width + int.from_bytes(data[at : at + width], "little")
    if form == _INDIRECT:
        form, at = uleb(data, at)
        return behind(data, at, form)
    raise ValueError(f"an unknown form, {form:#x}")


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """A number in LEB128, and where it ends."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def sections(pread: Pread) -> Iterator[tuple[str, bytes]]:
    """The sections of debug information in an ELF file of 64 bits."""
    header = pread(0, 64)
    if header[:6] != b"\x7fELF\x02\x01":
        return
    (table,) = struct.unpack_from("<Q", header, 40)
    size, count, names = struct.unpack_from("<3H", header, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", pread(table + at * size, 64)) for at in range(count)]
    text = pread(headers[names][4], headers[names][5])
    for name, _, flags, _, offset, length, *_ in headers:
        word = text[name : text.find(b"\0", name)].decode("latin-1")
        if not word.startswith(".debug_") or word.endswith((".dwo", "_loc", "_loclists", "_frame")):
            continue
        if length > _SECTION_MAX:
            return
        content = pread(offset, length)
        if flags & _SHF_COMPRESSED:
            kind, _, whole = struct.unpack_from("<IIQ", content)
            if kind != _ELFCOMPRESS_ZLIB or whole > _SECTION_MAX:
                return
            content = zlib.decompress(content[_CHDR64:])
        yield word, content
