"""Which functions an address is in, inlined ones among them: the DIEs of .debug_info (DWARF 4 and 5).

drgn looks for functions at the top of a unit. Those of Rust stand inside of namespaces, lambdas of C++ and
nested functions of C inside of others: it finds none of these, nor what was inlined into them. Here a unit is
read once from end to end, without what is neither function nor scope: 150,000 DIEs take 0.2 s.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from snaptui.engine.elf import Pread
from snaptui.engine.inspect.stacks.forms import (
    IMPLICIT,
    LEB,
    STRING,
    Abbreviation,
    abbreviations,
    behind,
    files4,
    sections,
    strings,
    uleb,
)

# Tags, attributes and forms: DWARF 5, section 7.5.
_SUBPROGRAM, _INLINED, _NAMESPACE = 0x2E, 0x1D, 0x39
_SCOPES: Final = frozenset((0x02, 0x04, 0x13, 0x17, 0x1E, 0x38, _NAMESPACE))
_KEPT: Final = _SCOPES | {_SUBPROGRAM, _INLINED}
_NAME, _LOW, _HIGH, _RANGES, _ORIGIN, _SPECIFICATION = 0x03, 0x11, 0x12, 0x55, 0x31, 0x47
_CALL_FILE, _CALL_LINE, _STATEMENTS, _DIRECTORY = 0x58, 0x59, 0x10, 0x1B
_STR_BASE, _ADDR_BASE, _RANGES_BASE = 0x72, 0x73, 0x74
_ADDR, _STRP, _LINE_STRP, _RNGLISTX, _REF_ADDR = 0x01, 0x0E, 0x1F, 0x23, 0x10
_STRX: Final = (0x1A, 0x25, 0x26, 0x27, 0x28)
_ADDRX: Final = (0x1B, 0x29, 0x2A, 0x2B, 0x2C)
_REFS: Final = (0x11, 0x12, 0x13, 0x14, 0x15)
_COMPILE_UNIT, _PARTIAL_UNIT = 1, 3
_DEPTH: Final = 64  # references that are followed, scopes in scopes


class Scope(NamedTuple):
    """A function that an address is in."""

    name: str
    """With its namespaces and classes; empty if it has none."""
    is_inlined: bool
    caller: tuple[str, int]
    """The file and line that it was inlined into."""


@dataclass(frozen=True, slots=True)
class _Die:
    abbreviation: Abbreviation
    offset: int
    at: int
    """Where its attributes are."""
    parent: int
    depth: int


class DebugInfo:
    """The DWARF of one file. Raises ValueError, IndexError, KeyError and struct.error at garbage."""

    def __init__(self, pread: Pread) -> None:
        self._sections = dict(sections(pread))
        self.info = self.section(".debug_info")
        self._units: dict[int, Unit] = {}
        self._starts = list(self._headers())

    def section(self, name: str) -> bytes:
        """The content of a section; empty if it is not there."""
        read = self._sections.get(name)
        return read if read is not None else b""

    def scopes(self, address: int) -> tuple[Scope, ...]:
        """The functions that an address of the file is in, innermost first; none where that is not known."""
        for start, end in self._starts:
            unit = self._unit(start, end)
            if unit is not None and unit.covers(address):
                return unit.scopes(address)
        return ()

    def unit_of(self, offset: int) -> Unit | None:
        """The unit that an offset into .debug_info is in."""
        return next((self._unit(a, b) for a, b in self._starts if a <= offset < b), None)

    def _headers(self) -> Iterator[tuple[int, int]]:
        at = 0
        while at + 12 <= len(self.info):
            (length,) = struct.unpack_from("<I", self.info, at)
            if length >= 0xFFFF_FFF0:
                return  # the 64-bit format, of more than 4 GB
            yield at, at + 4 + length
            at += 4 + length

    def _unit(self, start: int, end: int) -> Unit | None:
        if start not in self._units:
            self._units[start] = Unit(self, start, end)
        found = self._units[start]
        return found if found.is_known else None


class Unit:
    """A unit of .debug_info: what one compilation made."""

    def __init__(self, whole: DebugInfo, start: int, end: int) -> None:
        self._whole, self._start, self._end = whole, start, end
        self._data = whole.info
        self._version = struct.unpack_from("<H", self._data, start + 4)[0]
        kind, at, size = _COMPILE_UNIT, start + 11, 0
        if self._version == 5:
            kind, size, table = struct.unpack_from("<BBI", self._data, start + 6)
            at = start + 12
        else:
            table, size = struct.unpack_from("<IB", self._data, start + 6)
        self.is_known = self._version in (4, 5) and size == 8 and kind in (_COMPILE_UNIT, _PARTIAL_UNIT)
        if not self.is_known:
            return
        self._first = at
        self._table = abbreviations(whole.section(".debug_abbrev"), table)
        self._dies: dict[int, _Die] = {}
        code, at = uleb(self._data, at)
        self._root = self._attributes(self._table[code], at) if code else {}
        self._base = self._address(self._root.get(_LOW, (0, 0)))
        self._own = tuple(self._spans(self._root))

    def covers(self, address: int) -> bool:
        """Whether code of this unit is there."""
        return any(low <= address < high for low, high in self._own)

    def scopes(self, address: int) -> tuple[Scope, ...]:
        """The functions that an address is in, innermost first."""
        if not self._dies:
            self._walk()
        chain: list[_Die] = []
        for die in self._dies.values():
            if die.abbreviation.tag not in (_SUBPROGRAM, _INLINED):
                continue
            if die.abbreviation.tag == _INLINED and (not chain or die.depth <= chain[0].depth):
                continue
            attributes = self._attributes(die.abbreviation, die.at)
            if any(low <= address < high for low, high in self._spans(attributes)):
                # A function inside of another one is no part of it.
                chain = [die] if die.abbreviation.tag == _SUBPROGRAM else [*chain, die]
        return tuple(self._scope(die) for die in reversed(chain))

    def name(self, offset: int, depth: int = 0) -> str:
        """The name of a function with those of the scopes that it is in."""
        if not self._dies:
            self._walk()
        die = self._dies.get(offset)
        if die is None or depth > _DEPTH:
            return ""
        attributes = self._attributes(die.abbreviation, die.at)
        for reference in (_ORIGIN, _SPECIFICATION):
            if reference in attributes:
                return self._referred(attributes[reference], depth)
        name = self._text(attributes.get(_NAME, (0, 0)))
        if die.abbreviation.tag == _NAMESPACE and not name:
            name = "(anonymous namespace)"
        parent = self._dies.get(die.parent)
        if parent is None or parent.abbreviation.tag not in _SCOPES or not name:
            return name
        outer = self.name(die.parent, depth + 1)
        return f"{outer}::{name}" if outer else name

    def _scope(self, die: _Die) -> Scope:
        attributes = self._attributes(die.abbreviation, die.at)
        file = self._file(attributes[_CALL_FILE][1]) if _CALL_FILE in attributes else ""
        line = attributes.get(_CALL_LINE, (0, 0))[1]
        return Scope(self.name(die.offset), die.abbreviation.tag == _INLINED, (file, line))

    def _referred(self, value: tuple[int, int], depth: int) -> str:
        form, offset = value
        if form in _REFS:
            return self.name(self._start + offset, depth + 1)
        unit = self._whole.unit_of(offset) if form == _REF_ADDR else None
        return unit.name(offset, depth + 1) if unit is not None else ""

    def _walk(self) -> None:
        data, table, dies = self._data, self._table, self._dies
        at, end = self._first, self._end
        stack: list[int] = []
        while at < end:
            start = at
            code = data[at]
            at += 1
            if code >= 0x80:
                code, at = uleb(data, start)
            if code == 0:
                if len(stack) <= 1:
                    return
                stack.pop()
                continue
            abbreviation = table[code]
            if abbreviation.tag in _KEPT:
                dies[start] = _Die(abbreviation, start, at, stack[-1] if stack else 0, len(stack))
            if abbreviation.size >= 0:
                at += abbreviation.size
            else:
                for _, form, _ in abbreviation.attributes:
                    at = behind(data, at, form)
            if abbreviation.has_children:
                stack.append(start)

    def _attributes(self, abbreviation: Abbreviation, at: int) -> dict[int, tuple[int, int]]:
        """Form and value of each attribute that is a number, a reference or a text."""
        data, found = self._data, {}
        for name, form, value in abbreviation.attributes:
            after = behind(data, at, form)
            if form == IMPLICIT:
                found[name] = form, value
            elif form in LEB:
                found[name] = form, uleb(data, at)[0]
            elif form == STRING:
                found[name] = form, at
            else:
                found[name] = form, int.from_bytes(data[at:after], "little") if after - at <= 8 else 0
            at = after
        return found

    def _address(self, value: tuple[int, int]) -> int:
        form, number = value
        if form not in _ADDRX:
            return number
        at = self._root[_ADDR_BASE][1] + 8 * number
        return int(struct.unpack_from("<Q", self._whole.section(".debug_addr"), at)[0])

    def _text(self, value: tuple[int, int]) -> str:
        form, at = value
        section = self._data if form == STRING else b""
        if form in _STRX:
            offsets = self._root[_STR_BASE][1] + 4 * at
            (at,) = struct.unpack_from("<I", self._whole.section(".debug_str_offsets"), offsets)
        if form == _STRP or form in _STRX:
            section = self._whole.section(".debug_str")
        elif form == _LINE_STRP:
            section = self._whole.section(".debug_line_str")
        return section[at : section.find(b"\0", at)].decode("utf-8", "replace") if section else ""

    def _spans(self, attributes: dict[int, tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Start and end of the ranges of addresses of a DIE."""
        if _RANGES in attributes:
            form, at = attributes[_RANGES]
            if self._version == 4:
                yield from self._ranges4(at)
            else:
                if form == _RNGLISTX:
                    base = self._root[_RANGES_BASE][1]
                    lists = self._whole.section(".debug_rnglists")
                    at = base + struct.unpack_from("<I", lists, base + 4 * at)[0]
                yield from self._ranges5(at)
        elif _LOW in attributes and _HIGH in attributes:
            low = self._address(attributes[_LOW])
            high = attributes[_HIGH]
            yield low, high[1] if high[0] == _ADDR else low + high[1]

    def _ranges4(self, at: int) -> Iterator[tuple[int, int]]:
        section, base = self._whole.section(".debug_ranges"), self._base
        while True:
            low, high = struct.unpack_from("<QQ", section, at)
            at += 16
            if not low and not high:
                return
            if low == (1 << 64) - 1:
                base = high
            else:
                yield base + low, base + high

    def _ranges5(self, at: int) -> Iterator[tuple[int, int]]:
        section, base = self._whole.section(".debug_rnglists"), self._base
        while kind := section[at]:  # DW_RLE_end_of_list is 0
            at += 1
            if kind in (1, 2, 3, 4):  # base_addressx, startx_endx, startx_length, offset_pair
                first, at = uleb(section, at)
                first = first if kind == 4 else self._address((_ADDRX[0], first))
                if kind == 1:
                    base = first
                    continue
                last, at = uleb(section, at)
                if kind == 4:
                    yield base + first, base + last
                else:
                    yield first, self._address((_ADDRX[0], last)) if kind == 2 else first + last
                continue
            (first,) = struct.unpack_from("<Q", section, at)  # base_address, start_end, start_length
            at += 8
            if kind == 5:
                base = first
            elif kind == 6:
                yield first, struct.unpack_from("<Q", section, at)[0]
                at += 8
            else:
                length, at = uleb(section, at)
                yield first, first + length

    def _file(self, number: int) -> str:
        """The path of a file by its number in the unit's table of lines (DWARF 5, section 6.2.4)."""
        lines, at = self._whole.section(".debug_line"), self._root[_STATEMENTS][1]
        version = struct.unpack_from("<H", lines, at + 4)[0]
        directory = self._text(self._root.get(_DIRECTORY, (0, 0)))
        if version == 5:
            at += 4 + 2 + 2 + 4
            at += 5 + lines[at + 5]  # the lengths of the standard opcodes, which are one fewer
            directories, at = self._entries5(lines, at)
            files, _ = self._entries5(lines, at)
            name, index = files[number]
            below = directories[index][0]
        else:
            at += 4 + 2 + 4
            at += 5 + lines[at + 5]  # the lengths of the standard opcodes, which are one fewer
            names, at = strings(lines, at)
            files, _ = files4(lines, at)
            name, index = files[number - 1]
            below = names[index - 1] if index else ""
        path = name if name.startswith("/") or not below else f"{below}/{name}"
        return path if path.startswith("/") or not directory else f"{directory}/{path}"

    def _entries5(self, lines: bytes, at: int) -> tuple[list[tuple[str, int]], int]:
        count, at = lines[at], at + 1
        forms = []
        for _ in range(count):
            content, at = uleb(lines, at)
            form, at = uleb(lines, at)
            forms.append((content, form))
        length, at = uleb(lines, at)
        found = []
        for _ in range(length):
            name, index = "", 0
            for content, form in forms:
                after = behind(lines, at, form)
                if content == 1:  # DW_LNCT_path
                    value = at if form == STRING else int.from_bytes(lines[at:after], "little")
                    name = lines[at : after - 1].decode("utf-8", "replace") if form == STRING else ""
                    name = name or self._text((form, value))
                elif content == 2:  # DW_LNCT_directory_index
                    index = uleb(lines, at)[0] if form in LEB else int.from_bytes(lines[at:after], "little")
                at = after
            found.append((name, index))
        return found, at
