"""Searching memory of any size: in pieces, with matches as they are found.

Areas that touch are one haystack: a match may cross their border, but never a hole.
Measured: 4 MiB pieces keep the worst stall of another thread at 7 ms, where one search over all takes
276 ms; the module `re`, which holds the interpreter as it works, needs pieces of 256 KiB for that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from snaptui.engine.inspect.patterns import Pattern
from snaptui.engine.inspect.space import Space, read_available
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile import Area
from snaptui.engine.snapfile.model import PAGE

_PIECE: Final = 4 << 20
_REGEX_PIECE: Final = 256 << 10
_REPORT: Final = 0.05
"""Seconds between two reports, about."""
_ADDRESS_END: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Hit:
    """A match: `size` bytes at `address`."""

    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What a search has found since its last report; `done` of `total` bytes are searched."""

    hits: tuple[Hit, ...]
    done: int
    total: int


def search(
    space: Space,
    pattern: Pattern,
    start: int = 0,
    stop: int = _ADDRESS_END,
    *,
    cancel: CancelToken | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Batch]:
    """The matches that begin in `start`..`stop`, by address, none overlapping the one before.

    Yields by elapsed time, and once at the end. Raises `Cancelled` at the latest 4 MiB after it was
    asked for: what was yielded before stays valid.
    """
    cancel = cancel or CancelToken()
    haystacks = list(_haystacks(space.areas(), pattern, start, stop))
    total = sum(last - first for first, last in haystacks)
    done = 0
    found: list[Hit] = []
    reported = -math.inf  # so that the first hit is told at once
    for first, last in haystacks:
        for hits, size in _search_one(space, pattern, first, last, cancel):
            done += size
            found += (hit for hit in hits if start <= hit.address < stop)
            if clock() - reported >= _REPORT:
                yield Batch(tuple(found), done, total)
                found, reported = [], clock()
    yield Batch(tuple(found), total, total)


def _haystacks(areas: tuple[Area, ...], pattern: Pattern, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Ranges to search. Of untouched memory only the edges are, unless the pattern can match zeros."""
    edge = pattern.reach - 1
    begin = end = 0
    # A match that begins before `stop` may end after it.
    stop = min(stop + edge, _ADDRESS_END)
    for area in areas:
        first, last = max(area.start, start), min(area.end, stop)
        if area.kind == "left out" or first >= last:
            continue
        skips = area.kind == "zero" and not pattern.matches_zeros and last - first > 2 * edge
        if first != end:
            if begin < end:
                yield begin, end
            begin = first
        end = last
        if skips:
            if begin < first:
                yield begin, first + edge
            begin = last - edge
    if begin < end:
        yield begin, end


def _search_one(
    space: Space, pattern: Pattern, first: int, last: int, cancel: CancelToken
) -> Iterator[tuple[list[Hit], int]]:
    """The hits in one haystack, and how many bytes more of it are done."""
    kept = b""
    at = allowed = first
    step = _REGEX_PIECE if pattern.regex is not None else _PIECE
    while at < last:
        wanted = min(_PIECE, last - at)
        read = read_available(space, at, wanted)
        for offset in range(0, len(read), step):
            cancel.check()
            part = read[offset : offset + step]
            data = kept + part
            base = at + offset - len(kept)
            is_last = base + len(data) >= last or (len(read) < wanted and offset + len(part) == len(read))
            hits = list(_matches(pattern, data, max(0, allowed - base), is_last))
            allowed = max(allowed, base + len(data) - pattern.reach + 1)
            if hits:
                allowed = max(allowed, base + hits[-1][1])
            # As much again as a match may have, for what looks behind.
            kept = data[-2 * pattern.reach :]
            yield [Hit(base + begin, end - begin) for begin, end in hits], len(part)
        at += len(read)
        if len(read) < wanted:
            # A damaged snapshot lacks a page that should be there: go on after it.
            hole = min(PAGE - at % PAGE, last - at)
            at += hole
            kept, allowed = b"", at
            yield [], hole


def _matches(pattern: Pattern, data: bytes, start: int, is_last: bool) -> Iterator[tuple[int, int]]:
    """Where matches begin and end; those that the next bytes may prolong are left for the next piece."""
    if pattern.regex is None:
        at = data.find(pattern.literal, start)
        while at >= 0:
            yield at, at + len(pattern.literal)
            at = data.find(pattern.literal, at + len(pattern.literal))
        return
    safe = len(data) if is_last else len(data) - pattern.reach
    for match in pattern.regex.finditer(data, start):
        if match.start() > safe:
            return
        if match.end() > match.start():
            yield match.start(), match.end()
