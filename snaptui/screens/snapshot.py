"""Inside an opened snapshot: its processes, one at a time, in tabs."""

from __future__ import annotations

import asyncio
import functools
import gc
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import ContentSwitcher, Input, Static, Tabs

from snaptui.children.answers import Answers
from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.opened import Opened
from snaptui.engine.snapfile import Snapshot
from snaptui.explain import explain
from snaptui.screens.choose import Choose
from snaptui.screens.inside.files import FilesPane
from snaptui.screens.inside.memory import MemoryPane
from snaptui.screens.inside.requests import ChooseThread, GoTo, ShowFile, ShowStack, ShowThread
from snaptui.screens.inside.segments import SegmentsPane
from snaptui.screens.inside.stacks import StacksPane
from snaptui.screens.inside.strings import StringsPane
from snaptui.screens.inside.threads import ThreadsPane
from snaptui.screens.inside.why import WhyPane
from snaptui.screens.messages import CompareSnapshot, OpenMount, RunDebugger
from snaptui.screens.tabline import TabLine, tab_bindings
from snaptui.widgets.keyline import IF_ROOM, KeyLine
from snaptui.widgets.tabbed_screen import TabbedScreen

TABS: Final = (
    ("memory", "Memory", "#hex"),
    ("segments", "Segments", "#segment-table"),
    ("threads", "Threads", "#saved-threads"),
    ("files", "Files", "#file-names"),
    ("strings", "Strings", "#found-texts"),
    ("stacks", "Stacks", "#stack-groups"),
    ("why", "Why", "#waits"),
)
"""Name, title, and what has the focus."""


_THRESHOLD: Final = 50_000
"""Objects more than before at which the garbage collector looks at the youngest: five screens full."""


