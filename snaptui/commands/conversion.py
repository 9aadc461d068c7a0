"""What compress and decompress have in common."""

from __future__ import annotations

import argparse
import os
import sys

from snaptui.commands.interrupts import Interrupts
from snaptui.commands.options import complete_files
from snaptui.commands.output import size_text
from snaptui.commands.reporting import Reporter, plain_view
from snaptui.engine.errors import ArgumentError, OutputError
from snaptui.engine.snapfile import open_snapshot
from snaptui.engine.snapfile.container import convert
from snaptui.explain import visible

SUFFIX = ".zst"


def add_output(parser: argparse.ArgumentParser, default: str) -> None:
    """Add -o and --force."""
    complete_files(
        parser.add_argument("-o", dest="output", metavar="OUT", help=f"write to OUT (default: {default})")
    )
    add_force(parser)


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add --force."""
    parser.add_argument("--force", action="store_true", help="replace OUT if it is there")


def convert_file(arguments: argparse.Namespace, prog: str, target: str, *, compress: bool) -> int:
    """Write the snapshot to `target`, packed or plain; returns the exit status. Raises SnapError."""
    check_target(target, arguments.file, force=arguments.force)
    with Reporter(plain_view(arguments, prog)) as reporter, Interrupts() as interrupts:
        # Damage must be noticed now, not when the original is gone.
        open_snapshot(arguments.file, fresh=True, sink=reporter.sink, cancel=interrupts.cancel).close()
        size = convert(
            arguments.file, target, compress=compress, sink=reporter.sink, cancel=interrupts.cancel
        )
    if sys.stderr.isatty():
        print(f"{prog}: {visible(target)}: {size_text(size)}", file=sys.stderr)
    return 0


def check_target(target: str, source: str, *, force: bool) -> None:
    """Refuse to replace a regular file. Raises ArgumentError, OutputError."""
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
        raise ArgumentError("the output is the snapshot itself")
    if not force and os.path.isfile(target):
        raise OutputError(f"{target}: is there already", help="--force replaces it")
