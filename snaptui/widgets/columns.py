"""Columns of a table, and its lines as pure functions: a heading, a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from snaptui.explain import visible

R = TypeVar("R")

GUTTER: Final = 2  # cells: the mark and a blank
_GAP: Final = 1  # cells between columns
_MARK: Final = "●"
_CHARACTERS: Final = 2  # to a cell: one may be written over another


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """A column: how a row's cell reads, how rows are ordered by it, and how wide it is in cells.

    The last column takes what is left. One with `from_width` is shown only in a table that wide.
    `kind` names the cell's style, one of the component classes `row-table--KIND`.
    """

    id: str
    heading: str
    width: int
    cell: Callable[[R], str]
    order: Callable[[R], object]
    right: bool = False
    descending: bool = False
    from_width: int = 0
    kind: Callable[[R], str] | None = None


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text`, safe to show, in exactly `width` cells; `…` stands for a cut end, with `right` a cut start."""
    most = _CHARACTERS * (width + 1)
    is_long = len(text) > most
    if is_long:  # as command lines are, and each character is looked at
        text = text[-most:] if right else text[:most]
    text = visible(text)
    length = len(text) if text.isascii() else cell_len(text)
    if is_long or length > width:
        if width < 2:
            return set_cell_size(text, width)
        # Of a number the last digits tell more: those of addresses in the kernel's half begin alike.
        return (
            "…" + set_cell_size(text[::-1], width - 1)[::-1]
            if right
            else set_cell_size(text, width - 1) + "…"
        )
    return " " * (width - length) + text if right else text + " " * (width - length)


Layout = Sequence[tuple[Column[R], int]]
"""The columns that are shown, with their widths in cells."""


def lay_out(columns: Sequence[Column[R]], total: int) -> Layout[R]:
    """The columns that a table of `total` cells has room for."""
    shown = [column for column in columns if total >= column.from_width]
    if not shown:
        return []
    *fixed, last = shown
    rest = total - GUTTER - sum(column.width + _GAP for column in fixed)
    return [*((column, column.width) for column in fixed), (last, max(1, rest))]


def column_at(layout: Layout[R], x: int) -> Column[R] | None:
    """The column at the cell `x` of a line."""
    at = GUTTER
    for column, width in layout:
        if at <= x < at + width + _GAP:
            return column
        at += width + _GAP
    return None


def heading_strip(layout: Layout[R], order: str, descending: bool, plain: Style, ordered: Style) -> Strip:
    """The line of headings; the column that the rows are in the order of has an arrow."""
    segments = [Segment(" " * GUTTER, plain)]
    for column, width in layout:
        heading, style = column.heading, plain
        if column.id == order:
            arrow = "▼" if descending else "▲"
            heading, style = (arrow + heading if column.right else heading + arrow), ordered
        segments += [Segment(fit(heading, width, right=column.right), style), Segment(" " * _GAP, plain)]
    return Strip(segments)


def row_strip(
    layout: Layout[R], row: R, *, marked: bool, base: Style, style: Callable[[str], Style]
) -> Strip:
    """A row's line; `style` gives the style of a kind of cell, laid over `base`."""
    mark = Segment(_MARK, base + _over(style("marked"))) if marked else Segment(" ", base)
    segments = [mark, Segment(" " * (GUTTER - 1), base)]
    for column, width in layout:
        kind = column.kind(row) if column.kind is not None else ""
        cell_style = base + _over(style(kind)) if kind else base
        text = fit(column.cell(row), width, right=column.right)
        segments += [Segment(text, cell_style), Segment(" " * _GAP, base)]
    return Strip(segments)


def _over(style: Style) -> Style:
    """A style without its background, to lay over that of a row."""
    return Style(color=style.color, bold=style.bold, dim=style.dim, underline=style.underline)
