"""Show the registers of a saved process.

The general registers of the main thread, or of another one, or of all. Where the layout of the
registers is not known (a snapshot from Plan 9, another machine) their bytes are shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from snaptui.commands.options import JSON_OUTPUT, SAVED_PROCESS, SNAPSHOT_FILE, pid
from snaptui.commands.output import Column, print_json, print_table
from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.hexdump import HexDump
from snaptui.engine.inspect.registers import layout_of
from snaptui.engine.inspect.symbols import Symbols
from snaptui.engine.snapfile import LinuxRecord, Process, open_snapshot
from snaptui.explain import EXIT_MISSING, visible

NAME = "regs"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS, JSON_OUTPUT)


@dataclass(frozen=True, slots=True)
class ThreadRegisters:
    """The registers of one thread: by name, or only as bytes, or the reason why they are missing."""

    tid: int
    name: str
    arch: str
    data: bytes
    registers: dict[str, int]
    missing: str

    def as_json(self, places: Mapping[int, str]) -> dict[str, Any]:
        """The thread as a JSON object; `places` say what is at an address."""
        record: dict[str, Any] = {"tid": self.tid, "name": self.name, "arch": self.arch}
        if self.missing:
            return record | {"missing": self.missing}
        points_to = {name: places[value] for name, value in self.registers.items() if places.get(value)}
        return record | {"registers": self.registers, "points_to": points_to, "raw": self.data.hex()}


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of regs."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--thread", metavar="TID", type=pid, help="the registers of this thread")
    which.add_argument("--all", dest="all_threads", action="store_true", help="the registers of every thread")


def run(arguments: argparse.Namespace) -> int:
    """Print the registers. Raises SnapError; with --all, missing ones are only named and the status is 1."""
    with open_snapshot(arguments.file) as snapshot:
        process = snapshot.process(arguments.pid)
        threads = [_read(process, tid) for tid in _chosen(process, arguments)]
        values = {value for thread in threads for value in thread.registers.values()}
        places = _places(process, values) if values else {}
    missing = [thread for thread in threads if thread.missing]
    if missing and not arguments.all_threads:
        raise NotCaptured(missing[0].missing)
    if arguments.json:
        print_json({"pid": arguments.pid, "threads": [thread.as_json(places) for thread in threads]})
    else:
        _print(threads, places)
    for thread in missing:
        print(f"{NAME}: {visible(thread.missing)}", file=sys.stderr)
    return EXIT_MISSING if missing else 0


def _chosen(process: Process, arguments: argparse.Namespace) -> tuple[int, ...]:
    """The ids of the threads asked for, main thread first."""
    known = _threads(process)
    if arguments.all_threads:
        return known
    if arguments.thread is None:
        return (process.pid,)
    if arguments.thread not in known:
        held = ", ".join(str(tid) for tid in known)
        raise NotCaptured(f"process {process.pid} has no thread {arguments.thread}", help=f"it has: {held}")
    return (arguments.thread,)


def _threads(process: Process) -> tuple[int, ...]:
    tids = process.linux.threads() if process.linux is not None else ()
    return tids or (process.pid,)


def _read(process: Process, tid: int) -> ThreadRegisters:
    linux = process.linux
    try:
        if linux is None:
            data, name, machine = process.read("regs"), process.name, ""
        else:
            data, name, machine = _read_linux(linux, tid), _name(linux, tid), str(linux.info.get("arch", ""))
    except NotCaptured:
        return ThreadRegisters(tid, "", "", b"", {}, f"the registers of thread {tid} are not in the snapshot")
    layout = layout_of(machine, len(data))
    if layout is None:
        return ThreadRegisters(tid, name, machine, data, {}, "")
    return ThreadRegisters(tid, name, layout.arch, data, layout.decode(data), "")


def _read_linux(linux: LinuxRecord, tid: int) -> bytes:
    data = linux.read(f"task/{tid}/regs")
    if not data:
        raise NotCaptured(f"the registers of thread {tid} are not in the snapshot")
    return data


def _places(process: Process, values: Iterable[int]) -> dict[int, str]:
    """What is at an address: `main+0x12`, `[heap]+0x40`; empty where nothing is mapped."""
    addresses = AddressMap(process.areas())
    symbols = Symbols(process, addresses)
    return {value: symbols.near(value) or addresses.describe(value) for value in values}


def _name(linux: LinuxRecord, tid: int) -> str:
    try:
        return linux.read(f"task/{tid}/comm").decode("utf-8", "replace").rstrip("\n")
    except NotCaptured:
        return ""


def _print(threads: list[ThreadRegisters], places: Mapping[int, str]) -> None:
    for number, thread in enumerate(thread for thread in threads if not thread.missing):
        if number:
            print()
        if len(threads) > 1:
            print(f"thread {thread.tid} {visible(thread.name)}".rstrip())
        if thread.registers:
            columns = (
                *(Column("REGISTER"), Column("HEX", "right"), Column("DECIMAL", "right")),
                Column("POINTS TO"),
            )
            rows = thread.registers.items()
            print_table(columns, [[name, f"{value:#x}", str(value), places[value]] for name, value in rows])
        else:
            dump = HexDump(0)
            for row in (*dump.feed(thread.data), *dump.finish()):
                print(row)
