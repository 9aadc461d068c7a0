"""Which page each page of a snapshot stands for: references followed to where they lead."""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.errors import FormatError
from snaptui.engine.snapfile.container import Source
from snaptui.engine.snapfile.fieldarrays import U8, U64, get_fields
from snaptui.engine.snapfile.fields import parse_field
from snaptui.engine.snapfile.gather import gather
from snaptui.engine.snapfile.model import PAGE, RAW, ZERO, Segment
from snaptui.engine.snapfile.scan import Layout

Indices = npt.NDArray[np.int64]

_NOWHERE: Final = np.uint64(2**64 - 1)


class References:
    """The runs of page descriptions, and what those of them that are references point to."""

    def __init__(self, source: Source, layout: Layout) -> None:
        self._source = source
        self._layout = layout
        runs = self._runs = layout.runs
        self._run_first = np.frombuffer(runs.first, dtype=np.uint64)
        self._run_kind = np.frombuffer(runs.kind, dtype=np.uint8)
        self._run_position = np.frombuffer(runs.position, dtype=np.uint64)
        self._run_stride = np.frombuffer(runs.stride, dtype=np.uint32).astype(np.uint64)
        self._first_pages = layout.first_pages
        self._segments = layout.segments
        self._images: dict[tuple[int, str], _Image] = {}
        ends = zip(layout.first_pages, layout.segments, strict=True)
        self._shorter = {first + segment.page_count - 1 for first, segment in ends if segment.length % PAGE}
        self._shorter_pages = np.array([*sorted(self._shorter), _NOWHERE], dtype=np.uint64)

    def _target(self, number: int, run: int, reference: bytes) -> int:
        """The number of the page that page `number`, in that run of references, points to."""
        number_at = self._runs.number_at[run]
        pid, offset = int(reference[1:number_at]), int(reference[number_at:])
        target = self._image(chr(reference[0]), pid).page_at(offset, number)
        if target is None or target in self._shorter:
            # Rare: the check of lengths, or the error, is the business of the general case.
            return int(self._targets(np.array([number], dtype=np.uint64), run)[0])
        return target

    def _run_of(self, numbers: U64) -> Indices:
        return np.searchsorted(self._run_first, numbers, side="right") - 1

    def _position_of(self, numbers: U64, runs: Indices) -> U64:
        within = numbers - self._run_first[runs]
        positions: U64 = self._run_position[runs] + within * self._run_stride[runs]
        return positions

    def _resolve(self, numbers: U64) -> U64:
        """Follow references until each number is that of a raw or zero page."""
        found = numbers.copy()
        pending = np.arange(len(found))
        while True:
            runs = self._run_of(found[pending])
            kinds = self._run_kind[runs]
            is_reference = (kinds != RAW) & (kinds != ZERO)
            pending, runs = pending[is_reference], runs[is_reference]
            if not len(pending):
                return found
            for run in np.unique(runs).tolist():
                those = pending[runs == run]
                found[those] = self._targets(found[those], run)

    def _targets(self, numbers: U64, run: int) -> U64:
        """The numbers of the pages that the references `numbers`, all of one run, point to."""
        distinct, which = np.unique(numbers, return_inverse=True)
        positions = self._position_of(distinct, np.full(len(distinct), run))
        rows = gather(self._source.pread, positions, self._runs.stride[run])
        return self._pointed_at(rows, distinct, run)[which]

    def _targets_between(self, first: int, end: int, run: int) -> U64:
        """The same for references that follow each other."""
        stride = self._runs.stride[run]
        rows = np.empty((end - first, stride), dtype=np.uint8)
        position = self._runs.position[run] + (first - self._runs.first[run]) * stride
        size = self._source.pread_into(position, rows.reshape(-1).data)
        if size < rows.size:
            raise FormatError(f"ends at byte {position + size}, before its references do")
        return self._pointed_at(rows, np.arange(first, end, dtype=np.uint64), run)

    def _pointed_at(self, rows: U8, numbers: U64, run: int) -> U64:
        """The numbers of the pages that the references `numbers` of a run, described in `rows`, point to."""
        number_at, kind = self._runs.number_at[run], chr(self._runs.kind[run])
        pid, _ = parse_field(rows[0, 1:number_at].tobytes(), 0)
        offsets = get_fields(rows[:, number_at:])
        targets = self._image(kind, pid).pages_at(offsets, numbers)
        missing = np.flatnonzero(targets >= numbers)
        if len(missing):
            number, offset = int(numbers[missing[0]]), int(offsets[missing[0]])
            position = self._runs.position[run] + (number - self._runs.first[run]) * self._runs.stride[run]
            raise FormatError(
                f"is garbled at byte {position}: a reference to"
                f" {'text' if kind == 't' else 'memory'} page {offset:#x} of process {pid},"
                " which is not there or comes later"
            )
        self._check_lengths(numbers, targets)
        return targets

    def _check_lengths(self, numbers: U64, targets: U64) -> None:
        """A reference stands for as many bytes as its page has."""
        places = self._shorter_pages.searchsorted(targets)
        for index in np.flatnonzero(self._shorter_pages[places] == targets).tolist():
            if self._length_of(int(numbers[index])) > self._length_of(int(targets[index])):
                raise FormatError("refers to a page that is shorter than the one it stands for")

    def _length_of(self, number: int) -> int:
        index = bisect.bisect_right(self._first_pages, number) - 1
        return min(PAGE, self._segments[index].length - (number - self._first_pages[index]) * PAGE)

    def _image(self, kind: str, pid: int) -> _Image:
        key = (pid, kind)
        if key not in self._images:
            pairs = zip(self._segments, self._first_pages, strict=True)
            self._images[key] = _Image.of([pair for pair in pairs if (pair[0].pid, pair[0].kind) == key])
        return self._images[key]


