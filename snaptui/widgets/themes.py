"""The colours: one dark and one light set of our own, and which to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from textual.theme import Theme

THEMES: Final = (
    Theme(
        name="snaptui-dark",
        primary="#5fa8d3",
        secondary="#7d8ca3",
        accent="#e0af68",
        warning="#e0af68",
        error="#f7768e",
        success="#9ece6a",
        foreground="#d5dae3",
        background="#14171d",
        surface="#1b1f27",
        panel="#232935",
        dark=True,
    ),
    Theme(
        name="snaptui-light",
        primary="#1f6fa8",
        secondary="#5b6675",
        accent="#96500a",
        warning="#96500a",
        error="#b3261e",
        success="#2e7d32",
        foreground="#1d232b",
        background="#fbfbf9",
        surface="#f2f2ee",
        panel="#e4e5e0",
        dark=False,
    ),
)


COLOURLESS: Final = "ansi-dark"
"""With Textual's filter for NO_COLOR it is nothing but bold, dim, underlined and reverse."""


def wants_no_colour(environment: Mapping[str, str]) -> bool:
    """Whether the user has set NO_COLOR (no-color.org); as Textual understands it, be it empty."""
    return "NO_COLOR" in environment


def default_theme(environment: Mapping[str, str]) -> str:
    """The theme for a terminal: ours where it has all colours, else its own sixteen (ssh: half the bytes)."""
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "snaptui-dark"
    return "ansi-dark"
