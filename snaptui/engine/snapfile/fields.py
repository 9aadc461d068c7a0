"""Decimal fields of snap(6): a number, blank-padded to 11 characters, and a space.

We write left-justified, as the original does; both are read. A field is 12 bytes up to
11 digits and wider above, so a 64-bit address takes up to 21.
"""

from __future__ import annotations

import re
from typing import Final

from snaptui.engine.errors import FormatError

FIELD_MAX: Final = 22
"""The original readers look at no more characters than this."""

_FIELD: Final = re.compile(rb" *+([0-9]++) *+")


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
