"""The encoder by numpy, where none was compiled: whole arrays of pages at a time."""

from __future__ import annotations

import bisect
import os
from dataclasses import dataclass
from typing import Final

import numpy as np

from snaptui.engine.snapfile.dedup import PageIndex
from snaptui.engine.snapfile.descriptions import Description, Indices, reference_sizes
from snaptui.engine.snapfile.encoder import Buffer, Rows, Taking
from snaptui.engine.snapfile.fieldarrays import U8, U64
from snaptui.engine.snapfile.model import PAGE, RAW_SIZE, ImageKind

_BATCH: Final = 8192
"""8 MiB of pages, so that the cost is in the bytes."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """From page `first` on: a segment at `offset` of an image."""

    kind: ImageKind
    pid: int
    offset: int
    first: int


class ArrayEncoder:
    """Describes pages by numpy."""

    takes = False
    batch = _BATCH

    def __init__(self, fd: int, expected: int) -> None:
        self._index = PageIndex(lambda offset, size: os.pread(fd, size, offset), expected)
        self._origins: list[_Origin] = []
        self._room: U8 = np.empty(_BATCH * RAW_SIZE, dtype=np.uint8)

    def origin(self, kind: ImageKind, pid: int, offset: int, first: int) -> None:
        self._origins.append(_Origin(kind, pid, offset, first))

    def encode(self, pages: Buffer, first: int, position: int) -> memoryview:
        rows = np.frombuffer(pages, dtype=np.uint8).reshape(-1, PAGE)
        matches = self._index.match(rows, first)
        sizes = np.ones(len(rows), dtype=np.int64)
        raw, again = np.flatnonzero(matches.raw), np.flatnonzero(matches.again)
        sizes[raw] = RAW_SIZE
        groups = self._grouped(again, matches.source[again])
        for which, origin, offsets in groups:
            sizes[which] = reference_sizes(origin.pid, offsets)
        description = Description(sizes, self._room)
        description.put_zeros(np.flatnonzero(matches.zero))
        description.put_raw(raw, rows)
        for which, origin, offsets in groups:
            description.put_references(which, origin.kind, origin.pid, offsets)
        self._index.remember((description.starts[matches.fresh] + (position + 1)).astype(np.uint64))
        return description.bytes.data

    def references(self, kind: ImageKind, pid: int, offset: int, count: int) -> memoryview:
        offsets = np.arange(offset, offset + count * PAGE, PAGE, dtype=np.uint64)
        description = Description(reference_sizes(pid, offsets), self._room)
        description.put_references(np.arange(count), kind, pid, offsets)
        return description.bytes.data

    def take(self, tid: int, rows: Rows, first: int, position: int) -> Taking:
        raise NotImplementedError("it only describes pages: `takes` says so")

    def close(self) -> None:
        """Nothing is to be given back."""

    def _grouped(self, again: Indices, sources: U64) -> list[tuple[Indices, _Origin, U64]]:
        """The pages `again`, grouped by the segment that their `sources` are in, with their offsets there."""
        groups = []
        while len(again):
            number = bisect.bisect_right(self._origins, int(sources[0]), key=lambda o: o.first) - 1
            origin = self._origins[number]
            there = sources >= np.uint64(origin.first)
            if number + 1 < len(self._origins):
                there &= sources < np.uint64(self._origins[number + 1].first)
            pages = sources[there] - np.uint64(origin.first)
            groups.append((again[there], origin, np.uint64(origin.offset) + pages * np.uint64(PAGE)))
            again, sources = again[~there], sources[~there]
        return groups
