"""Start the terminal application: pick processes that hang, save them, look inside, mount.

`snaptui` alone and `snaptui FILE...` do the same. It needs a terminal.
"""

from __future__ import annotations

import argparse
import os
import sys

from snaptui.commands.options import complete_files
from snaptui.engine.errors import SnapError

NAME = "app"


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

    from snaptui.app import make_app

    app = make_app(files=arguments.files)
    try:
        app.run(mouse=not arguments.no_mouse)
    finally:
        app.stop_captures()
    # run() returns after a crash too.
    if app.crash is not None:
        raise app.crash
    return app.return_code or 0


def _is_terminal(descriptor: int) -> bool:
    stream = {0: sys.stdin, 2: sys.stderr}[descriptor]
    return stream is not None and os.isatty(descriptor)
