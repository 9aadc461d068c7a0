"""Page descriptions of snap(6), for whole arrays of pages: flag `z`, `r`, `m` or `t`, and what follows."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.snapfile.fieldarrays import U8, U64, digit_counts, put_fields
from snaptui.engine.snapfile.fields import field
from snaptui.engine.snapfile.model import PAGE, RAW, RAW_SIZE, ZERO, ImageKind

Indices = npt.NDArray[np.int64]
Sizes = npt.NDArray[np.int64]

_FEW_RUNS: Final = 256
"""Below this many runs of raw pages, copying run by run beats numpy's scattered copy."""


class Description:
    """The page descriptions of an array of pages, laid out one behind the other.

    Made with the bytes that each takes; then filled, kind by kind.
    """

    def __init__(self, sizes: Sizes, room: U8) -> None:
        """The bytes are laid out in `room`: new memory, page by page, costs as much as filling it."""
        ends = np.cumsum(sizes)
        self.starts = ends - sizes
        """Where the description of each page begins."""
        self.bytes: U8 = room[: int(ends[-1]) if len(ends) else 0]

    def put_zeros(self, which: Indices) -> None:
        self.bytes[self.starts[which]] = ZERO

    def put_raw(self, which: Indices, pages: U8) -> None:
        """The pages numbered `which` of `pages` (n x 1024), as they are."""
        starts = self.starts[which]
        self.bytes[starts] = RAW
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
