"""Searching memory of any size: in pieces, with matches as they are found.

Areas that touch are one haystack: a match may cross their border, but never a hole. Literal bytes,
with wildcards or without, are found wherever they stand, also where they overlap: so what is found
does not depend on where the search begins. Of a regular expression no match overlaps the one before.

Measured: a piece is long enough that resolving references costs less than copying what they lead to.
The module `re` holds the interpreter as it works: with steps of 256 KiB the worst stall of another
thread is 7 ms, where one search over all takes 276 ms.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.inspect.matching import Matcher
from snaptui.engine.inspect.patterns import Pattern
from snaptui.engine.inspect.space import Space, read_available_into
from snaptui.engine.inspect.textruns import TextRuns
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile import Area
from snaptui.engine.snapfile.fieldarrays import U8, U64
from snaptui.engine.snapfile.model import PAGE

Sizes = npt.NDArray[np.int64]

_PIECE: Final = 4 << 20
"""Bytes read at a time."""
_STEP: Final = 512 << 10
_GROWING_STEP: Final = 256 << 10
"""Bytes searched at a time; the latter for what has no fixed size: regular expressions, and texts."""
_ALIGNED: Final = 64
"""Bytes: pieces are read to multiples of it."""
_GROWN: Final = 1 << 20
"""Bytes of such a match, about, up to which it is followed over the ends of steps."""
_REPORT: Final = 0.05
"""Seconds between two reports, about."""
_MOST: Final = 1 << 16
"""Hits in one report: bounds the memory that they need."""
_ADDRESS_END: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Hit:
    """A match: `size` bytes at `address`."""

    address: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a search has found since its last report; `done` of `total` bytes are searched."""

    addresses: U64
    sizes: Sizes
    done: int
    total: int
    missing: int = 0
    """Bytes so far that should be in the snapshot and are not: it is damaged."""

    @property
    def hits(self) -> tuple[Hit, ...]:
        """The matches, one by one."""
        return tuple(map(Hit, self.addresses.tolist(), self.sizes.tolist()))


def search(
    space: Space,
    pattern: Pattern,
    start: int = 0,
    stop: int = _ADDRESS_END,
    *,
    cancel: CancelToken | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Batch]:
    """The matches that begin in `start`..`stop`, by address.

    Yields by elapsed time, and once at the end. Raises `Cancelled` at the latest 4 MiB after it was
    asked for: what was yielded before stays valid.
    """
    haystacks = list(_haystacks(space.areas(), pattern, start, stop))
    report = _Report(sum(last - first for first, last in haystacks), start, stop, clock)
    scan = _Scan(space, pattern, cancel or CancelToken())
    for first, last in haystacks:
        for found in scan.run(first, last):
            report.add(found)
            if report.is_due:
                yield from report.take()
    yield from report.take()


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


@dataclass(frozen=True, slots=True)
class _Found:
    """What a step has found, and how many bytes more are done, of which some are missing."""

    addresses: U64
    sizes: Sizes
    done: int
    missing: int = 0


_NONE: Final = (np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))


class _Report:
    """Gathers what was found until it is time to tell."""

    def __init__(self, total: int, start: int, stop: int, clock: Callable[[], float]) -> None:
        self._total, self._start, self._stop, self._clock = total, start, stop, clock
        self._done = self._missing = 0
        self._addresses, self._sizes = _NONE
        self._last = -math.inf  # so that the first hit is told at once

    @property
    def is_due(self) -> bool:
        return len(self._addresses) > _MOST or self._clock() - self._last >= _REPORT

    def add(self, found: _Found) -> None:
        self._done += found.done
        self._missing += found.missing
        if len(found.addresses):
            wanted = found.addresses >= np.uint64(self._start)
            if self._stop < _ADDRESS_END:
                wanted &= found.addresses < np.uint64(self._stop)
            self._addresses = np.append(self._addresses, found.addresses[wanted])
            self._sizes = np.append(self._sizes, found.sizes[wanted])

    def take(self) -> Iterator[Batch]:
        """What there is to tell, in one report, or more where it is much."""
        for at in range(0, max(1, len(self._addresses)), _MOST):
            addresses, sizes = self._addresses[at : at + _MOST], self._sizes[at : at + _MOST]
            yield Batch(addresses, sizes, self._done, self._total, self._missing)
        self._addresses, self._sizes = _NONE
        self._last = self._clock()


