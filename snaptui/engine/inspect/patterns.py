"""What to search for, as people type it: text, hexadecimal bytes, a regular expression, a pointer."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Final, Literal

from snaptui.engine.errors import ArgumentError
from snaptui.engine.inspect.values import Endian

PatternKind = Literal["text", "utf-16", "hex", "regex", "pointer"]
KINDS: Final[tuple[PatternKind, ...]] = ("text", "utf-16", "hex", "regex", "pointer")

REGEX_REACH: Final = 4096
"""Bytes of a match that are sure to be found whole where pieces meet."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Bytes to find: `literal`, or what `regex` matches."""

    literal: bytes
    regex: re.Pattern[bytes] | None
    reach: int
    """Bytes that a match may have."""
    matches_zeros: bool
    """Whether it can match in memory that holds nothing but zeros."""


def parse_pattern(kind: PatternKind, text: str, endian: Endian = "little") -> Pattern:
    """The pattern that `text` is, for all kinds but `pointer`. Raises ArgumentError."""
    if not text:
        raise ArgumentError("find what?", help="type what to look for")
    match kind:
        case "text":
            return literal_pattern(text.encode("utf-8", "surrogateescape"))
        case "utf-16":
            return literal_pattern(text.encode("utf-16-le" if endian == "little" else "utf-16-be"))
        case "hex":
            return _hex_pattern(text)
        case "regex":
            return _regex_pattern(text)
        case "pointer":
            raise ValueError("a pointer is an address: use pointer_pattern")


def pointer_pattern(address: int, width: int, endian: Endian) -> Pattern:
    """Pointers to `address`, at any alignment. Raises ArgumentError if it does not fit into `width` bytes."""
    try:
        return literal_pattern(address.to_bytes(width, endian))
    except OverflowError as error:
        raise ArgumentError(f"{address:#x} is no address of {8 * width} bits") from error


def literal_pattern(content: bytes) -> Pattern:
    """These bytes."""
    return Pattern(content, None, len(content), not content.strip(b"\0"))


def _hex_pattern(text: str) -> Pattern:
    digits = "".join(text.lower().removeprefix("0x").split())
    pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
    if not re.fullmatch(r"(?:[0-9a-f]{2}|\?\?)+", digits):
        raise ArgumentError(
            f"not bytes in hexadecimal: {text!r}",
            help="type pairs of digits, like `de ad be ef`; ?? is any",
        )
    if "??" not in digits:
        return literal_pattern(bytes.fromhex(digits))
    source = b"".join(b"." if pair == "??" else re.escape(bytes.fromhex(pair)) for pair in pairs)
    zeros = all(pair in ("??", "00") for pair in pairs)
    return Pattern(b"", re.compile(source, re.DOTALL), len(pairs), zeros)


def _regex_pattern(text: str) -> Pattern:
    source = text.encode("utf-8", "surrogateescape")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later Python may read otherwise
            regex = re.compile(source)
    except (re.error, OverflowError, RecursionError) as error:
        raise ArgumentError(f"not a regular expression: {error}") from error
    match = next((found for found in regex.finditer(bytes(REGEX_REACH)) if found[0]), None)
    return Pattern(b"", regex, REGEX_REACH, match is not None)
