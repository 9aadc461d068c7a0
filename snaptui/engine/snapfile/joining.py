"""Which runs of saved memory become segments of a `mem` record.

A Linux process has far more runs than the original readers take segments; runs are joined across
the smallest gaps, whose pages are written as zeros. What is really mapped where, our reader learns from
the Linux record.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

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
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(ranges)]
    largest = sorted(range(len(gaps)), key=lambda at: -gaps[at])
    keep = set(largest[: SEGMENTS_9FRONT - 1])
    cost = sum(gaps[at] for at in largest[SEGMENTS_9FRONT - 1 :]) // PAGE
    if cost <= max(_COST_FLOOR, file_size // _COST_SHARE):
        return _joined(ranges, keep), 0
    return _joined(ranges, {at for at, gap in enumerate(gaps) if gap > _CHEAP_GAP}), cost


def _joined(ranges: Sequence[Range], keep: set[int]) -> list[Range]:
    """The ranges, joined across all gaps but those numbered `keep`."""
    joined = [ranges[0]]
    for at, (start, end) in enumerate(ranges[1:]):
        if at in keep:
            joined.append((start, end))
        else:
            joined[-1] = (joined[-1][0], end)
    return joined
