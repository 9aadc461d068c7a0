"""The cursor of a hex view and its selection: where keys move them, without a screen."""

from __future__ import annotations

from dataclasses import dataclass

from snaptui.engine.inspect.addresses import AddressMap
from snaptui.widgets.hex.lines import LineMap


@dataclass(slots=True)
class Caret:
    """`at` is an address that a line shows; the selection goes from `anchor` to it, both included."""

    at: int = 0
    anchor: int | None = None
    is_visual: bool = False
    """Whether every move selects (`v`), not only those with shift."""

    def move(self, address: int, *, select: bool = False) -> None:
        """Go to an address, taking the selection along or leaving it."""
        if (select or self.is_visual) and self.anchor is None:
            self.anchor = self.at
        if not select and not self.is_visual:
            self.anchor = None
        self.at = address

    def toggle_visual(self) -> None:
        """Begin to select here, or stop selecting."""
        self.is_visual = self.anchor is None
        self.anchor = self.at if self.is_visual else None

    def clear(self) -> bool:
        """Select nothing; false if nothing was."""
        was = self.anchor is not None
        self.anchor, self.is_visual = None, False
        return was

    def selection(self, word: int) -> tuple[int, int]:
        """The selected addresses, end not included; without a selection that of the word under the cursor."""
        anchor = self.at if self.anchor is None else self.anchor
        return min(anchor, self.at), max(anchor, self.at) + word


def sideways(lines: LineMap, at: int, count: int, word: int) -> int:
    """The address `count` words before or after, over the ends of lines and the holes between them."""
    target = at - at % word + count * word
    line = lines.line(lines.number_of(at))
    if line.is_row and line.contains(target):
        return target
    if line.is_row and lines.line(lines.number_of(target)).contains(target):
        return target
    return _next_line(lines, at, forward=count > 0)


def _next_line(lines: LineMap, at: int, *, forward: bool) -> int:
    """The first address of the line after that of `at`, or the last one of the line before."""
    number = lines.number_of(at)
    while 0 <= (number := number + (1 if forward else -1)) < lines.height:
        line = lines.line(number)
        if line.kind != "header":
            return line.end - 1 if line.is_row and not forward else line.start
    return at


def edge(lines: LineMap, at: int, word: int, *, forward: bool) -> int:
    """The first or last word of the line; from there, of all lines."""
    line = lines.line(lines.number_of(at))
    if line.is_row:
        last = max(line.start, (line.end - 1) // word * word)
        target = last if forward else line.start
        if target != at:
            return target
    return far(lines, word, forward=forward)


def far(lines: LineMap, word: int, *, forward: bool) -> int:
    """The first or the last address that has a line."""
    if not forward:
        return lines.place(lines.line(1), 0)
    line = lines.line(lines.height - 1)
    return max(line.start, (line.end - 1) // word * word) if line.is_row else line.start


def to_block(addresses: AddressMap, at: int, *, forward: bool) -> int:
    """The start of the next mapping; backwards of this one, or of the one before when there."""
    found = addresses.step(at, forward)
    return at if found is None else found
