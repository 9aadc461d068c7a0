"""How all dialogs look: a frame in the middle, a title, what is asked, and its buttons."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input

Result = TypeVar("Result")


class Dialog(ModalScreen[Result | None], Generic[Result]):
    """A dialog; escape leaves it with None."""

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        background: $background 60%;
        & > .dialog {
            width: 76; max-width: 96%; height: auto; max-height: 96%;
            background: $surface; border: round $primary; padding: 0 1;
            border-title-color: $text-accent; border-title-style: bold;
        }
        & .dialog-wide { width: 96%; }
        & .buttons { height: auto; align-horizontal: right; padding-top: 1; }
        & Button { min-width: 10; margin-left: 1; background: $boost; color: $foreground; }
        & Button:focus { background: $primary; color: $background; text-style: bold !important; }
        & VerticalScroll { scrollbar-size-vertical: 1; height: auto; max-height: 100%; }
        & .label { color: $text-muted; height: auto; }
        & .warning { color: $text-warning; height: auto; }
        & .error { color: $text-error; height: auto; }
        & Input { border: none; height: 1; padding: 0 1; background: $boost; }
        & Input:focus { border: none; background: $primary 25%; }
        & OptionList { height: auto; max-height: 16; border: none; background: $surface; }
        & OptionList:focus { border: none; }
        &:ansi {
            background: ansi_default;
            & > .dialog { background: ansi_default; border: round ansi_default; }
            & Button { background: ansi_default; color: ansi_default; }
            & Button:focus { text-style: bold reverse !important; }
            & Input { background: ansi_default; text-style: underline; }
            & Input:focus { background: ansi_default; text-style: underline bold; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="dialog.cancel", tooltip="Leave without doing anything"),
        Binding("left", "app.focus_previous", "Left", show=False, id="dialog.left", tooltip="To the left"),
        Binding("right", "app.focus_next", "Right", show=False, id="dialog.right", tooltip="To the right"),
        # The app's own keys do not reach a dialog.
        Binding("f1", "app.help", "Help", show=False, id="dialog.help", tooltip="What the keys do"),
    ]

    def on_key(self, event: events.Key) -> None:
        """Take what was typed before the line to type in was there (typed ahead, pasted): it is for that."""
        # The line itself would have stopped the event.
        if isinstance(self.focused, Input) and event.is_printable and event.character:
            self.focused.insert_text_at_cursor(event.character)
            event.stop()

    def action_cancel(self) -> None:
        """Leave."""
        self.dismiss(None)
