"""The main screen: tabs of running processes, snapshots and mounts."""

from __future__ import annotations

from typing import ClassVar, Final

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Static, Tab, Tabs

from snaptui.preferences import Preferences
from snaptui.screens.mounts import MountsPane
from snaptui.screens.processes import ProcessesPane
from snaptui.screens.snapshots import SnapshotsPane
from snaptui.sources import Sources
from snaptui.widgets.keyline import KeyLine
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.tabbed_screen import TabbedScreen

TABS: Final = (("processes", "Processes"), ("snapshots", "Snapshots"), ("mounts", "Mounts"))


class _TabBar(Tabs, can_focus=False):
    """Tabs that never have the focus: keys are for what is below, and 1, 2, 3 change the tab."""


class MainScreen(TabbedScreen):
    """Three tabs."""

    DEFAULT_CSS = """
    MainScreen {
        & > #tab-line { height: 1; background: $panel; }
        & #tabs { width: 1fr; height: 1; }
        & #tabs Underline { display: none; }
        & #tabs Tab.-active { text-style: bold reverse; color: $text-accent; }
        & #activity { width: auto; padding: 0 1; color: $text-accent; }
        & ContentSwitcher { height: 1fr; }
    }
    """
    AUTO_FOCUS = "#process-table"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(str(n), f"tab('{name}')", title, show=False, id=f"main.{name}", tooltip=f"To the tab {title}")
        for n, (name, title) in enumerate(TABS, 1)
    ]

    def __init__(self, sources: Sources, preferences: Preferences) -> None:
        super().__init__()
        self._sources, self._preferences = sources, preferences
        self._activity = ""

    def compose(self) -> ComposeResult:
        """The tabs, their contents, the keys."""
        with Horizontal(id="tab-line"):
            yield _TabBar(
                *(Tab(f"{number} {title}", id=f"tab-{name}") for number, (name, title) in enumerate(TABS, 1)),
                id="tabs",
            )
            yield Static("", id="activity", markup=False)
        with ContentSwitcher(initial="processes"):
            yield ProcessesPane(self._sources, self._preferences)
            yield SnapshotsPane(self._sources, self._preferences)
            yield MountsPane(self._sources, self._preferences)
        yield KeyLine()

    def action_tab(self, name: str) -> None:
        """To another tab."""
        self.query_one(Tabs).active = f"tab-{name}"

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        """Show the tab's contents; keys go to its table."""
        name = (event.tab.id or "").removeprefix("tab-")
        self.query_one(ContentSwitcher).current = name
        self.pane.query_one(RowTable).focus()

    @property
    def pane(self) -> Widget:
        """What is shown now: the contents of the tab."""
        shown = self.query_one(ContentSwitcher).visible_content
        assert shown is not None, "a tab is always shown"
        return shown

    def show_activity(self, text: str) -> None:
        """Say what goes on in the background."""
        before, self._activity = self._activity, text
        if text != before:
            # To lay the whole screen out takes as long as to answer a key; most of what is said is as wide.
            is_other_width = cell_len(text) != cell_len(before)
            self.query_one("#activity", Static).update(text, layout=is_other_width)
