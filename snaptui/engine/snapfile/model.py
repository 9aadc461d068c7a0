"""What a snapshot is: records, segments, pages (snap(6))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PAGE: Final = 1024
"""Bytes in a page of snap(6); not the machine's page."""

ZERO: Final = ord("z")
RAW: Final = ord("r")
"""The flags of page descriptions; those of references are `ImageKind`."""

RAW_SIZE: Final = 1 + PAGE
"""Bytes of the description of a raw page."""

MAGIC: Final = b"process snapshot"
"""How the first line of a snapshot begins; the rest of it is for people."""

DATA_RECORDS: Final = ("fd", "fpregs", "kregs", "noteid", "ns", "proc", "regs", "segment", "status")
"""The records that hold one /proc file each, in the order of snap(6)."""

ImageKind = Literal["m", "t"]
"""Whose page: of memory or of text; also the flag of a reference to it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of pages of one image: `length` bytes from address (or text offset) `offset`.

    `number` counts the segments of a file in the order in which they stand in it.
    """

    pid: int
    kind: ImageKind
    number: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length

    @property
    def page_count(self) -> int:
        return -(-self.length // PAGE)

    def contains(self, address: int) -> bool:
        return self.offset <= address < self.end

    def __repr__(self) -> str:
        return f"Segment({self.kind} of {self.pid}, {self.offset:#x}-{self.end:#x})"
