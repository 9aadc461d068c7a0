"""What to search for, as people type it: text, hexadecimal bytes, a regular expression, a pointer."""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import dataclass
from typing import Final, Literal

from snaptui.engine.errors import ArgumentError
from snaptui.engine.inspect.textruns import Encoding, TextRuns
from snaptui.engine.inspect.values import Endian

PatternKind = Literal["text", "utf-16", "hex", "regex", "pointer"]
KINDS: Final[tuple[PatternKind, ...]] = ("text", "utf-16", "hex", "regex", "pointer")

REGEX_REACH: Final = 4096
"""Bytes of a match that are sure to be found whole where pieces meet."""


@dataclass(frozen=True, slots=True)
class PointerRange:
    """Pointers of `width` bytes to any of the `size` addresses from `start` on."""

    start: int
    size: int
    width: int
    endian: Endian


@dataclass(frozen=True, slots=True)
class Pattern:
    """Bytes to find: `literal`, or what `regex` matches, or `texts`."""

    literal: bytes
    regex: re.Pattern[bytes] | None
    reach: int
    """Bytes that a match may have."""
    matches_zeros: bool
    """Whether it can match in memory that holds nothing but zeros."""
    wild: frozenset[int] = frozenset()
    """Which bytes of `literal` may be anything, by their index."""
    pointer: PointerRange | None = None
    """What the pointer must point into that `literal` is."""
    texts: TextRuns | None = None


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


def pointer_pattern(address: int, width: int, endian: Endian, size: int = 1) -> Pattern:
    """Pointers to one of the `size` addresses from `address` on, at any alignment.

    Raises ArgumentError if such an address does not fit into `width` bytes.
    """
    try:
        first, last = (at.to_bytes(width, endian) for at in (address, address + size - 1))
    except OverflowError as error:
        raise ArgumentError(f"{address + size - 1:#x} is no address of {8 * width} bits") from error
    if size == 1:
        return literal_pattern(first)
    # From the most significant byte on, what all of them have in common.
    order = range(width) if endian == "big" else range(width - 1, -1, -1)
    common = set(itertools.takewhile(lambda at: first[at] == last[at], order))
    return Pattern(
        first,
        None,
        width,
        address == 0,
        frozenset(range(width)) - common,
        PointerRange(address, size, width, endian),
    )


def literal_pattern(content: bytes) -> Pattern:
    """These bytes."""
    return Pattern(content, None, len(content), not content.strip(b"\0"))


def text_pattern(minimum: int, encoding: Encoding = "utf-8") -> Pattern:
    """Texts of at least `minimum` characters; in UTF-16 those of ASCII alone."""
    return Pattern(b"", None, REGEX_REACH, False, texts=TextRuns(minimum, encoding))


def _hex_pattern(text: str) -> Pattern:
    digits = "".join(text.lower().removeprefix("0x").split())
    pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
    if not re.fullmatch(r"(?:[0-9a-f]{2}|\?\?)+", digits):
        raise ArgumentError(
            f"not bytes in hexadecimal: {text!r}",
            help="type pairs of digits, like `de ad be ef`; ?? is any",
        )
    wild = frozenset(at for at, pair in enumerate(pairs) if pair == "??")
    content = bytes.fromhex(digits.replace("??", "00"))
    return Pattern(content, None, len(content), not content.strip(b"\0"), wild)


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
