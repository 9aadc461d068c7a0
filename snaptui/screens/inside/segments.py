"""The tab Segments: the mappings of a saved process, and how much of each is held."""

from __future__ import annotations

import asyncio
import threading
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.addresses import Block
from snaptui.engine.inspect.held import GLYPHS, PageCounts, bar, page_counts, shares
from snaptui.engine.inspect.opened import Opened
from snaptui.explain import visible
from snaptui.screens.inside.lists import FilteredList
from snaptui.screens.inside.requests import GoTo
from snaptui.widgets.columns import Column
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.units import full_size, short_size

_BAR: Final = 12  # cells
_WIDE: Final = 120  # cells from which on names have their directories
_LEGEND: Final = "  ".join(
    f"{GLYPHS[kind]} {words}"
    for kind, words in (
        ("raw", "stored"),
        ("shared", "same as other memory"),
        ("text", "same as text"),
        ("zero", "zeros"),
        ("left out", "not captured"),
    )
)
_POLL: Final = 0.25  # seconds between two looks at how far the counting is


class SegmentsPane(Vertical):
    """The mappings."""

    DEFAULT_CSS = """
    SegmentsPane {
        & #segment-detail {
            height: 3; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis;
        }
        &:ansi #segment-detail { background: ansi_default; }
    }
    """
    HELP: ClassVar[str] = (
        "What was mapped, by address. The bar shows how much of it is stored in the file, is the same as "
        "pages of memory or of the executable and libraries, was never touched, or was not captured. Enter "
        "shows it in the memory."
    )
    SHELL: ClassVar[tuple[str, ...]] = ("snaptui segments FILE PID",)

    def __init__(self, opened: Opened) -> None:
        super().__init__(id="segments-pane")
        self._opened = opened
        self._counts: list[PageCounts] = []
        self._said = -1
        self._stop = threading.Event()
        self._ended = threading.Event()

    def compose(self) -> ComposeResult:
        """The list, what is known of the chosen one, and the legend."""
        columns: tuple[Column[Block], ...] = (
            Column("start", "START", 12, lambda b: f"{b.start:x}", lambda b: b.start, right=True),
            Column("end", "END", 12, lambda b: f"{b.end:x}", lambda b: b.end, right=True),
            Column("size", "SIZE", 6, lambda b: short_size(b.size), lambda b: b.size, right=True),
            Column("perms", "PERM", 4, lambda b: b.perms or "?", lambda b: b.perms),
            Column("held", "HELD", _BAR, self._bar, lambda b: b.size),
            Column("name", "NAME", 0, self._shown_name, lambda b: b.name),
        )
        yield FilteredList[Block](
            columns,
            lambda block: block.start,
            lambda block: f"{block.name or 'anonymous'} {block.perms} {block.start:x}",
            table_id="segment-table",
            placeholder="name, permissions or address",
            said=lambda block: f"{block.start:x}-{block.end:x} {block.perms} {block.name or 'anonymous'}",
        )
        yield Static("", id="segment-detail", markup=False)

    def on_mount(self) -> None:
        """Show the mappings; how their pages stand in the file is counted meanwhile."""
        self.query_one(FilteredList).show(self._opened.memory.blocks)
        self.run_worker(self._count, thread=True, exit_on_error=False)
        self.set_interval(_POLL, self._poll)

    def on_unmount(self) -> None:
        """Count no further."""
        self._stop.set()

    async def ended(self) -> None:
        """Wait until nothing is read any more."""
        self._stop.set()
        await asyncio.to_thread(self._ended.wait)

    def _count(self) -> None:
        try:
            for segment in self._opened.process.memory:
                if self._stop.is_set():
                    return
                self._counts.append(page_counts(self._opened.process, segment))
        except SnapError:
            pass  # a damaged reference: the bars show the areas then
        finally:
            self._ended.set()

    def _poll(self) -> None:
        if len(self._counts) != self._said:
            self._said = len(self._counts)
            self.query_one(RowTable).refresh()
            self._show_detail()

    def _shown_name(self, block: Block) -> str:
        return (block.name if self.size.width >= _WIDE else "") or block.label

    def _bar(self, block: Block) -> str:
        return bar(shares(block, self._counts), _BAR)

    def on_filtered_list_moved(self, event: FilteredList.Moved) -> None:
        """Say more of the chosen one."""
        event.stop()
        self._show_detail()

    def _show_detail(self) -> None:
        block = self.query_one(RowTable).current
        if not isinstance(block, Block):
            self.query_one("#segment-detail", Static).update("", layout=False)
            return
        sizes = ", ".join(f"{full_size(size)} {kind}" for kind, size in shares(block, self._counts).items())
        reasons = dict.fromkeys(area.reason for area in block.areas if area.reason)
        text = Text(f"{sizes}{': ' if reasons else ''}{visible('; '.join(reasons))}\n")
        there = [
            one for one in self._counts if one.segment.offset < block.end and block.start < one.segment.end
        ]
        if there:
            one = there[0]
            more = f", and {len(there) - 1} more" if len(there) > 1 else ""
            text.append(
                f"in the file {one.segment.offset:x}-{one.segment.end:x}: pages of 1 KiB: {one}{more}"
            )
        text.append("\n").append(_LEGEND, style="dim")
        self.query_one("#segment-detail", Static).update(text, layout=False)

    def on_filtered_list_chosen(self, event: FilteredList.Chosen) -> None:
        """Show it in the memory."""
        event.stop()
        self.post_message(GoTo(event.row.start))
