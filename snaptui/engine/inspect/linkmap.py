"""What the dynamic linker of a saved process calls the files that it loaded, read from the process's memory.

Debuggers look for libraries by the names in the linker's list (struct link_map, <link.h>), like
/lib/x86_64-linux-gnu/libz.so.1, where /proc/PID/maps has /usr/lib/x86_64-linux-gnu/libz.so.1.2.13.
The way there: auxiliary vector, program headers of the executable, its dynamic section, DT_DEBUG,
struct r_debug. All of it is the process's to write to: garbage ends the list, and is no error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NotCaptured, SnapError
from snaptui.engine.inspect.notes import MACHINES
from snaptui.engine.snapfile import Process

_AT_PHDR: Final = 3  # elf.h, also below
_AT_PHENT: Final = 4
_AT_PHNUM: Final = 5
_AT_BASE: Final = 7
_PT_DYNAMIC: Final = 2
_PT_INTERP: Final = 3
_PT_PHDR: Final = 6
_DT_DEBUG: Final = 21

_PATH_MAX: Final = 4096  # linux/limits.h
_OBJECTS_MAX: Final = 20_000
"""More than anyone loads; garbage may look like a list that hardly ends."""
_NAMESPACES_MAX: Final = 64  # dlmopen(3) has 16
_DYNAMIC_MAX: Final = 1 << 16
"""Bytes of a dynamic section; real ones have about 500."""


@dataclass(frozen=True, slots=True)
class LoadedObject:
    """A file that the dynamic linker loaded: the linker's name for it, and an address in its mapping."""

    name: str
    address: int

    def __repr__(self) -> str:
        return f"LoadedObject({self.name!r}, {self.address:#x})"


@dataclass(frozen=True, slots=True)
class _Header:
    """A program header in memory."""

    kind: int
    address: int
    size: int


def loaded_objects(process: Process) -> tuple[LoadedObject, ...]:
    """The linker itself by the name in the executable (PT_INTERP), and what it loaded, in its order.

    The executable, which has no name in that list, is left out. Empty for a static executable.
    """
    linux = process.linux
    machine = MACHINES.get(str(linux.info.get("arch", ""))) if linux is not None else None
    if machine is None:
        return ()
    return tuple(_Walk(process, machine.width).objects())


class _Walk:
    def __init__(self, process: Process, width: int) -> None:
        self._process = process
        self._width = width
        self._word = "Q" if width == 8 else "I"

    def objects(self) -> Iterator[LoadedObject]:
        try:
            auxiliary = self._auxiliary_vector()
            headers = self._program_headers(auxiliary)
        except (SnapError, struct.error):
            return
        base = auxiliary.get(_AT_BASE, 0)
        for header in headers:
            if header.kind == _PT_INTERP and base and (name := self._string(header.address)):
                yield LoadedObject(name, base)
        for header in headers:
            if header.kind == _PT_DYNAMIC:
                yield from self._namespaces(self._debug(header))

    def _auxiliary_vector(self) -> dict[int, int]:
        linux = self._process.linux
        content = linux.read("auxv") if linux is not None else b""
        size = 2 * self._width
        return dict(struct.iter_unpack(f"<2{self._word}", content[: len(content) // size * size]))

    def _program_headers(self, auxiliary: dict[int, int]) -> list[_Header]:
        """Those of the executable, at the addresses where it is loaded. Raises SnapError, struct.error."""
        table, size = auxiliary.get(_AT_PHDR, 0), auxiliary.get(_AT_PHENT, 0)
        form = "<2I6Q" if self._width == 8 else "<8I"
        count = min(auxiliary.get(_AT_PHNUM, 0), 0xFFFF)
        if not table or size != struct.calcsize(form):
            raise NotCaptured("the auxiliary vector does not tell where the program headers are")
        rows = list(struct.iter_unpack(form, self._process.read_memory(table, size * count)))
        # p_type, p_vaddr and p_memsz; p_flags stands elsewhere in the 32-bit form.
        vaddr, memsz = (3, 6) if self._width == 8 else (2, 5)
        bias = next((table - row[vaddr] for row in rows if row[0] == _PT_PHDR), 0)
        return [_Header(row[0], row[vaddr] + bias, row[memsz]) for row in rows]

    def _debug(self, dynamic: _Header) -> int:
        """The address of struct r_debug, 0: not known."""
        size = min(dynamic.size, _DYNAMIC_MAX) // (2 * self._width) * 2
        words = self._words(dynamic.address, size)
        return next((words[k + 1] for k in range(0, len(words) - 1, 2) if words[k] == _DT_DEBUG), 0)

    def _namespaces(self, debug: int) -> Iterator[LoadedObject]:
        """The objects of every namespace: since r_version 2 the last word of r_debug is the next one's."""
        for _ in range(_NAMESPACES_MAX):
            # r_version (an int), r_map, r_brk, r_state (an int), r_ldbase, r_next
            words = self._words(debug, 5)
            if not debug or not words:
                return
            yield from self._link_map(words[1])
            following = self._words(debug + 5 * self._width, 1) if words[0] & 0xFFFFFFFF >= 2 else ()
            debug = following[0] if following else 0

    def _link_map(self, at: int) -> Iterator[LoadedObject]:
        seen: set[int] = set()
        while at and at not in seen and len(seen) < _OBJECTS_MAX:
            seen.add(at)
            words = self._words(at, 4)  # l_addr, l_name, l_ld, l_next
            if not words:
                return
            if name := self._string(words[1]):
                yield LoadedObject(name, words[2])
            at = words[3]

    def _words(self, address: int, count: int) -> tuple[int, ...]:
        try:
            content = self._process.read_memory(address, count * self._width)
            return struct.unpack(f"<{count}{self._word}", content)
        except (SnapError, struct.error):
            return ()

    def _string(self, address: int) -> str:
        """The text at an address up to its NUL; empty if there is none, or no end to it."""
        text = b""
        while len(text) < _PATH_MAX:
            # Up to the end of a page: the next one need not be there.
            size = 1024 - (address + len(text)) % 1024
            try:
                piece = self._process.read_memory(address + len(text), size)
            except SnapError:
                return ""
            head, end, _ = piece.partition(b"\0")
            text += head
            if end:
                return text.decode("utf-8", "surrogateescape")
        return ""
