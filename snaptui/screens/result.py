"""What came of it: a heading, facts, and what is missing and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from snaptui.engine.progress import Warned
from snaptui.explain import visible
from snaptui.widgets.dialog import Dialog


@dataclass(frozen=True, slots=True)
class Outcome:
    """How something ended, in words."""

    title: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[Warned] = ()
    answers: Sequence[tuple[str, str]] = (("close", "Close"),)
    failed: bool = False


class ResultDialog(Dialog[str]):
    """Shows an outcome; gives the answer's id."""

    DEFAULT_CSS = """
    ResultDialog .warnings { height: auto; max-height: 10; }
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self._outcome = outcome

    def compose(self) -> ComposeResult:
        """Facts, warnings, buttons."""
        outcome = self._outcome
        with Vertical(classes="dialog") as box:
            box.border_title = Content(visible(outcome.title))
            facts = Table.grid(padding=(0, 2))
            facts.add_column(justify="right", no_wrap=True)
            facts.add_column(overflow="fold")
            for name, value in outcome.facts:
                facts.add_row(Text(name, "dim"), Text(visible(value)))
            yield Static(facts)
            if outcome.warnings:
                with VerticalScroll(classes="warnings"):
                    yield Static(_warnings(outcome.warnings), classes="warning")
            with Horizontal(classes="buttons"):
                for number, (name, words) in enumerate(outcome.answers):
                    variant = "primary" if number == 0 else "default"
                    yield Button(words, id=name, variant=variant, compact=True)  # type: ignore[arg-type]

    def on_mount(self) -> None:
        """Enter takes the first answer."""
        self.query(Button).first().focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """An answer."""
        self.dismiss(event.button.id)


def _warnings(warnings: Sequence[Warned]) -> Text:
    text = Text()
    for warning in warnings:
        who = f"{warning.pid}: " if warning.pid else ""
        kind = "missing: " if warning.missing else ""
        text.append(visible(f"{'! ' if warning.missing else '- '}{kind}{who}{warning.message}") + "\n")
        if warning.help:
            text.append(f"  {visible(warning.help)}\n", "dim")
    text.rstrip()
    return text
