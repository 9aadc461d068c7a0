"""Finished lines of a hex view, and what they depend on: made once, kept as long as they look the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.segment import Segment
from textual.strip import Strip

from snaptui.engine.inspect.addresses import AddressMap
from snaptui.widgets.columns import fit
from snaptui.widgets.hex.lines import Line
from snaptui.widgets.hex.rows import Row, RowReader
from snaptui.widgets.hex.strips import (
    Flags,
    Format,
    Palette,
    error_strip,
    header_strip,
    note_strip,
    row_strip,
)

_STRIPS: Final = 256
"""Finished lines that are kept: some screens full. Each is forty objects to the garbage collector."""

Ranges = tuple[tuple[int, int], ...]
Hits = Callable[[int, int], Ranges]
"""`hits(start, end)` gives the ranges found in a range of addresses."""


def no_hits(_start: int, _end: int) -> Ranges:
    """Nothing is found, nowhere."""
    return ()


@dataclass(frozen=True, slots=True)
class Scene:
    """What is shown of the bytes besides themselves; addresses."""

    cursor: int
    selection: tuple[int, int] | None
    marks: frozenset[int]
    hits: Hits
    form: Format


class Painter:
    """Draws lines; `paint` reads the bytes of all of them at once."""

    def __init__(
        self,
        reader: RowReader,
        addresses: AddressMap,
        palette: Palette,
    ) -> None:
        self._reader = reader
        self._addresses = addresses
        self._palette = palette
        self._strips: dict[tuple[object, ...], Strip] = {}

    def paint(self, lines: Sequence[Line], scene: Scene, width: int) -> list[Strip]:
        """The strips of neighbouring lines, `width` cells each."""
        rows = self._reader.rows(lines)
        return [self._strip(line, rows[line.start] if line.is_row else None, scene, width) for line in lines]

    def blank(self, width: int) -> Strip:
        """A strip with nothing on it."""
        return Strip.blank(width, self._palette.base)

    def words(self, text: str, width: int) -> Strip:
        """A strip that says something in place of bytes."""
        return Strip([Segment(fit(f"  {text}", width), self._palette.note)], width)

    def _strip(self, line: Line, row: Row | None, scene: Scene, width: int) -> Strip:
        is_here = line.kind != "header" and line.contains(scene.cursor)
        flags = Flags()
        key: tuple[object, ...] = (line.start, line.kind, width, is_here)
        if row is not None and not row.error:
            flags = self._flags(line, row, scene, is_here)
            key = (line.start, width, scene.form, flags)
        strip = self._strips.get(key)
        if strip is None:
            if row is None:
                strip = self._plain_strip(line, width, is_here)
            elif row.error:
                strip = error_strip(line, row.error, self._palette, width)
            else:
                strip = row_strip(line, row.data, flags.of_line(line), scene.form, self._palette, width)
                strip = strip if strip.cell_length == width else strip.crop(0, width)
            if len(self._strips) >= _STRIPS:
                self._strips.clear()
            self._strips[key] = strip
        return strip

    def _plain_strip(self, line: Line, width: int, is_here: bool) -> Strip:
        if line.kind == "header":
            return header_strip(line, self._palette, width)
        area = self._addresses.area_at(line.start)
        reason = area.reason if area is not None else ""
        return note_strip(line, reason, self._palette, width, cursor=is_here)

    def _flags(self, line: Line, row: Row, scene: Scene, is_here: bool) -> Flags:
        start, end = scene.selection or (0, 0)
        selected = (max(start, line.start), min(end, line.end))
        word = scene.form.word
        at = scene.cursor - scene.cursor % word
        return Flags(
            cursor=(at, at + word) if is_here else (0, 0),
            selected=selected if selected[0] < selected[1] else (0, 0),
            hits=scene.hits(line.start, line.end),
            marks=tuple(sorted(mark for mark in scene.marks if line.contains(mark))),
            pointers=row.pointers,
            pointer_width=self._reader.machine.width,
        )
