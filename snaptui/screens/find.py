"""What to find: text, bytes, a regular expression, or pointers to an address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.patterns import KINDS, Pattern, PatternKind
from snaptui.explain import explain
from snaptui.widgets.dialog import Dialog

_HELP: Final[dict[PatternKind, str]] = {
    "text": "in UTF-8",
    "utf-16": "text with two bytes for a character",
    "hex": "bytes like de ad be ef; ?? is any byte",
    "regex": r"on bytes: needle \d+; (?i) before it ignores case",
    "pointer": "what points to an address, as for goto: heap+40",
}


@dataclass(frozen=True, slots=True)
class FindRequest:
    """What was typed, and the pattern that it is."""

    kind: PatternKind
    text: str
    pattern: Pattern


class FindScreen(Dialog[FindRequest]):
    """Asks what to find; `parse` makes a pattern of it, or raises SnapError."""

    DEFAULT_CSS = """
    FindScreen {
        & Input { margin-bottom: 1; }
        & .find-kind { height: 1; padding: 0 1; }
        & .find-kind.-chosen { text-style: bold; color: $text-accent; }
        & #find-error { min-height: 1; padding: 0 1; }
    }
    """
    HELP: ClassVar[str] = "Type what to find; up and down choose what kind of thing it is; Enter finds it."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "kind(1)", "Next kind", id="find.next-kind", tooltip="Another kind of thing"),
        Binding("up", "kind(-1)", "Previous kind", id="find.previous-kind", tooltip="Another kind of thing"),
    ]

    def __init__(
        self, parse: Callable[[PatternKind, str], Pattern], kind: PatternKind = "text", text: str = ""
    ) -> None:
        super().__init__()
        self._parse, self._kind, self._text = parse, kind, text

    def compose(self) -> ComposeResult:
        """The line, the kinds, and what is wrong with it."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Find"
            box.border_subtitle = "up, down: what kind   enter: find"
            yield Input(self._text, placeholder="what to look for", id="find-input")
            for kind in KINDS:
                yield Static(self._line(kind), id=f"find-{kind}", classes="find-kind", markup=False)
            yield Static("", id="find-error", classes="error", markup=False)

    def on_mount(self) -> None:
        """Show what kind is chosen."""
        self._choose(self._kind)

    def action_kind(self, step: int) -> None:
        """Choose another kind."""
        self._choose(KINDS[(KINDS.index(self._kind) + step) % len(KINDS)])

    def _choose(self, chosen: PatternKind) -> None:
        self._kind = chosen
        for kind in KINDS:
            line = self.query_one(f"#find-{kind}", Static)
            line.set_class(kind == chosen, "-chosen")
            line.update(self._line(kind))

    def _line(self, kind: PatternKind) -> Text:
        return Text(f"({'•' if kind == self._kind else ' '}) {kind:<8} {_HELP[kind]}")

    def on_click(self, event: events.Click) -> None:
        """A click on a kind chooses it."""
        for kind in KINDS:
            if event.widget is self.query_one(f"#find-{kind}"):
                self._choose(kind)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Find that, or say why not."""
        try:
            pattern = self._parse(self._kind, event.value)
        except SnapError as error:
            words = explain(error)
            self.query_one("#find-error", Static).update(Text(f"{words.message}\n{words.help}".rstrip()))
            return
        self.dismiss(FindRequest(self._kind, event.value, pattern))
