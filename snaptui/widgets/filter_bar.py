"""A line that says what is shown, and becomes a line to type a filter into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static


class _FilterInput(Input):
    # Priority: done at once, so that keys typed in the same moment (typed ahead, pasted) are for the list.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape", "leave(True)", "Clear", id="filter.clear", tooltip="Take the filter away", priority=True
        ),
        Binding("enter", "leave(False)", "Keep", id="filter.keep", tooltip="Keep the filter", priority=True),
        Binding(
            "down",
            "leave(False)",
            "Keep",
            show=False,
            id="filter.down",
            tooltip="Keep the filter",
            priority=True,
        ),
    ]

    def action_leave(self, clear: bool) -> None:
        """Back to the list."""
        if clear:
            self.value = ""
        bar = self.query_ancestor(FilterBar)
        if bar.list is not None:
            self.screen.set_focus(bar.list)
        self.post_message(FilterBar.Left())


class FilterBar(Horizontal):
    """The line at the bottom of a list."""

    DEFAULT_CSS = """
    FilterBar {
        height: 1;
        background: $panel;
        & > #filter-prompt { width: auto; color: $text-accent; text-style: bold; padding: 0 0 0 1; }
        & > #filter-prompt { display: none; }
        & > Input { width: 1fr; }
        & > #filter-status { width: 1fr; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & > #filter-error { width: auto; max-width: 60%; color: $text-error; display: none; padding: 0 1; }
        & > #filter-error { text-wrap: nowrap; text-overflow: ellipsis; }
        &.-editing > #filter-prompt, &.-editing > #filter-error { display: block; }
        &.-editing > #filter-status { width: auto; max-width: 40%; }
        &.-wrong > #filter-status { display: none; }
        &:ansi { background: ansi_default; }
    }
    """

    @dataclass
    class Changed(Message):
        """Another filter was typed."""

        text: str

    @dataclass
    class Left(Message):
        """The filter is typed; keys go to the list again."""

    def __init__(self, placeholder: str, list: Widget | None = None) -> None:
        """`list` gets the keys when the filter is typed."""
        super().__init__()
        self._placeholder = placeholder
        self.list = list

    def compose(self) -> ComposeResult:
        """The prompt, the input, what is wrong with it, and the status."""
        yield Static("/", id="filter-prompt")
        field = _FilterInput(
            placeholder=self._placeholder, compact=True, id="filter-input", select_on_focus=False
        )
        field.display = False
        yield field
        yield Static("", id="filter-error", markup=False)
        yield Static("", id="filter-status", markup=False)

    def edit(self) -> None:
        """Have the user type."""
        self.add_class("-editing")
        # Both at once and not later: what is typed next is the filter.
        self.query_one(Input).display = True
        self.screen.set_focus(self.query_one(Input))

    @property
    def text(self) -> str:
        """What was typed."""
        return self.query_one(Input).value

    def set_text(self, text: str) -> None:
        """Have another filter, as if typed."""
        self.query_one(Input).value = text

    def show(self, status: Text) -> None:
        """Say what is shown."""
        self.query_one("#filter-status", Static).update(status, layout=self.has_class("-editing"))

    def show_error(self, text: str) -> None:
        """Say what is wrong with the filter; empty: nothing."""
        self.query_one("#filter-error", Static).update(text)
        self.set_class(bool(text) and self.has_class("-editing"), "-wrong")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while the user types."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:  # noqa: ARG002 - Textual gives it
        """The line is for the status again."""
        self.remove_class("-editing", "-wrong")
        self.query_one(Input).display = False
