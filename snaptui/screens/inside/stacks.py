"""The tab Stacks: where every thread was, function by function, with the locals of each."""

from __future__ import annotations

import linecache
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widgets import Static

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.opened import Opened
from snaptui.engine.inspect.stacks.model import Frame, StackGroup, ThreadStack, group_stacks
from snaptui.explain import explain, visible
from snaptui.screens.inside.requests import GoTo, ShowThread
from snaptui.widgets.columns import Column
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.units import counted

_WIDE: Final = 110  # cells from which on the frames are beside the threads
_LIBC: Final = re.compile(r"/(libc|libpthread|ld-[^/]*|ld-musl[^/]*)[.-][^/]*$|vdso")
"""Files whose functions every thread that waits is in: what called them tells threads apart."""
_LOST: Final = "<optimized out>"
_TIDS: Final = 4  # threads of a group that are named


@dataclass(frozen=True, slots=True)
class FrameRow:
    """A frame and its number on the stack."""

    number: int
    frame: Frame

    @property
    def function(self) -> str:
        """Its name, or the address."""
        return self.frame.function or (f"{self.frame.pc:#x}" if self.frame.pc else "?")

    @property
    def place(self) -> str:
        """The line of source, or the module and the offset in it."""
        frame = self.frame
        if frame.source:
            return f"{frame.source.rpartition('/')[2]}:{frame.line}"
        name = frame.module.rpartition("/")[2]
        return f"{name}+{frame.offset:#x}" if name else ""

    @property
    def kind(self) -> str:
        """Python's frames look different, and so does what has no name."""
        if self.frame.language == "python":
            return "good"
        return "" if self.frame.function else "dim"


def threads_text(group: StackGroup) -> str:
    """Which threads stand there: `12 worker`, or `100 threads: 12, 13, 14, 15, ...`."""
    if len(group.tids) == 1:
        return f"{group.tids[0]} {group.stack.name}".rstrip()
    named = ", ".join(map(str, group.tids[:_TIDS]))
    more = ", ..." if len(group.tids) > _TIDS else ""
    return f"{len(group.tids)} threads: {named}{more}"


def top_text(stack: ThreadStack) -> str:
    """The innermost functions that say where it is: those of Python, else those that are not libc's."""
    own = [frame for frame in stack.frames if frame.language == "python"]
    own = own or [frame for frame in stack.frames if not _LIBC.search(frame.module)]
    names = [FrameRow(0, frame).function for frame in (own or stack.frames)[:3]]
    return " < ".join(names) or stack.problem or "no stack"


_GROUPS: Final[tuple[Column[StackGroup], ...]] = (
    Column("threads", "THREADS", 26, threads_text, lambda g: g.tids),
    Column("top", "STAND IN", 0, lambda g: top_text(g.stack), lambda g: top_text(g.stack)),
)
_FRAMES: Final[tuple[Column[FrameRow], ...]] = (
    Column("number", "#", 3, lambda r: str(r.number), lambda r: r.number, right=True),
    Column("function", "FUNCTION", 38, lambda r: r.function, lambda r: r.function, kind=lambda r: r.kind),
    Column("place", "WHERE", 0, lambda r: r.place, lambda r: r.place),
)


