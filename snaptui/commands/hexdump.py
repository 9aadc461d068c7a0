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

from snaptui.commands.options import SAVED_PROCESS, SNAPSHOT_FILE
from snaptui.engine.inspect.hexdump import ROW, HexDump
from snaptui.engine.snapfile import Process, Snapshot, open_snapshot
from snaptui.explain import visible

NAME = "hexdump"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS)

_PIECE: Final = 1 << 20
"""Bytes read at a time: one frame of a compressed snapshot."""
_DEFAULT_LENGTH: Final = 256
_UNITS: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_ADDRESS_END: Final = 1 << 64


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
    where, length = arguments.range
    with open_snapshot(arguments.file) as snapshot:
        process = snapshot.process(arguments.pid)
        address = where if isinstance(where, int) else _address_named(snapshot, process, where)
        length = min(length, _ADDRESS_END - address)
        labels = _labels(process, address, address + length) if arguments.labels else {}
        dump = HexDump(address, squeeze=not arguments.all_rows, labels=labels)
        try:
            for piece in read_pieces(process, address, length):
                _print(dump.feed(piece))
        finally:
            _print(dump.finish())
    return 0


def _address_named(snapshot: Snapshot, process: Process, name: str) -> int:
    from snaptui.engine.inspect.expressions import parse_address
    from snaptui.engine.inspect.opened import Opened

    return parse_address(name, Opened(snapshot, process).surroundings(0))


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


def address_range(text: str) -> tuple[int | str, int]:
    """`ADDR[+LEN]` as an address, or a name that stands for one, and a length in bytes."""
    head, plus, tail = text.rpartition("+")
    length = _length(tail) if plus else None
    if length is None:
        # No length: a name may hold a + itself (libstdc++.so.6).
        if plus and _number(head, 16) is not None:
            raise argparse.ArgumentTypeError(f"not a length: {tail!r} (like 64, 0x40 or 4K)")
        head, length = text, _DEFAULT_LENGTH
    if not length:
        raise argparse.ArgumentTypeError(f"not a length: {tail!r} (like 64, 0x40 or 4K)")
    address = _number(head, 16)
    is_number = head[:1].isdigit()
    if not head or (is_number and address is None) or (address or 0) >= _ADDRESS_END:
        raise argparse.ArgumentTypeError(f"not an address in hexadecimal: {head!r}")
    return head if address is None else address, length


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
