"""Names of functions and data in a saved process: the symbol tables of its ELF files (elf(5)).

The files are in the text image; a table is read when an address in its file is asked about.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.demangle import demangle
from snaptui.engine.snapfile import Process, TextFile
from snaptui.engine.snapfile.mappings import Mapping, parse_maps

_SHT_SYMTAB: Final = 2  # elf.h, also below
_SHT_DYNSYM: Final = 11
_PT_LOAD: Final = 1
_STT_FUNC: Final = 2
_KINDS: Final = (0, 1, _STT_FUNC, 10)  # no type, object, function, indirect function
_SYMBOL64: Final = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_SYMBOL32: Final = np.dtype(
    [("name", "<u4"), ("value", "<u4"), ("size", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2")]
)
_TABLE_MAX: Final = 32 << 20
"""Bytes of a table that is read: libpython's has 1 MB, and 300 MB of a browser's would show in the memory."""
_KEPT_MAX: Final = 64 << 20
_SIZELESS: Final = 4096
"""How far behind a symbol without a size (assembler) an address may be to be named after it."""
_PAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class _Table:
    """The symbols of one file, sorted by where they are loaded."""

    addresses: npt.NDArray[np.uint64]
    sizes: npt.NDArray[np.uint64]
    names: npt.NDArray[np.uint32]
    strings: bytes

    @property
    def size(self) -> int:
        return self.addresses.nbytes + self.sizes.nbytes + self.names.nbytes + len(self.strings)

    def name(self, index: int) -> str:
        start = int(self.names[index])
        return self.strings[start : self.strings.find(b"\0", start)].decode("utf-8", "replace")

    def near(self, address: int) -> str:
        """`main+0x12`; empty if no symbol is there."""
        index = int(np.searchsorted(self.addresses, np.uint64(address), side="right")) - 1
        if index < 0:
            return ""
        offset = address - int(self.addresses[index])
        if offset >= (int(self.sizes[index]) or _SIZELESS):
            return ""
        name = demangle(self.name(index))
        return f"{name}+{offset:#x}" if offset else name

    def between(self, start: int, end: int) -> Iterator[tuple[int, str]]:
        """The symbols that begin in a range; of several at one place the largest."""
        first, last = np.searchsorted(self.addresses, np.array([start, end], np.uint64))
        for index in range(int(first), int(last)):
            if index + 1 == last or self.addresses[index + 1] != self.addresses[index]:
                yield int(self.addresses[index]), self.name(index)

    def address_of(self, name: str) -> int | None:
        wanted = name.encode("utf-8", "surrogateescape") + b"\0"
        at = -1
        while (at := self.strings.find(wanted, at + 1)) >= 0:
            # A name may be the end of a longer one: linkers let them share the bytes.
            found = np.flatnonzero(self.names == at)
            if len(found):
                return int(self.addresses[found[0]])
        return None


_EMPTY: Final = _Table(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.uint32), b"")

_GARBLED: Final = (KeyError, struct.error, SnapError, ValueError)


class Symbols:
    """The symbols of a process, by address and by name. A snapshot from Plan 9 has none."""

    def __init__(self, process: Process, addresses: AddressMap) -> None:
        self._process = process
        self._addresses = addresses
        self._tables: dict[str, _Table] = {}
        linux = process.linux
        self._files = {file.path: file for file in linux.text_files} if linux is not None else {}
        self._mappings: dict[str, Mapping] = {}
        if linux is not None:
            for mapping in parse_maps(linux.read("maps")):
                self._mappings.setdefault(mapping.path, mapping)

    def near(self, address: int) -> str:
        """The symbol that an address is in, with the offset; empty if none is known."""
        path = self._file_at(address)
        return self._table(path).near(address) if path else ""

    def in_file(self, address: int) -> int:
        """An address as its file has it, as addr2line(1) takes it; 0 if it is in none."""
        path = self._file_at(address)
        try:
            return address - _Elf(self._process, self._files[path]).bias(self._mappings[path]) if path else 0
        except _GARBLED:
            return 0

    def between(self, start: int, end: int) -> Iterator[tuple[int, str]]:
        """The symbols that begin at `start` or behind it, before `end`: address and demangled name."""
        at = start
        while at < end:
            block = self._addresses.block_at(at)
            if block is None:
                at += _PAGE - at % _PAGE
                continue
            stop = min(end, block.end)
            if path := self._file_at(at):
                for address, name in self._table(path).between(at, stop):
                    yield address, demangle(name)
            at = stop

    def address_of(self, name: str) -> int | None:
        """Where the symbol of that name is: in the executable, else in the libraries in their order."""
        for path in self._files:
            address = self._table(path).address_of(name)
            if address is not None:
                return address
        return None

    def _file_at(self, address: int) -> str:
        """The file whose symbols may be there; empty if none's are.

        Data that begins as zeros (.bss) has a mapping of its own, without a name, right behind the file's.
        """
        index = self._addresses.index_at(address)
        if index < 0:
            return ""
        blocks = self._addresses.blocks
        if index and not blocks[index].name and blocks[index - 1].end == blocks[index].start:
            index -= 1
        return blocks[index].name if blocks[index].name in self._files else ""

    def _table(self, path: str) -> _Table:
        table = self._tables.get(path)
        if table is None:
            try:
                table = self._read(self._files[path], self._mappings[path])
            except _GARBLED:
                table = _EMPTY
            if sum(kept.size for kept in self._tables.values()) + table.size > _KEPT_MAX:
                self._tables.clear()
            self._tables[path] = table
        return table

    def _read(self, file: TextFile, mapping: Mapping) -> _Table:
        elf = _Elf(self._process, file)
        bias = elf.bias(mapping)
        for symbols, strings in elf.symbol_tables():
            good = np.isin(symbols["info"] & 15, _KINDS) & (symbols["section"] != 0) & (symbols["value"] != 0)
            good &= symbols["name"] < len(strings)
            if not good.any():
                continue
            symbols = symbols[good]
            # Of several at one place the first is found, so the largest comes last.
            order = np.lexsort((symbols["size"], symbols["value"]))
            symbols = symbols[order]
            addresses = symbols["value"].astype(np.uint64) + np.uint64(bias % (1 << 64))
            sizes = symbols["size"].astype(np.uint64)
            return _Table(addresses, sizes, symbols["name"].copy(), strings)
        return _EMPTY


class _Elf:
    """An ELF file in the text image. Raises struct.error, ValueError and SnapError at garbage."""

    def __init__(self, process: Process, file: TextFile) -> None:
        self._process = process
        self._file = file
        header = self._read(0, 64)
        if header[:4] != b"\x7fELF" or header[5] != 1:
            raise ValueError("not an ELF file of little endian")
        self._wide = header[4] == 2
        if self._wide:
            self._programs, self._sections = struct.unpack_from("<QQ", header, 32)
            self._counts = struct.unpack_from("<4H", header, 54)
        else:
            self._programs, self._sections = struct.unpack_from("<II", header, 28)
            self._counts = struct.unpack_from("<4H", header, 42)

    def _read(self, offset: int, size: int) -> bytes:
        if not 0 <= offset <= offset + size <= self._file.size or size > _TABLE_MAX:
            raise ValueError("not in the file, or too much")
        return self._process.read_text(self._file.offset + offset, size)

    def bias(self, mapping: Mapping) -> int:
        """What is added to the addresses in the file where `mapping` is."""
        size, count = self._counts[0], self._counts[1]
        for at in range(count):
            header = self._read(self._programs + at * size, size)
            if self._wide:
                kind, _, offset, address = struct.unpack_from("<IIQQ", header)
            else:
                kind, offset, address = struct.unpack_from("<III", header)
            if kind == _PT_LOAD and offset // _PAGE * _PAGE <= mapping.offset <= offset:
                return int(mapping.start - (address - offset + mapping.offset))
        raise ValueError("the mapping is none of the file's segments")

    def symbol_tables(self) -> Iterator[tuple[npt.NDArray[np.void], bytes]]:
        """The tables with their strings; the full one first."""
        size, count = self._counts[2], self._counts[3]
        form = "<IIQQQQII" if self._wide else "<8I"
        headers = [
            struct.unpack_from(form, self._read(self._sections + at * size, size)) for at in range(count)
        ]
        dtype = _SYMBOL64 if self._wide else _SYMBOL32
        for wanted in (_SHT_SYMTAB, _SHT_DYNSYM):
            for header in headers:
                if header[1] == wanted:
                    content = self._read(header[4], header[5] // dtype.itemsize * dtype.itemsize)
                    strings = headers[header[6]] if header[6] < count else headers[0]
                    yield np.frombuffer(content, dtype), self._read(strings[4], strings[5]) + b"\0"
