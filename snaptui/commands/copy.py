"""Write a snapshot anew, or some of its processes.

Pages are shared anew among the processes that stay, so a copy stands on its own. OUT is compressed
if its name ends in .zst, or with -z.
"""

from __future__ import annotations

import argparse
import sys

from snaptui.commands.conversion import SUFFIX, add_force, check_target
from snaptui.commands.interrupts import Interrupts
from snaptui.commands.options import PROGRESS, SNAPSHOT_FILE, complete_files, pid
from snaptui.commands.output import size_text
from snaptui.commands.reporting import Reporter, plain_view
from snaptui.explain import EXIT_MISSING, visible

NAME = "copy"
PARENTS = (SNAPSHOT_FILE, PROGRESS)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of copy."""
    parser.add_argument(
        "pids", metavar="PID", nargs="*", type=pid, help="only these processes (default: all)"
    )
    complete_files(
        parser.add_argument("-o", dest="output", metavar="OUT", required=True, help="write to OUT")
    )
    parser.add_argument("-z", dest="compress", action="store_true", help="compress")
    add_force(parser)


def run(arguments: argparse.Namespace) -> int:
    """Copy. Raises SnapError."""
    from snaptui.engine.snapfile import open_snapshot
    from snaptui.engine.snapfile.copy import copy_snapshot
    from snaptui.engine.snapfile.output import open_output

    check_target(arguments.output, arguments.file, force=arguments.force)
    compress = arguments.compress or arguments.output.endswith(SUFFIX)
    with (
        Reporter(plain_view(arguments, NAME)) as reporter,
        Interrupts() as interrupts,
        open_snapshot(arguments.file, sink=reporter.sink, cancel=interrupts.cancel) as snapshot,
    ):
        pids = tuple(dict.fromkeys(arguments.pids)) or tuple(snapshot.processes)
        for number in pids:
            snapshot.process(number)  # raises NoSuchProcess before anything is written
        with open_output(arguments.output, compress=compress) as output:
            size = copy_snapshot(snapshot, output, pids, sink=reporter.sink, cancel=interrupts.cancel)
    if sys.stderr.isatty():
        print(f"{NAME}: {visible(arguments.output)}: {size_text(size)}", file=sys.stderr)
    return EXIT_MISSING if reporter.missing else 0
