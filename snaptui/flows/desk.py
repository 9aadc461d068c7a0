"""What the app is to those who work for it: its sources, what is remembered, and how it tells things."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from textual.app import App
from textual.screen import Screen

from snaptui.children.child import Child
from snaptui.engine.serve.registry import Entry
from snaptui.explain import explain, visible
from snaptui.flows.signals import Signals
from snaptui.flows.terminal import Terminal
from snaptui.preferences import Preferences
from snaptui.screens.main import MainScreen
from snaptui.screens.mounts import MountsPane
from snaptui.screens.snapshots import SnapshotsPane
from snaptui.sources import Sources
from snaptui.widgets.themes import wants_no_colour

_BY_SIGNAL: Final = 128  # a shell reports 128 + its number for a program that a signal ended


class Desk(App[None]):
    """The app without its keys and requests."""

    def __init__(self, sources: Sources) -> None:
        # Textual chooses its filter for NO_COLOR here, by this: the other one has 256 greys.
        super().__init__(driver_class=Terminal, ansi_color=True if wants_no_colour(os.environ) else None)
        self.sources = sources
        self.preferences: Preferences = sources.preferences.load()
        self.captures: list[Child] = []
        """Captures that run now."""
        self.servers: list[Entry] = []
        """Servers started here."""
        self.signals = Signals(self.end_by_signal)
        self._saver = ThreadPoolExecutor(1, "preferences")
        self._main: MainScreen | None = None

    def get_default_screen(self) -> Screen[Any]:
        """The tabs."""
        self._main = MainScreen(self.sources, self.preferences)
        return self._main

    @property
    def folder(self) -> Path:
        """Where snapshots are kept."""
        return Path(self.preferences.folder or self.sources.folder)

    def end(self, status: int = 0) -> None:
        """End the app; captures that still run are stopped, so that no file stays behind."""
        self.stop_captures()
        self.exit(return_code=status)

    def end_by_signal(self, number: signal.Signals) -> None:
        """End as by a signal from outside: nobody is asked."""
        self.end(_BY_SIGNAL + number)

    def stop_captures(self, patience: float = 5.0) -> None:
        """Have captures let their targets run on and remove their files; wait for that, in seconds."""
        for child in self.captures:
            child.cancel()
        for child in self.captures:
            child.wait(patience)

    @contextlib.contextmanager
    def lend_terminal(self) -> Iterator[None]:
        """Give the terminal, with all its keys, to another program for a while."""
        with self.suspend(), self.signals.leave_keyboard():
            yield

    def remember(self, **changes: Any) -> None:
        """Change preferences, and save them."""
        changed = dataclasses.replace(self.preferences, **changes)
        if changed != self.preferences:
            self.preferences = changed
            # In a thread: while a capture fills the disk, a small file takes a tenth of a second too.
            self._saver.submit(self.sources.preferences.save, changed)

    def on_unmount(self) -> None:
        """Wait until what was remembered is saved."""
        self._saver.shutdown()

    def remember_recent(self, path: str) -> None:
        """A snapshot outside of the folder."""
        self.remember(recent=self.preferences.with_recent(path).recent)
        self.show_snapshots("")

    def show_error(self, error: BaseException) -> None:
        """An error as a notice, with what helps."""
        words = explain(error)
        self._notice(words.message, words.help, "error")

    def show_failure(self, child: Child) -> None:
        """Why a child failed, as a notice."""
        message, remedy = child.failure
        self._notice(visible(message), visible(remedy), "error")

    def warn(self, text: str) -> None:
        """Something that could not be done, as a notice."""
        self._notice(visible(text), "", "warning")

    def _notice(self, message: str, remedy: str, severity: Any) -> None:
        text = f"{message}\n{remedy}" if remedy else message
        self.notify(text, severity=severity, markup=False, timeout=8)

    def show_activity(self, text: str) -> None:
        """What goes on in the background."""
        if self._main is not None and self._main.is_mounted:
            self._main.show_activity(visible(text))

    def show_snapshots(self, path: str) -> None:
        """Have the list of snapshots look again; the cursor goes to `path`."""
        if self._main is not None:
            pane = self._main.query_one(SnapshotsPane)
            pane.look_at(self.preferences, self.sources.folder)
            if path:
                pane.show_item(path)

    def show_mounts(self, *, look_only: bool = False) -> None:
        """Have the list of servers look again, and show it."""
        if self._main is not None:
            self._main.query_one(MountsPane).look()
            if not look_only and self.screen is self._main:
                self._main.action_tab("mounts")


def wait_for_enter(words: str) -> None:
    """Leave what another program said on the terminal until the user has read it."""
    with contextlib.suppress(EOFError):
        input(f"snaptui: {words}; Enter brings the app back ")
