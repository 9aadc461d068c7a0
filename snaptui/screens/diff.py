"""Two snapshots of the same processes side by side: the verdict, and all that changed, in tabs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import ContentSwitcher, Input, Static, Tabs

from snaptui.children.answers import Answers
from snaptui.engine.inspect.addresses import short_name
from snaptui.engine.inspect.diff.model import DescriptorChange, MappingChange, Report, ThreadChange
from snaptui.engine.snapfile import Snapshot
from snaptui.explain import visible
from snaptui.screens.inside.lists import FilteredList
from snaptui.screens.inside.requests import GoTo, ShowFile, ShowStack, ShowThread
from snaptui.screens.snapshot import SnapshotScreen
from snaptui.screens.tabline import TabLine, tab_bindings
from snaptui.widgets.columns import Column
from snaptui.widgets.keyline import KeyLine
from snaptui.widgets.tabbed_screen import TabbedScreen
from snaptui.widgets.units import full_size, short_size

TABS: Final = (
    ("threads", "Threads"),
    ("mappings", "Mappings"),
    ("descriptors", "Descriptors"),
    ("pages", "Pages"),
)
_KINDS: Final = {"moved": "busy", "returned": "busy", "ran": "busy", "came": "good", "went": "dim"}


@dataclass(frozen=True, slots=True)
class ChangedRange:
    """Pages beside each other that changed; `share` of the mapping's pages did in all."""

    pid: int
    start: int
    end: int
    pages: int
    share: str
    perms: str
    name: str


