"""The compiled code: the encoder, which also takes memory straight into the file; and the scanner."""

from __future__ import annotations

import contextlib
import ctypes
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from snaptui.engine import compiled
from snaptui.engine.snapfile.encoder import Buffer, Rows, Taking
from snaptui.engine.snapfile.model import PAGE, RAW_SIZE, ImageKind

_THREADS: Final = min(4, os.cpu_count() or 1)
"""Reading is what they share; only one writes at a time, which takes two fifths of the time."""
_ALONE: Final = 1 << 20
"""Bytes that one thread takes: below, starting others (30 us) saves nothing."""
_MACHINE_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_REFERENCE_MAX: Final = 1 + 12 + 22
_MARKED: Final = 256 << 10
"""Bytes from one mark to the next, at least."""

_BATCH: Final = 1024
"""1 MiB of pages, which stays in the processor's cache from step to step."""
_RUNS: Final = 4096
"""Runs found in one call."""


class Columns(Protocol):
    """Runs of page descriptions, a column each."""

    first: array[int]
    position: array[int]
    stride: array[int]
    number_at: array[int]
    kind: array[int]


@dataclass(slots=True)
class Place:
    """How far a scan is: `at` in a window from `base` on, before page `next_page`; `count` are to come."""

    base: int
    at: int
    next_page: int
    count: int


def is_there() -> bool:
    """Whether it was compiled, fits this machine, and is wanted."""
    return compiled.library() is not None


def scan_pages(window: bytes, place: Place, runs: Columns) -> None:
    """Find runs of descriptions of whole pages from `place` on, which is moved to what is left."""
    at = compiled.U64(place.at)
    _scan("scan_pages", (window, len(window), place.base, ctypes.byref(at)), place, runs)
    place.at = at.value


def scan_file(fd: int, most: int, place: Place, runs: Columns) -> None:
    """The same in a plain file: read here, about `most` bytes of it."""
    position = compiled.U64(place.base + place.at)
    _scan("scan_file", (fd, most, ctypes.byref(position)), place, runs)
    place.base, place.at = position.value, 0


def _scan(name: str, where: tuple[object, ...], place: Place, runs: Columns) -> None:
    library = compiled.library()
    assert library is not None, "is_there() was asked"
    count, next_page = compiled.U64(place.count), compiled.U64(place.next_page)
    columns = (runs.first, runs.position, runs.stride, runs.number_at, runs.kind)
    found = [array(column.typecode, bytes(column.itemsize * _RUNS)) for column in columns]
    room = compiled.Columns(*(column.buffer_info()[0] for column in found))
    number = getattr(library, name)(*where, ctypes.byref(count), ctypes.byref(next_page), room, _RUNS)
    for column, values in zip(columns, found, strict=True):
        column.extend(values[:number])
    place.count, place.next_page = count.value, next_page.value


class NativeEncoder:
    """Describes and takes pages by compiled code. Calls must not overlap. Raises MemoryError."""

    takes = True
    batch = _BATCH

    def __init__(self, fd: int, expected: int) -> None:
        library = compiled.library()
        assert library is not None, "is_there() was asked"
        self._library = library
        self._handle = library.encoder_open(fd, expected, _THREADS)
        if not self._handle:
            raise MemoryError
        self._hashes = (ctypes.c_uint64 * _BATCH)()
        self._equals = (ctypes.c_int64 * _BATCH)()
        self._room = bytearray(0)

    def origin(self, kind: ImageKind, pid: int, offset: int, first: int) -> None:
        if not self._library.encoder_origin(self._handle, ord(kind), pid, offset, first):
            raise MemoryError

    def encode(self, pages: Buffer, first: int, position: int) -> memoryview:
        view = memoryview(pages)
        # ctypes points to writable memory, or to bytes as a whole.
        content = bytes(view) if view.readonly else (ctypes.c_char * view.nbytes).from_buffer(view)
        out = self._at_least(RAW_SIZE * (view.nbytes // PAGE))
        size = self._library.encoder_encode(
            *(self._handle, content, view.nbytes // PAGE, first, position),
            *(self._hashes, self._equals, out),
        )
        return memoryview(self._room)[:size]

    def references(self, kind: ImageKind, pid: int, offset: int, count: int) -> memoryview:
        out = self._at_least(_REFERENCE_MAX * count)
        size = self._library.encoder_references(ord(kind), pid, offset, count, out)
        return memoryview(self._room)[:size]

    def take(self, tid: int, rows: Rows, first: int, position: int) -> Taking:
        """Raises OSError when the file cannot be written."""
        room = len(rows) + rows.size // _MACHINE_PAGE
        missed = array("Q", bytes(16 * room))
        marks = array("Q", bytes(8 * (len(rows) + rows.size // _MARKED)))
        end, count, mark_count, ended = (
            compiled.U64(position),
            compiled.U64(0),
            compiled.U64(0),
            compiled.INT(0),
        )
        threads = 1 if rows.size <= _ALONE else _THREADS
        with _memory_of(tid, wanted=rows.are_forced) as memory:
            error = self._library.encoder_take(
                *(self._handle, tid, memory, rows.values.buffer_info()[0], len(rows)),
                *(first, ctypes.byref(end), missed.buffer_info()[0], room),
                *(ctypes.byref(count), marks.buffer_info()[0], len(marks), ctypes.byref(mark_count)),
                *(ctypes.byref(ended), threads),
            )
        if error:
            raise OSError(error, os.strerror(error))
        pairs = missed[: 2 * count.value].tolist()
        found = sorted(zip(pairs[0::2], pairs[1::2], strict=True))
        return Taking(
            end.value - position, found, marks[: mark_count.value].tolist(), has_ended=bool(ended.value)
        )

    def close(self) -> None:
        if self._handle:
            self._library.encoder_close(self._handle)
        self._handle = None

    def _at_least(self, size: int) -> ctypes.Array[ctypes.c_char]:
        if len(self._room) < size:
            self._room = bytearray(size)
        return (ctypes.c_char * size).from_buffer(self._room)


@contextlib.contextmanager
def _memory_of(tid: int, *, wanted: bool) -> Iterator[int]:
    """A descriptor of /proc/PID/mem, or -1."""
    fd = -1
    if wanted:
        with contextlib.suppress(OSError):
            fd = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        if fd >= 0:
            os.close(fd)
