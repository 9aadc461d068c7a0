"""The line of tabs at the top of a screen that looks into something, and its title."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Static, Tab, Tabs

from snaptui.explain import visible


class _TabBar(Tabs, can_focus=False):
    """Tabs that never have the focus: keys are for what is below, and digits change the tab."""


class TabLine(Horizontal):
    """Tabs, and a title to the right."""

    DEFAULT_CSS = """
    TabLine {
        height: 1; background: $panel;
        & #tab-bar { height: 1; }
        & #tab-bar Tab { padding: 0; margin: 0 1 0 0; }
        & #tab-bar Underline { display: none; }
        & #tab-bar Tab.-active { text-style: bold reverse; color: $text-accent; }
        & #tab-title {
            width: 1fr; padding: 0 0 0 1; text-align: right; text-wrap: nowrap; text-overflow: ellipsis;
        }
    }
    """

    def __init__(self, tabs: Sequence[tuple[str, str]]) -> None:
        """`tabs`: names and titles."""
        super().__init__()
        self._tabs = [(name, f"{number} {title}") for number, (name, title) in enumerate(tabs, 1)]

    def compose(self) -> ComposeResult:
        """Both."""
        bar = _TabBar(*(Tab(title, id=f"tab-{name}") for name, title in self._tabs), id="tab-bar")
        bar.styles.width = sum(len(title) + 1 for _, title in self._tabs)
        yield bar
        yield Static("", id="tab-title", markup=False)

    def show_title(self, title: str) -> None:
        """Have this title; it may come from other processes."""
        self.query_one("#tab-title", Static).update(Text(visible(title)))

    @property
    def active(self) -> str:
        """The name of the tab that is shown."""
        return self.query_one(Tabs).active.removeprefix("tab-")

    def show_active(self, name: str) -> None:
        """Show that another tab is chosen."""
        self.query_one(Tabs).active = f"tab-{name}"


def tab_bindings(tabs: Sequence[tuple[str, str]], where: str) -> Iterator[Binding]:
    """Digits for the tabs, for `action_tab`; their ids begin with `where`.

    Priority: done at once, so that what is typed in the same moment is for the tab already.
    """
    for number, (name, title) in enumerate(tabs, 1):
        yield Binding(
            str(number),
            f"tab('{name}')",
            title,
            show=False,
            id=f"{where}.{name}",
            tooltip=f"To the tab {title}",
            priority=True,
        )
