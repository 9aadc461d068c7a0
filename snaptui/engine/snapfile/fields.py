"""Decimal fields of snap(6): a number, blank-padded to 11 characters, and a space.

We write left-justified, as the original does; both are read. A field is 12 bytes up to
11 digits and wider above, so a 64-bit address takes up to 21.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.errors import FormatError

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

FIELD_MAX: Final = 22
"""The original readers look at no more characters than this."""

_FIELD: Final = re.compile(rb" *+([0-9]++) *+")
_ZERO: Final = ord("0")
_BLANK: Final = ord(" ")


def field(number: int) -> bytes:
    """`number` as a field of at least 12 bytes."""
    return b"%-11d " % number


def parse_field(buffer: bytes, start: int) -> tuple[int, int]:
    """The number at `start` of `buffer`, and where the blanks after it end.

    Raises `FormatError` when there is no number there, or none that the original readers would take.
    """
    match = _FIELD.match(buffer, start)
    if match is None or match.end(1) - start > FIELD_MAX:
        raise FormatError("a number is missing or too long")
    number = int(match[1])
    if number >= 1 << 64:
        raise FormatError(f"the number {number} is out of range")
    return number, match.end()


def parse_fixed(field12: bytes) -> int:
    """The number in a field that is read as exactly 12 bytes (the size of a data record)."""
    stripped = field12.strip(b" ")
    if len(field12) != 12 or not stripped.isdigit():
        raise FormatError("a number is missing or garbled")
    return int(stripped)


def digit_counts(numbers: U64) -> npt.NDArray[np.intp]:
    """How many decimal digits each of `numbers` has."""
    powers = np.array([10**k for k in range(1, 20)], dtype=np.uint64)
    return np.searchsorted(powers, numbers, side="right") + 1


def put_fields(rows: U8, numbers: U64, digits: int) -> None:
    """Write `numbers`, all of `digits` digits, left-justified into `rows` (n x width)."""
    rows[:, digits:] = _BLANK
    rest = numbers
    for column in range(digits - 1, -1, -1):
        quotient = rest // np.uint64(10)
        rows[:, column] = (rest - quotient * np.uint64(10)).astype(np.uint8) + np.uint8(_ZERO)
        rest = quotient


def get_fields(rows: U8) -> U64:
    """The numbers in `rows` (n x width): digits at the same columns in each, blanks elsewhere."""
    numbers = np.zeros(len(rows), dtype=np.uint64)
    if not len(rows):
        return numbers
    for column in np.flatnonzero(rows[0] != _BLANK):
        numbers = numbers * np.uint64(10) + (rows[:, column] - np.uint8(_ZERO))
    return numbers
