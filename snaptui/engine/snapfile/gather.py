"""Reading many pages from anywhere in a file, a window at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.snapfile.fieldarrays import U8, U64

Pread = Callable[[int, int], bytes]
"""`pread(offset, size)`: bytes of a file at an offset; fewer at its end."""

_GAP: Final = 16 << 10
"""Bytes between two wanted pieces below which reading on beats another system call
(a pread of a cached page costs about as much as copying 16 KiB)."""

_WINDOW: Final = 4 << 20
"""The most that one read takes, so that the memory needed stays bounded."""


def windows(positions: U64, size: int) -> Iterator[tuple[slice, int, int]]:
    """Cut ascending file `positions` of `size`-byte pieces into reads: (which, offset, bytes)."""
    count = len(positions)
    if not count:
        return
    breaks = np.flatnonzero(positions[1:] - positions[:-1] > np.uint64(_GAP + size)) + 1
    for start, stop in zip([0, *breaks.tolist()], [*breaks.tolist(), count], strict=True):
        while start < stop:
            first = int(positions[start])
            limit = np.uint64(first + _WINDOW)
            end = start + max(1, int(np.searchsorted(positions[start:stop], limit)))
            yield slice(start, end), first, int(positions[end - 1]) + size - first
            start = end


def gather(pread: Pread, positions: U64, size: int) -> U8:
    """The `size` bytes at each of the ascending file `positions`, as rows (n x size).

    What lies past the end of the file reads as zeros; callers know what they may ask for.
    """
    rows = np.zeros((len(positions), size), dtype=np.uint8)
    for which, offset, length in windows(positions, size):
        window = np.frombuffer(pread(offset, length), dtype=np.uint8)
        if len(window) < length:
            window = np.concatenate([window, np.zeros(length - len(window), dtype=np.uint8)])
        starts = (positions[which] - np.uint64(offset)).astype(np.intp)
        rows[which] = _pieces(window, size)[starts]
    return rows


def _pieces(window: U8, size: int) -> npt.NDArray[np.uint8]:
    """Every `size`-byte piece of `window`, overlapping, without copying."""
    return np.lib.stride_tricks.sliding_window_view(window, size)
