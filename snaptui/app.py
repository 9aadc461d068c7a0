"""The app: its screens, and what they ask of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, ClassVar, Final

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from snaptui.flows.desk import Desk
from snaptui.screens.messages import (
    CompareSnapshot,
    EndServer,
    OpenMount,
    OpenSnapshot,
    Remember,
    RunDebugger,
    RunShell,
    ShowProcess,
    TakeSnapshot,
    WorkOnFile,
)
from snaptui.sources import Sources, real_sources
from snaptui.widgets.keyline import IF_ROOM
from snaptui.widgets.themes import COLOURLESS, THEMES, default_theme, wants_no_colour

_NOT_OFFERED: Final = ("move", "page", "command_palette")
"""Actions that nobody would look for in the palette of commands."""


class SnaptuiApp(Desk):
    """Pick hung processes, save them, look inside, mount."""

    TITLE = "snaptui"
    CSS = """
    .status-line { height: 1; background: $panel; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    .status-line:ansi { background: ansi_default; }
    Tabs { height: 1; }
    Tabs Underline { display: none; }
    Tab.-active { text-style: bold reverse; }
    Toast { max-width: 60; }
    ToastRack { margin-bottom: 2; }
    /* Seen without colours too. Not by reverse: Textual takes that from the style of an option. */
    OptionList:ansi > .option-list--option-highlighted { text-style: bold underline; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # F1 of its own: where ? is a character to type, it is F1 that is shown.
        Binding("question_mark", "help", "Help", key_display="?", id="app.help", tooltip="What the keys do"),
        Binding("f1", "help", "Help", id="app.help.anywhere", tooltip="What the keys do"),
        Binding("q", "quit", "Quit", id="app.quit", tooltip="End the app"),
        # Of their own: where a screen has another use for q, the footer shall not say Quit.
        Binding("f10,ctrl+q", "quit", "Quit", show=False, id="app.quit.anywhere", tooltip="End the app"),
        Binding(
            "ctrl+t", "change_theme", "Theme", group=IF_ROOM, id="app.theme", tooltip="Choose the colours"
        ),
        Binding(
            "ctrl+p",
            "command_palette",
            "Palette",
            group=IF_ROOM,
            id="app.palette",
            tooltip="All that can be done here, to choose from",
            priority=True,
        ),
    ]

    def __init__(self, sources: Sources, files: Sequence[str] = ()) -> None:
        super().__init__(sources)
        self._files = tuple(files)
        for theme in THEMES:
            self.register_theme(theme)

    def on_mount(self) -> None:
        """Set the colours, heed signals, open what was named on the command line."""
        wanted = self.preferences.theme
        if wants_no_colour(os.environ):
            self.theme = COLOURLESS
        else:
            self.theme = wanted if wanted in self.available_themes else default_theme(os.environ)
            self.theme_changed_signal.subscribe(self, lambda theme: self.remember(theme=theme.name))
        self.signals.heed()
        for path in self._files:
            self.post_message(OpenSnapshot(os.path.abspath(path)))

    def on_terminal_gone(self) -> None:
        """End as by the signal that this mostly is."""
        self.end_by_signal(signal.SIGHUP)

    # What screens ask for. Each runs on its own, so that it can wait for dialogs; what it needs is imported
    # then, for the list of processes shall come at once.

    def _answer(self, work: Coroutine[Any, Any, object]) -> None:
        self.run_worker(self._in_words(work))

    async def _in_words(self, work: Coroutine[Any, Any, object]) -> None:
        """Whatever goes wrong is a notice, and the app goes on."""
        try:
            await work
        except Exception as error:  # a worker's error would end the app
            if os.environ.get("SNAPTUI_DEBUG") == "1":
                raise
            self.show_error(error)

    def on_take_snapshot(self, event: TakeSnapshot) -> None:
        """Save processes."""
        from snaptui.flows.capture import take_snapshot

        self._answer(take_snapshot(self, event.processes))

    def on_show_process(self, event: ShowProcess) -> None:
        """Show a process more closely."""
        from snaptui.screens.details import DetailsScreen

        self.push_screen(DetailsScreen(event.process, event.age, self.sources.details))

    def on_open_snapshot(self, event: OpenSnapshot) -> None:
        """Look inside a snapshot."""
        self._answer(self._look_inside(event.path, event.pid))

    def on_compare_snapshot(self, event: CompareSnapshot) -> None:
        """Compare a snapshot with another one."""
        from snaptui.flows.comparing import compare_with

        self._answer(compare_with(self, event.path))

    async def _look_inside(self, path: str, pid: int | None) -> None:
        from snaptui.children.answers import Answers
        from snaptui.flows.library import open_file
        from snaptui.screens.snapshot import SnapshotScreen

        snapshot = await open_file(self, path)
        if snapshot is None:
            return
        try:
            await self.push_screen_wait(SnapshotScreen(snapshot, pid, Answers(self.sources.command)))
        finally:
            snapshot.close()

    def on_open_other(self) -> None:
        """Ask for a file, and look inside."""
        self._answer(self._open_other())

    async def _open_other(self) -> None:
        from snaptui.flows.library import ask_for_file

        if path := await ask_for_file(self):
            await self._look_inside(path, None)

    def on_work_on_file(self, event: WorkOnFile) -> None:
        """Verify, compress, unpack, rename or delete a snapshot."""
        from snaptui.flows import library

        self._answer(library.WORK[event.what](self, event.path))

    def on_choose_folder(self) -> None:
        """Another folder."""
        from snaptui.flows import library

        self._answer(library.choose_folder(self))

    def on_open_mount(self, event: OpenMount) -> None:
        """Serve a snapshot."""
        from snaptui.flows import serving

        self._answer(serving.mount(self, event.path))

    def on_end_server(self, event: EndServer) -> None:
        """End a server."""
        from snaptui.flows import serving

        self._answer(serving.end_server(self, event.entry))

    def on_run_shell(self, event: RunShell) -> None:
        """A shell in a mount."""
        from snaptui.flows import serving

        self._answer(serving.shell(self, event.entry))

    def on_run_debugger(self, event: RunDebugger) -> None:
        """Run gdb."""
        self._answer(self._debug(event.path, event.pid))

    async def _debug(self, path: str, pid: int) -> None:
        from snaptui.flows import serving
        from snaptui.flows.library import open_file

        snapshot = await open_file(self, path)
        if snapshot is not None:
            pids = [(one.pid, one.name) for one in snapshot.processes.values() if one.linux is not None]
            snapshot.close()
            if pids:
                await serving.debugger(self, path, pid, pids)
            else:
                self.warn("A debugger needs a core, and that needs what only a snapshot from Linux holds")

    def on_remember(self, event: Remember) -> None:
        """Other preferences."""
        self.remember(**event.changes)

    # Help, palette, the end.

    def action_help(self) -> None:
        """What the keys of this screen do."""
        from snaptui.screens.help import HelpScreen, help_for

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(help_for(self.screen))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the command palette offers: all that keys do here, and the themes."""
        # One that has several keys is there for each of them.
        once = {
            (active.binding.action, active.binding.description): active
            for active in screen.active_bindings.values()
        }
        for active in once.values():
            binding = active.binding
            if binding.tooltip and active.enabled and not binding.action.startswith(_NOT_OFFERED):
                run = f"{binding.action}"
                yield SystemCommand(
                    binding.description,
                    binding.tooltip,
                    lambda run=run, node=active.node: self.run_action(run, node),
                )

    async def action_quit(self) -> None:
        """End, when captures and servers are settled."""
        self.run_worker(self._quit(), exclusive=True, group="quit")

    async def _quit(self) -> None:
        from snaptui.flows.serving import settle_servers
        from snaptui.screens.ask import Confirm

        if self.captures:
            answers = (("back", "Let it end first"), ("stop", "Stop it and quit"))
            question = "A capture is running. Stopped, it leaves the processes running and no file."
            if await self.push_screen_wait(Confirm("Quit", question, answers, danger="stop")) != "stop":
                return
        if await settle_servers(self, self.servers):
            self.end()

    @property
    def crash(self) -> Exception | None:
        """What ended the app unexpectedly, when it has ended."""
        return self._exception

    def _fatal_error(self) -> None:
        # Textual would print a traceback with the values of all variables: a screen full, and secrets of
        # other processes in it. Whoever started us says what happened.
        self._close_messages_no_wait()


def make_app(sources: Sources | None = None, files: Sequence[str] = ()) -> SnaptuiApp:
    """The app on this machine, or on what a test gives it; `files` are opened at its start."""
    return SnaptuiApp(sources or real_sources(), files)
