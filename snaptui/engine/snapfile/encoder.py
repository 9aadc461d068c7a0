"""Laying out pages as page descriptions: what the writer needs for it, in one of two ways.

`native` is compiled where the package was installed with a C compiler; `arrays` does the same with numpy.
What is written is the same, unless two pages have the same hash.
"""

from __future__ import annotations

from array import array
from typing import Final, Protocol

from snaptui.engine.snapfile.model import ImageKind

Buffer = bytes | bytearray | memoryview


class Encoder(Protocol):
    """Describes pages in the order of the file, and knows all pages that it has described."""

    takes: bool
    """Whether `take` is there."""
    batch: int
    """Pages that are described at a time at most."""

    def origin(self, kind: ImageKind, pid: int, offset: int, first: int) -> None:
        """From the page numbered `first` on come those of a segment at `offset` of an image."""

    def encode(self, pages: Buffer, first: int, position: int) -> memoryview:
        """The descriptions of pages (n x 1024 bytes, n at most `batch`), to be written before the next call.

        `first` is the number of the first page in the file, `position` the place in the file that they go to.
        """

    def references(self, kind: ImageKind, pid: int, offset: int, count: int) -> memoryview:
        """References to `count` pages from `offset` on of an image written earlier."""

    def take(self, tid: int, rows: Rows, first: int, position: int) -> Taking:
        """Read memory of a process and write its pages' descriptions to the file, from `position` on."""

    def close(self) -> None:
        """Give the memory back."""


class Rows:
    """Memory of a process to be read, in order: (address, size in bytes, how), as encoder.c has them."""

    READ: Final = 0  # by process_vm_readv(2)
    ZEROS: Final = 1  # nothing to be read: zeros
    FORCED: Final = 2  # through /proc/PID/mem, whatever the process itself may do

    def __init__(self) -> None:
        self.values = array("Q")
        self.size = 0
        """Bytes in all; a multiple of 1024 when it is complete."""

    def add(self, address: int, size: int, how: int) -> None:
        """The next row."""
        self.values.extend((address, size, how))
        self.size += size

    def __len__(self) -> int:
        return len(self.values) // 3

    def __iter__(self) -> zip[tuple[int, int, int]]:
        return zip(self.values[0::3], self.values[1::3], self.values[2::3], strict=True)

    @property
    def size_read(self) -> int:
        """Bytes to be read."""
        return sum(size for _, size, how in self if how != self.ZEROS)

    @property
    def are_forced(self) -> bool:
        """Whether some are read through /proc/PID/mem."""
        return self.FORCED in self.values[2::3]


class Taking:
    """What came of taking rows."""

    def __init__(
        self, size: int, missed: list[tuple[int, int]], marks: list[int], *, has_ended: bool
    ) -> None:
        self.size = size
        """Bytes written."""
        self.marks = marks
        """Where in the file memory begins whose address is a multiple of 16 KiB: some places, in order."""
        self.missed = missed
        """(address, bytes) of what could not be read: zeros stand in its place."""
        self.has_ended = has_ended
        """The process has gone."""


def open_encoder(fd: int, expected: int) -> Encoder:
    """An encoder for a snapshot that is being written to the file `fd`; about `expected` pages."""
    from snaptui.engine.snapfile import native

    if native.is_there():
        return native.NativeEncoder(fd, expected)
    from snaptui.engine.snapfile.arrays import ArrayEncoder

    return ArrayEncoder(fd, expected)
