"""Finding pages that the snapshot already holds, whole arrays of pages at a time.

A hash of a page *proposes* an earlier page; only equal bytes decide, read back from the
snapshot being written. So no weakness of the hash can lose a byte: it only costs file size.

The index costs 4 bytes for each slot of a hash table at most two thirds full, and 16 bytes for
each distinct page: its tag, where its bytes are in the file, and which page of the file it is.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.snapfile.fieldarrays import U8, U64
from snaptui.engine.snapfile.gather import Pread, gather
from snaptui.engine.snapfile.model import PAGE

Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: every bit reaches the high ones
_COEFFICIENTS: Final = _MIX ** np.arange(1, PAGE // 8 + 1, dtype=np.uint64)
"""Odd, and as good as random; numpy.random would cost 8 ms at each start."""
_BLOCK: Final = 256  # rows compared at a time: twice 256 KiB
_LONG_RUN: Final = 8
"""Runs of rows that are this long on average are compared where they are: gathering them costs more."""
_REHASH: Final = 1 << 16  # tags moved at a time: bounds the temporary arrays
_MAX_PAGES: Final = (1 << 32) - 2  # page numbers are 32 bits: dedup ends after 4 TiB of pages


Proposal = tuple[Indices, U64, Indices]
"""Which pages may be the same as earlier ones; an array that holds those; and in which of its rows."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What each page of an array turned out to be: zero, the same as an earlier one, or raw."""

    zero: Bools
    again: Bools
    source: U64
    """Where `again`: the number, in the file, of the equal page."""
    fresh: Indices
    """The raw pages to remember, ascending. (A raw page is not fresh if its tag is taken.)"""

    @property
    def raw(self) -> Bools:
        return ~(self.zero | self.again)


