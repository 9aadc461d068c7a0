"""The tab of running servers: where which snapshots are served."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from snaptui.engine.serve.registry import Entry
from snaptui.explain import visible
from snaptui.polling import Poller
from snaptui.preferences import Preferences
from snaptui.screens.choose import Choose
from snaptui.screens.messages import EndServer, OpenMount, OpenSnapshot, Remember, RunDebugger, RunShell
from snaptui.sources import Sources
from snaptui.widgets.columns import Column
from snaptui.widgets.keyline import IF_ROOM
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.units import counted

_INTERVAL: Final = 2.0  # seconds
_OF_ONE: Final = ("unmount", "shell", "debugger", "open")  # actions
_AT_END: Final = (("ask", "ask each time"), ("stay", "let them run"), ("stop", "end them"))


def _since(entry: Entry) -> str:
    return time.strftime("%m-%d %H:%M", time.localtime(entry.started))


def place_text(entry: Entry) -> str:
    """Where a server serves: its mount point, its addresses."""
    return "  ".join(filter(None, [entry.mountpoint, *entry.services]))


def _files(entry: Entry) -> str:
    return ", ".join(Path(path).name for path in entry.files)


MOUNT_COLUMNS: Final[tuple[Column[Entry], ...]] = (
    Column("pid", "PID", 7, lambda e: str(e.pid), lambda e: e.pid, right=True),
    Column("since", "SINCE", 11, _since, lambda e: e.started),
    Column("place", "WHERE", 34, place_text, place_text),
    Column("files", "SNAPSHOTS", 0, _files, _files),
)


class MountsPane(Vertical):
    """The running servers of this user."""

    HELP: ClassVar[str] = (
        "Running snapfs servers. Each serves snapshots as a /proc tree, mounted in a directory or as "
        "9P at a socket. PID/mem, PID/regs and the rest are files as on Plan 9; PID/core with "
        "PID/root is what a debugger needs.\n"
        "Those that you start here run on when the app ends, or end with it: it asks, or does as you set (e)."
    )
    SHELL: ClassVar[tuple[str, ...]] = (
        "snapfs -m MTPT FILE",
        "snaptui mounts",
        "snaptui umount MTPT",
        "snaptui gdb FILE PID",
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "mount", "Mount...", id="mounts.mount", tooltip="Serve a snapshot"),
        Binding("u,d,delete", "unmount", "Unmount", id="mounts.unmount", tooltip="End this server"),
        Binding(
            "exclamation_mark",
            "shell",
            "Shell",
            key_display="!",
            id="mounts.shell",
            tooltip="A shell there; the app comes back",
        ),
        Binding("g", "debugger", "gdb", id="mounts.gdb", tooltip="gdb on a process that is served"),
        Binding(
            "e",
            "end",
            "At the end",
            group=IF_ROOM,
            id="mounts.end",
            tooltip="What becomes of servers started here when the app ends",
        ),
        Binding("enter", "open", "Look inside", id="mounts.open", tooltip="Look inside the snapshot"),
    ]

    @dataclass
    class Looked(Message):
        """The servers, from the thread that looks."""

        entries: Sequence[Entry]

    def __init__(self, sources: Sources, preferences: Preferences) -> None:
        super().__init__(id="mounts")
        self._at_end: str = preferences.servers
        self._poller = Poller(
            sources.servers,
            lambda entries: self.post_message(self.Looked(entries)),
            lambda error: self.app.call_later(self._failed, error),
            interval=_INTERVAL if sources.interval else 1e6,
        )
        self._started = False

    def compose(self) -> ComposeResult:
        """The table and the line below it."""
        yield RowTable[Entry](MOUNT_COLUMNS, lambda entry: (entry.pid, entry.start_ticks), id="mount-table")
        yield Static("", classes="status-line", markup=False)

    def on_show(self) -> None:
        """Begin to look when somebody does."""
        if self._started:
            self._poller.poke()
        else:
            self._started = True
            self._poller.start()

    def on_unmount(self) -> None:
        """Look no more."""
        self._poller.stop()

    def look(self) -> None:
        """Look now: something was started or ended."""
        if self._started:
            self._poller.poke()

    def on_mounts_pane_looked(self, event: Looked) -> None:
        """Show them."""
        table = self._table
        table.show_empty("Nothing is served: m mounts a snapshot")
        table.show(event.entries)
        self._say()
        self.refresh_bindings()

    def on_row_table_moved(self, event: RowTable.Moved) -> None:
        """Say more of another server."""
        event.stop()
        self._say()

    def _say(self) -> None:
        """Say how many servers run, and of which files in full the one under the cursor is."""
        entry = self._table.current
        words = [f"{counted(len(self._table.rows), 'server')} running", *(entry.files if entry else ())]
        self.query_one(".status-line", Static).update(Text(visible("  ·  ".join(words))), layout=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What is done with a server needs one."""
        return None if action in _OF_ONE and self._table.current is None else True

    def _failed(self, error: Exception) -> None:
        self.notify(f"the servers cannot be listed: {visible(str(error))}", markup=False, severity="error")

    @property
    def _table(self) -> RowTable[Entry]:
        return self.query_one("#mount-table", RowTable)

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """A double click."""
        event.stop()
        self.action_open()

    def action_mount(self) -> None:
        """Serve another snapshot."""
        self.post_message(OpenMount())

    def action_open(self) -> None:
        """Look inside its snapshot."""
        self._with_file(self._look_inside)

    def _with_file(self, then: Callable[[str], None]) -> None:
        """Do it with the snapshot of the server; ask which one if it serves several."""
        entry = self._table.current
        if entry is None:
            return
        if len(entry.files) == 1:
            then(entry.files[0])
        else:
            choose = Choose("Which snapshot?", [(path, path) for path in entry.files])
            self.app.push_screen(choose, lambda path: then(path) if path is not None else None)

    def _look_inside(self, path: str) -> None:
        self.post_message(OpenSnapshot(path))

    def _run_gdb(self, path: str) -> None:
        self.post_message(RunDebugger(path))

    def action_unmount(self) -> None:
        """End the server."""
        if (entry := self._table.current) is not None:
            self.post_message(EndServer(entry))

    def action_shell(self) -> None:
        """A shell at its mount point."""
        if (entry := self._table.current) is not None:
            self.post_message(RunShell(entry))

    def action_end(self) -> None:
        """Ask what becomes of servers when the app ends."""
        self.app.push_screen(
            Choose("Servers started here, when the app ends", _AT_END, self._at_end), self._set_end
        )

    def _set_end(self, answer: str | None) -> None:
        if answer is not None:
            self._at_end = answer
            self.post_message(Remember({"servers": answer}))

    def action_debugger(self) -> None:
        """Run gdb on a process of its snapshot."""
        self._with_file(self._run_gdb)
