"""Reading the pages of a plain snapshot by compiled code, straight from the file.

`pages` does the same for every kind of snapshot, and knows what to say where something is wrong: what
cannot be read here is read there.
"""

from __future__ import annotations

import bisect
import ctypes
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from snaptui.engine import compiled
from snaptui.engine.snapfile.fieldarrays import U8, U64

if TYPE_CHECKING:
    from snaptui.engine.snapfile.container import PlainSource
    from snaptui.engine.snapfile.scan import Layout

ALL_ZEROS: Final = 2**64 - 1
"""The place of bytes that are all zero, and in no page."""

Extent = tuple[int, int, int]
"""Start and end of a piece of a file, and its place: the number of a page times 1024, plus the byte in it."""


class DirectPages:
    """The pages of a plain snapshot. May be used from any thread."""

    def __init__(self, library: ctypes.CDLL, source: PlainSource, layout: Layout, shorter: list[int]) -> None:
        """`shorter`: the numbers of the pages that are shorter than others, ascending."""
        self._library = library
        runs = layout.runs
        columns = (runs.first, runs.position, runs.stride, runs.number_at, runs.kind)
        images, spans = _images(layout)
        ends = np.array(shorter, dtype=np.uint64)
        self._kept = (runs, images, spans, ends)  # what C points to
        *_, size, modified = source.identity
        seconds, nanoseconds = divmod(modified, 10**9)
        flags = library.pages_flags(source.descriptor)
        self.struct = compiled.Pages(
            *(source.descriptor, max(0, flags), size, seconds, nanoseconds),
            *(len(runs.first), *(column.buffer_info()[0] for column in columns)),
            *(len(images), images.ctypes.data, spans.ctypes.data, len(ends), ends.ctypes.data),
        )
        self.may_wait: bool = flags < 0
        """Whether it cannot be told to fail rather than to wait for a disk, or a network."""

    def read_into(self, place: int, target: U8) -> bool:
        """Fill `target`, which is contiguous, with the bytes of a segment at a place. False: it cannot be."""
        pages = ctypes.byref(self.struct)
        failed = self._library.pages_read(pages, place, len(target), target.ctypes.data)
        return not failed and bool(self._library.pages_unchanged(pages))


class Extents:
    """Where the bytes of a served file are among the pages."""

    def __init__(self, pages: DirectPages, extents: Iterable[Extent]) -> None:
        """`extents` are ascending; one that begins before the last one's end is passed over."""
        kept: list[Extent] = []
        end = 0
        for extent in extents:
            if end <= extent[0] < extent[1]:
                kept.append(extent)
                end = extent[1]
        table = np.array(kept, dtype=np.uint64).reshape(-1, 3)
        self._columns: list[U64] = [np.ascontiguousarray(table[:, index]) for index in range(3)]
        self._pages = pages
        self.struct = compiled.Extents(
            ctypes.addressof(pages.struct), len(table), *(column.ctypes.data for column in self._columns)
        )


def cut(extents: Sequence[Extent], start: int, end: int, shift: int) -> Iterator[Extent]:
    """What of `extents` lies between `start` and `end`, moved by `shift` bytes."""
    first = max(0, bisect.bisect_right(extents, start, key=lambda extent: extent[0]) - 1)
    for index in range(first, len(extents)):
        left, right, place = extents[index]
        if left >= end:
            break
        begin = max(left, start)
        if begin < right:
            place = place if place == ALL_ZEROS else place + begin - left
            yield begin + shift, min(right, end) + shift, place


def direct_pages(source: PlainSource, layout: Layout, shorter: Iterable[int]) -> DirectPages | None:
    """What reads the pages of `source`; None without compiled code."""
    library = compiled.library()
    return None if library is None else DirectPages(library, source, layout, sorted(shorter))


def _images(layout: Layout) -> tuple[U64, U64]:
    """`Image` and `Span` of pages.h: images whose segments overlap are left out."""
    firsts = zip(layout.segments, layout.first_pages, strict=True)
    rows = [(s.pid, ord(s.kind), s.offset, s.length, first) for s, first in firsts if s.length]
    if not rows:
        return np.empty((0, 4), dtype=np.uint64), np.empty((0, 3), dtype=np.uint64)
    table = np.array(sorted(rows), dtype=np.uint64)
    keys, starts, counts = np.unique(table[:, :2], axis=0, return_index=True, return_counts=True)
    ends = table[:, 2] + table[:, 3]
    is_same = (table[1:, :2] == table[:-1, :2]).all(axis=1)
    clashes = np.flatnonzero(is_same & (ends[:-1] > table[1:, 2]))
    images = np.column_stack((keys, starts.astype(np.uint64), counts.astype(np.uint64)))
    overlapping = np.searchsorted(starts, clashes, side="right") - 1
    return np.ascontiguousarray(np.delete(images, overlapping, axis=0)), np.ascontiguousarray(table[:, 2:])
