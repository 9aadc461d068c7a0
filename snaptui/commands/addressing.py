"""Addresses as words of a command line: `7ffc5a21b000`, `main`, `rsp`, `[heap]+4K`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Final

from snaptui.engine.snapfile import Process, Snapshot

ADDRESS_END: Final = 1 << 64
_UNITS: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True)
class AddressRange:
    """`ADDR[+LEN]`: an address, or a name that stands for one, and a length in bytes if it was given."""

    start: int | str
    length: int | None


def address_of(snapshot: Snapshot, process: Process, where: int | str) -> int:
    """The address that a number or a name stands for in a process. Raises ArgumentError, SnapError."""
    if isinstance(where, int):
        return where
    from snaptui.engine.inspect.expressions import parse_address
    from snaptui.engine.inspect.opened import Opened

    return parse_address(where, Opened(snapshot, process).surroundings(0))


def address_range(text: str) -> AddressRange:
    """`ADDR[+LEN]`, for argparse."""
    head, plus, tail = text.rpartition("+")
    length = _length(tail) if plus else None
    if length is None:
        # No length: a name may hold a + itself (libstdc++.so.6).
        if plus and _number(head, 16) is not None:
            raise argparse.ArgumentTypeError(f"not a length: {tail!r} (like 64, 0x40 or 4K)")
        head, length = text, None
    if length == 0:
        raise argparse.ArgumentTypeError(f"not a length: {tail!r} (like 64, 0x40 or 4K)")
    address = _number(head, 16)
    is_number = head[:1].isdigit()
    if not head or (is_number and address is None) or (address or 0) >= ADDRESS_END:
        raise argparse.ArgumentTypeError(f"not an address in hexadecimal: {head!r}")
    return AddressRange(head if address is None else address, length)


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