class StacksPane(Container):
    """Threads with the same stack are one row; below or beside it the frames, and their locals."""

    DEFAULT_CSS = """
    StacksPane {
        layout: vertical;
        & #stack-groups { height: auto; min-height: 3; max-height: 35%; }
        & #stack-side { height: 1fr; }
        & #stack-frames { height: 1fr; }
        & #frame-detail { height: auto; max-height: 40%; padding: 0 1; background: $surface; }
        &.-wide {
            layout: horizontal;
            & #stack-groups { width: 40%; height: 1fr; max-height: 100%; }
            & #stack-side { width: 1fr; }
        }
        &:ansi #frame-detail { background: ansi_default; }
    }
    """
    HELP: ClassVar[str] = (
        "The stacks of all threads, from the snapshot alone; threads that stand in the same functions are "
        "one row. Frames of Python are merged into those of C. Enter on a frame shows its code in the "
        "memory, t the registers of the thread."
    )
    SHELL: ClassVar[tuple[str, ...]] = ("snaptui stack FILE PID --locals",)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Show", id="stacks.show", tooltip="Its frames; a frame's code in memory"),
        Binding("t", "thread", "Thread", id="stacks.thread", tooltip="The thread's registers"),
    ]

    def __init__(self, opened: Opened, ask: Callable[[], Awaitable[Sequence[ThreadStack]]]) -> None:
        """`ask` reads the stacks; it is called when somebody looks for the first time."""
        super().__init__(id="stacks-pane")
        self._opened, self._ask = opened, ask
        self._asked = False
        self._wanted = 0

    def compose(self) -> ComposeResult:
        """Two tables, and what is known of a frame."""
        yield RowTable[StackGroup](_GROUPS, lambda group: group.tids, empty="Reading...", id="stack-groups")
        with Vertical(id="stack-side"):
            yield RowTable[FrameRow](_FRAMES, lambda row: row.number, id="stack-frames")
            yield Static("", id="frame-detail", markup=False)

    def on_show(self) -> None:
        """Read the stacks when somebody looks."""
        if not self._asked:
            self._asked = True
            self.run_worker(self._read(), exit_on_error=False)

    def on_resize(self, event: events.Resize) -> None:
        """Beside each other, or one below the other."""
        self.set_class(event.size.width >= _WIDE, "-wide")

    async def _read(self) -> None:
        try:
            stacks = await self._ask()
        except SnapError as error:
            words = explain(error)
            self._groups.show_empty(words.message)
            self.query_one("#frame-detail", Static).update(Text(words.help))
            return
        self._groups.show_empty("There are no threads")
        self._groups.show(group_stacks(stacks))
        self._go_to_thread()

    def show_thread(self, tid: int) -> None:
        """Put the cursor on that thread."""
        self._wanted = tid
        self._go_to_thread()

    def _go_to_thread(self) -> None:
        for group in self._groups.rows:
            if self._wanted in group.tids:
                self._groups.go_to(group.tids)

    @property
    def _groups(self) -> RowTable[StackGroup]:
        table: RowTable[StackGroup] = self.query_one("#stack-groups", RowTable)
        return table

    @property
    def _frames(self) -> RowTable[FrameRow]:
        table: RowTable[FrameRow] = self.query_one("#stack-frames", RowTable)
        return table

    def on_row_table_moved(self, event: RowTable.Moved) -> None:
        """Another thread has other frames, another frame other locals."""
        event.stop()
        if event.table is self._groups:
            self._show_frames()
        self._show_detail()

    def _show_frames(self) -> None:
        group = self._groups.current
        if group is not None:
            self._frames.show_empty(visible(group.stack.problem) or "No stack")
            self._frames.show([FrameRow(number, frame) for number, frame in enumerate(group.stack.frames)])
            self._frames.action_first()

    def _show_detail(self) -> None:
        group, row = self._groups.current, self._frames.current
        detail = self.query_one("#frame-detail", Static)
        lines = _frame_lines(row.frame, self._opened) if row is not None else []
        if group is not None and group.stack.problem:
            lines.append(group.stack.problem)
        detail.display = bool(lines)
        detail.update(Text("\n".join(visible(line) for line in lines)))

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """A double click is Enter."""
        event.stop()
        self.action_choose()

    def action_choose(self) -> None:
        """From a thread to its frames, from a frame to its code."""
        if not self._frames.has_focus:
            self.screen.set_focus(self._frames)
        elif (row := self._frames.current) is not None:
            if row.frame.pc and self._opened.memory.is_mapped(row.frame.pc):
                self.post_message(GoTo(row.frame.pc))
            else:
                self.app.notify(f"{row.function} has no code in this memory", markup=False)

    def action_thread(self) -> None:
        """The registers of the (first) thread."""
        if (group := self._groups.current) is not None:
            self.post_message(ShowThread(group.tids[0]))


def _frame_lines(frame: Frame, opened: Opened) -> list[str]:
    """What is known of a frame: its place in full, the line of source, the locals."""
    lines = []
    if frame.source:
        lines.append(f"{frame.source}:{frame.line}")
        if text := linecache.getline(frame.source, frame.line).strip():
            lines.append(f"    {text}")
    elif frame.module:
        lines.append(f"{frame.module}+{frame.offset:#x}")
    elif frame.pc:
        lines.append(opened.describe(frame.pc) or f"{frame.pc:#x}")
    if frame.inlined:
        lines.append("inlined into the next frame")
    known = [local for local in frame.locals if local.value != _LOST]
    lines += [f"{local.name} = {local.value}" for local in known]
    if lost := len(frame.locals) - len(known):
        lines.append(f"{counted(lost, 'variable')} optimized out")
    return lines
