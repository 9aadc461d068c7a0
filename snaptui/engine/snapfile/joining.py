"""Which runs of saved memory become segments of a `mem` record.

A Linux process has far more runs than the original readers take segments; runs are joined across
the smallest gaps, whose pages are written as zeros. What is really mapped where, our reader learns from
the Linux record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from snaptui.engine.snapfile.model import PAGE

SEGMENTS_9FRONT: Final = 16
"""9front's snapfs refuses a memory record of more segments."""

_CHEAP_GAP: Final = 28 * PAGE
"""A gap of this many bytes costs as much, in `z` flags, as the header of a segment of its own."""

_COST_SHARE: Final = 100
_COST_FLOOR: Final = 4 << 20
"""Joining may cost 1 % of the file, or 4 MiB."""

Range = tuple[int, int]
"""Start and end, in bytes."""


def join(ranges: Sequence[Range], file_size: int) -> tuple[list[Range], int]:
    """Join ascending, disjoint `ranges` so that the original readers take them.

    Returns the joined ranges, and what 16 of them would have cost if that is too much for a file of
    about `file_size` bytes (then there are more than 16), else 0.
    """
    table = np.array(ranges, dtype=np.uint64).reshape(-1, 2)
    gaps = (table[1:, 0] - table[:-1, 1]).astype(np.float64)
    keep = np.zeros(len(gaps), dtype=np.bool_)
    keep[np.argsort(-gaps, kind="stable")[: SEGMENTS_9FRONT - 1]] = True
    cost = int(gaps[~keep].sum()) // PAGE
    if cost <= max(_COST_FLOOR, file_size // _COST_SHARE):
        return _joined(table, keep), 0
    return _joined(table, gaps > _CHEAP_GAP), cost


def _joined(table: npt.NDArray[np.uint64], keep: npt.NDArray[np.bool_]) -> list[Range]:
    starts = np.concatenate([table[:1, 0], table[1:, 0][keep]])
    ends = np.concatenate([table[:-1, 1][keep], table[-1:, 1]])
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
