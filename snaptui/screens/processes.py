"""The tab of running processes: look, filter, mark, and save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message

from snaptui.engine.errors import ArgumentError
from snaptui.engine.take.match import parse_match
from snaptui.engine.take.watch import Watched
from snaptui.explain import visible
from snaptui.polling import Poller
from snaptui.preferences import Preferences
from snaptui.screens.choose import ChooseColumns, ChooseOrder
from snaptui.screens.messages import Remember, ShowProcess, TakeSnapshot
from snaptui.sources import Sources
from snaptui.widgets.filter_bar import FilterBar
from snaptui.widgets.keyline import IF_ROOM
from snaptui.widgets.process_columns import PROCESS_COLUMNS, ProcessRow, names_text, shown_columns
from snaptui.widgets.process_list import ProcessList
from snaptui.widgets.row_table import RowTable

_KEYS: Final[list[BindingType]] = [
    Binding("enter", "details", "Details", id="processes.details", tooltip="Threads, open files, mappings"),
    Binding("space", "mark", "Mark", id="processes.mark", tooltip="Mark the process, or take its mark away"),
    # Priority: done at once, so that what is typed in the same moment (pasted, say) is the filter already.
    Binding(
        "slash",
        "filter",
        "Filter",
        key_display="/",
        id="processes.filter",
        tooltip="Show only some",
        priority=True,
    ),
    Binding("s", "snapshot", "Snapshot", id="processes.snapshot", tooltip="Save the marked processes"),
    Binding(
        "h",
        "hung",
        "Hung",
        id="processes.hung",
        tooltip="Those first that stand still, or the order again",
    ),
    Binding("a", "whose", "Mine/all", id="processes.whose", tooltip="Only your processes, or everybody's"),
    Binding("t", "tree", "Tree", id="processes.tree", tooltip="Children below their parents"),
    Binding(
        "o", "order", "Order", group=IF_ROOM, id="processes.order", tooltip="Choose the column to order by"
    ),
    Binding(
        "r", "reverse", "Reverse", group=IF_ROOM, id="processes.reverse", tooltip="The order the other way"
    ),
    Binding("C", "columns", "Columns", group=IF_ROOM, id="processes.columns", tooltip="Choose the columns"),
    Binding(
        "z",
        "freeze",
        "Freeze",
        group=IF_ROOM,
        id="processes.freeze",
        tooltip="Hold the list still, or go on",
    ),
    Binding(
        "asterisk",
        "mark_all",
        "Mark all",
        key_display="*",
        group=IF_ROOM,
        id="processes.markall",
        tooltip="Mark all that are shown",
    ),
    Binding("u", "unmark", "Unmark", group=IF_ROOM, id="processes.unmark", tooltip="Take all marks away"),
    Binding(
        "K", "kernel", "Kernel", group=IF_ROOM, id="processes.kernel", tooltip="Kernel threads too, in all"
    ),
    Binding("escape", "clear", "Clear", show=False, id="processes.clear", tooltip="Take the filter away"),
]


class ProcessesPane(Vertical):
    """A live table of processes."""

    HELP: ClassVar[str] = (
        "All processes of this machine, looked at once a second. Mark some with space (or take the "
        "one under the cursor) and press s to save them into one snapshot file; they stop together "
        "for a moment and run on.\n"
        "/ filters: words that must all be in the name, command line, user or wait; state:D, "
        "user:NAME, wait:futex; or a regular expression for the name, as in /page|gs/."
    )
    SHELL: ClassVar[tuple[str, ...]] = (
        "snaptui psu --match 'page|gs'",
        "snaptui psu --hung",
        "snap -o FILE PID...",
    )
    BINDINGS: ClassVar[list[BindingType]] = _KEYS

    @dataclass
    class Looked(Message):
        """The processes, from the thread that looks."""

        found: Sequence[Watched]

    @dataclass
    class Failed(Message):
        """They could not be listed."""

        error: Exception

    def __init__(self, sources: Sources, preferences: Preferences) -> None:
        super().__init__(id="processes")
        self._list = ProcessList.remembered(sources.uid, preferences)
        self._hidden = set(preferences.hidden_columns)
        self._poller = Poller(
            sources.processes,
            lambda found: self.post_message(self.Looked(found)),
            lambda error: self.post_message(self.Failed(error)),
            interval=sources.interval or 1e6,
        )

    def compose(self) -> ComposeResult:
        """The table and the line below it."""
        columns = shown_columns(self._hidden, hung=False)
        table = RowTable[ProcessRow](columns, lambda row: row.key, empty="Looking...", id="process-table")
        yield table
        yield FilterBar("words, or /page|gs/, or state:D user:NAME wait:futex", table)

    def on_mount(self) -> None:
        """Begin to look."""
        self._show_order()
        self._poller.start()

    def on_unmount(self) -> None:
        """Look no more."""
        self._poller.stop()

    @property
    def _table(self) -> RowTable[ProcessRow]:
        return self.query_one("#process-table", RowTable)

    # What is shown.

    def on_processes_pane_looked(self, event: Looked) -> None:
        """Take the new processes in; the list stands still while it is frozen."""
        if self._list.frozen:
            return
        gone = self._list.take(event.found)
        if gone:
            words = f"{visible(names_text(gone))}: ended, not marked any more"
            self.notify(words, markup=False, severity="warning")
        self._show()

    def on_processes_pane_failed(self, event: Failed) -> None:
        """Say so."""
        self.notify(f"the processes cannot be listed: {event.error}", markup=False, severity="error")

    def _show(self) -> None:
        rows = self._list.rows()
        self._table.show_empty(self._list.words_for_nothing())
        self._table.show(rows)
        self._table.show_marks(set(self._list.marked))
        status = Text("  ·  ".join(map(visible, self._list.words(len(rows)))))
        if self._list.frozen:
            status = Text.assemble(("FROZEN", "bold reverse"), "  ·  ", status)
        if marked := len(self._list.marked):
            status = Text.assemble((f"● {marked:,} marked", "bold"), "  ·  ", status)
        self.query_one(FilterBar).show(status)

    def _show_order(self) -> None:
        hung = self._list.hung
        self._table.show_columns(shown_columns(self._hidden, hung=hung))
        self._table.show_order(
            "still" if hung else self._list.order, descending=hung or self._list.descending
        )

    # The filter.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """The key / is taken at once (priority), but not from a filter that is being typed."""
        return action != "filter" or not self.query_one(FilterBar).has_class("-editing")

    def action_filter(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).edit()

    def action_clear(self) -> None:
        """Show all again."""
        self.query_one(FilterBar).set_text("")

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        """Show what matches now; what is no regular expression yet changes nothing."""
        bar = self.query_one(FilterBar)
        try:
            self._list.match = parse_match(event.text)
        except ArgumentError as error:
            bar.show_error(str(error))
            return
        self._list.filter_text = event.text
        bar.show_error("")
        self._show()

    # Marks.

    def action_mark(self) -> None:
        """Mark the process under the cursor, and go on to the next."""
        row = self._table.current
        if row is not None:
            self._list.mark(row)
            self._table.action_move(1)
            self._show()

    def action_mark_all(self) -> None:
        """Mark all that are shown."""
        self._list.marked.update({row.key: row.process for row in self._table.rows})
        self._show()

    def action_unmark(self) -> None:
        """Take all marks away."""
        self._list.marked.clear()
        self._show()

    # Other views.

    def action_hung(self) -> None:
        """Put those first that stand still."""
        self._list.hung, self._list.tree = not self._list.hung, False
        self._show_order()
        self._table.action_first()
        self._show()

    def action_tree(self) -> None:
        """Show children below their parents."""
        self._list.tree, self._list.hung = not self._list.tree, False
        self._show_order()
        self._show()

    def action_whose(self) -> None:
        """Only the user's own, or all."""
        self._list.only_mine = not self._list.only_mine
        self.post_message(Remember({"only_mine": self._list.only_mine}))
        self._show()

    def action_kernel(self) -> None:
        """Kernel threads too; they belong to root."""
        self._list.kernel = not self._list.kernel
        self._list.only_mine = self._list.only_mine and not self._list.kernel
        self._show()

    def action_freeze(self) -> None:
        """Hold the list still."""
        self._list.frozen = not self._list.frozen
        self._poller.poke()
        self._show()

    # The order.

    def action_order(self) -> None:
        """Ask for the column to order by."""
        self.app.push_screen(ChooseOrder(self._table.columns, self._list.order), self._set_order)

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._set_order(self._list.order)

    def on_row_table_ordered(self, event: RowTable.Ordered) -> None:
        """A heading was clicked."""
        self._set_order(event.column)

    def _set_order(self, column: str | None) -> None:
        if column is None:
            return
        self._list.sort_by(column)
        self._show_order()
        self.post_message(Remember({"order": column, "descending": self._list.descending}))
        self._show()

    def action_columns(self) -> None:
        """Ask which columns to show."""
        self.app.push_screen(ChooseColumns(PROCESS_COLUMNS, self._hidden), self._set_columns)

    def _set_columns(self, hidden: set[str] | None) -> None:
        if hidden is not None:
            self._hidden = hidden
            self._show_order()
            self.post_message(Remember({"hidden_columns": tuple(sorted(hidden))}))

    # What is done with processes.

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """A double click."""
        event.stop()
        self.action_details()

    def action_details(self) -> None:
        """Show a process more closely."""
        if (row := self._table.current) is not None:
            self.post_message(ShowProcess(row.process, row.watched.age))

    def action_snapshot(self) -> None:
        """Save the marked processes, or the one under the cursor."""
        row = self._table.current
        chosen = list(self._list.marked.values()) or ([row.process] if row is not None else [])
        if chosen:
            self.post_message(TakeSnapshot(chosen))
