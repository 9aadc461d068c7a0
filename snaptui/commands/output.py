"""How commands print: tables (by rich on a terminal, plain text elsewhere), JSON, sizes, bytes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

from snaptui.engine.errors import ArgumentError
from snaptui.explain import visible

_ANY_WIDTH: Final = 1 << 20  # columns: wider than any table
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Column(NamedTuple):
    """A column of a table: its heading, and whether its values are numbers (right-justified)."""

    heading: str
    justify: Literal["left", "right"] = "left"


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=1))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output; strings may come from other processes.

    On a terminal that is wide enough rich draws it. Elsewhere it is plain text, as wide as its
    content: nothing is ever cropped, or folded in the middle of a number.
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    if stdout_is_terminal() and _print_rich_table(columns, cells):
        return
    lines = [[column.heading for column in columns], *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        print(_plain_line(columns, widths, line))


def _plain_line(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    padded = [
        cell.rjust(width) if column.justify == "right" else cell.ljust(width)
        for column, width, cell in zip(columns, widths, cells, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _print_rich_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> bool:
    """Draw the table; false, and nothing is drawn, where the terminal is too narrow for it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(column.heading), justify=column.justify, no_wrap=True)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False, markup=False, emoji=False)
    if console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum > console.width:
        return False
    console.print(table)
    return True


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print names and values, a line each."""
    pairs = [(name, visible(value)) for name, value in fields]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        print(f"{name:<{width}}  {value}".rstrip())


def size_text(size: int) -> str:
    """A size for people: `0`, `512 B`, `1.5 MiB`."""
    if size < 1024:
        return f"{size} B" if size else "0"
    unit = (size.bit_length() - 1) // 10
    return f"{size / (1 << 10 * unit):.1f} {_UNITS[unit]}"


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output as they are."""
    if sys.stdout is None:
        raise ArgumentError("standard output is closed")
    sys.stdout.buffer.write(data)


def stdout_is_terminal() -> bool:
    """Whether standard output is a terminal. Raises ArgumentError if it is closed: all would go nowhere."""
    if sys.stdout is None:
        raise ArgumentError("standard output is closed")
    return sys.stdout.isatty()
