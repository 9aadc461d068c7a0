"""What the commands that look through memory share: which processes, where in them, and what is missing."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.opened import with_stacks
from snaptui.engine.inspect.threads import saved_threads
from snaptui.engine.snapfile import Process, Snapshot
from snaptui.explain import EXIT_MISSING, visible


def chosen_processes(snapshot: Snapshot, arguments: argparse.Namespace) -> list[Process]:
    """The process that was named, or all. Raises `NoSuchProcess`."""
    return list(snapshot.processes.values()) if arguments.pid is None else [snapshot.process(arguments.pid)]


def positive(text: str) -> int:
    """A number above 0, for argparse."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"not a number above 0: {text!r}")
    return int(text)


class Places:
    """What the mappings of a process say of its addresses."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._addresses = AddressMap(with_stacks(process.areas(), saved_threads(process)))

    def line(self, address: int) -> str:
        """The beginning of a line: `4711 0x7f5c9d3c12a0 rw-p [heap]+0x12a0`."""
        block = self._addresses.block_at(address)
        perms = (block.perms if block is not None else "") or "----"
        place = self._addresses.describe(address, brief=True)
        return visible(f"{self._process.pid} {address:#x} {perms} {place}")

    def as_json(self, address: int) -> dict[str, Any]:
        """The beginning of a JSON object: process, address, and the mapping that it is in."""
        block = self._addresses.block_at(address)
        found: dict[str, Any] = {"pid": self._process.pid, "process": self._process.name, "address": address}
        if block is None:
            return found
        segment = {"name": block.name, "perms": block.perms, "start": block.start, "end": block.end}
        return {**found, "place": self._addresses.describe(address), "segment": segment}


def status_of(name: str, found: int, missing: dict[int, int]) -> int:
    """0 if something was found; 1 if not, or if a process lacks bytes (`missing`), which is said."""
    for pid, size in missing.items():
        if size:
            print(
                f"{name}: process {pid}: {size} bytes that should be in the snapshot are not, "
                "see `snaptui verify`",
                file=sys.stderr,
            )
    return 0 if found and not any(missing.values()) else EXIT_MISSING
