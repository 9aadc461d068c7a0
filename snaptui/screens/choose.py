"""Small dialogs in which one of several things is chosen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from snaptui.explain import visible
from snaptui.widgets.columns import Column
from snaptui.widgets.dialog import Dialog
from snaptui.widgets.process_columns import MEANINGS
from snaptui.widgets.tick import Tick


class Choose(Dialog[str]):
    """One of some words; gives its id."""

    def __init__(self, title: str, options: Sequence[tuple[str, str]], chosen: str = "") -> None:
        """`options` are ids and what is shown for them."""
        super().__init__()
        self._title, self._options, self._chosen = title, options, chosen

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title)
            yield OptionList(*(Option(Content(visible(text)), id=name) for name, text in self._options))

    def on_mount(self) -> None:
        """Begin at what is chosen now."""
        names = [name for name, _ in self._options]
        if self._chosen in names:
            self.query_one(OptionList).highlighted = names.index(self._chosen)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter."""
        self.dismiss(event.option.id)


def _title(column: Column[Any]) -> str:
    return f"{column.heading.lower():<10}{MEANINGS.get(column.id, '')}".rstrip()


class ChooseOrder(Choose):
    """The column to order by."""

    def __init__(self, columns: Sequence[Column[Any]], chosen: str) -> None:
        super().__init__("Order by (again: the other way)", [(c.id, _title(c)) for c in columns], chosen)


class ChooseColumns(Dialog[set[str]]):
    """The columns to show; gives those that are hidden."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", "Up", show=False, id="columns.up", tooltip="To the column above"),
        Binding(
            "down", "app.focus_next", "Down", show=False, id="columns.down", tooltip="To the column below"
        ),
    ]

    def __init__(self, columns: Sequence[Column[Any]], hidden: Collection[str]) -> None:
        super().__init__()
        # The last one, what the row is about, is always there.
        self._columns, self._hidden = columns[:-1], hidden

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Columns"
            for column in self._columns:
                yield Tick(Content(_title(column)), column.id not in self._hidden, id=column.id)
            yield Static("space shows or hides, escape ends; some need a wider terminal", classes="label")

    def action_cancel(self) -> None:
        """Keep what is chosen: there is no harm in it."""
        self.dismiss({str(tick.id) for tick in self.query(Tick) if not tick.value})
