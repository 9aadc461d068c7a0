"""The tab Threads: where each stood, and its registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widgets import Static

from snaptui.engine.inspect.hexdump import ROW, row
from snaptui.engine.inspect.opened import Opened
from snaptui.engine.inspect.threads import SavedThread
from snaptui.explain import visible
from snaptui.screens.inside.requests import ChooseThread, GoTo
from snaptui.widgets.columns import Column
from snaptui.widgets.row_table import RowTable

_WIDE: Final = 110  # cells from which on the registers are beside the threads

_THREADS: Final[tuple[Column[SavedThread], ...]] = (
    Column("tid", "TID", 8, lambda t: str(t.tid), lambda t: t.tid, right=True),
    Column("state", "STATE", 6, lambda t: t.state, lambda t: t.state),
    Column("where", "WAITS IN", 24, lambda t: t.where or "-", lambda t: t.where),
    Column("name", "NAME", 0, lambda t: t.name, lambda t: t.name),
)


@dataclass(frozen=True, slots=True)
class RegisterRow:
    """A register; without a value, bytes of registers whose layout is not known."""

    name: str
    value: int | None
    text: str


_REGISTERS: Final[tuple[Column[RegisterRow], ...]] = (
    Column("name", "REGISTER", 9, lambda r: r.name, lambda r: r.name),
    Column("text", "VALUE", 0, lambda r: r.text, lambda r: r.text),
)


class ThreadsPane(Container):
    """Threads, and the registers of the chosen one."""

    DEFAULT_CSS = """
    ThreadsPane {
        layout: vertical;
        & #thread-side { height: 1fr; }
        & #saved-threads { height: auto; max-height: 35%; }
        & #thread-kernel { height: auto; max-height: 40%; padding: 0 1; background: $surface; }
        & #thread-registers { height: 1fr; }
        &.-wide {
            layout: horizontal;
            & #saved-threads { width: 50%; height: 1fr; max-height: 100%; }
            & #thread-side { width: 1fr; }
        }
        &:ansi #thread-kernel { background: ansi_default; }
    }
    """
    HELP: ClassVar[str] = (
        "The threads when they were stopped: the system call or kernel function each was in, its kernel "
        "stack, and its registers. Enter on a register shows where it points to. In the memory, goto knows "
        "registers by name: those of the thread chosen here."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Show", id="threads.show", tooltip="Its registers; where one points"),
    ]
    SHELL: ClassVar[tuple[str, ...]] = ("snaptui regs FILE PID --all",)

    def __init__(self, opened: Opened) -> None:
        super().__init__(id="threads-pane")
        self._opened = opened
        self._tid = 0

    def compose(self) -> ComposeResult:
        """Two tables, and what the kernel did."""
        yield RowTable[SavedThread](_THREADS, lambda thread: thread.tid, id="saved-threads")
        with Vertical(id="thread-side"):
            yield RowTable[RegisterRow](_REGISTERS, lambda register: register.name, id="thread-registers")
            yield Static("", id="thread-kernel", markup=False)

    def on_mount(self) -> None:
        """Show the threads."""
        self._threads.show(self._opened.threads)

    def on_resize(self, event: events.Resize) -> None:
        """Beside each other, or one below the other."""
        self.set_class(event.size.width >= _WIDE, "-wide")

    def show_thread(self, tid: int) -> None:
        """Put the cursor on that thread."""
        self._threads.go_to(tid)

    @property
    def _threads(self) -> RowTable[SavedThread]:
        table: RowTable[SavedThread] = self.query_one("#saved-threads", RowTable)
        return table

    def on_row_table_moved(self, event: RowTable.Moved) -> None:
        """Another thread has other registers."""
        event.stop()
        thread = event.table.current
        if isinstance(thread, SavedThread) and thread.tid != self._tid:
            self._tid = thread.tid
            self._show(thread)

    def _show(self, thread: SavedThread) -> None:
        table: RowTable[RegisterRow] = self.query_one("#thread-registers", RowTable)
        table.show_empty(visible(thread.missing))
        table.show(self._rows(thread))
        table.action_first()
        kernel = self.query_one("#thread-kernel", Static)
        kernel.display = bool(thread.kernel)
        kernel.update(Text("\n".join(visible(line.expandtabs(2)) for line in thread.kernel.splitlines())))
        self.post_message(ChooseThread(thread.tid, thread.registers))

    def _rows(self, thread: SavedThread) -> list[RegisterRow]:
        if not thread.registers:
            data = thread.data
            return [
                RegisterRow(f"+{at:03x}", None, row(at, data[at : at + ROW])[10:])
                for at in range(0, len(data), ROW)
            ]
        digits = 2 * self._opened.machine.width
        # What one looks for first is first: where it is, its stack, then the rest as they are saved.
        first = [thread.pc, thread.sp]
        names = [*first, *(name for name in thread.registers if name not in first)]
        return [self._row(name, thread.registers[name], digits) for name in names]

    def _row(self, name: str, value: int, digits: int) -> RegisterRow:
        place = self._opened.describe(value)
        text = self._opened.text_at(value) if place else ""
        signed = value - (1 << 4 * digits) if value >> (4 * digits - 1) else value
        said = "  ".join(filter(None, (place or str(signed or ""), f'"{text}"' if text else "")))
        return RegisterRow(name, value, f"{value:0{digits}x}  {said}".rstrip())

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """A double click is Enter."""
        event.stop()
        self.action_choose()

    def action_choose(self) -> None:
        """From a thread to its registers, from a register to where it points."""
        registers: RowTable[RegisterRow] = self.query_one("#thread-registers", RowTable)
        if not registers.has_focus:
            self.screen.set_focus(registers)
        elif (chosen := registers.current) is not None and chosen.value is not None:
            if self._opened.memory.is_mapped(chosen.value):
                self.post_message(GoTo(chosen.value))
            else:
                self.app.notify(f"{chosen.name} points to nothing that is mapped", markup=False)
