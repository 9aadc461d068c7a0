"""Memory that a process shares with one saved before it, frame by frame: copy-on-write after fork(2).

Such pages are saved once, as references, and are not even read again. What tells them is the number of the
frame in both page tables (pagemap), which only root may see; for others all is read and compared. The first
one's table is read before and after the second's: both stand, and neither the kernel's moving of pages nor
the reuse of a frame can have both show one frame, at one address, at three moments, unless they share it.
"""

from __future__ import annotations

import bisect
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from snaptui.engine.take.plan import Piece

_MACHINE_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_ENTRY: Final = 8  # bytes of a pagemap entry: Documentation/admin-guide/mm/pagemap.rst
_PRESENT: Final = 1 << 63 - 56  # the highest bit, of the highest byte
_FRAME: Final = (1 << 55) - 1
_BLOCK: Final = 64
"""Pages compared at a time: below 256 KiB a reference of its own costs more than to read it."""


Tables = tuple[bytes, bytes, bytes]
"""Page table entries of the same addresses: of one process, and of another before and after that."""


class _Known(NamedTuple):
    """Memory of a process that others may share, and its page table when that was found out."""

    pid: int
    tid: int
    start: int
    end: int
    entries: bytes


class Twins:
    """Finds what processes share with those before them."""

    def __init__(self) -> None:
        self._known: list[_Known] = []  # by address, not overlapping

    def find(self, pid: int, tid: int, pieces: Sequence[Piece]) -> list[Piece]:
        """The same pieces, cut where others hold the same frames: those parts name their `twin`.

        `tid`: a living thread of the process. Both it and all before it stand still.
        """
        return [part for piece in pieces for part in self._of_piece(pid, tid, piece)]

    def _of_piece(self, pid: int, tid: int, piece: Piece) -> Iterator[Piece]:
        if piece.kind != "stored" or not piece.forced or piece.size < _BLOCK * _MACHINE_PAGE:
            yield piece
            return
        entries = piece.entries or _entries(tid, piece.start, piece.end)
        piece = piece._replace(entries=b"")  # they have served: 2 MB for a GiB
        at = bisect.bisect_right(self._known, piece.start, key=lambda known: known.end)
        known = self._known[at] if at < len(self._known) else None
        if known is None or known.start >= piece.end:
            if entries:
                self._known.insert(at, _Known(pid, tid, piece.start, piece.end, entries))
            yield piece
            return
        yield from _cut(piece, known, entries)


def _cut(piece: Piece, known: _Known, entries: bytes) -> Iterator[Piece]:
    """The piece, cut into what it shares with `known` and what it does not."""
    start, end = max(piece.start, known.start), min(piece.end, known.end)
    ours, before = _part(entries, piece.start, start, end), _part(known.entries, known.start, start, end)
    after = _entries(known.tid, start, end)
    at, last = piece.start, False
    for offset, same in _compared((ours, before, after), 0, len(ours)) if ours else ():
        if same is not last:
            here = start + offset // _ENTRY * _MACHINE_PAGE
            yield from _named(piece, at, here, known.pid if last else 0)
            at, last = here, same
    yield from _named(piece, at, end if last else piece.end, known.pid if last else 0)
    if last:
        yield from _named(piece, end, piece.end, 0)


def _compared(tables: Tables, begin: int, end: int) -> Iterator[tuple[int, bool]]:
    """From which byte on the tables show the same frames, or do not, in blocks: mostly all of them do."""
    ours, before, after = (table[begin:end] for table in tables)
    if ours == before == after and _are_frames(ours):
        yield begin, True
    elif end - begin <= _BLOCK * _ENTRY:
        yield begin, False
    else:
        blocks = -(-(end - begin) // (_BLOCK * _ENTRY))
        middle = begin + blocks // 2 * _BLOCK * _ENTRY
        yield from _compared(tables, begin, middle)
        yield from _compared(tables, middle, end)


def _named(piece: Piece, start: int, end: int, twin: int) -> Iterator[Piece]:
    if start < end:
        yield piece.part(start, end)._replace(twin=twin)


def _are_frames(block: bytes) -> bool:
    """Whether all entries are of present pages, with their numbers: who may not see these sees 0 in all."""
    return min(block[7::8]) >= _PRESENT and int.from_bytes(block[:_ENTRY], sys.byteorder) & _FRAME != 0


def _part(entries: bytes, base: int, start: int, end: int) -> bytes:
    return entries[(start - base) // _MACHINE_PAGE * _ENTRY : (end - base) // _MACHINE_PAGE * _ENTRY]


def _entries(tid: int, start: int, end: int) -> bytes:
    """The page table's entries, or nothing where they cannot be read."""
    try:
        fd = os.open(f"/proc/{tid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        wanted = (end - start) // _MACHINE_PAGE * _ENTRY
        entries = os.pread(fd, wanted, start // _MACHINE_PAGE * _ENTRY)
        return entries if len(entries) == wanted else b""
    except OSError:
        return b""
    finally:
        os.close(fd)