class _Scan:
    """Searches haystacks, one after the other, in one buffer: what is kept from before, then a piece."""

    def __init__(self, space: Space, pattern: Pattern, cancel: CancelToken) -> None:
        self._space, self._pattern, self._cancel = space, pattern, cancel
        self._regex, self._texts = pattern.regex, pattern.texts
        grows = pattern.regex is not None or pattern.texts is not None
        self._matcher = None if grows else Matcher(pattern)
        self._step = _GROWING_STEP if grows else _STEP
        # What can be part of a match to come; of a regular expression also what that may look back at.
        self._context = 2 * pattern.reach if grows else pattern.reach
        grown = _GROWN if grows else 0
        self._room = -(-(self._context + grown) // _ALIGNED) * _ALIGNED
        self._buffer: U8 = np.empty(self._room + _PIECE, dtype=np.uint8)
        self._begin = 0
        """The address from which on the buffer holds memory."""
        self._allowed = 0
        """The address from which on matches have not been told yet."""

    def run(self, first: int, last: int) -> Iterator[_Found]:
        """The hits in one haystack."""
        at = self._begin = self._allowed = first
        while at < last:
            wanted = min(_PIECE, last - at)
            got = read_available_into(self._space, at, self._buffer[self._room : self._room + wanted])
            # Once also if nothing could be read: that ends what came before.
            for start in range(0, max(got, 1), self._step):
                self._cancel.check()
                end = min(start + self._step, got)
                yield self._search(at, start, end, is_last=at + end == last or end == got < wanted)
            self._keep(at, got)
            at += got
            if got < wanted:
                # A damaged snapshot lacks a page that should be there: go on after it.
                hole = min(PAGE - at % PAGE, last - at)
                at = self._begin = self._allowed = at + hole
                yield _Found(*_NONE, hole, hole)

    def _keep(self, at: int, size: int) -> None:
        """Move what the next piece needs of this one, and of what is before it."""
        end = self._room + size
        kept = at + size - self._begin
        self._buffer[self._room - kept : self._room] = self._buffer[end - kept : end]

    def _search(self, at: int, start: int, end: int, *, is_last: bool) -> _Found:
        """Search the bytes `start` to `end` of the piece at address `at`, with what is kept from before."""
        base = self._begin
        held = self._room + base - at
        data = self._buffer[held : self._room + end]
        if not is_last and self._is_dull(data[at + start - base :]):
            # Nothing can match there but what begins before it.
            data = data[: at + start - base + self._context]
        starts, sizes, open_at = self._matches(data, max(0, self._allowed - base), is_last)
        if open_at is not None:
            self._allowed = base + open_at
        else:
            told = base + int(starts[-1] + sizes[-1]) if len(starts) and self._matcher is None else 0
            self._allowed = max(self._allowed, told, at + end - self._pattern.reach + 1)
        self._begin = max(base, min(at + end, self._allowed + self._pattern.reach) - self._context)
        return _Found(starts.astype(np.uint64) + np.uint64(base), sizes, end - start)

    def _is_dull(self, part: U8) -> bool:
        """Whether these are zeros, of which the pattern wants more than zeros."""
        return not self._pattern.matches_zeros and not (part[:1].any() or part.max(initial=0))

    def _matches(self, data: U8, start: int, is_last: bool) -> tuple[Sizes, Sizes, int | None]:
        """Where matches begin, and their sizes; and where one begins that the next bytes may prolong."""
        if self._matcher is not None:
            starts = self._matcher.find(data)
            starts = starts[starts >= start]
            return starts, np.full(len(starts), self._pattern.reach, dtype=np.int64), None
        safe = len(data) if is_last else len(data) - self._pattern.reach
        if self._texts is not None:
            return self._text_matches(self._texts, data, start, safe, is_last)
        assert self._regex is not None
        found = array("q")
        open_at = None
        for match in self._regex.finditer(data.data, start):
            begin, end = match.span()
            if begin > safe:
                break
            if end == len(data) and not is_last and end - begin <= _GROWN:
                open_at = begin
                break
            if end > begin:
                found.extend((begin, end - begin))
        table = np.frombuffer(found, dtype=np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1], open_at

    def _text_matches(
        self, texts: TextRuns, data: U8, start: int, safe: int, is_last: bool
    ) -> tuple[Sizes, Sizes, int | None]:
        starts, ends = texts.find(data[start:])
        count = int(np.searchsorted(starts, safe - start, side="right"))
        starts, ends = starts[:count] + start, ends[:count] + start
        sizes = ends - starts
        if is_last or not count or len(data) - ends[-1] > texts.undecided or sizes[-1] > _GROWN:
            return starts, sizes, None
        return starts[:-1], sizes[:-1], int(starts[-1])
