"""A list that is filtered as one types: what the tabs of mappings, files and texts have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from snaptui.explain import visible
from snaptui.widgets.columns import Column
from snaptui.widgets.filter_bar import FilterBar
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.units import counted

R = TypeVar("R")


class FilteredList(Vertical, Generic[R]):
    """A table, and a line below it for a filter and what is said of the row under the cursor."""

    DEFAULT_CSS = """
    FilteredList { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # Priority: done at once, so that what is typed in the same moment is the filter already.
        Binding(
            "slash",
            "filter",
            "Filter",
            key_display="/",
            id="list.filter",
            tooltip="Show only what contains a text",
            priority=True,
        ),
        Binding("enter", "choose", "Show", id="list.show", tooltip="Show what the cursor is on"),
        Binding(
            "escape",
            "clear",
            "Clear",
            show=False,
            id="list.clear",
            tooltip="Take the filter away",
            priority=True,
        ),
    ]

    @dataclass
    class Chosen(Message):
        """Enter or a double click on a row."""

        row: Any

    class Moved(Message):
        """Another row is the current one. (The table's own message would not bubble while it is refilled.)"""

    def __init__(
        self,
        columns: Sequence[Column[R]],
        key: Callable[[R], Hashable],
        words: Callable[[R], str],
        *,
        table_id: str,
        placeholder: str,
        said: Callable[[R], str] | None = None,
    ) -> None:
        """`words` of a row are what the filter looks in; below the list the same is said of it, or `said`."""
        super().__init__()
        self._below = said or words
        self._columns, self._key, self._words = columns, key, words
        self._table_id, self._placeholder = table_id, placeholder
        self._rows: Sequence[R] = ()
        self._filter = ""

    def compose(self) -> ComposeResult:
        """The table and the line."""
        table = RowTable[R](self._columns, self._key, id=self._table_id)
        yield table
        yield FilterBar(self._placeholder, table)

    def on_mount(self) -> None:
        """No filter is typed yet."""
        self.query_one(Input).display = False

    @property
    def table(self) -> RowTable[R]:
        """The table."""
        table: RowTable[R] = self.query_one(f"#{self._table_id}", RowTable)
        return table

    def show(self, rows: Sequence[R]) -> None:
        """Have these rows."""
        self._rows = rows
        self._refill()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Keys that are taken at once are for a list alone, and not while a filter is typed."""
        typing = self.is_typing
        return {"filter": not typing, "clear": bool(self._filter) and not typing}.get(action, True)

    def action_filter(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).edit()
        self.say()

    def action_clear(self) -> None:
        """Show all again."""
        self.query_one(FilterBar).set_text("")

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        """Show what is left."""
        event.stop()
        self._filter = event.text
        self.filtered(event.text)

    def filtered(self, text: str) -> None:  # noqa: ARG002 - others do with it what they like
        """Another filter was typed: show what contains it."""
        self._refill()

    def _refill(self) -> None:
        wanted = self._filter.lower()
        rows = [row for row in self._rows if wanted in self._words(row).lower()] if wanted else self._rows
        self.table.show_empty(
            f"Nothing here contains {self._filter!r}" if wanted else "There is nothing here"
        )
        self.table.show(rows)
        self.say()

    def on_filter_bar_left(self, event: FilterBar.Left) -> None:
        """There is room for more words again."""
        event.stop()
        self.call_after_refresh(self.say)

    def action_choose(self) -> None:
        """The row under the cursor is meant."""
        if (current := self.table.current) is not None:
            self.chosen(current)

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """So it is by a double click."""
        event.stop()
        self.action_choose()

    def chosen(self, row: R) -> None:
        """A row is meant."""
        self.post_message(self.Chosen(row))

    def on_row_table_moved(self, event: RowTable.Moved) -> None:
        """Say more of the row."""
        event.stop()
        self.say()
        self.post_message(self.Moved())

    @property
    def is_typing(self) -> bool:
        """Whether a filter is being typed: then there is little room for words beside it."""
        return self.query_one(FilterBar).has_class("-editing")

    def say(self) -> None:
        """Say how many are left, and more of the one under the cursor."""
        table, current = self.table, self.table.current
        words = visible(self._below(current)) if current is not None and not self.is_typing else ""
        count = f"{len(table.rows):,} of {counted(len(self._rows), 'row')}" if self._filter else ""
        self.query_one(FilterBar).show(Text("  ".join(filter(None, (count, words)))))
