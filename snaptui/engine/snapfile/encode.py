"""Page descriptions of snap(6), for whole arrays of pages: flag `z`, `r`, `m` or `t`, and what follows."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.snapfile.fields import U8, U64, digit_counts, field, put_fields
from snaptui.engine.snapfile.model import PAGE, ImageKind

Indices = npt.NDArray[np.int64]
Sizes = npt.NDArray[np.int64]

ZERO: Final = ord("z")
RAW: Final = ord("r")
RAW_SIZE: Final = 1 + PAGE
"""Bytes of the description of a raw page."""

_FEW_RUNS: Final = 256
"""Below this many runs of raw pages, copying run by run beats numpy's scattered copy."""


class Description:
    """The page descriptions of an array of pages, laid out one behind the other.

    Made with the bytes that each takes; then filled, kind by kind.
    """

    def __init__(self, sizes: Sizes, headers: dict[int, bytes]) -> None:
        """`headers`: what stands before the description of a page, by its index in the array."""
        before = np.zeros(len(sizes), dtype=np.int64)
        for index, header in headers.items():
            before[index] = len(header)
        ends = np.cumsum(sizes + before)
        self.starts = ends - sizes
        """Where the description of each page begins."""
        self.bytes: U8 = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
        for index, header in headers.items():
            start = self.starts[index]
            self.bytes[start - len(header) : start] = np.frombuffer(header, dtype=np.uint8)

    def put_zeros(self, which: Indices) -> None:
        self.bytes[self.starts[which]] = ZERO

    def put_raw(self, which: Indices, pages: U8) -> None:
        """The pages numbered `which` of `pages` (n x 1024), as they are."""
        starts = self.starts[which]
        self.bytes[starts] = RAW
        # A segment's header may stand between two pages that follow each other.
        breaks = np.flatnonzero(np.diff(starts) != RAW_SIZE) + 1
        if len(breaks) > _FEW_RUNS:
            pieces = np.lib.stride_tricks.sliding_window_view(self.bytes, PAGE, writeable=True)
            pieces[starts + 1] = pages[which]
            return
        for run in np.split(which, breaks):
            if len(run):
                begin = self.starts[run[0]]
                rows = self.bytes[begin : begin + len(run) * RAW_SIZE].reshape(len(run), RAW_SIZE)
                rows[:, 1:] = pages[run[0] : run[-1] + 1]

    def put_references(self, which: Indices, kind: ImageKind, pid: int, offsets: U64) -> None:
        """References to the pages at `offsets` of the image `kind` of `pid`."""
        prefix = np.frombuffer(kind.encode() + field(pid), dtype=np.uint8)
        digits = digit_counts(offsets)
        for count in np.unique(digits).tolist():
            those = digits == count
            width = max(11, count) + 1
            rows = np.empty((int(those.sum()), len(prefix) + width), dtype=np.uint8)
            rows[:, : len(prefix)] = prefix
            put_fields(rows[:, len(prefix) :], offsets[those], count)
            pieces = np.lib.stride_tricks.sliding_window_view(self.bytes, rows.shape[1], writeable=True)
            pieces[self.starts[which[those]]] = rows


def reference_sizes(pid: int, offsets: U64) -> Sizes:
    """The bytes that references to `offsets` of an image of `pid` take."""
    return 1 + len(field(pid)) + np.maximum(digit_counts(offsets), 11).astype(np.int64) + 1
