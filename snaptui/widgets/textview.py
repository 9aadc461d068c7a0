"""A text or bytes to look through: any size, only what is on the screen is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from snaptui.engine.inspect.hexdump import ROW, row
from snaptui.explain import visible


def _line(text: str) -> str:
    return visible(text.expandtabs(8))


class TextView(ScrollView, can_focus=True):
    """Lines of text, or the lines of a hex dump."""

    DEFAULT_CSS = """
    TextView {
        height: 1fr;
        padding: 0 1;
        scrollbar-size: 1 1;
        background: $background;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(keys, action, tooltip, show=False, id=f"text.{name}", tooltip=tooltip)
        for keys, action, name, tooltip in (
            ("up,k", "scroll_up", "up", "A line up"),
            ("down,j", "scroll_down", "down", "A line down"),
            ("left,h", "scroll_left", "left", "To the left"),
            ("right,l", "scroll_right", "right", "To the right"),
            ("pageup,ctrl+b", "page_up", "page-up", "A page up"),
            ("pagedown,ctrl+f,space", "page_down", "page-down", "A page down"),
            ("home", "scroll_home", "home", "To the start"),
            ("end,G", "scroll_end", "end", "To the end"),
        )
    ]
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Sequence[str] | None = ()
        self._content = b""

    def show(self, lines: Sequence[str] | None, content: bytes = b"") -> None:
        """Show lines; or, where there are none (None), bytes."""
        self._lines, self._content = lines, content
        if lines is None:
            size = Size(len(row(0, bytes(ROW))), -(-len(content) // ROW))
        else:
            size = Size(max((cell_len(_line(line)) for line in lines), default=0), len(lines))
        self.virtual_size = size
        self.scroll_to(0, 0, animate=False, force=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        left, top = self.scroll_offset
        width, number = self.scrollable_content_region.width, top + y
        style = self.rich_style
        strip = Strip([Segment(self._text(number), style)])
        return strip.crop_extend(left, left + width, style)

    def _text(self, number: int) -> str:
        if self._lines is not None:
            return _line(self._lines[number]) if number < len(self._lines) else ""
        start = number * ROW
        return row(start, self._content[start : start + ROW]) if start < len(self._content) else ""

    def action_page_up(self) -> None:
        """A page up, at once."""
        self.scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        """A page down, at once."""
        self.scroll_page_down(animate=False)
