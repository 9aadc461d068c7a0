"""Where texts stand in a piece of memory, by whole-array operations.

Measured on the objects of a Python process: this 0.5 GB/s, a regular expression that says the same 30 MB/s.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from snaptui.engine.snapfile.fieldarrays import U8

Encoding = Literal["utf-8", "utf-16"]
Places = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

_Range = tuple[int, int]
_TAB: Final = 0x09
_VISIBLE: Final[_Range] = (0x20, 0x7E)
_LEADS: Final[_Range] = (0xC3, 0xF4)
"""The first byte of a character of several; what begins with 0xc2 is hardly ever text."""
_CONTINUED: Final[_Range] = (0x80, 0xBF)
_LONGEST: Final = 4
"""Bytes of a character."""


class TextRuns:
    """Texts of at least `minimum` characters; in UTF-16 (little-endian) those of ASCII alone."""

    undecided: Final = _LONGEST - 1
    """Bytes before the end of a piece in which a character may begin that ends behind it."""

    def __init__(self, minimum: int, encoding: Encoding) -> None:
        self._minimum, self._encoding = minimum, encoding

    def find(self, data: U8) -> tuple[Positions, Positions]:
        """Where texts begin and end in `data`, ascending; each is as long as can be."""
        beginnings = _ascii(data)
        if self._encoding == "utf-16":
            beginnings[:-1] &= data[1:] == 0
            beginnings[-1:] = False
            covered = beginnings.copy()
            covered[1:] |= beginnings[:-1]
            return _long_runs(covered, 2 * self._minimum)
        covered = beginnings.copy()
        leads = _cover_longer(data, covered)
        starts, ends = _long_runs(covered, self._minimum)
        if leads is None or not len(starts):
            return starts, ends
        edges = np.column_stack([starts, ends]).reshape(-1)
        # An index at the very end is none for reduceat: there is one more, of no character.
        counted = np.append(beginnings | leads, False)
        enough = np.add.reduceat(counted, edges, dtype=np.int64)[::2] >= self._minimum
        return starts[enough], ends[enough]


def _ascii(data: U8) -> Places:
    """The characters of one byte: those that can be seen, blanks and tabs."""
    places = _between(data, _VISIBLE)
    places |= data == _TAB
    return places


def _cover_longer(data: U8, covered: Places) -> Places | None:
    """Mark the bytes of longer characters in UTF-8, too; where those begin, or None if there are none."""
    leads = _between(data, _LEADS)
    continued = _between(data, _CONTINUED)
    leads[:-1] &= continued[1:]
    leads[-1:] = False
    if not leads.any():
        return None
    covered |= leads
    reached = leads
    for distance in range(1, _LONGEST):
        reached = reached[:-1] & continued[distance:]
        covered[distance:] |= reached
    return leads


def _between(data: U8, limits: _Range) -> Places:
    first, last = limits
    # What is below `first` wraps round, to something large.
    places: Places = data - np.uint8(first) <= last - first
    return places


def _long_runs(places: Places, minimum: int) -> tuple[Positions, Positions]:
    """Where runs of at least `minimum` true places begin and end."""
    full, length = places, 1
    while length < minimum and len(full):
        # Two runs that overlap or touch are one.
        more = min(length, minimum - length)
        full = full[:-more] & full[more:]
        length += more
    if not len(full):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    edges = np.flatnonzero(full[1:] != full[:-1]) + 1
    if full[0]:
        edges = np.insert(edges, 0, 0)
    if full[-1]:
        edges = np.append(edges, len(full))
    return edges[::2], edges[1::2] + (length - 1)
