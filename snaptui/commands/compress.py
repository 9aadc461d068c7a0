"""Compress a snapshot so that it can still be read at random.

The result is in the seekable format of zstd: every command here reads it as it is, and `zstd -d`
unpacks it. The snapshot itself is kept.
"""

from __future__ import annotations

import argparse

from snaptui.commands.conversion import SUFFIX, add_output, convert_file
from snaptui.commands.options import PROGRESS, SNAPSHOT_FILE

NAME = "compress"
PARENTS = (SNAPSHOT_FILE, PROGRESS)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of compress."""
    add_output(parser, f"FILE{SUFFIX}")


def run(arguments: argparse.Namespace) -> int:
    """Compress. Raises SnapError."""
    target = arguments.output or arguments.file + SUFFIX
    return convert_file(arguments, NAME, target, compress=True)