@dataclass(frozen=True, slots=True)
class _Image:
    """The segments of one memory or text image, by address: where references to it lead."""

    starts: U64
    lengths: U64
    first_pages: U64
    overlap: bool

    @classmethod
    def of(cls, segments: list[tuple[Segment, int]]) -> _Image:
        ordered = sorted((s.offset, s.length, first) for s, first in segments if s.length)
        table = np.array(ordered, dtype=np.uint64).reshape(-1, 3)
        overlap = any(a[0] + a[1] > b[0] for a, b in itertools.pairwise(ordered))
        return cls(table[:, 0], table[:, 1], table[:, 2], overlap)

    def pages_at(self, offsets: U64, before: U64) -> U64:
        """The numbers of the pages at `offsets`; where there is none, `_NOWHERE`.

        Where segments overlap, the last one in the file whose page comes `before` counts.
        """
        if not len(self.starts):
            return np.full(len(offsets), _NOWHERE, dtype=np.uint64)
        if not self.overlap:
            return self._at(offsets, np.searchsorted(self.starts, offsets, side="right") - 1)
        pages = np.full(len(offsets), _NOWHERE, dtype=np.uint64)
        for index in np.argsort(self.first_pages).tolist():
            found = self._at(offsets, np.full(len(offsets), index))
            good = found < before
            pages[good] = found[good]
        return pages

    def page_at(self, offset: int, before: int) -> int | None:
        """The same for one offset, if segments do not overlap; None where there is no such page `before`."""
        owner = int(self.starts.searchsorted(offset, side="right")) - 1
        if self.overlap or owner < 0:
            return None
        within = offset - int(self.starts[owner])
        page = int(self.first_pages[owner]) + within // PAGE
        return page if within < int(self.lengths[owner]) and not within % PAGE and page < before else None

    def _at(self, offsets: U64, owners: Indices) -> U64:
        within = offsets - self.starts[owners]
        good = (
            (within < self.lengths[owners])
            & (within % np.uint64(PAGE) == 0)
            & (offsets >= self.starts[owners])
        )
        return np.where(good, self.first_pages[owners] + within // np.uint64(PAGE), _NOWHERE)
