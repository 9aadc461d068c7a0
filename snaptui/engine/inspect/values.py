"""What some bytes could mean: integers, floats, a pointer, a time, a character (the data inspector)."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

Endian = Literal["little", "big"]

LONGEST: Final = 8
"""Bytes that the longest value takes."""

_FORMATS: Final = (
    *(("i8", "b"), ("u8", "B"), ("i16", "h"), ("u16", "H"), ("i32", "i"), ("u32", "I")),
    *(("i64", "q"), ("u64", "Q"), ("f32", "f"), ("f64", "d")),
)
_YEARS: Final = (-(1 << 31), 253402300799)  # 1901 (what 32 bits hold) to the end of 9999


@dataclass(frozen=True, slots=True)
class Value:
    """One reading of the bytes; `text` is `-` where there are too few of them."""

    name: str
    text: str


def inspect(
    data: bytes,
    endian: Endian = "little",
    width: int = 8,
    describe: Callable[[int], str] | None = None,
) -> tuple[Value, ...]:
    """All readings of the first bytes of `data`.

    A pointer has `width` bytes, and `describe` says where it leads (empty: nowhere).
    """
    order = "<" if endian == "little" else ">"
    values = [Value(name, _number(data, order + code)) for name, code in _FORMATS]
    return (
        *values,
        Value("time", _time(data, endian)),
        Value("char", character(data)),
        Value("pointer", _pointer(word(data, width, endian), describe)),
    )


def word(data: bytes, size: int, endian: Endian) -> int | None:
    """The unsigned integer in the first `size` bytes; None if there are fewer."""
    return int.from_bytes(data[:size], endian) if len(data) >= size else None


def _number(data: bytes, code: str) -> str:
    size = struct.calcsize(code)
    if len(data) < size:
        return "-"
    (value,) = struct.unpack(code, data[:size])
    return f"{value:.{6 if size == 4 else 15}g}" if isinstance(value, float) else str(value)


def _time(data: bytes, endian: Endian) -> str:
    """The bytes as time_t, in UTC: 64 bits, or the lower 32 where that makes no year of four digits."""
    for size in (8, 4):
        if len(data) >= size:
            seconds = int.from_bytes(data[:size], endian, signed=True)
            if _YEARS[0] <= seconds <= _YEARS[1]:
                return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
    return "-"


def character(data: bytes) -> str:
    """The UTF-8 character that begins here, with its code point."""
    for size in range(1, 5):
        try:
            char = data[:size].decode("utf-8")
        except UnicodeDecodeError:
            continue
        if not char:
            return "-"
        shown = char if char.isprintable() else ascii(char).strip("'")
        return f"{shown} U+{ord(char):04X}"
    return "-"


def _pointer(address: int | None, describe: Callable[[int], str] | None) -> str:
    if address is None:
        return "-"
    where = describe(address) if describe is not None else ""
    return f"{address:#x} {where}" if where else f"{address:#x} not mapped"
