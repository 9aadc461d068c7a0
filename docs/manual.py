"""Makes the manual pages of section 1 from the parsers and the prose in docs/manual.

    python docs/manual.py DIRECTORY

snap(5) is all prose: man/snap.5 is its source.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from argparse_manpage.manpage import Manpage

from snaptui import __version__
from snaptui.cli import program_parser

DATE: Final = "2026-11-22"
"""When the pages changed last: today's date would make each run differ."""

_PROSE: Final = Path(__file__).with_name("manual")
_PAGES: Final = {
    "snap": "save live processes into one snapshot file",
    "snapfs": "serve process snapshots as a /proc tree",
    "snaptui": "take process snapshots and look inside them",
}


def page(program: str) -> str:
    """The manual page of `snap`, `snapfs` or `snaptui`, as roff."""
    # The parsers wrap their usage to the terminal.
    os.environ["COLUMNS"] = "80"
    data = {
        "project_name": "snaptui",
        "version": __version__,
        "manual_title": "User Commands",
        "manual_section": 1,
        "description": _PAGES[program],
        "date": DATE,
        "include": _PROSE / f"{program}.roff",
    }
    made = str(Manpage(program_parser(program), data, format="single-commands-section"))
    return "\n".join(_tidy(made.splitlines())) + "\n"


def _tidy(lines: list[str]) -> Iterator[str]:
    """Blank lines become paragraphs, usage one line; indented lines, examples, are kept as they are."""
    verbatim = in_usage = False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        in_usage = line.startswith("usage: ") or (in_usage and line.startswith(" "))
        indented = line.startswith(" ") and not in_usage
        if verbatim and not indented:
            yield ".fi"
            verbatim = False
        if not line.strip():
            if following.strip() and not following.startswith("."):
                yield ".PP"
            continue
        if indented and not verbatim:
            yield ".nf"
            verbatim = True
        # mandoc(1) knows no escapes in a date.
        yield line.replace(r"\-", "-") if line.startswith(".TH") else line.lstrip() if in_usage else line
    if verbatim:
        yield ".fi"


def main() -> None:
    """Write the pages into the directory that is named."""
    directory = Path(sys.argv[1])
    for program in _PAGES:
        (directory / f"{program}.1").write_text(page(program))


if __name__ == "__main__":
    main()
