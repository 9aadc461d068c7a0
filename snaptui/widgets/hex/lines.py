"""The lines of a hex view: what is mapped, without the holes between.

The height counts mapped lines, never addresses: a header for each block, a line for each row of bytes,
and one for what is left out, or is folded because it was never touched. Both ways are a bisection:
a microsecond, with 65,530 mappings as with ten.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from snaptui.engine.inspect.addresses import Block
from snaptui.engine.snapfile import Area

FOLD: Final = 64 << 10
"""Bytes of untouched memory that are worth folding: a reserved terabyte is one line, not 2^36."""

LineKind = Literal["header", "rows", "left out", "folded"]
_KINDS: Final[tuple[LineKind, ...]] = ("header", "rows", "left out", "folded")
_HEADER, _ROWS, _LEFT_OUT, _FOLDED = range(4)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what it shows, and the addresses that it stands for."""

    kind: LineKind
    start: int
    end: int
    block: Block

    @property
    def is_row(self) -> bool:
        return self.kind == "rows"

    def contains(self, address: int) -> bool:
        return self.start <= address < self.end


@dataclass(frozen=True, slots=True)
class _Span:
    """Neighbouring addresses of a block that are shown in one way."""

    kind: int
    start: int
    end: int


class LineMap:
    """From the number of a line to addresses, and back."""

    def __init__(
        self,
        blocks: Iterable[Block],
        row: int = 16,
        *,
        fold: bool = True,
        unfolded: frozenset[int] = frozenset(),
    ) -> None:
        self.row = row
        self._blocks: list[Block] = []
        self._block_of = array("L")
        self._kinds = bytearray()
        self._first_lines = array("Q")
        self._starts = array("Q")
        self._lasts = array("Q")
        self.height = 0
        for block in blocks:
            self._add(_HEADER, block.start, block.end, 1)
            for span in _spans(block.areas, fold, unfolded):
                count = -(-span.end // row) - span.start // row if span.kind == _ROWS else 1
                self._add(span.kind, span.start, span.end, count)
            self._blocks.append(block)

    def _add(self, kind: int, start: int, end: int, count: int) -> None:
        self._block_of.append(len(self._blocks))
        self._kinds.append(kind)
        self._first_lines.append(self.height)
        self._starts.append(start)
        self._lasts.append(end - 1)  # the end may be 2^64
        self.height += count

    def line(self, number: int) -> Line:
        """The line with that number, 0 to `height` - 1."""
        index = bisect.bisect_right(self._first_lines, number) - 1
        start, end = self._starts[index], self._lasts[index] + 1
        if self._kinds[index] == _ROWS:
            floor = (start // self.row + number - self._first_lines[index]) * self.row
            start, end = max(start, floor), min(end, floor + self.row)
        return Line(_KINDS[self._kinds[index]], start, end, self._blocks[self._block_of[index]])

    def number_of(self, address: int) -> int:
        """The number of the line that shows `address`; in a hole, of the last line before it."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0:
            return 0
        first = self._first_lines[index]
        if self._kinds[index] != _ROWS:
            return first
        address = min(address, self._lasts[index])
        return first + address // self.row - self._starts[index] // self.row

    def down(self, address: int, count: int) -> int:
        """The address `count` lines further (or before, if negative) in the same column.

        Headers are no place to be, and are counted: a page of lines is a page on the screen.
        """
        number = self.number_of(address)
        column = address % self.row
        target = min(max(number + count, 0), self.height - 1)
        line = self.line(target)
        if line.kind == "header":
            # A header is followed by a line, always; the first one has none before it.
            line = self.line(target + 1 if count > 0 or target == 0 else target - 1)
        return self.place(line, column)

    def place(self, line: Line, column: int) -> int:
        """The address in `line` at a column, or the nearest to it."""
        if not line.is_row:
            return line.start
        return min(max(line.start - line.start % self.row + column, line.start), line.end - 1)

    def folded_at(self, address: int) -> Line | None:
        """The folded line that hides `address`."""
        line = self.line(self.number_of(address)) if self.height else None
        return line if line is not None and line.kind == "folded" and line.contains(address) else None


def _spans(areas: tuple[Area, ...], fold: bool, unfolded: frozenset[int]) -> Iterator[_Span]:
    """How the areas of a block are shown; what can be read and touches is one span of rows."""
    start = end = -1
    for kind, first, last in _joined(areas, fold, unfolded):
        if kind == _ROWS:
            if start < 0:
                start = first
            end = last
            continue
        if start >= 0:
            yield _Span(_ROWS, start, end)
            start = -1
        yield _Span(kind, first, last)
    if start >= 0:
        yield _Span(_ROWS, start, end)


def _joined(areas: tuple[Area, ...], fold: bool, unfolded: frozenset[int]) -> Iterator[tuple[int, int, int]]:
    for area in areas:
        if area.kind == "left out":
            yield _LEFT_OUT, area.start, area.end
        elif area.kind == "zero" and fold and area.size >= FOLD and area.start not in unfolded:
            yield _FOLDED, area.start, area.end
        else:
            yield _ROWS, area.start, area.end
