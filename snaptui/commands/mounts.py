"""List the running snapfs servers: where they serve what.

What servers that were killed left behind (entries, dead mount points) is removed first.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

from snaptui.commands.options import JSON_OUTPUT
from snaptui.commands.output import Column, print_json, print_table

NAME = "mounts"
PARENTS = (JSON_OUTPUT,)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of mounts: none but the shared ones."""


def run(arguments: argparse.Namespace) -> int:
    """Print the list. Raises SnapError."""
    from snaptui.engine.serve.registry import Registry

    registry = Registry()
    with registry.locked():
        registry.clean()
        entries = registry.entries()
    if arguments.json:
        print_json([dataclasses.asdict(entry) for entry in entries])
        return 0
    columns = (
        Column("PID", "right"),
        Column("MOUNT POINT"),
        Column("SERVICE"),
        Column("SINCE"),
        Column("FILES"),
    )
    rows = [
        [
            str(entry.pid),
            entry.mountpoint or "-",
            " ".join(entry.services) or "-",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.started)),
            " ".join(entry.files),
        ]
        for entry in entries
    ]
    print_table(columns, rows)
    return 0
