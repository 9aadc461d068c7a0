"""What the keys of a screen do, and which commands do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Static

from snaptui.widgets.dialog import Dialog


class HelpScreen(Dialog[None]):
    """Help for the screen below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q", "cancel", "Close", show=False, id="help.close", tooltip="Close the help"),
    ]

    def __init__(
        self, title: str, about: str, keys: Sequence[tuple[str, str, str]], commands: Sequence[str]
    ) -> None:
        """`keys`: a key, its name, what it does."""
        super().__init__()
        self._title, self._about, self._keys, self._commands = title, about, keys, commands

    def compose(self) -> ComposeResult:
        """What it is for, keys, commands."""
        with Vertical(classes="dialog dialog-wide") as box:
            box.border_title = f"Help: {self._title}"
            box.border_subtitle = "escape closes"
            with VerticalScroll():
                yield Static(self._about + "\n", markup=False)
                table = Table.grid(padding=(0, 2))
                table.add_column(no_wrap=True, justify="right")
                table.add_column(no_wrap=True)
                table.add_column()
                for key, name, tooltip in self._keys:
                    table.add_row(Text(key, "bold"), Text(name), Text(tooltip, "dim"))
                yield Static(table)
                if self._commands:
                    text = Text("\nThe same from a shell:\n")
                    for command in self._commands:
                        text.append(f"  {command}\n", "bold")
                    yield Static(text)


def help_for(screen: Screen[object]) -> HelpScreen:
    """The help of a screen as it is now: of what has the focus, and all around it."""
    about, commands = "", []
    title = screen.title or type(screen).__name__.removesuffix("Screen")
    nodes: list[DOMNode] = [*(screen.focused.ancestors_with_self if screen.focused else []), screen]
    for node in dict.fromkeys(nodes):
        found = getattr(node, "HELP", "")
        if isinstance(found, str) and found and found not in about:
            about += ("\n\n" if about else "") + found
            commands += [str(command) for command in getattr(node, "SHELL", ())]
            title = type(node).__name__.removesuffix("Screen").removesuffix("Pane") or title
    return HelpScreen(title, about, _keys(screen), list(dict.fromkeys(commands)))


def _keys(screen: Screen[object]) -> list[tuple[str, str, str]]:
    """The keys that may do something here; keys of one action together."""
    found: dict[tuple[int, str], tuple[list[str], str, str]] = {}
    # What is this screen's own comes first, moving about in tables last.
    ordered = sorted(
        screen.active_bindings.values(), key=lambda one: (one.binding.id or "").startswith("table.")
    )
    for active in ordered:
        binding = active.binding
        # Textual's own scrolling keys have no tooltip.
        if not (active.tooltip or binding.tooltip) or binding.system:
            continue
        entry = (id(active.node), binding.action)
        keys, _, _ = found.setdefault(entry, ([], binding.description, active.tooltip or binding.tooltip))
        keys.append(screen.app.get_key_display(binding))
    return [(" ".join(keys), name, tooltip) for keys, name, tooltip in found.values()]
