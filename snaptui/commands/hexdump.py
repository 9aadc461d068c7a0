"""Show the memory of a saved process in hexadecimal.

The layout is that of `hexdump -C`. ADDR is hexadecimal, with or without 0x, as debuggers and
/proc/PID/maps print it. LEN is decimal, or hexadecimal with 0x, or ends in K, M or G; 256 if it
is not given: 7ffc5a21b000+4K.

Where memory was not captured the dump ends, with an error: it is never shown as zeros.
"""

from __future__ import annotations

import argparse
import bisect
from collections.abc import Iterator
from typing import Final

from snaptui.commands.options import SAVED_PROCESS, SNAPSHOT_FILE
from snaptui.engine.inspect.hexdump import HexDump
from snaptui.engine.snapfile import Process, open_snapshot

NAME = "hexdump"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS)

_PIECE: Final = 1 << 20
"""Bytes read at a time: one frame of a compressed snapshot."""
_DEFAULT_LENGTH: Final = 256
_UNITS: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_ADDRESS_END: Final = 1 << 64


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add hexdump's arguments."""
    parser.add_argument(
        "range", metavar="ADDR[+LEN]", type=address_range, help="where, in hexadecimal, and how many bytes"
    )
    parser.add_argument(
        "-v", dest="all_rows", action="store_true", help="show repeated rows instead of one * for them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the rows. Raises SnapError; what comes before the address that is not captured is printed."""
    address, length = arguments.range
    dump = HexDump(address, squeeze=not arguments.all_rows)
    with open_snapshot(arguments.file) as snapshot:
        process = snapshot.process(arguments.pid)
        try:
            for piece in read_pieces(process, address, length):
                _print(dump.feed(piece))
        finally:
            _print(dump.finish())
    return 0


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


def address_range(text: str) -> tuple[int, int]:
    """`ADDR[+LEN]` as an address and a length in bytes."""
    address_text, plus, length_text = text.partition("+")
    address = _number(address_text, 16)
    length = _length(length_text) if plus else _DEFAULT_LENGTH
    if address is None or address >= _ADDRESS_END:
        raise argparse.ArgumentTypeError(f"not an address in hexadecimal: {address_text!r}")
    if not length:
        raise argparse.ArgumentTypeError(f"not a length: {length_text!r} (like 64, 0x40 or 4K)")
    return address, min(length, _ADDRESS_END - address)


def _length(text: str) -> int | None:
    unit = _UNITS.get(text[-1:].lower(), 1)
    digits = text[:-1] if unit > 1 else text
    number = _number(digits, 16 if digits[:2].lower() == "0x" else 10)
    return None if number is None else number * unit


def _number(text: str, base: int) -> int | None:
    # int() alone would take signs, blanks, underscores and other scripts' digits.
    if not (text.isascii() and text.isalnum()):
        return None
    try:
        return int(text, base)
    except ValueError:
        return None


def _print(rows: Iterator[str]) -> None:
    for row in rows:
        print(row)
