"""The pages of a snapshot at random: from a page's number to its bytes, references followed."""

from __future__ import annotations

import bisect
import functools
import itertools
from typing import Final

import numpy as np

from snaptui.engine.snapfile.container import PlainSource
from snaptui.engine.snapfile.direct import DirectPages, direct_pages
from snaptui.engine.snapfile.fieldarrays import U8, U64
from snaptui.engine.snapfile.gather import gather
from snaptui.engine.snapfile.model import PAGE, RAW, RAW_SIZE, ZERO, Segment
from snaptui.engine.snapfile.references import References

_BATCH: Final = 4096
"""Pages read at a time: bounds the memory that a read of any length needs."""

_LONG: Final = 64
"""Runs of so many pages are copied as they lie in the file: 3 GB/s; page by page it is 1.3 GB/s."""
_WINDOW: Final = 256
"""Pages of a long run that are read at a time, into a buffer that stays in the processor's cache."""

_PAGES_A_RUN: Final = 16
"""With so many pages in each, doing one run after the other (4 us each) beats arrays of runs (60 us)."""

_FEW: Final = 8
"""Up to this many pages, a look at each (3 us) beats numpy's machinery for arrays of them (55 us)."""

_ONE: Final = np.uint64(1)


class PageTable(References):
    """Where each page of a snapshot is.

    Pages have numbers, counted over all segments in file order, so "came earlier in the file"
    is "has a smaller number".
    """

    @functools.cached_property
    def direct(self) -> DirectPages | None:
        """What reads the same pages faster, where there is compiled code and the snapshot is plain."""
        if not isinstance(self._source, PlainSource):
            return None
        return direct_pages(self._source, self._layout, self._shorter)

    def first_page(self, segment: Segment) -> int:
        """The number of the first page of `segment`."""
        return self._first_pages[segment.number]

    def read(self, segment: Segment, start: int, length: int) -> bytes:
        """`length` bytes of `segment` from its byte `start` on; fewer at its end.

        Raises `FormatError` for a reference to a page that is not there.
        """
        stop = min(start + length, segment.length)
        if stop <= start:
            return b""
        if stop - start <= _FEW * PAGE:
            return self._read_few(segment, start, stop)
        content = np.empty(stop - start, dtype=np.uint8)
        self.read_into(segment, start, content)
        return content.tobytes()

    def read_into(self, segment: Segment, start: int, target: U8) -> None:
        """Fill `target` with as many bytes of `segment`, which must be there, from its byte `start` on.

        Raises `FormatError` as `read` does.
        """
        stop = start + len(target)
        first, last = -(-start // PAGE), stop // PAGE
        if stop - start <= _FEW * PAGE or last <= first:
            target[:] = np.frombuffer(self._read_few(segment, start, stop), dtype=np.uint8)
            return
        if self.direct and self.direct.read_into(self._first_pages[segment.number] * PAGE + start, target):
            return
        # Whole pages go where they belong at once; what is cut off at both ends does not.
        for begin, end in ((start, first * PAGE), (last * PAGE, stop)):
            if begin < end:
                few = self._read_few(segment, begin, end)
                target[begin - start : end - start] = np.frombuffer(few, dtype=np.uint8)
        base = self._first_pages[segment.number]
        for page in range(first, last, _BATCH):
            count = min(_BATCH, last - page)
            at = page * PAGE - start
            self._fill(base + page, target[at : at + count * PAGE].reshape(count, PAGE))

    def _read_few(self, segment: Segment, start: int, stop: int) -> bytes:
        base = self._first_pages[segment.number]
        first, last = start // PAGE, -(-stop // PAGE)
        if last - first == 1:
            return self._read_page(base + first, start - first * PAGE, stop - first * PAGE)
        return b"".join(
            self._read_page(base + page, max(start - page * PAGE, 0), min(stop - page * PAGE, PAGE))
            for page in range(first, last)
        )

    def _read_page(self, number: int, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of one page."""
        while True:
            run = bisect.bisect_right(self._runs.first, number) - 1
            kind, stride = self._runs.kind[run], self._runs.stride[run]
            if kind == ZERO:
                return bytes(stop - start)
            position = self._runs.position[run] + (number - self._runs.first[run]) * stride
            if kind == RAW:
                return self._source.pread(position + 1 + start, stop - start)
            number = self._target(number, run, self._source.pread(position, stride))

    def counts(self, segment: Segment) -> dict[str, int]:
        """How many pages of `segment` there are of each kind: `r`, `z`, `m`, `t`."""
        first = self._first_pages[segment.number]
        counts = dict.fromkeys("rzmt", 0)
        runs = self._runs_between(first, first + segment.page_count)
        for run in runs:
            end = (
                int(self._run_first[run + 1])
                if run + 1 < len(self._run_first)
                else first + segment.page_count
            )
            counts[chr(self._run_kind[run])] += end - int(self._run_first[run])
        return counts

    def _runs_between(self, first: int, end: int) -> range:
        start, stop = np.searchsorted(self._run_first, np.array([first, end], dtype=np.uint64)).tolist()
        return range(start, stop)

    def _fill(self, first: int, pages: U8) -> None:
        """Write the whole pages from number `first` on into the rows of `pages`."""
        end = first + len(pages)
        run = bisect.bisect_right(self._runs.first, first) - 1
        runs = slice(run, bisect.bisect_left(self._runs.first, end))
        if runs.stop - run > 1 + len(pages) // _PAGES_A_RUN:
            self._fill_by_kind(first, runs, pages)
            return
        at = first
        while at < end:
            stop = min(end, self._runs.first[run + 1]) if run + 1 < runs.stop else end
            part = pages[at - first : stop - first]
            if self._runs.kind[run] in (RAW, ZERO):
                self._copy_run(run, at, part)
            else:
                # Resolved further, so that a chain of references is no chain of calls.
                self._fill_found(self._resolve(self._targets_between(at, stop, run)), part)
            at, run = stop, run + 1

    def _fill_found(self, found: U64, pages: U8) -> None:
        """Write pages that are no references; what was copied often is a row of pages again."""
        breaks = np.flatnonzero(np.diff(found) != _ONE) + 1
        if len(breaks) > len(pages) // _PAGES_A_RUN:
            self._fetch(found, pages)
            return
        for start, stop in itertools.pairwise([0, *breaks.tolist(), len(found)]):
            self._fill(int(found[start]), pages[start:stop])

    def _fill_by_kind(self, first: int, runs: slice, pages: U8) -> None:
        """The same where there are many short runs: all of a kind at once."""
        run, end = runs.start, first + len(pages)
        # Where the runs begin among `pages`, and the last one ends.
        edges = np.append(self._run_first[runs], np.uint64(end)).astype(np.int64) - first
        edges[0] = 0
        lengths = np.diff(edges)
        long = (lengths >= _LONG) & np.isin(self._run_kind[runs], (RAW, ZERO))
        for index in np.flatnonzero(long).tolist():
            self._copy_run(run + index, first + int(edges[index]), pages[edges[index] : edges[index + 1]])
        scattered = np.flatnonzero(np.repeat(~long, lengths))
        numbers = scattered.astype(np.uint64) + np.uint64(first)
        if len(numbers) == len(pages):
            self._fetch(numbers, pages)
        elif len(numbers):
            rows = np.empty((len(numbers), PAGE), dtype=np.uint8)
            self._fetch(numbers, rows)
            pages[scattered] = rows

    def _copy_run(self, run: int, first: int, rows: U8) -> None:
        """The whole pages from number `first` on of a run of zeros or raw ones."""
        if self._runs.kind[run] == ZERO:
            rows[:] = 0
            return
        position = self._runs.position[run] + (first - self._runs.first[run]) * RAW_SIZE
        window = np.empty(min(_WINDOW, len(rows)) * RAW_SIZE, dtype=np.uint8)
        for start in range(0, len(rows), _WINDOW):
            part = rows[start : start + _WINDOW]
            read = window[: len(part) * RAW_SIZE]
            size = self._source.pread_into(position + start * RAW_SIZE, read.data)
            read[size:] = 0  # past the end of a file that was cut off since it was opened
            part[:] = read.reshape(-1, RAW_SIZE)[:, 1:]

    def _fetch(self, numbers: U64, pages: U8) -> None:
        """Write the pages with these `numbers` into the rows of `pages`; what a short one lacks is zeros."""
        found = self._resolve(numbers)
        runs = self._run_of(found)
        is_raw = self._run_kind[runs] == RAW
        pages[~is_raw] = 0
        raw = np.flatnonzero(is_raw)
        positions = self._position_of(found[raw], runs[raw]) + _ONE
        sizes = self._run_stride[runs[raw]] - _ONE
        # Of pages that are there many times each is read, and copied out of the file, once.
        distinct, which = np.unique(positions, return_inverse=True)
        rows = gather(self._source.pread, distinct, PAGE)
        if len(raw) == len(pages):
            np.take(rows, which, axis=0, out=pages, mode="clip")
        else:
            pages[raw] = rows[which]
        for short in np.flatnonzero(sizes < PAGE).tolist():
            pages[raw[short], int(sizes[short]) :] = 0
