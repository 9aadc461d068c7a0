"""Writing a snapshot: record by record, page by page, in one pass (snap(6))."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from snaptui.engine.snapfile.dedup import Matches, PageIndex
from snaptui.engine.snapfile.encode import RAW_SIZE, Description, Indices, Sizes, reference_sizes
from snaptui.engine.snapfile.fields import U8, U64, field
from snaptui.engine.snapfile.model import DATA_RECORDS, MAGIC, PAGE, ImageKind

BATCH: Final = 8192
"""Pages encoded at a time: 8 MiB, small enough to stay in the processor's cache between the
passes over it, large enough that the cost of a pass is in the bytes."""

_ZEROS: Final = 1 << 20
"""Zero pages described at a time: 1 MiB of `z`."""

_DATA_MAX: Final = 10**11
"""The size of a data record is a field of exactly 12 bytes."""


class Sink(Protocol):
    """Where a snapshot is written to: a growing file that can be read back."""

    def write(self, data: bytes | memoryview) -> None: ...
    def pread(self, offset: int, size: int) -> bytes: ...


@dataclass(slots=True)
class _Image:
    """A text or memory record: its segments, and how far it is written."""

    pid: int
    kind: ImageKind
    offsets: U64
    lengths: U64
    firsts: U64
    """The number, in the file, of each segment's first page."""
    end: int
    """The number of the page after the last."""
    written_headers: int = 0

    def headers(self, first: int, count: int) -> dict[int, bytes]:
        """The segments' headers due before each of the pages `first`..`first + count`, by index."""
        due: dict[int, bytes] = {}
        stop = int(np.searchsorted(self.firsts, first + count, side="left"))
        for number in range(self.written_headers, stop):
            index = int(self.firsts[number]) - first
            header = field(int(self.offsets[number])) + field(int(self.lengths[number]))
            due[index] = due.get(index, b"") + header
        self.written_headers = max(self.written_headers, stop)
        return due

    def trailing_headers(self) -> bytes:
        """The headers of the segments without pages behind the last page."""
        return b"".join(self.headers(self.end, 1).values())

    def shorter_page(self, first: int, count: int) -> int | None:
        """The first of these pages that is shorter than the others, as a segment's last may be."""
        ends = np.append(self.firsts[1:], np.uint64(self.end))
        short = (ends - np.uint64(1))[self.lengths % np.uint64(PAGE) != 0]
        at = int(np.searchsorted(short, first))
        return int(short[at]) if at < len(short) and short[at] < first + count else None

    def length_of(self, page: int) -> int:
        """The bytes of the page with that number: 1024, or less for a segment's last."""
        number = int(np.searchsorted(self.firsts, page, side="right")) - 1
        return min(PAGE, int(self.lengths[number]) - (page - int(self.firsts[number])) * PAGE)


