"""How the planned memory of a process goes into the memory record: what is read, and what needs no reading.

The items come in the order of the snapshot's segments, and each lies in one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from snaptui.engine.snapfile.encoder import Rows
from snaptui.engine.snapfile.joining import Range
from snaptui.engine.snapfile.model import PAGE
from snaptui.engine.take.plan import Piece

_SMALL_TEXT: Final = 64 << 10
"""Text pieces below this size are read with their neighbours: an item of their own costs more."""
_SMALL_GAP: Final = 256 << 10
"""Gaps below this size are zeros among the neighbours' pages."""


class Zeros(NamedTuple):
    """So many pages (1 KiB) of zeros."""

    pages: int


class FromText(NamedTuple):
    """So many pages (1 KiB) that are those of the process's text image from `offset` on."""

    offset: int
    pages: int


class FromTwin(NamedTuple):
    """Memory that has the same page frames as that of process `pid`, saved before, at the same `address`.

    `rows` are to be taken if that could not be read.
    """

    pid: int
    address: int
    rows: Rows


Item = Rows | Zeros | FromText | FromTwin


def layout(segments: Sequence[Range], pieces: Sequence[Piece], most: int) -> Iterator[Item]:
    """The contents of `segments`, of which `pieces` (by address) tell the fate; `most`: bytes of an item."""
    at = 0
    for start, end in segments:
        while at < len(pieces) and pieces[at].end <= start:
            at += 1
        inside = []
        while at < len(pieces) and pieces[at].start < end:
            inside.append(pieces[at])
            at += 1
        yield from _Layout(most).segment(start, end, inside)


class _Layout:
    """Collects the rows of one segment."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows = Rows()

    def segment(self, start: int, end: int, pieces: Sequence[Piece]) -> Iterator[Item]:
        position = start
        for piece in pieces:
            if piece.kind in ("stored", "text"):
                yield from self._gap(piece.start - position)
                yield from self._piece(piece)
                position = piece.end
        yield from self._gap(end - position)
        yield from self._flush()

    def _piece(self, piece: Piece) -> Iterator[Item]:
        if piece.kind == "text" and piece.size >= _SMALL_TEXT:
            yield from self._flush()
            yield FromText(piece.text_offset, piece.size // PAGE)
            return
        if piece.twin:
            yield from self._flush()
            for start in range(piece.start, piece.end, self._most):
                rows = Rows()
                rows.add(start, min(self._most, piece.end - start), Rows.FORCED)
                yield FromTwin(piece.twin, start, rows)
            return
        yield from self._add(piece.start, piece.size, Rows.FORCED if piece.forced else Rows.READ)

    def _gap(self, size: int) -> Iterator[Item]:
        if size >= _SMALL_GAP:
            yield from self._flush()
            yield Zeros(size // PAGE)
        elif size:
            yield from self._add(0, size, Rows.ZEROS)

    def _add(self, address: int, size: int, how: int) -> Iterator[Item]:
        while size:
            part = min(size, self._most - self._rows.size)
            self._rows.add(address, part, how)
            address, size = address + part, size - part
            if self._rows.size == self._most:
                yield from self._flush()

    def _flush(self) -> Iterator[Item]:
        if len(self._rows):
            rows, self._rows = self._rows, Rows()
            yield rows
