"""Unpack a compressed snapshot.

The result is plain snap(6), which Plan 9's own programs read. The compressed snapshot is kept.
"""

from __future__ import annotations

import argparse

from snaptui.commands.conversion import SUFFIX, add_output, convert_file
from snaptui.commands.options import PROGRESS, SNAPSHOT_FILE
from snaptui.engine.errors import ArgumentError

NAME = "decompress"
PARENTS = (SNAPSHOT_FILE, PROGRESS)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of decompress."""
    add_output(parser, f"FILE without {SUFFIX}")


def run(arguments: argparse.Namespace) -> int:
    """Unpack. Raises SnapError."""
    target = arguments.output
    if not target:
        target = arguments.file.removesuffix(SUFFIX)
        if target == arguments.file:
            raise ArgumentError(f"the name does not end in {SUFFIX}", help="name the output with -o OUT")
    return convert_file(arguments, NAME, target, compress=False)
