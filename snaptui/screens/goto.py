"""Where to go: a line to type an address in."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from snaptui.engine.errors import SnapError
from snaptui.explain import explain
from snaptui.widgets.dialog import Dialog

_FORMS: Final = """\
7ffc12a0      an address; all numbers are hexadecimal
+40   -8      from here
rsp   rip+10  a register of the chosen thread
heap+100      a mapping by name: stack, libc, Data
main  *rsp    a symbol; where a pointer leads
s:dead        a name that looks like a number"""


class GotoScreen(Dialog[int]):
    """Asks for an address; gives it, or None."""

    DEFAULT_CSS = """
    GotoScreen {
        & #goto-forms { color: $text-muted; height: auto; padding: 0 1; }
        & #goto-answer { height: auto; min-height: 2; padding: 0 1; }
    }
    """
    HELP: ClassVar[str] = "Type where to go. What that is shows below as you type; Enter goes there."

    def __init__(self, parse: Callable[[str], int], describe: Callable[[int], str]) -> None:
        """`parse` gives the address that a text means or raises SnapError; `describe` its place in words."""
        super().__init__()
        self._parse, self._describe = parse, describe

    def compose(self) -> ComposeResult:
        """The line, what it would lead to, and what can be typed."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Go to"
            yield Input(placeholder="address, +off, register, segment+off, symbol", id="goto-input")
            yield Static("", id="goto-answer", markup=False)
            yield Static(_FORMS, id="goto-forms", markup=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say where that is, as it is typed."""
        try:
            address = self._parse(event.value)
        except SnapError:
            self._answer("")
            return
        self._answer(f"{address:#x}  {self._describe(address) or 'nothing is mapped there'}")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go there, or say what is wrong."""
        try:
            self.dismiss(self._parse(event.value))
        except SnapError as error:
            words = explain(error)
            self._answer(f"{words.message}\n{words.help}".rstrip(), is_error=True)

    def _answer(self, words: str, *, is_error: bool = False) -> None:
        answer = self.query_one("#goto-answer", Static)
        answer.set_class(is_error, "error")
        answer.update(Text(words))