class SnapshotScreen(TabbedScreen):
    """One process of a snapshot in tabs; escape or q leaves it."""

    DEFAULT_CSS = """
    SnapshotScreen {
        & #panes { height: 1fr; }
    }
    """
    HELP: ClassVar[str] = ""
    AUTO_FOCUS = "#hex"
    BINDINGS: ClassVar[list[BindingType]] = [
        *tab_bindings([tab[:2] for tab in TABS], "snapshot"),
        Binding("g", "goto", "Go to", id="snapshot.goto", tooltip="To an address or symbol", priority=True),
        Binding(
            "p",
            "process",
            "Process",
            group=IF_ROOM,
            id="snapshot.process",
            tooltip="Another process of this file",
        ),
        Binding(
            "M",
            "mount",
            "Mount",
            group=IF_ROOM,
            id="snapshot.mount",
            tooltip="Serve this snapshot as a /proc tree",
        ),
        Binding(
            "D", "debugger", "gdb", group=IF_ROOM, id="snapshot.debugger", tooltip="Run gdb on this process"
        ),
        Binding(
            "equals_sign",
            "compare",
            "Compare",
            group=IF_ROOM,
            key_display="=",
            id="snapshot.compare",
            tooltip="Compare this snapshot with another one: what moved, and what changed",
        ),
        Binding("escape", "step_back", "Leave", id="snapshot.leave", tooltip="Drop the hits, or leave"),
        Binding("q", "leave", "Leave at once", show=False, id="snapshot.leave-at-once"),
    ]

    def __init__(
        self,
        snapshot: Snapshot,
        pid: int | None = None,
        answers: Answers | None = None,
        start: Message | None = None,
    ) -> None:
        """Shows the process `pid`, or the first one; then what `start`, a request of a tab, asks for.

        The caller closes the snapshot after the screen.
        """
        super().__init__()
        self._snapshot = snapshot
        self._answers = answers or Answers()
        self._start = start
        self._thresholds: tuple[int, ...] = ()
        self._pid = pid if pid in snapshot.processes else next(iter(snapshot.processes), 0)

    def compose(self) -> ComposeResult:
        """The tabs, what is in them, the keys."""
        yield TabLine([tab[:2] for tab in TABS])
        yield Vertical(id="inside")
        yield KeyLine()

    async def on_mount(self) -> None:
        """Show the process."""
        await self._show_process()
        if self._start is not None:
            self.post_message(self._start)

    async def _show_process(self) -> None:
        body = self.query_one("#inside")
        await body.remove_children()
        if self._pid not in self._snapshot.processes:
            await body.mount(Static("This snapshot holds no process.", markup=False))
            return
        process = self._snapshot.process(self._pid)
        pids = list(self._snapshot.processes)
        which = f"{pids.index(process.pid) + 1}/{len(pids)} " if len(pids) > 1 else ""
        # The name last: at 80 columns there are 16 cells, and a pid has up to seven digits.
        self.query_one(TabLine).show_title(f"{which}{process.pid} {process.name}")
        note = Static("Opening...", markup=False)
        await body.mount(note)
        try:
            # In a thread: with 65,000 mappings it takes half a second.
            opened = await asyncio.to_thread(Opened, self._snapshot, process)
        except SnapError as error:
            words = explain(error)
            note.update(Text(f"{words.message}\n{words.help}"))
            return
        await note.remove()
        await body.mount(
            ContentSwitcher(
                MemoryPane(opened),
                SegmentsPane(opened),
                ThreadsPane(opened),
                FilesPane(opened),
                StringsPane(opened),
                StacksPane(opened, functools.partial(self._answers.stacks, self._snapshot.path, process.pid)),
                WhyPane(functools.partial(self._answers.why, self._snapshot.path)),
                initial="memory-pane",
                id="panes",
            )
        )
        self.action_tab("memory")
        self._keep()

    def _keep(self) -> None:
        """Tell the garbage collector that what lives now will live until the screen is left.

        Measured: it looks at all that lives every tenth page down, for 60 ms, with 65,530 mappings 160 ms.
        A line of the screen is forty objects to it, all garbage when it is scrolled out.
        """
        if not self._thresholds:
            self._thresholds = gc.get_threshold()
        gc.set_threshold(_THRESHOLD, *self._thresholds[1:])
        gc.collect()
        gc.freeze()

    def on_unmount(self) -> None:
        """Collect as before."""
        if self._thresholds:
            gc.unfreeze()
            gc.set_threshold(*self._thresholds)

    # Tabs.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Digits and g are taken at once (priority), but not from a line that is being typed."""
        return action not in ("tab", "goto") or not isinstance(self.focused, Input)

    def action_tab(self, name: str) -> None:
        """To another tab; keys go there."""
        for switcher in self.query("#panes").results(ContentSwitcher):
            self.query_one(TabLine).show_active(name)
            switcher.current = f"{name}-pane"
            self._focus(name)

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        """A click on a tab. (Told of keys too, and late: then another one may be active by now.)"""
        name = (event.tab.id or "").removeprefix("tab-")
        if name == self.query_one(TabLine).active and any(
            switcher.current != f"{name}-pane" for switcher in self.query("#panes").results(ContentSwitcher)
        ):
            self.action_tab(name)

    def _focus(self, name: str) -> None:
        selector = next(focus for tab, _, focus in TABS if tab == name)
        for widget in self.query(selector):
            self.set_focus(widget)

    @property
    def _memory(self) -> MemoryPane | None:
        return next(iter(self.query(MemoryPane)), None)

    # What the tabs ask for.

    def on_go_to(self, event: GoTo) -> None:
        """Show an address."""
        if (memory := self._memory) is not None:
            self.action_tab("memory")
            memory.show_memory()
            memory.jump(event.address)

    def on_choose_thread(self, event: ChooseThread) -> None:
        """Registers have other values."""
        if (memory := self._memory) is not None:
            memory.show_registers(event.registers)

    def on_show_thread(self, event: ShowThread) -> None:
        """Show a thread's registers."""
        self.action_tab("threads")
        for pane in self.query(ThreadsPane):
            pane.show_thread(event.tid)

    def on_show_file(self, event: ShowFile) -> None:
        """Show a file of /proc/PID."""
        self.action_tab("files")
        for pane in self.query(FilesPane):
            pane.show_file(event.name)

    async def on_show_stack(self, event: ShowStack) -> None:
        """Show a thread's stack, of another process too."""
        if event.pid != self._pid:
            await self._chosen(str(event.pid))
        self.action_tab("stacks")
        for pane in self.query(StacksPane):
            pane.show_thread(event.tid)

    # What keys ask for.

    def action_goto(self) -> None:
        """Ask where to, from any tab."""
        if (memory := self._memory) is not None:
            memory.ask_where(self._go)

    def _go(self, address: int | None) -> None:
        if address is not None and (memory := self._memory) is not None:
            self.action_tab("memory")
            memory.jump(address)

    def action_process(self) -> None:
        """Ask which process."""
        processes = self._snapshot.processes.values()
        if len(processes) < 2:
            self.notify("This is the only process in the snapshot", markup=False)
            return
        options = [(str(one.pid), f"{one.pid:>7}  {one.name}  {one.user}  {one.state}") for one in processes]
        self.app.push_screen(Choose("Processes", options, str(self._pid)), self._chosen)

    async def _chosen(self, name: str | None) -> None:
        if name is not None and int(name) != self._pid:
            await self._ended()
            self._pid = int(name)
            await self._show_process()

    def action_mount(self) -> None:
        """Serve it."""
        self.app.post_message(OpenMount(self._snapshot.path))

    def action_compare(self) -> None:
        """Compare it."""
        self.app.post_message(CompareSnapshot(self._snapshot.path))

    def action_debugger(self) -> None:
        """Debug it."""
        self.app.post_message(RunDebugger(self._snapshot.path, self._pid))

    def action_step_back(self) -> None:
        """Take back the least thing first: a search, a selection, hits; else leave."""
        if (memory := self._memory) is None or not memory.step_back():
            self.action_leave()

    def action_leave(self) -> None:
        """Back to where it was opened, by a worker: the screen shall not wait for a read."""
        self.run_worker(self._leave(), group="leave", exclusive=True)

    async def _leave(self) -> None:
        await self._ended()
        self.dismiss(None)

    async def _ended(self) -> None:
        for pane in self.query("MemoryPane, SegmentsPane, StringsPane"):
            if isinstance(pane, MemoryPane | SegmentsPane | StringsPane):
                await pane.ended()
