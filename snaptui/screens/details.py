"""One running process more closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static, TabbedContent, TabPane

from snaptui.engine.snapfile.mappings import Mapping
from snaptui.engine.take.details import Details, OpenFile
from snaptui.engine.take.hung import Wait
from snaptui.engine.take.processes import LiveProcess
from snaptui.explain import visible
from snaptui.polling import Poller
from snaptui.screens.messages import TakeSnapshot
from snaptui.widgets.columns import Column
from snaptui.widgets.dialog import Dialog
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.units import short_size, short_time

_INTERVAL: Final = 1.0  # seconds

_THREADS: Final[tuple[Column[Wait], ...]] = (
    Column("tid", "TID", 8, lambda w: str(w.tid), lambda w: w.tid, right=True),
    Column("state", "S", 2, lambda w: w.state, lambda w: w.state),
    Column("syscall", "SYSTEM CALL", 18, lambda w: w.syscall or "-", lambda w: w.syscall),
    Column("wchan", "WAIT CHANNEL", 24, lambda w: w.wchan or "-", lambda w: w.wchan),
    Column("name", "NAME", 0, lambda w: w.comm, lambda w: w.comm),
)
_FILES: Final[tuple[Column[OpenFile], ...]] = (
    Column("number", "FD", 5, lambda f: str(f.number), lambda f: f.number, right=True),
    Column("target", "FILE", 0, lambda f: f.target, lambda f: f.target),
)
_MAPPINGS: Final[tuple[Column[Mapping], ...]] = (
    Column("start", "START", 12, lambda m: f"{m.start:x}", lambda m: m.start, right=True),
    Column("end", "END", 12, lambda m: f"{m.end:x}", lambda m: m.end, right=True),
    Column("size", "SIZE", 6, lambda m: short_size(m.size), lambda m: m.size, right=True),
    Column("perms", "PERM", 4, lambda m: m.perms, lambda m: m.perms),
    Column("path", "WHAT", 0, lambda m: m.path + (" (deleted)" if m.deleted else ""), lambda m: m.path),
)


class DetailsScreen(Dialog[None]):
    """Threads with their waits, open files, mappings; looked at once a second."""

    DEFAULT_CSS = """
    DetailsScreen {
        & > .dialog { width: 96%; height: 92%; }
        & #facts { height: auto; max-height: 6; padding-bottom: 1; }
        & TabbedContent { height: 1fr; }
    }
    """
    HELP: ClassVar[str] = (
        "A running process: its threads and where each waits, its open files and its mappings."
    )
    SHELL: ClassVar[tuple[str, ...]] = ("snaptui psu --json --match NAME",)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "snapshot", "Snapshot", id="details.snapshot", tooltip="Save this process"),
        Binding(
            "tab", "next_tab", "Next", priority=True, id="details.next", tooltip="Threads, files, mappings"
        ),
    ]

    @dataclass
    class Looked(Message):
        """What was found, from the thread that looks."""

        details: Details

    def __init__(self, process: LiveProcess, age: float, look: Callable[[int], Details]) -> None:
        """`age` of the process in seconds."""
        super().__init__()
        self._process, self._age = process, age
        self._poller = Poller(
            lambda: look(process.pid),
            lambda details: self.post_message(self.Looked(details)),
            lambda error: self.app.call_later(self._failed, error),
            interval=_INTERVAL,
        )

    def compose(self) -> ComposeResult:
        """Facts, and three tables."""
        process = self._process
        with Vertical(classes="dialog") as box:
            box.border_title = Content(visible(f"{process.name} ({process.pid})"))
            box.border_subtitle = "tab: next list   s: snapshot   escape: back"
            yield Static(self._facts(), id="facts")
            with TabbedContent():
                with TabPane("Threads", id="threads"):
                    yield RowTable[Wait](_THREADS, lambda wait: wait.tid, id="thread-table")
                with TabPane("Open files", id="files"):
                    yield RowTable[OpenFile](_FILES, lambda file: file.number, id="file-table")
                with TabPane("Mappings", id="mappings"):
                    yield RowTable[Mapping](_MAPPINGS, lambda mapping: mapping.start, id="mapping-table")

    def _facts(self) -> Text:
        process = self._process
        cpu = (process.utime_ms + process.stime_ms) / 1000
        return Text.assemble(
            visible(" ".join(process.cmdline) or f"[{process.name}]"), "\n",
            ("program ", "dim"), visible(process.exe or "not told"), "\n",
            ("user ", "dim"), visible(process.user), ("  parent ", "dim"), str(process.ppid),
            ("  age ", "dim"), short_time(self._age), ("  CPU ", "dim"), short_time(cpu),
            ("  memory ", "dim"), short_size(process.rss), ("  virtual ", "dim"), short_size(process.vsize),
        )  # fmt: skip

    def on_mount(self) -> None:
        """Begin to look."""
        self._poller.start()
        self.query_one("#thread-table").focus()

    def on_unmount(self) -> None:
        """Look no more."""
        self._poller.stop()

    def on_details_screen_looked(self, event: Looked) -> None:
        """Show it."""
        details = event.details
        lists = {"thread": details.threads, "file": details.files, "mapping": details.mappings}
        for name, rows in lists.items():
            table: RowTable[Any] = self.query_one(f"#{name}-table", RowTable)
            table.show_empty(details.why_not or "None")
            table.show(rows)
        tabs = self.query_one(TabbedContent)
        tabs.get_tab("threads").label = f"Threads ({len(details.threads)})"
        tabs.get_tab("files").label = f"Open files ({len(details.files)})"
        tabs.get_tab("mappings").label = f"Mappings ({len(details.mappings)})"

    def _failed(self, error: Exception) -> None:
        self.notify(visible(str(error)), markup=False, severity="error")

    def action_next_tab(self) -> None:
        """To the next list."""
        tabs = self.query_one(TabbedContent)
        names = ["threads", "files", "mappings"]
        tabs.active = names[(names.index(tabs.active) + 1) % len(names)]

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Keys go to the list that is shown."""
        event.pane.query_one(RowTable).focus()

    def action_snapshot(self) -> None:
        """Save it."""
        self.app.post_message(TakeSnapshot([self._process]))
        self.dismiss(None)
