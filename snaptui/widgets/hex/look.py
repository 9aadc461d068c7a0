"""What a hex view looks like, by theme, and the keys that move in it."""

from __future__ import annotations

from typing import Final

from textual.binding import Binding, BindingType

from snaptui.widgets.hex.strips import CLASSES

STYLES: Final = (
    *("address", "header", "note", "error", "pointer", "hit", "selected", "mark"),
    *("cursor", "cursor-blurred", *CLASSES),
)
"""Component classes are `hex--NAME`."""

CSS: Final = """
HexView {
    height: 1fr;
    overflow-x: hidden;
    overflow-y: scroll;
    scrollbar-size-vertical: 1;
    background: $background;
    & > .hex--address { color: $text-muted; }
    & > .hex--header { color: $text-accent; background: $panel; text-style: bold; }
    & > .hex--note { color: $text-muted; text-style: italic; }
    & > .hex--error { color: $text-error; text-style: bold; }
    & > .hex--nul { color: $foreground 40%; }
    & > .hex--space { color: $text-success; }
    & > .hex--printable { color: $foreground; }
    & > .hex--ascii { color: $text-secondary; }
    & > .hex--high { color: $text-warning; }
    & > .hex--ff { color: $text-error; text-style: bold; }
    & > .hex--pointer { text-style: underline; }
    & > .hex--hit { text-style: reverse; }
    & > .hex--selected { background: $primary 45%; }
    & > .hex--mark { background: $warning 40%; text-style: bold; }
    & > .hex--cursor { color: $background; background: $foreground; text-style: bold; }
    & > .hex--cursor-blurred { background: $foreground 30%; }
    &:ansi {
        & > .hex--address { color: ansi_bright_black; }
        & > .hex--header { color: ansi_default; background: ansi_default; text-style: bold reverse; }
        & > .hex--note { color: ansi_bright_black; }
        & > .hex--error { color: ansi_red; text-style: bold; }
        & > .hex--nul { color: ansi_bright_black; }
        & > .hex--space { color: ansi_green; }
        & > .hex--printable { color: ansi_cyan; }
        & > .hex--ascii { color: ansi_yellow; }
        & > .hex--high { color: ansi_magenta; }
        & > .hex--ff { color: ansi_red; text-style: bold; }
        & > .hex--selected { color: ansi_bright_white; background: ansi_blue; text-style: italic; }
        & > .hex--mark { color: ansi_black; background: ansi_yellow; text-style: bold; }
        & > .hex--cursor { color: ansi_default; background: ansi_default; text-style: bold reverse; }
        & > .hex--cursor-blurred { background: ansi_bright_black; }
    }
}
"""

_MOVES: Final = (
    ("left,h", "by(-1,0)", "left", "A byte (or word) back"),
    ("right,l", "by(1,0)", "right", "A byte (or word) on"),
    ("up,k", "by(0,-1)", "up", "A line up"),
    ("down,j", "by(0,1)", "down", "A line down"),
    ("shift+left,H", "by(-1,0,True)", "select-left", "Select a byte (or word) back"),
    ("shift+right,L", "by(1,0,True)", "select-right", "Select a byte (or word) on"),
    ("shift+up,K", "by(0,-1,True)", "select-up", "Select a line up"),
    ("shift+down,J", "by(0,1,True)", "select-down", "Select a line down"),
    ("pageup,ctrl+b", "page(-1)", "page-up", "A page up"),
    ("pagedown,ctrl+f,space", "page(1)", "page-down", "A page down"),
    ("home,0", "edge(False)", "home", "To the start of the line; there, to the first address"),
    ("end,dollar_sign", "edge(True)", "end", "To the end of the line; there, to the last address"),
    ("ctrl+home", "far(False)", "first", "To the first address"),
    ("ctrl+end,G", "far(True)", "last", "To the last address"),
    (
        "left_square_bracket",
        "block(False)",
        "previous-block",
        "To the start of the mapping, or the one before",
    ),
    ("right_square_bracket", "block(True)", "next-block", "To the next mapping"),
    ("v", "visual", "select", "Begin or end a selection"),
    ("enter", "activate", "follow", "Follow the pointer under the cursor; unfold untouched memory"),
)

BINDINGS: Final[list[BindingType]] = [
    Binding(
        keys,
        action,
        {"follow": "Follow", "select": "Select"}.get(name, name.replace("-", " ").capitalize()),
        show=name == "follow",
        id=f"hex.{name}",
        tooltip=tooltip,
    )
    for keys, action, name, tooltip in _MOVES
]
