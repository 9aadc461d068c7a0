"""Write one /proc file of a saved process to standard output.

NAME is one of Plan 9's files (fd fpregs kregs noteid ns proc regs segment status text) or a file
of Linux's /proc/PID (maps, task/TID/stat, fd/3: a link gives its target). Where both have the
name (status), linux/NAME is that of Linux. --list prints the names.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, Final

from snaptui.commands.options import JSON_OUTPUT, SAVED_PROCESS, SNAPSHOT_FILE
from snaptui.commands.output import Column, print_json, print_table, stdout_is_terminal, write_bytes
from snaptui.engine.errors import ArgumentError, NotCaptured
from snaptui.engine.snapfile import Process, open_snapshot

NAME = "cat"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS, JSON_OUTPUT)

_LINUX: Final = "linux/"
_PIECE: Final = 1 << 20


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of cat."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="the file")
    parser.add_argument(
        "--list", dest="list_names", action="store_true", help="list the files that are there"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the file or the list. Raises SnapError."""
    if (arguments.name is None) != arguments.list_names:
        raise ArgumentError("give either a file's name or --list")
    if arguments.json and not arguments.list_names:
        raise ArgumentError("--json goes with --list: a file is written as it is")
    with open_snapshot(arguments.file) as snapshot:
        process = snapshot.process(arguments.pid)
        if arguments.list_names:
            _list(process, as_json=arguments.json)
            return 0
        ends_line = True
        for piece in read_file(process, arguments.name):
            write_bytes(piece)
            ends_line = piece.endswith(b"\n")
    if not ends_line and stdout_is_terminal():
        write_bytes(b"\n")  # the next prompt begins a line; a file or pipe gets the bytes alone
    return 0


def read_file(process: Process, name: str) -> Iterator[bytes]:
    """The contents of a /proc file of `process`, in pieces. Raises NotCaptured, ArgumentError."""
    if name == "mem":
        raise ArgumentError(
            "mem has holes: as a file it would be as large as the address space",
            help="show a part of it with `snaptui hexdump`; `snaptui segments` lists what is there",
        )
    if name == "text" and process.text:
        for offset in range(0, process.text_size, _PIECE):
            yield process.read_text(offset, _PIECE)
    elif name in process.records:
        yield process.read(name)
    elif process.linux is not None:
        yield process.linux.read(name.removeprefix(_LINUX))
    else:
        raise NotCaptured(
            f"process {process.pid} has no file {name} in this snapshot", help="--list names those it has"
        )


def _list(process: Process, *, as_json: bool) -> None:
    files = _sizes(process)
    if as_json:
        print_json({"pid": process.pid, "files": files})
    else:
        columns = (Column("NAME"), Column("SIZE", "right"))
        print_table(columns, [[file["name"], str(file["size"])] for file in files])


def _sizes(process: Process) -> list[dict[str, Any]]:
    files = [{"name": name, "size": len(process.read(name))} for name in process.records]
    if process.text:
        files.append({"name": "text", "size": process.text_size})
    if process.linux is not None:
        files += [
            {"name": _LINUX + name, "size": len(process.linux.read(name))} for name in process.linux.names()
        ]
    return files
