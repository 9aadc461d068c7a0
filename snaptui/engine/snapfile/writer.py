"""Writing a snapshot: record by record, page by page, in one pass (snap(6))."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from snaptui.engine.snapfile import fields
from snaptui.engine.snapfile.encoder import Buffer, Rows, Taking, open_encoder
from snaptui.engine.snapfile.model import DATA_RECORDS, MAGIC, PAGE, ImageKind

_ZEROS: Final = 1 << 20
"""Zero pages described at a time: 1 MiB of `z`."""

_REFERENCES: Final = 16384
"""References described at a time: up to 570 KB."""

_GATHERED: Final = 1 << 18
"""Bytes that are gathered at most: a process has dozens of small records, headers and runs of references."""

_DATA_MAX: Final = 10**11
"""The size of a data record is a field of exactly 12 bytes."""


class Sink(Protocol):
    """Where a snapshot is written to: a growing file that can be read back."""

    def write(self, data: bytes | memoryview) -> None: ...
    def fileno(self) -> int: ...
    def written(self, size: int, marks: Sequence[int] = ()) -> None:
        """So many bytes were written behind the last ones, through the descriptor.

        `marks` are places in the file where contents of one kind may begin.
        """

    def failed(self, error: OSError) -> Exception:
        """An error of such a write, in words."""


@dataclass(slots=True)
class _Image:
    """A text or memory record: its segments, and how far it is written."""

    pid: int
    kind: ImageKind
    segments: Sequence[tuple[int, int]]
    """(offset, length) of each."""
    firsts: list[int] = field(default_factory=list)
    """The number, in the file, of each segment's first page."""
    end: int = 0
    """The number of the page after the last."""
    begun: int = 0
    """So many segments have their header in the file."""

    def number(self, first: int) -> None:
        """Number the pages from `first` on."""
        for _, length in self.segments:
            self.firsts.append(first)
            first += -(-length // PAGE)
        self.end = first

    def length_of(self, page: int) -> int:
        """The bytes of the page with that number: 1024, or less for a segment's last."""
        number = bisect.bisect_right(self.firsts, page) - 1
        return min(PAGE, self.segments[number][1] - (page - self.firsts[number]) * PAGE)


class SnapshotWriter:
    """Writes the records of one snapshot, in the order of the calls.

    A text or memory record is announced with its segments (`text`, `memory`); then come exactly
    its pages, in order: `pages`, `take`, `zeros`, `references`, and `last_page` for a shorter last one.
    Pages equal to any earlier page become references to it.
    """

    def __init__(self, sink: Sink, header: str, *, expected_pages: int = 0) -> None:
        self._sink = sink
        self.size = 0
        """Bytes written so far, or gathered to be."""
        self._gathered = bytearray()
        self._encoder = open_encoder(sink.fileno(), expected_pages)
        self.takes = self._encoder.takes
        """Whether `take` is there: else read the memory, and give its `pages`."""
        self._image: _Image | None = None
        self._next_page = 0
        first_line = MAGIC.decode() + " " + header.replace("\n", " ")
        self._write(first_line.encode("utf-8", "surrogateescape") + b"\n")

    def record(self, pid: int, name: str, content: bytes) -> None:
        """The contents of the /proc file `name`, one of `DATA_RECORDS`."""
        if name not in DATA_RECORDS or len(content) >= _DATA_MAX:
            raise ValueError(f"no record {name} of {len(content)} bytes")
        self._start_record(pid, name, fields.field(len(content)) + content)

    def text(self, pid: int, length: int, offset: int = 0) -> None:
        """Start a text image of `pid`: one segment, served at offset 0 by the original snapfs."""
        self._start_record(pid, "text")
        self._start_image(pid, "t", [(offset, length)])

    def memory(self, pid: int, segments: Sequence[tuple[int, int]]) -> None:
        """Start a memory image of `pid`: (address, length) of each segment; length 0: could not be read."""
        self._start_record(pid, "mem", fields.field(len(segments)))
        self._start_image(pid, "m", segments)

    def pages(self, pages: Buffer) -> None:
        """The next whole pages (n x 1024 bytes, contiguous)."""
        content = memoryview(pages).cast("B")
        at = 0
        for count in self._spans(len(content) // PAGE, self._encoder.batch):
            self._flush()
            part = content[at : at + count * PAGE]
            self._write(self._encoder.encode(part, self._next_page, self.size))
            at += len(part)

    def take(self, tid: int, rows: Rows) -> Taking:
        """The next whole pages, of one segment, are memory of a process: read them and write them.

        What cannot be read becomes zeros, and is told. `tid` is a living thread of the process.
        """
        result = Taking(0, [], [], has_ended=False)
        for _ in self._spans(rows.size // PAGE, rows.size // PAGE):
            self._flush()
            try:
                result = self._encoder.take(tid, rows, self._next_page, self.size)
            except OSError as error:
                raise self._sink.failed(error) from error
            self._sink.written(result.size, result.marks)
            self.size += result.size
        return result

    def zeros(self, count: int) -> None:
        """The next `count` whole pages are zeros."""
        for part in self._spans(count, _ZEROS):
            self._write(b"z" * part)

    def references(self, kind: ImageKind, pid: int, offset: int, count: int) -> None:
        """The next `count` whole pages are those from `offset` on of an image written earlier."""
        for part in self._spans(count, _REFERENCES):
            self._write(self._encoder.references(kind, pid, offset, part))
            offset += part * PAGE

    def last_page(self, content: bytes) -> None:
        """The last page of a segment, shorter than the others."""
        if self._image is None or not self._pages_due or len(content) != self._page_size:
            raise ValueError(f"{len(content)} bytes are no last page here")
        self._begin_segments()
        self._write(b"r" + content if any(content) else b"z")
        self._next_page += 1

    def finish(self) -> None:
        """Complete the last record, and the snapshot. Raises `ValueError` if pages of it are missing."""
        self._complete()
        self._flush()

    def _complete(self) -> None:
        """Complete the last record."""
        if self._pages_due:
            raise ValueError(f"{self._pages_due} pages of the last record are missing")
        self._begin_segments()

    def close(self) -> None:
        """Give the memory of the index back."""
        self._encoder.close()

    @property
    def _pages_due(self) -> int:
        return self._image.end - self._next_page if self._image is not None else 0

    @property
    def _page_size(self) -> int:
        return self._image.length_of(self._next_page) if self._image is not None else 0

    def _start_record(self, pid: int, name: str, content: bytes = b"") -> None:
        self._complete()
        if not 0 <= pid < 10**11:
            raise ValueError(f"no pid {pid}: the original readers take at most 11 digits")
        self._write(fields.field(pid) + name.encode() + b"\n" + content)

    def _start_image(self, pid: int, kind: ImageKind, segments: Sequence[tuple[int, int]]) -> None:
        self._image = _Image(pid, kind, segments)
        self._image.number(self._next_page)

    def _spans(self, count: int, most: int) -> Iterator[int]:
        """Cut the next `count` whole pages into parts of one segment and of at most `most` pages.

        Each part's header is there when it comes; after it, its pages count as written. Raises `ValueError`
        unless so many whole pages are due.
        """
        image = self._image
        if count > self._pages_due:
            raise ValueError(f"{count} whole pages where {self._pages_due} pages are due")
        if image is None:
            return
        while count:
            self._begin_segments()
            behind = image.firsts[image.begun] if image.begun < len(image.firsts) else image.end
            part = min(count, behind - self._next_page, most)
            if image.length_of(self._next_page + part - 1) < PAGE:
                raise ValueError(f"{count} whole pages where a shorter one is due")
            yield part
            self._next_page += part
            count -= part

    def _begin_segments(self) -> None:
        """Write the headers of the segments that begin here, or have no pages."""
        image = self._image
        if image is None:
            return
        while image.begun < len(image.firsts) and image.firsts[image.begun] == self._next_page:
            offset, length = image.segments[image.begun]
            self._write(fields.field(offset) + fields.field(length))
            if length:
                self._encoder.origin(image.kind, image.pid, offset, self._next_page)
            image.begun += 1
            if length:
                break

    def _write(self, data: bytes | memoryview) -> None:
        self.size += len(data)
        if len(self._gathered) + len(data) <= _GATHERED:
            self._gathered += data
            return
        self._flush()
        self._sink.write(data)

    def _flush(self) -> None:
        """Write what was gathered: before pages are encoded, which are compared with those in the file."""
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._sink.write(memoryview(gathered))
