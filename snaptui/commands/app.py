"""Start the terminal application: pick processes that hang, save them, look inside, mount.

`snaptui` alone and `snaptui FILE...` do the same. It needs a terminal.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from typing import Final

from snaptui.commands.options import complete_files
from snaptui.engine.errors import SnapError

NAME = "app"

_YOUNG_OBJECTS: Final = 20_000
"""New objects between two collections: a look at 5,000 processes makes 10,000. Python's own number is 700."""

_FRAMES: Final = "120"
"""Times a second that what changed is painted. With the 60 of Textual a key waits for it up to 17 ms."""

_TURN: Final = 0.001
"""Seconds that a thread of ours may keep the interpreter from the screen. Python's own number is 0.005."""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of app."""
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    complete_files(
        parser.add_argument("files", metavar="FILE", nargs="*", help="snapshots to open at the start")
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the app until it ends. Raises SnapError without a terminal."""
    # Textual reads from standard input and paints on standard error.
    if not (_is_terminal(0) and _is_terminal(2)):
        raise SnapError("the application needs a terminal", help="`snaptui --help` lists the commands")
    if os.environ.get("TERM", "dumb") in ("dumb", ""):
        raise SnapError("the application needs a terminal that can move its cursor (TERM is dumb)")
    for path in arguments.files:
        if not os.path.exists(path):
            raise SnapError(f"{path}: there is no such file")
        if os.path.isdir(path):
            raise SnapError(f"{path}: is a directory, and no snapshot")

    gc.disable()
    os.environ.setdefault("TEXTUAL_FPS", _FRAMES)  # read when Textual is imported
    from snaptui.app import make_app

    app = make_app(files=arguments.files)
    collect_seldom()
    sys.setswitchinterval(_TURN)
    try:
        app.run(mouse=not arguments.no_mouse)
    finally:
        app.stop_captures()
    # run() returns after a crash too.
    if app.crash is not None:
        raise app.crash
    return app.return_code or 0


def collect_seldom() -> None:
    """Have the collector of garbage pass over what stays to the end, and come less often.

    A whole collection holds the screen: 25 to 50 ms with 5,000 processes, twice a second, of which
    the modules and styles that were just loaded are half.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
    gc.enable()


def _is_terminal(descriptor: int) -> bool:
    stream = {0: sys.stdin, 2: sys.stderr}[descriptor]
    return stream is not None and os.isatty(descriptor)
