"""List the memory of a saved process.

One line for each range of addresses: whether its bytes are stored, are those of the text image,
were never touched (zero) or were left out, and why.
"""

from __future__ import annotations

import argparse
from typing import Any

from snaptui.commands.options import JSON_OUTPUT, SAVED_PROCESS, SNAPSHOT_FILE
from snaptui.commands.output import Column, print_json, print_table
from snaptui.engine.snapfile import Process, open_snapshot

NAME = "segments"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS, JSON_OUTPUT)

_COLUMNS = (
    *(Column("START", "right"), Column("END", "right"), Column("SIZE", "right"), Column("KIND")),
    *(Column("PERMS"), Column("NAME"), Column("REASON")),
)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of segments: none but the shared ones."""


def run(arguments: argparse.Namespace) -> int:
    """Print the listing. Raises SnapError."""
    with open_snapshot(arguments.file) as snapshot:
        process = snapshot.process(arguments.pid)
        if arguments.json:
            print_json({"pid": process.pid, "segments": _segments(process), "areas": _areas(process)})
        else:
            print_table(_COLUMNS, _rows(process))
    return 0


def _segments(process: Process) -> list[dict[str, Any]]:
    """The segments of the `mem` record as they stand in the file, with Plan 9's names."""
    return [
        {
            "name": process.segment_name(segment.offset),
            "start": segment.offset,
            "end": segment.end,
            "length": segment.length,
            "pages": process.page_counts(segment),
        }
        for segment in process.memory
    ]


def _areas(process: Process) -> list[dict[str, Any]]:
    return [
        {
            "start": area.start,
            "end": area.end,
            "size": area.size,
            "kind": area.kind,
            "perms": area.perms,
            "name": area.name,
            "reason": area.reason,
        }
        for area in process.areas()
    ]


def _rows(process: Process) -> list[list[str]]:
    return [
        [
            *(f"{area.start:#x}", f"{area.end:#x}", str(area.size), area.kind),
            *(area.perms or "-", area.name or "-", area.reason),
        ]
        for area in process.areas()
    ]