class PageIndex:
    """The distinct pages of a snapshot so far, by content.

    `pread` reads the snapshot back; room for `expected` pages is made at once, more is taken as needed.
    """

    def __init__(self, pread: Pread, expected: int = 0) -> None:
        self._pread = pread
        self._count = 0
        room = max(expected, 1 << 14)
        self._tags: U32 = np.empty(room, dtype=np.uint32)
        self._positions: U64 = np.empty(room, dtype=np.uint64)
        self._numbers: U32 = np.empty(room, dtype=np.uint32)
        self._slots: U32 = np.zeros(1 << max(15, (room * 3 // 2).bit_length()), dtype=np.uint32)

    def match(self, pages: U8, first_number: int) -> Matches:
        """Compare `pages` (n x 1024 bytes, contiguous) with all pages before, and with each other.

        `first_number` is the first page's number in the file. The caller writes the raw pages and tells where
        the fresh ones are (`remember`) before the next call.
        """
        words = pages.view(np.uint64)
        hashes: U64 = np.einsum("ij,j->i", words, _COEFFICIENTS)
        zero = _zero_rows(words, hashes)
        candidates = np.flatnonzero(~zero)
        again = np.zeros(len(pages), dtype=np.bool_)
        source = np.zeros(len(pages), dtype=np.uint64)
        if first_number + len(pages) > _MAX_PAGES:
            return Matches(zero, again, source, candidates[:0])
        known = self._count
        ordinals, fresh = self._propose(_tags_of(hashes[candidates]))
        fresh_pages = candidates[fresh]
        self._numbers[known : self._count] = (first_number + fresh_pages).astype(np.uint32)
        for proposed, originals, rows in (
            self._here(ordinals, known, words, fresh_pages),
            self._earlier(ordinals, known),
        ):
            same = proposed[_equal_rows(words, candidates[proposed], originals, rows)]
            again[candidates[same]] = True
            source[candidates[same]] = self._numbers[ordinals[same]]
        return Matches(zero, again, source, fresh_pages)

    def remember(self, positions: U64) -> None:
        """Where in the file the bytes of the fresh pages of the last `match` are."""
        self._positions[self._count - len(positions) : self._count] = positions

    def _here(self, ordinals: Indices, known: int, words: U64, fresh_pages: Indices) -> Proposal:
        """The pages whose proposed original is in the same array."""
        proposed = np.flatnonzero(ordinals >= known)
        return proposed, words, fresh_pages[ordinals[proposed] - known]

    def _earlier(self, ordinals: Indices, known: int) -> Proposal:
        """The pages whose proposed original was written before; these are read back."""
        proposed = np.flatnonzero((ordinals >= 0) & (ordinals < known))
        # Ordinals are given in file order, so ascending ordinals are ascending positions.
        distinct, rows = np.unique(ordinals[proposed], return_inverse=True)
        originals = gather(self._pread, self._positions[distinct], PAGE)
        return proposed, originals.view(np.uint64), rows

    def _propose(self, tags: U32) -> tuple[Indices, Indices]:
        """Look up `tags`, adding those not known.

        Returns for each the ordinal of the first page with that tag, or -1 for the pages that
        are first themselves; and the indices of these. Linear probing, all tags a step at a time.
        """
        known, count = self._count, len(tags)
        self._make_room(known + count)
        self._tags[known : known + count] = tags
        shift = np.uint32(32 - (len(self._slots).bit_length() - 1))
        mask = np.uint32(len(self._slots) - 1)
        at = tags >> shift
        ordinals = np.full(count, -1, dtype=np.int64)
        pending = np.arange(count, dtype=np.int64)
        is_fresh = np.zeros(count, dtype=np.bool_)
        while pending.size:
            slots = at[pending]
            held = self._slots[slots]
            free = held == 0
            if free.any():
                # Backwards, so that of several pages with one tag the first has the last word.
                self._slots[slots[free][::-1]] = (pending[free][::-1] + known + 1).astype(np.uint32)
                held = self._slots[slots]
            holder = held.astype(np.int64) - 1
            mine = holder == pending + known
            is_fresh[pending[mine]] = True
            hit = (self._tags[holder] == tags[pending]) & ~mine
            ordinals[pending[hit]] = holder[hit]
            pending = pending[~(mine | hit)]
            at[pending] = (at[pending] + np.uint32(1)) & mask
        return self._settle(tags, at, ordinals, is_fresh)

    def _settle(self, tags: U32, at: U32, ordinals: Indices, is_fresh: Bools) -> tuple[Indices, Indices]:
        """Number the fresh pages without gaps: until here each page held a number of its own."""
        known = self._count
        fresh = np.flatnonzero(is_fresh)
        renumbered = known + np.cumsum(is_fresh) - 1
        self._slots[at[fresh]] = (renumbered[fresh] + 1).astype(np.uint32)
        self._tags[known : known + len(fresh)] = tags[fresh]
        here = ordinals >= known
        ordinals[here] = renumbered[ordinals[here] - known]
        self._count = known + len(fresh)
        return ordinals, fresh

    def _make_room(self, count: int) -> None:
        if count > len(self._tags):
            room = max(count, 2 * len(self._tags))
            self._tags = np.resize(self._tags, room)
            self._positions = np.resize(self._positions, room)
            self._numbers = np.resize(self._numbers, room)
        bits = len(self._slots).bit_length() - 1
        while count > (1 << bits) * 2 // 3:
            bits += 1
        if 1 << bits > len(self._slots):
            tags = self._tags[: self._count].copy()
            self._slots = np.zeros(1 << bits, dtype=np.uint32)
            self._count = 0
            for start in range(0, len(tags), _REHASH):
                self._propose(tags[start : start + _REHASH])


def _zero_rows(words: U64, hashes: U64) -> Bools:
    """Which rows are zeros: those with a hash of 0, if all of the row is."""
    zero: Bools = hashes == 0
    for start, end in _runs(np.flatnonzero(zero)):
        zero[start:end] = np.bitwise_or.reduce(words[start:end], axis=1) == 0
    return zero


def _runs(rows: Indices) -> list[tuple[int, int]]:
    """Ascending row numbers as ranges."""
    if not len(rows):
        return []
    breaks = np.flatnonzero(np.diff(rows) != 1)
    starts = rows[np.concatenate([[0], breaks + 1])]
    ends = rows[np.concatenate([breaks, [len(rows) - 1]])] + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _equal_rows(left: U64, left_rows: Indices, right: U64, right_rows: Indices) -> Bools:
    """Whether each of these rows of `left` equals that of `right`, a block at a time to stay in the cache."""
    count = len(left_rows)
    equal = np.empty(count, dtype=np.bool_)
    breaks = np.flatnonzero((np.diff(left_rows) != 1) | (np.diff(right_rows) != 1)) + 1
    if count < _LONG_RUN * (len(breaks) + 1):
        for start in range(0, count, _BLOCK):
            block = slice(start, start + _BLOCK)
            equal[block] = (left[left_rows[block]] == right[right_rows[block]]).all(axis=1)
        return equal
    for start, end in itertools.pairwise([0, *breaks.tolist(), count]):
        here, there = int(left_rows[start]), int(right_rows[start])
        same = left[here : here + end - start] == right[there : there + end - start]
        equal[start:end] = same.all(axis=1)
    return equal


def _tags_of(hashes: U64) -> U32:
    return (((hashes ^ (hashes >> np.uint64(29))) * _MIX) >> np.uint64(32)).astype(np.uint32)
