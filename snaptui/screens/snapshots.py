"""The tab of snapshots: what was taken or opened, and what can be done with each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from snaptui.explain import visible
from snaptui.polling import Poller
from snaptui.preferences import Preferences
from snaptui.screens.messages import (
    ChooseFolder,
    CompareSnapshot,
    OpenMount,
    OpenOther,
    OpenSnapshot,
    Remember,
    RunDebugger,
    WorkOnFile,
)
from snaptui.sources import Sources
from snaptui.widgets.columns import Column
from snaptui.widgets.keyline import IF_ROOM
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.units import counted, full_size, short_size

if TYPE_CHECKING:
    # Not at the start: the package imports numpy (0.1 s), and the list of processes shall come at once.
    from snaptui.engine.snapfile.library import Item

_OF_ONE: Final = ("open", "mount", "debugger", "work", "compare")  # actions
_INTERVAL: Final = 2.0  # seconds between two looks at the folder: a stat(2) for each file


def processes_text(item: Item) -> str:
    """What a snapshot holds, in a few words: names, each once, with how often it is there."""
    if item.problem:
        return item.problem
    if item.processes is None:
        return "(large: open it to see)"
    names: dict[str, int] = {}
    for _, name in item.processes:
        names[name] = names.get(name, 0) + 1
    return ", ".join(name if number == 1 else f"{name} x{number}" for name, number in names.items())


def _date(item: Item) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(item.taken or item.modified))


def _kind(item: Item) -> str:
    return "bad" if item.problem else ""


def _count(item: Item) -> str:
    return "" if item.processes is None else str(len(item.processes))


SNAPSHOT_COLUMNS: Final[tuple[Column[Item], ...]] = (
    Column("name", "NAME", 30, lambda i: i.name, lambda i: i.name.lower()),
    Column("date", "TAKEN", 16, _date, lambda i: i.taken or i.modified, descending=True),
    Column("size", "SIZE", 6, lambda i: short_size(i.size), lambda i: i.size, right=True, descending=True),
    Column(
        "packed", "ZST", 3, lambda i: "zst" if i.compressed else "", lambda i: i.compressed, from_width=90
    ),
    Column("host", "HOST", 14, lambda i: i.host, lambda i: i.host, from_width=90),
    Column("count", "N", 3, _count, lambda i: len(i.processes or ()), right=True, from_width=80),
    Column("where", "FOLDER", 24, lambda i: str(Path(i.path).parent), lambda i: i.path, from_width=150),
    Column("processes", "PROCESSES", 0, processes_text, processes_text, kind=_kind),
)


class SnapshotsPane(Vertical):
    """The snapshots of a folder, and those that were opened elsewhere."""

    HELP: ClassVar[str] = (
        "Snapshots in the folder named below the list, and others that you opened. They hold whatever "
        "secrets the processes held, and nobody but you may read them.\n"
        "A compressed snapshot (.zst) opens and mounts like any other; unpacking it is never needed."
    )
    SHELL: ClassVar[tuple[str, ...]] = (
        "snaptui info FILE",
        "snaptui verify FILE",
        "snaptui compress FILE",
        "snaptui diff BEFORE AFTER",
        "snaptui FILE",
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", id="snapshots.open", tooltip="Look inside"),
        Binding("m", "mount", "Mount", id="snapshots.mount", tooltip="Serve it as a /proc tree"),
        Binding(
            "g", "debugger", "gdb", group=IF_ROOM, id="snapshots.gdb", tooltip="Run gdb on a process of it"
        ),
        Binding(
            "v",
            "work('verify')",
            "Verify",
            id="snapshots.verify",
            tooltip="Read all of it; say what is missing",
        ),
        Binding(
            "c",
            "work('compress')",
            "Compress",
            id="snapshots.compress",
            tooltip="Compress it, or unpack it again",
        ),
        Binding("r", "work('rename')", "Rename", id="snapshots.rename", tooltip="Give it another name"),
        Binding(
            "d,delete",
            "work('delete')",
            "Delete",
            id="snapshots.delete",
            tooltip="Delete the file; asks first",
        ),
        Binding(
            "equals_sign",
            "compare",
            "Compare",
            key_display="=",
            id="snapshots.compare",
            tooltip="Compare it with another one: what moved, and what changed",
        ),
        Binding(
            "o",
            "other",
            "Other...",
            group=IF_ROOM,
            id="snapshots.other",
            tooltip="Open a file that is not in the list",
        ),
        Binding(
            "F", "folder", "Folder", group=IF_ROOM, id="snapshots.folder", tooltip="Choose another folder"
        ),
        Binding(
            "less_than_sign",
            "order(-1)",
            "Order",
            show=False,
            id="snapshots.left",
            tooltip="Order by the column to the left",
        ),
        Binding(
            "greater_than_sign",
            "order(1)",
            "Order",
            show=False,
            id="snapshots.right",
            tooltip="Order by the column to the right",
        ),
    ]

    @dataclass
    class Looked(Message):
        """The files, from the thread that looks."""

        items: Sequence[Item]

    def __init__(self, sources: Sources, preferences: Preferences) -> None:
        super().__init__(id="snapshots")
        self._library = sources.library
        self._folder, self._others = Path(preferences.folder or sources.folder), preferences.recent
        self._items: Sequence[Item] = ()
        known = {column.id for column in SNAPSHOT_COLUMNS}  # those of another version may be others
        self._order = preferences.snapshots_order if preferences.snapshots_order in known else "date"
        self._descending = preferences.snapshots_descending
        self._poller = Poller(
            lambda: self._library(self._folder, self._others),
            lambda items: self.post_message(self.Looked(items)),
            lambda error: self.app.call_later(self._failed, error),
            interval=_INTERVAL if sources.interval else 1e6,
        )
        self._started = False

    def compose(self) -> ComposeResult:
        """The table and the line below it."""
        yield RowTable(SNAPSHOT_COLUMNS, lambda item: item.path, empty="Looking...", id="snapshot-table")
        yield Static("", classes="status-line", markup=False)

    def on_show(self) -> None:
        """Begin to look when somebody does: it costs an import of 0.15 s."""
        if not self._started:
            self._started = True
            self._poller.start()
        else:
            self._poller.poke()

    def on_unmount(self) -> None:
        """Look no more."""
        self._poller.stop()

    def look_at(self, preferences: Preferences, default: Path) -> None:
        """Show another folder, or a file more."""
        self._folder, self._others = Path(preferences.folder or default), preferences.recent
        if self._started:
            self._poller.poke()

    def on_snapshots_pane_looked(self, event: Looked) -> None:
        """Show them."""
        self._items = event.items
        self._show()

    def _failed(self, error: Exception) -> None:
        self.notify(f"the folder cannot be listed: {visible(str(error))}", markup=False, severity="error")

    def _show(self) -> None:
        table = self._table
        column = next(column for column in SNAPSHOT_COLUMNS if column.id == self._order)
        rows = sorted(self._items, key=lambda item: item.path)
        rows.sort(key=column.order, reverse=self._descending)  # type: ignore[arg-type]
        table.show_empty("No snapshots yet: take one in the tab Processes (1), or open a file (o)")
        table.show_order(self._order, descending=self._descending)
        table.show(rows)
        words = [
            counted(len(rows), "snapshot"),
            full_size(sum(item.size for item in rows)),
            f"in {self._folder}",
        ]
        self.query_one(".status-line", Static).update(Text(visible("  ·  ".join(words))), layout=False)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What is done with a snapshot needs one."""
        return None if action in _OF_ONE and self._table.current is None else True

    @property
    def _table(self) -> RowTable[Item]:
        return self.query_one("#snapshot-table", RowTable)

    def show_item(self, path: str) -> None:
        """Move the cursor to a file, if it is in the list."""
        self._table.go_to(path)

    def on_row_table_ordered(self, event: RowTable.Ordered) -> None:
        """A heading was clicked."""
        self._set_order(event.column)

    def action_order(self, step: int) -> None:
        """Order by the next column."""
        names = [column.id for column in SNAPSHOT_COLUMNS]
        self._set_order(names[(names.index(self._order) + step) % len(names)])

    def _set_order(self, name: str) -> None:
        column = next(column for column in SNAPSHOT_COLUMNS if column.id == name)
        self._descending = not self._descending if name == self._order else column.descending
        self._order = name
        self._show()
        self.post_message(Remember({"snapshots_order": name, "snapshots_descending": self._descending}))

    # What is done with a snapshot.

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """A double click."""
        event.stop()
        self.action_open()

    def action_open(self) -> None:
        """Look inside."""
        if (item := self._table.current) is not None:
            self.post_message(OpenSnapshot(item.path))

    def action_compare(self) -> None:
        """Compare it with another one."""
        if (item := self._table.current) is not None:
            self.post_message(CompareSnapshot(item.path))

    def action_mount(self) -> None:
        """Serve it."""
        if (item := self._table.current) is not None:
            self.post_message(OpenMount(item.path))

    def action_debugger(self) -> None:
        """Run gdb."""
        if (item := self._table.current) is not None:
            self.post_message(RunDebugger(item.path))

    def action_work(self, what: Literal["verify", "compress", "rename", "delete"]) -> None:
        """Verify, rename, delete, compress; what is compressed is unpacked."""
        if (item := self._table.current) is not None:
            unpack = what == "compress" and item.compressed
            self.post_message(WorkOnFile(item.path, "unpack" if unpack else what))

    def action_other(self) -> None:
        """A file that is not in the list."""
        self.post_message(OpenOther())

    def action_folder(self) -> None:
        """Another folder."""
        self.post_message(ChooseFolder())