def changed_ranges(report: Report) -> list[ChangedRange]:
    """The changed pages in rows."""
    return [
        ChangedRange(
            *(one.pid, start, end, -(-(end - start) // one.page_size)),
            *(f"{one.changed} of {one.compared}", one.perms, one.name),
        )
        for one in report.memory
        for start, end in one.ranges
    ]


_PID: Final[Column[Any]] = Column(
    "pid", "PID", 8, lambda r: str(r.pid), lambda r: r.pid, right=True, from_width=100
)
_THREADS: Final[tuple[Column[ThreadChange], ...]] = (
    _PID,
    Column("tid", "THREAD", 8, lambda t: str(t.tid), lambda t: t.tid, right=True),
    Column("name", "NAME", 15, lambda t: t.name, lambda t: t.name, from_width=70),
    Column(
        *("cpu", "CPU s", 7, lambda t: "-" if t.cpu is None else f"{t.cpu:.2f}", lambda t: t.cpu or 0.0),
        right=True,
    ),
    Column(
        *("woken", "WOKEN", 6, lambda t: "-" if t.wakeups is None else str(t.wakeups)),
        lambda t: t.wakeups or 0,
        right=True,
    ),
    Column(
        *("what", "WHAT IT DID", 0, lambda t: t.sentence, lambda t: t.sentence),
        kind=lambda t: _KINDS.get(t.movement, ""),
    ),
)
_MAPPINGS: Final[tuple[Column[MappingChange], ...]] = (
    _PID,
    Column("start", "START", 12, lambda m: f"{m.start:x}", lambda m: m.start, right=True),
    Column("size", "SIZE", 6, lambda m: short_size(m.end - m.start), lambda m: m.end - m.start, right=True),
    Column("perms", "PERM", 4, lambda m: m.perms or "?", lambda m: m.perms),
    Column("name", "NAME", 18, lambda m: short_name(m.name), lambda m: m.name),
    Column("what", "WHAT BECAME OF IT", 0, lambda m: m.sentence, lambda m: m.sentence),
)
_DESCRIPTORS: Final[tuple[Column[DescriptorChange], ...]] = (
    _PID,
    Column("number", "FD", 5, lambda d: str(d.number), lambda d: d.number, right=True),
    Column("target", "FILE", 30, lambda d: d.target, lambda d: d.target),
    Column("what", "WHAT BECAME OF IT", 0, lambda d: d.sentence, lambda d: d.sentence),
)
_PAGES: Final[tuple[Column[ChangedRange], ...]] = (
    _PID,
    Column("start", "START", 12, lambda r: f"{r.start:x}", lambda r: r.start, right=True),
    Column("end", "END", 12, lambda r: f"{r.end:x}", lambda r: r.end, right=True),
    Column("pages", "PAGES", 7, lambda r: f"{r.pages:,}", lambda r: r.pages, right=True),
    Column("share", "OF MAPPING", 15, lambda r: r.share, lambda r: r.share, right=True),
    Column("perms", "PERM", 4, lambda r: r.perms or "?", lambda r: r.perms, from_width=75),
    Column("name", "MAPPING", 0, lambda r: short_name(r.name), lambda r: r.name),
)


class DiffScreen(TabbedScreen):
    """What changed between two snapshots; escape or q leaves it."""

    DEFAULT_CSS = """
    DiffScreen {
        & #diff-verdict {
            height: auto; max-height: 30%; padding: 0 1; text-style: bold; background: $surface;
        }
        & #diff-verdict.-hung { color: $text-error; }
        & #diff-verdict.-slow { color: $text-accent; }
        & #diff-note { height: auto; max-height: 30%; padding: 0 1; background: $surface; }
        & ContentSwitcher { height: 1fr; }
        &:ansi #diff-verdict, &:ansi #diff-note { background: ansi_default; }
    }
    """
    HELP: ClassVar[str] = (
        "Two snapshots of the same processes. A thread that was not woken and used no CPU time has not "
        "moved; one that came back to the same place has run in between. Being saved wakes each thread too: "
        "that is taken off. A program that waits for work stands as still as one that hangs: the tab Why of "
        "a snapshot says what it waits for.\n"
        "Enter shows in the later snapshot, e in the earlier one: the stack of a thread (r: its registers), "
        "a mapping or changed pages in the memory, a descriptor's file. Leaving that comes back here."
    )
    SHELL: ClassVar[tuple[str, ...]] = ("snaptui diff BEFORE AFTER",)
    BINDINGS: ClassVar[list[BindingType]] = [
        *tab_bindings(TABS, "diff"),
        Binding("e", "earlier", "Earlier", id="diff.earlier", tooltip="Show it in the earlier snapshot"),
        Binding("r", "registers", "Registers", id="diff.registers", tooltip="The registers of the thread"),
        Binding("escape,q", "leave", "Leave", id="diff.leave", tooltip="Back to where it was opened"),
    ]

    def __init__(self, before: Snapshot, after: Snapshot, report: Report, answers: Answers) -> None:
        """The caller closes the snapshots after the screen."""
        super().__init__()
        self._before, self._after, self._report, self._answers = before, after, report, answers

    def compose(self) -> ComposeResult:
        """The tabs, the verdict, what is in the tabs, the keys."""
        yield TabLine(TABS)
        yield Static("", id="diff-verdict", markup=False)
        yield Static("", id="diff-note", markup=False)
        with ContentSwitcher(initial="threads"):
            yield self._list(
                "threads", _THREADS, lambda t: (t.pid, t.tid, t.movement), "thread or what it did"
            )
            yield self._list("mappings", _MAPPINGS, lambda m: (m.pid, m.start), "name, or what became of it")
            yield self._list("descriptors", _DESCRIPTORS, lambda d: (d.pid, d.number), "file, or number")
            yield self._list("pages", _PAGES, lambda r: (r.pid, r.start), "name of a mapping, or address")
        yield KeyLine()

    @staticmethod
    def _list(name: str, columns: Any, key: Any, placeholder: str) -> FilteredList[Any]:
        rows: FilteredList[Any] = FilteredList(
            columns, key, _words, table_id=f"diff-{name}", placeholder=placeholder
        )
        rows.id = name
        return rows

    def on_mount(self) -> None:
        """Show the report."""
        report = self._report
        names = (snapshot.path.rpartition("/")[2] for snapshot in (self._before, self._after))
        self.query_one(TabLine).show_title(" > ".join(names))
        verdict = self.query_one("#diff-verdict", Static)
        verdict.update(Text(visible(report.verdict)))
        verdict.add_class(f"-{report.kind}")
        self.query_one("#diff-note", Static).update(Text(visible(_note(report))))
        rows = (report.threads, report.mappings, report.descriptors, changed_ranges(report))
        for (name, _), found in zip(TABS, rows, strict=True):
            self._list_of(name).show(found)
        self.action_tab("threads")

    def _list_of(self, name: str) -> FilteredList[Any]:
        return self.query_one(f"#{name}", FilteredList)

    @property
    def _current(self) -> Any:
        shown = self.query_one(ContentSwitcher).current or "threads"
        return self._list_of(shown).table.current

    # Tabs.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Digits and letters are not taken from a filter that is being typed; only threads have registers."""
        if action == "registers":
            return isinstance(self._current, ThreadChange)
        return action != "tab" or not isinstance(self.focused, Input)

    def action_tab(self, name: str) -> None:
        """To another tab; keys go there."""
        self.query_one(TabLine).show_active(name)
        self.query_one(ContentSwitcher).current = name
        self.set_focus(self._list_of(name).table)
        self.refresh_bindings()

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        """A click on a tab. (Told of keys too, and late.)"""
        name = (event.tab.id or "").removeprefix("tab-")
        if name == self.query_one(TabLine).active and self.query_one(ContentSwitcher).current != name:
            self.action_tab(name)

    # To where it is, and back.

    def on_filtered_list_chosen(self, event: FilteredList.Chosen) -> None:
        """Show it in the later snapshot, or in the one that has it."""
        event.stop()
        self._show(event.row, self._before if _change(event.row) == "went" else self._after)

    def action_earlier(self) -> None:
        """Show it in the earlier snapshot."""
        if (row := self._current) is not None:
            if _change(row) == "came":
                self.notify("It was not there yet in the earlier snapshot", markup=False)
            else:
                self._show(row, self._before)

    def action_registers(self) -> None:
        """The registers of a thread."""
        if isinstance(row := self._current, ThreadChange):
            snapshot = self._before if row.movement == "went" else self._after
            self._push(snapshot, row.pid, ShowThread(row.tid))

    def _show(self, row: Any, snapshot: Snapshot) -> None:
        if isinstance(row, ThreadChange):
            self._push(snapshot, row.pid, ShowStack(row.pid, row.tid))
        elif isinstance(row, DescriptorChange):
            self._push(snapshot, row.pid, ShowFile(_file(snapshot, row)))
        else:
            self._push(snapshot, row.pid, GoTo(row.start))

    def _push(self, snapshot: Snapshot, pid: int, start: Message) -> None:
        self.app.push_screen(SnapshotScreen(snapshot, pid, self._answers, start))

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)


def _file(snapshot: Snapshot, row: DescriptorChange) -> str:
    """The file that says what a descriptor is; Plan 9 has one for all."""
    return f"linux/fd/{row.number}" if snapshot.process(row.pid).linux is not None else "fd"


def _change(row: Any) -> str:
    """Whether it came or went, by the words of the model; else whatever it did."""
    if isinstance(row, ThreadChange):
        return row.movement
    return row.change if isinstance(row, MappingChange | DescriptorChange) else ""


def _words(row: Any) -> str:
    """What a filter looks in, and what is said of a row below the list."""
    match row:
        case ThreadChange():
            return f"{row.pid} {row.tid} {row.name} {row.sentence}"
        case MappingChange():
            return f"{row.start:x}-{row.end:x} {row.perms} {row.name or 'anonymous'} {row.sentence}"
        case DescriptorChange():
            return f"{row.number} {row.target} {row.sentence}"
        case ChangedRange():
            return f"{row.start:x}-{row.end:x} {row.perms} {row.name or 'anonymous'}"
        case _:
            return ""


def _note(report: Report) -> str:
    """What became of processes, and how much of the memory was compared."""
    lines = [f"process {one.pid} {one.name} {one.sentence}" for one in report.processes if one.fate != "same"]
    changed, compared = (sum(getattr(one, of) for one in report.memory) for of in ("changed", "compared"))
    missing = sum(one.not_compared for one in report.memory)
    hidden = sum(one.range_count - len(one.ranges) for one in report.memory)
    if report.memory:
        unit = full_size(report.memory[0].page_size)
        words = [f"{changed:,} of {compared:,} pages of {unit} changed"]
        words += [f"{full_size(missing)} not compared"] if missing else []
        words += [f"{hidden:,} ranges are not listed"] if hidden else []
        lines.append(", ".join(words))
    return "\n".join(lines)
