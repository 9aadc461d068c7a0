"""Extract the executable and the libraries of a saved process.

Each gets into DIR at its own path, with links for the other names that the dynamic linker knows it
by, and by build-id, so that debuggers find it there:

    gdb -iex 'set sysroot DIR' DIR/PATH/OF/EXECUTABLE CORE
    eu-stack --core CORE --debuginfo-path=:.debug:/usr/lib/debug:DIR/usr/lib/debug
"""

from __future__ import annotations

import argparse
import sys

from snaptui.commands.interrupts import Interrupts
from snaptui.commands.options import PROGRESS, SAVED_PROCESS, SNAPSHOT_FILE
from snaptui.commands.reporting import Reporter, plain_view
from snaptui.engine.errors import NotCaptured
from snaptui.explain import EXIT_MISSING, visible

NAME = "sysroot"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS, PROGRESS)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of sysroot."""
    # Nothing completes DIR: a directory that is there already is seldom an empty one.
    parser.add_argument("directory", metavar="DIR", help="a new directory, or an empty one")


def run(arguments: argparse.Namespace) -> int:
    """Extract. Raises SnapError."""
    from snaptui.engine.inspect.extract import extract_sysroot
    from snaptui.engine.snapfile import open_snapshot

    with (
        Reporter(plain_view(arguments, NAME)) as reporter,
        Interrupts() as interrupts,
        open_snapshot(arguments.file, sink=reporter.sink, cancel=interrupts.cancel) as snapshot,
    ):
        process = snapshot.process(arguments.pid)
        if process.linux is None:
            raise NotCaptured(
                f"process {process.pid} has no Linux record, which names its libraries",
                help=f"`snaptui cat {arguments.file} {process.pid} text` writes its executable",
            )
        count = extract_sysroot(process, arguments.directory, sink=reporter.sink, cancel=interrupts.cancel)
    if sys.stderr.isatty():
        print(f"{NAME}: {visible(arguments.directory)}: {count} files and links", file=sys.stderr)
    return EXIT_MISSING if reporter.missing else 0
