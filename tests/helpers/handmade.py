"""Snapshots written by hand, with pages of every kind in any order."""

from __future__ import annotations

import random
from pathlib import Path

PAGE = 1024
PID, OTHER = 5, 77777
"""The two processes in each."""


def field(number: int) -> bytes:
    return b"%-11d " % number


class HandMade:
    """A snapshot of two processes with some segments each, of pages that are random in kind and content."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._pages: list[tuple[str, int, int]] = []  # those to refer to: kind, pid, offset
        self.records: list[bytes] = []
        self.ranges: dict[int, list[tuple[int, int]]] = {PID: [], OTHER: []}
        """Where memory is, by pid."""
        for pid in (PID, OTHER):
            self._segments("t", pid, 0)
            self._segments("m", pid, 0x10_0000)

    def write(self, path: Path) -> Path:
        path.write_bytes(b"process snapshot made by hand\n" + b"".join(self.records))
        return path

    def _segments(self, kind: str, pid: int, start: int) -> None:
        placed = []
        at = start
        for _ in range(self._rng.randint(1, 4)):
            at += self._rng.choice((0, 0, PAGE, 40 * PAGE))
            count = self._rng.randint(1, 300)
            length = count * PAGE - self._rng.choice((0, 0, 0, 1, 1000))
            placed.append((at, length))
            at += length
        if kind == "t":
            for offset, length in placed:
                pages = self._described(kind, pid, offset, length)
                self.records.append(field(pid) + b"text\n" + field(offset) + field(length) + pages)
            return
        described = [
            field(offset) + field(length) + self._described(kind, pid, offset, length)
            for offset, length in placed
        ]
        self.records.append(field(pid) + b"mem\n" + field(len(placed)) + b"".join(described))
        self.ranges[pid] += [(offset, offset + length) for offset, length in placed]

    def _described(self, kind: str, pid: int, offset: int, length: int) -> bytes:
        rng, pages = self._rng, []
        at, end = offset, offset + length
        while at < end:
            flag = rng.choice("rrzmmt" if self._pages else "rz")
            run = rng.choice((1, 1, 2, 5, 70, 200))
            source = rng.randrange(len(self._pages)) if self._pages else 0
            for _ in range(run):
                if at >= end:
                    break
                size = min(PAGE, end - at)
                if flag == "r":
                    pages.append(b"r" + rng.randbytes(size))
                elif flag == "z":
                    pages.append(b"z")
                else:
                    target, owner, place = self._pages[source % len(self._pages)]
                    pages.append(target.encode() + field(owner) + field(place))
                    source += 1
                if size == PAGE:
                    self._pages.append((kind, pid, at))
                at += size
        return b"".join(pages)
