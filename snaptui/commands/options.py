"""Options that several commands share, as parent parsers: a command names them in its `PARENTS`."""

from __future__ import annotations

import argparse
from typing import Final


def _parent() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(add_help=False)


def _snapshot_file() -> argparse.ArgumentParser:
    parser = _parent()
    complete_files(
        parser.add_argument("file", metavar="FILE", help="the snapshot, plain or compressed (.zst)")
    )
    return parser


def _saved_process() -> argparse.ArgumentParser:
    parser = _parent()
    parser.add_argument("pid", metavar="PID", type=pid, help="the saved process's id, as `info` lists it")
    return parser


def _any_process() -> argparse.ArgumentParser:
    parser = _parent()
    parser.add_argument(
        "pid", metavar="PID", type=pid, nargs="?", help="the saved process's id; all of the file without it"
    )
    return parser


def _json_output() -> argparse.ArgumentParser:
    parser = _parent()
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def _progress() -> argparse.ArgumentParser:
    parser = _parent()
    parser.add_argument(
        "--progress",
        choices=("auto", "bar", "json", "none"),
        default="auto",
        help="how to show progress on standard error: a bar where that is a terminal (auto, bar), "
        "JSON lines (json), or not at all",
    )
    return parser


def pid(text: str) -> int:
    """A process id, for argparse."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"not a process id: {text!r}")
    return int(text)


def complete_files(action: argparse.Action) -> argparse.Action:
    """Mark an argument as the name of a file, for the shell's completion."""
    # What shtab.FILE is, without the import: 80 ms.
    action.complete = _SHTAB_FILE  # type: ignore[attr-defined]
    return action


_SHTAB_FILE: Final = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}

SNAPSHOT_FILE: Final = _snapshot_file()
SAVED_PROCESS: Final = _saved_process()
ANY_PROCESS: Final = _any_process()
JSON_OUTPUT: Final = _json_output()
PROGRESS: Final = _progress()
