"""End snapfs servers, by mount point or service, and unmount what they had mounted.

Where several are mounted at one place the last one is ended, and the one before is seen again.
A server that still has readers ends all the same; they get errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snaptui.commands.options import complete_files
from snaptui.engine.errors import ArgumentError, SnapError
from snaptui.explain import visible

if TYPE_CHECKING:
    from snaptui.engine.serve.registry import Entry

NAME = "umount"


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add umount's arguments."""
    complete_files(
        parser.add_argument(
            "targets",
            metavar="MTPT|SERVICE",
            nargs="*",
            help="a mount point or service, as `mounts` lists it",
        )
    )
    parser.add_argument("--all", action="store_true", help="end all of your servers")


def run(arguments: argparse.Namespace) -> int:
    """End the servers. Raises SnapError: ArgumentError when none is meant."""
    from snaptui.engine.serve.registry import Registry, end

    if bool(arguments.targets) == arguments.all:
        raise ArgumentError("give mount points or services, or --all")
    registry = Registry()
    with registry.locked():
        cleaned = registry.clean()
    entries = registry.entries()
    # The newest first: it lies on top, and what is under it can only then be unmounted.
    chosen = entries[::-1] if arguments.all else _chosen(entries, arguments.targets, cleaned)
    for entry in chosen:
        how = end(entry)
        if how == "killed":
            print(f"process {entry.pid} did not end when asked, and was killed: {visible(_shown(entry))}")
    with registry.locked():
        registry.clean()
    return 0


def _chosen(entries: Sequence[Entry], targets: Sequence[str], cleaned: Sequence[str]) -> list[Entry]:
    """The servers that the user means; each target may mean the next one below, too."""
    from snaptui.engine.serve.registry import canonical_path

    left = list(entries)
    chosen = []
    for target in targets:
        meant = [entry for entry in left if entry.is_called(target)]
        if meant:
            chosen.append(meant[-1])
            left.remove(meant[-1])
        elif canonical_path(target) not in cleaned:
            raise SnapError(
                f"no snapfs of yours serves {target}", help="`snaptui mounts` lists those that run"
            )
    return chosen


def _shown(entry: Entry) -> str:
    return entry.mountpoint or " ".join(entry.services)
