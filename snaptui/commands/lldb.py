"""Start lldb on a saved process.

lldb gets the executable, an ELF core and the libraries from the snapshot, mounted at a private
place or, where there is no FUSE, written to a temporary directory. Arguments after -- are lldb's:

    snaptui lldb page.snap 1201 -- --batch -o 'thread backtrace all'

The exit status is lldb's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from snaptui.commands.debugging import Prepared, add_arguments, debug
from snaptui.commands.options import PROGRESS, SAVED_PROCESS, SNAPSHOT_FILE

NAME = "lldb"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS, PROGRESS)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of lldb."""
    add_arguments(parser, NAME)


def run(arguments: argparse.Namespace) -> int:
    """Run lldb. Raises SnapError."""
    return debug(arguments, NAME, _command)


def _command(prepared: Prepared, more: Sequence[str]) -> list[str]:
    # The platform of another machine: lldb takes this one's libraries for those of the platform `host`.
    words = ["-O", f"platform select --sysroot {_quoted(prepared.sysroot)} remote-linux"]
    if prepared.search:
        paths = " ".join(_quoted(directory) for directory in prepared.search)
        words += ["-O", f"settings set target.exec-search-paths {paths}"]
    words += ["--core", prepared.core, *more]
    return [*words, *([prepared.executable] if prepared.executable else [])]


def _quoted(path: str) -> str:
    """A path as a word of lldb's command language."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
