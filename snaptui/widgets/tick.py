"""A box to tick that reads without colour."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Size
from textual.widgets import Checkbox


class Tick(Checkbox):
    """`[x] words`; Textual's own box has an X in both states, and tells them apart by its colour alone."""

    DEFAULT_CSS = """
    Tick, Tick:focus { border: none; height: 1; padding: 0; background: transparent; }
    Tick:focus { text-style: bold; background: $primary 25%; }
    Tick:ansi:focus { background: ansi_default; text-style: reverse; }
    """

    def render(self) -> Content:
        """The box and the words."""
        return Content.assemble("[x] " if self.value else "[ ] ", self._label)

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002 - Textual gives them
        """The cells that takes."""
        return 4 + self._label.cell_length
