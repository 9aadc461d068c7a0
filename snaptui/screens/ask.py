"""Dialogs that ask for a yes, or for a line of text."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from snaptui.explain import visible
from snaptui.widgets.dialog import Dialog


class Confirm(Dialog[str]):
    """A question with some answers; gives the id of one, or None. The first answer has the focus."""

    def __init__(
        self, title: str, question: str, answers: Sequence[tuple[str, str]], *, danger: str = ""
    ) -> None:
        """`answers` are ids and words; that of `danger` is shown as such."""
        super().__init__()
        self._title, self._question, self._answers, self._danger = title, question, answers, danger

    def compose(self) -> ComposeResult:
        """The question and its answers."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(visible(self._title))
            question = "\n".join(visible(line) for line in self._question.splitlines())
            yield Static(question, markup=False)
            with Horizontal(classes="buttons"):
                for name, words in self._answers:
                    yield Button(
                        words, id=name, classes="error" if name == self._danger else "", compact=True
                    )

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """An answer."""
        self.dismiss(event.button.id)


class AskText(Dialog[str]):
    """A line of text; gives it, or None."""

    def __init__(self, title: str, label: str, value: str = "", *, button: str = "OK") -> None:
        super().__init__()
        self._title, self._label, self._value, self._button = title, label, value, button

    def compose(self) -> ComposeResult:
        """The line."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(visible(self._title))
            yield Static(visible(self._label), classes="label", markup=False)
            yield Input(self._value, select_on_focus=False)
            with Horizontal(classes="buttons"):
                yield Button(self._button, variant="primary", compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.dismiss(event.value)

    def on_button_pressed(self) -> None:
        """The button."""
        self.dismiss(self.query_one(Input).value)