class SnapshotWriter:
    """Writes the records of one snapshot, in the order of the calls.

    A text or memory record is announced with its segments (`text`, `memory`); then come exactly
    its pages, in order: `pages`, `zeros`, `references`, and `last_page` for a shorter last one.
    Pages equal to any earlier page become references to it.
    """

    def __init__(self, sink: Sink, header: str, *, expected_pages: int = 0) -> None:
        self._sink = sink
        self.size = 0
        """Bytes written so far."""
        self._index = PageIndex(sink.pread, expected_pages)
        self._images: list[_Image] = []
        self._next_page = 0
        first_line = MAGIC.decode() + " " + header.replace("\n", " ")
        self._write(first_line.encode("utf-8", "surrogateescape") + b"\n")

    def record(self, pid: int, name: str, content: bytes) -> None:
        """The contents of the /proc file `name`, one of `DATA_RECORDS`."""
        if name not in DATA_RECORDS or len(content) >= _DATA_MAX:
            raise ValueError(f"no record {name} of {len(content)} bytes")
        self._start_record(pid, name)
        self._write(field(len(content)) + content)

    def text(self, pid: int, length: int, offset: int = 0) -> None:
        """Start a text image of `pid`: one segment, served at offset 0 by the original snapfs."""
        self._start_record(pid, "text")
        self._start_image(pid, "t", [(offset, length)])

    def memory(self, pid: int, segments: Sequence[tuple[int, int]]) -> None:
        """Start a memory image of `pid`: (address, length) of each segment; length 0: could not be read."""
        self._start_record(pid, "mem")
        self._write(field(len(segments)))
        self._start_image(pid, "m", segments)

    def pages(self, pages: U8) -> None:
        """The next whole pages (n x 1024 bytes, contiguous)."""
        for start in range(0, len(pages), BATCH):
            batch = pages[start : start + BATCH]
            self._expect(len(batch))
            self._write_matched(batch, self._index.match(batch, self._next_page))

    def zeros(self, count: int) -> None:
        """The next `count` whole pages are zeros."""
        self._expect(count)
        for start in range(0, count, _ZEROS):
            size = min(_ZEROS, count - start)
            description = self._describe(np.ones(size, dtype=np.int64))
            description.put_zeros(np.arange(size))
            self._write(description.bytes.data)

    def references(self, kind: ImageKind, pid: int, offset: int, count: int) -> None:
        """The next `count` whole pages are those from `offset` on of an image written earlier."""
        self._expect(count)
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            first = offset + start * PAGE
            offsets = np.arange(first, first + size * PAGE, PAGE, dtype=np.uint64)
            description = self._describe(reference_sizes(pid, offsets))
            description.put_references(np.arange(size), kind, pid, offsets)
            self._write(description.bytes.data)

    def last_page(self, content: bytes) -> None:
        """The last page of a segment, shorter than the others."""
        if not self._pages_due or len(content) != self._images[-1].length_of(self._next_page):
            raise ValueError(f"{len(content)} bytes are no last page here")
        description = self._describe(np.zeros(1, dtype=np.int64))
        self._write(bytes(description.bytes) + (b"r" + content if any(content) else b"z"))

    def finish(self) -> None:
        """Complete the last record. Raises `ValueError` if pages of it are missing."""
        if self._pages_due:
            raise ValueError(f"{self._pages_due} pages of the last record are missing")
        if self._images:
            self._write(self._images[-1].trailing_headers())

    @property
    def _pages_due(self) -> int:
        return self._images[-1].end - self._next_page if self._images else 0

    def _start_record(self, pid: int, name: str) -> None:
        self.finish()
        if not 0 <= pid < 10**11:
            raise ValueError(f"no pid {pid}: the original readers take at most 11 digits")
        self._write(field(pid) + name.encode() + b"\n")

    def _start_image(self, pid: int, kind: ImageKind, segments: Sequence[tuple[int, int]]) -> None:
        table = np.array(segments, dtype=np.uint64).reshape(-1, 2)
        offsets, lengths = table[:, 0], table[:, 1]
        counts = (lengths + np.uint64(PAGE - 1)) // np.uint64(PAGE)
        ends = np.cumsum(counts, dtype=np.uint64) + np.uint64(self._next_page)
        end = int(ends[-1]) if len(ends) else self._next_page
        self._images.append(_Image(pid, kind, offsets, lengths, ends - counts, end))

    def _expect(self, count: int) -> None:
        """Refuse `count` whole pages unless just that is due."""
        due = self._pages_due
        if count > due or (count and self._images[-1].shorter_page(self._next_page, count) is not None):
            raise ValueError(f"{count} whole pages where {due} pages are due")

    def _describe(self, sizes: Sizes) -> Description:
        """Room for the next pages' descriptions and for the headers of the segments that begin there."""
        headers = self._images[-1].headers(self._next_page, len(sizes))
        self._next_page += len(sizes)
        return Description(sizes, headers)

    def _write_matched(self, pages: U8, matches: Matches) -> None:
        sizes = np.ones(len(pages), dtype=np.int64)
        raw, again = np.flatnonzero(matches.raw), np.flatnonzero(matches.again)
        sizes[raw] = RAW_SIZE
        groups = self._grouped(again, matches.source[again])
        for which, image, offsets in groups:
            sizes[which] = reference_sizes(image.pid, offsets)
        description = self._describe(sizes)
        description.put_zeros(np.flatnonzero(matches.zero))
        description.put_raw(raw, pages)
        for which, image, offsets in groups:
            description.put_references(which, image.kind, image.pid, offsets)
        self._index.remember((description.starts[matches.fresh] + (self.size + 1)).astype(np.uint64))
        self._write(description.bytes.data)

    def _grouped(self, again: Indices, sources: U64) -> list[tuple[Indices, _Image, U64]]:
        """The pages `again`, grouped by the image that their `sources` are in, with their offsets there."""
        if not len(again):
            return []
        ends = np.array([image.end for image in self._images], dtype=np.uint64)
        owners = np.searchsorted(ends, sources, side="right")
        groups = []
        for owner in np.unique(owners).tolist():
            those, image = owners == owner, self._images[owner]
            numbers = sources[those]
            segments = np.searchsorted(image.firsts, numbers, side="right") - 1
            offsets = image.offsets[segments] + (numbers - image.firsts[segments]) * np.uint64(PAGE)
            groups.append((again[those], image, offsets))
        return groups

    def _write(self, data: bytes | memoryview) -> None:
        if len(data):
            self._sink.write(data)
            self.size += len(data)
