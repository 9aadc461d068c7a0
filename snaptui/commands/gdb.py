"""Start gdb on a saved process.

gdb gets the executable, an ELF core and the libraries from the snapshot, mounted at a private
place or, where there is no FUSE, written to a temporary directory. Arguments after -- are gdb's:

    snaptui gdb page.snap 1201 -- -batch -ex 'thread apply all bt'

The exit status is gdb's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from snaptui.commands.debugging import Prepared, add_arguments, debug
from snaptui.commands.options import PROGRESS, SAVED_PROCESS, SNAPSHOT_FILE

NAME = "gdb"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS, PROGRESS)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of gdb."""
    add_arguments(parser, NAME)


def run(arguments: argparse.Namespace) -> int:
    """Run gdb. Raises SnapError."""
    return debug(arguments, NAME, _command)


def _command(prepared: Prepared, more: Sequence[str]) -> list[str]:
    # Before the core is loaded, and after the user's own gdbinit. Where scripts and separate debug
    # files come from is left as the user has it: a snapshot's files are not to be trusted.
    words = ["-iex", f"set sysroot {prepared.sysroot}"]
    if search := [directory for directory in prepared.search if ":" not in directory]:
        words += ["-iex", f"set solib-search-path {':'.join(search)}"]
    if prepared.executable:
        words += ["-se", prepared.executable]
    return [*words, "-core", prepared.core, *more]
