"""Where to go, as people type it: `7ffc12a0`, `+40`, `rsp-8`, `[heap]+100`, `main`, `*rsp`, `s:dead`.

All numbers are hexadecimal, with or without 0x.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from snaptui.engine.errors import ArgumentError
from snaptui.engine.inspect.addresses import AddressMap

_HEX: Final = re.compile(r"(?:0[xX])?[0-9a-fA-F]+")
_OFFSET: Final = re.compile(r"\s*([+-])\s*((?:0[xX])?[0-9a-fA-F]+)\s*$")
_ADDRESS_END: Final = 1 << 64
_FORMS: Final = "an address in hex, +off, -off, a register, segment+off, a symbol, *address, or s:name"


def _no_symbol(_name: str) -> int | None:
    return None


def _unreadable(address: int) -> int:
    raise ArgumentError(f"cannot follow a pointer at {address:#x}")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an expression may speak of.

    `symbol` finds a symbol's address; `pointer` reads the pointer at an address, and raises SnapError.
    """

    addresses: AddressMap
    here: int = 0
    registers: Mapping[str, int] = field(default_factory=dict)
    symbol: Callable[[str], int | None] = _no_symbol
    pointer: Callable[[int], int] = _unreadable


def parse_address(text: str, around: Surroundings) -> int:
    """The address that `text` names. Raises ArgumentError, and SnapError where a pointer cannot be read."""
    text = text.strip()
    if not text:
        raise ArgumentError("where to?", help=f"type {_FORMS}")
    if text.startswith("*"):
        return around.pointer(parse_address(text[1:], around))
    address = _whole(text, around)
    if address is None:
        address = _sum(text, around)
    if address is None:
        raise ArgumentError(f"nothing here is called {text!r}", help=f"type {_FORMS}")
    if not 0 <= address < _ADDRESS_END:
        raise ArgumentError(f"{text} is outside the address space")
    return address


def _sum(text: str, around: Surroundings) -> int | None:
    """Something plus or minus an offset; alone, an offset counts from here."""
    match = _OFFSET.search(text)
    if match is None:
        return None
    head = text[: match.start()].strip()
    base = around.here if not head else parse_address(head, around)
    offset = int(match[2], 16)
    return base + offset if match[1] == "+" else base - offset


def _whole(text: str, around: Surroundings) -> int | None:
    """A name or a number. Names of files may hold + and -, so they come before sums (libstdc++.so.6)."""
    if text[:2] == "s:":
        return _name(text[2:], around)
    register = around.registers.get(text.removeprefix("$").lower())
    if register is not None:
        return register
    if _HEX.fullmatch(text):
        return int(text, 16)
    return None if text[0] in "+-" else _name(text, around)


def _name(name: str, around: Surroundings) -> int | None:
    exact = around.symbol(name)
    if exact is not None:
        return exact
    block = around.addresses.named(name)
    return block.start if block is not None else None
