"""Reading the planned memory of a stopped process, in large pieces (process_vm_readv(2)).

What is read comes as `Item`s in the order of the snapshot's memory record: arrays of pages, and
counts of pages that need no reading.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.snapfile.fields import U8
from snaptui.engine.snapfile.joining import Range
from snaptui.engine.snapfile.model import PAGE
from snaptui.engine.take.plan import Piece

CHUNK: Final = 8 << 20
"""Bytes of memory that one item carries at most."""

_IOV_MAX: Final = 1024  # limits.h
_SMALL_TEXT: Final = 64 << 10
"""Text pieces below this size are read with their neighbours: an item of their own costs more."""
_SMALL_GAP: Final = 256 << 10
"""Gaps below this size are zeros in the neighbours' array."""

_MACHINE_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.process_vm_readv.argtypes = (
    ctypes.c_int,
    *(ctypes.c_void_p, ctypes.c_ulong) * 2,
    ctypes.c_ulong,
)
_libc.process_vm_readv.restype = ctypes.c_ssize_t


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages as read, n x 1024 bytes, in a `buffer` to be given back."""

    pages: U8
    buffer: U8


@dataclass(frozen=True, slots=True)
class Zeros:
    """So many pages (1 KiB) of zeros."""

    count: int


@dataclass(frozen=True, slots=True)
class FromText:
    """So many pages (1 KiB) that are those of the process's text image from `offset` on."""

    offset: int
    count: int


Vectors = npt.NDArray[np.uint64]
"""(address, size) rows: struct iovec."""

Item = Pages | Zeros | FromText


class MemoryReader:
    """Reads a process, by a living thread of it. `new_buffer` gives a buffer of CHUNK bytes, in its time."""

    def __init__(self, tid: int, new_buffer: Callable[[], U8]) -> None:
        self._tid = tid
        self._new_buffer = new_buffer
        self._buffer: U8 | None = None
        self._filled = 0
        self._wanted: list[tuple[int, int, int, bool]] = []
        self.unreadable: list[Range] = []
        """Planned, but refused by the kernel: these pages came as zeros."""
        self.has_ended = False
        """The process was killed while it was read."""

    def items(self, segments: Sequence[Range], pieces: Sequence[Piece]) -> Iterator[Item]:
        """The contents of `segments`, of which `pieces` (by address) tell the fate."""
        at = 0
        for start, end in segments:
            while at < len(pieces) and pieces[at].end <= start:
                at += 1
            position = start
            while at < len(pieces) and pieces[at].start < end:
                piece = pieces[at]
                if piece.kind in ("stored", "text"):
                    yield from self._gap(piece.start - position)
                    yield from self._piece(piece)
                    position = piece.end
                at += 1
            yield from self._gap(end - position)
        yield from self._flush()

    def _piece(self, piece: Piece) -> Iterator[Item]:
        if piece.kind == "text" and piece.size >= _SMALL_TEXT:
            yield from self._flush()
            yield FromText(piece.text_offset, piece.size // PAGE)
            return
        position = piece.start
        while position < piece.end:
            room = self._room()
            size = min(room, piece.end - position)
            self._wanted.append((position, size, self._filled, piece.forced))
            position += size
            yield from self._advance(size)

    def _gap(self, size: int) -> Iterator[Item]:
        if size >= _SMALL_GAP:
            yield from self._flush()
            yield Zeros(size // PAGE)
            return
        while size:
            part = min(self._room(), size)
            self._array()[self._filled : self._filled + part] = 0
            size -= part
            yield from self._advance(part)

    def _array(self) -> U8:
        if self._buffer is None:
            self._buffer = self._new_buffer()
        return self._buffer

    def _room(self) -> int:
        return CHUNK - self._filled

    def _advance(self, size: int) -> Iterator[Item]:
        self._filled += size
        if self._filled == CHUNK:
            yield from self._flush()

    def _flush(self) -> Iterator[Item]:
        if not self._filled:
            return
        buffer = self._array()
        self._read_wanted(buffer)
        filled, self._filled, self._buffer = self._filled, 0, None
        yield Pages(buffer[:filled].reshape(-1, PAGE), buffer)

    def _read_wanted(self, buffer: U8) -> None:
        wanted = np.array(self._wanted, dtype=np.uint64).reshape(-1, 4)
        self._wanted.clear()
        forced = wanted[:, 3] != 0
        for address, size, offset, _ in wanted[forced].tolist():
            self._read_forced(buffer, address, size, offset)
        direct = wanted[~forced]
        for start in range(0, len(direct), _IOV_MAX):
            part = direct[start : start + _IOV_MAX]
            remote = np.ascontiguousarray(part[:, :2])
            local = np.stack([part[:, 2] + np.uint64(buffer.ctypes.data), part[:, 1]], axis=1)
            self._read_vectors(local, remote)

    def _read_vectors(self, local: Vectors, remote: Vectors) -> None:
        """Read all `remote` (address, size) rows into the `local` ones, page by page past what is refused."""
        while len(remote):
            done = _libc.process_vm_readv(
                self._tid, local.ctypes.data, len(local), remote.ctypes.data, len(remote), 0
            )
            if done < 0:
                self.has_ended = ctypes.get_errno() == errno.ESRCH
                done = 0
            if done == int(remote[:, 1].sum()):
                return
            # All before `done` is there; the page that it stopped at is not.
            local, remote = _advanced(local, remote, done)
            if self.has_ended:
                for (into, _), (address, size) in zip(local.tolist(), remote.tolist(), strict=True):
                    self._miss(into, address, size)
                return
            size = min(_MACHINE_PAGE, int(remote[0, 1]))
            self._miss(int(local[0, 0]), int(remote[0, 0]), size)
            local, remote = _advanced(local, remote, size)

    def _miss(self, into: int, address: int, size: int) -> None:
        """The `size` bytes at `address` cannot be had: zeros in their place, and a note of it."""
        ctypes.memset(into, 0, size)
        self._note_unreadable(address, size)

    def _read_forced(self, buffer: U8, address: int, size: int, offset: int) -> None:
        """Read memory that the process itself may not read: /proc/PID/mem ignores its permissions."""
        fd = os.open(f"/proc/{self._tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            end = address + size
            while address < end:
                view = buffer[offset : offset + end - address].data
                try:
                    done = os.preadv(fd, [view], address)
                except OSError:
                    done = 0
                if not done:
                    done = min(_MACHINE_PAGE, end - address)
                    view[:done] = bytes(done)
                    self._note_unreadable(address, done)
                address, offset = address + done, offset + done
        finally:
            os.close(fd)

    def _note_unreadable(self, address: int, size: int) -> None:
        if self.unreadable and self.unreadable[-1][1] == address:
            self.unreadable[-1] = (self.unreadable[-1][0], address + size)
        else:
            self.unreadable.append((address, address + size))


def _advanced(local: Vectors, remote: Vectors, done: int) -> tuple[Vectors, Vectors]:
    """The rows (address, size) that are left when `done` bytes of them are read."""
    ends = np.cumsum(remote[:, 1])
    first = int(np.searchsorted(ends, done, side="right"))
    local, remote = local[first:].copy(), remote[first:].copy()
    if len(remote):
        into = np.uint64(done) - (ends[first - 1] if first else np.uint64(0))
        for rows in (local, remote):
            rows[0, 0] += into
            rows[0, 1] -= into
    return local, remote
