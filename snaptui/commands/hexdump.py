"""Show the memory of a saved process in hexadecimal.

The layout is that of `hexdump -C`. ADDR is hexadecimal, with or without 0x, as debuggers and
/proc/PID/maps print it, or the name of a symbol, of a register of the main thread, or of a mapping:
main, rsp, [heap]. LEN is decimal, or hexadecimal with 0x, or ends in K, M or G; 256 if it is not
given: 7ffc5a21b000+4K.

Where memory was not captured the dump ends, with an error: it is never shown as zeros.
"""

from __future__ import annotations

import argparse
import bisect
from collections.abc import Iterator
from typing import Final

from snaptui.commands.addressing import ADDRESS_END, address_of, address_range
from snaptui.commands.options import SAVED_PROCESS, SNAPSHOT_FILE
from snaptui.engine.inspect.hexdump import ROW, HexDump
from snaptui.engine.snapfile import Process, open_snapshot
from snaptui.explain import visible

NAME = "hexdump"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS)

_PIECE: Final = 1 << 20
"""Bytes read at a time: one frame of a compressed snapshot."""
_DEFAULT_LENGTH: Final = 256


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add hexdump's arguments."""
    parser.add_argument("range", metavar="ADDR[+LEN]", type=address_range, help="where, and how many bytes")
    parser.add_argument(
        "-l", "--labels", action="store_true", help="name the symbols that begin in a row in a line before it"
    )
    parser.add_argument(
        "-v", dest="all_rows", action="store_true", help="show repeated rows instead of one * for them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the rows. Raises SnapError; what comes before the address that is not captured is printed."""
    where = arguments.range
    with open_snapshot(arguments.file) as snapshot:
        process = snapshot.process(arguments.pid)
        address = address_of(snapshot, process, where.start)
        length = min(where.length or _DEFAULT_LENGTH, ADDRESS_END - address)
        labels = _labels(process, address, address + length) if arguments.labels else {}
        dump = HexDump(address, squeeze=not arguments.all_rows, labels=labels)
        try:
            for piece in read_pieces(process, address, length):
                _print(dump.feed(piece))
        finally:
            _print(dump.finish())
    return 0


def _labels(process: Process, start: int, end: int) -> dict[int, list[str]]:
    """The names of the symbols that begin in each row."""
    from snaptui.engine.inspect.addresses import AddressMap
    from snaptui.engine.inspect.symbols import Symbols

    labels: dict[int, list[str]] = {}
    for address, name in Symbols(process, AddressMap(process.areas())).between(start, end):
        row = address - (address - start) % ROW
        labels.setdefault(row, []).append(f"{address:08x} <{visible(name)}>:")
    return labels


def read_pieces(process: Process, address: int, length: int) -> Iterator[bytes]:
    """The memory of a range in pieces; all that can be read before `NotCaptured` is raised."""
    edges = sorted({edge for area in process.areas() for edge in (area.start, area.end)})
    end = address + length
    while address < end:
        # A read that ends where an area ends either works or fails as a whole.
        index = bisect.bisect_right(edges, address)
        stop = min(end, address + _PIECE, edges[index] if index < len(edges) else end)
        yield process.read_memory(address, stop - address)
        address = stop


def _print(rows: Iterator[str]) -> None:
    for row in rows:
        print(row)
