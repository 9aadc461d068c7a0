"""Reading a snapshot: its processes, their files, text and memory, at random."""

from __future__ import annotations

import bisect
import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Self

from snaptui.engine.errors import FormatError, NoSuchProcess, NotCaptured
from snaptui.engine.progress import CancelToken, Sink, ignore
from snaptui.engine.snapfile.container import Source, open_source
from snaptui.engine.snapfile.direct import ALL_ZEROS, Extent, Extents
from snaptui.engine.snapfile.fieldarrays import U8
from snaptui.engine.snapfile.index import layout_of
from snaptui.engine.snapfile.linux import Area, LinuxRecord
from snaptui.engine.snapfile.model import DATA_RECORDS, PAGE, Segment
from snaptui.engine.snapfile.pages import PageTable
from snaptui.engine.snapfile.scan import DataRecord, Layout, scan

_STATUS_NAME: Final = slice(0, 27)
_STATUS_USER: Final = slice(28, 55)
_STATUS_STATE: Final = slice(56, 67)


class Snapshot:
    """An open snapshot. Close it, or use it in a `with` block; reads may come from any thread."""

    def __init__(self, path: str, source: Source, layout: Layout) -> None:
        self.path = path
        self.header = layout.header
        """The rest of the first line, for people: when, who, where, on what."""
        self.size = source.size
        """Bytes of the plain form."""
        self.stored_size = source.stored_size
        """Bytes of the file."""
        self.compressed = source.compressed
        self._source = source
        table = PageTable(source, layout)
        self.processes = {pid: Process(pid, source, table, layout) for pid in layout.pids}
        """By pid, in the order of the file."""

    def process(self, pid: int) -> Process:
        """The process with that pid. Raises `NoSuchProcess`."""
        if pid not in self.processes:
            held = ", ".join(map(str, self.processes)) or "none"
            raise NoSuchProcess(f"{self.path}: holds no process {pid}", help=f"it holds: {held}")
        return self.processes[pid]

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Process:
    """A process in a snapshot."""

    def __init__(self, pid: int, source: Source, table: PageTable, layout: Layout) -> None:
        self.pid = pid
        self._source = source
        self._table = table
        self._data: dict[str, DataRecord] = {r.name: r for r in layout.data if r.pid == pid}
        self.text: tuple[Segment, ...] = tuple(s for s in layout.segments if s.pid == pid and s.kind == "t")
        self.memory: tuple[Segment, ...] = tuple(s for s in layout.segments if s.pid == pid and s.kind == "m")
        """The segments as the file has them, in file order. `areas` tells what they mean."""

    @property
    def records(self) -> tuple[str, ...]:
        """The names of the /proc files that are there."""
        return tuple(name for name in DATA_RECORDS if name in self._data)

    def read(self, name: str) -> bytes:
        """The contents of a /proc file, one of `records`. Raises `NotCaptured`."""
        return self.read_part(name, 0, self.record_size(name))

    def record_size(self, name: str) -> int:
        """The bytes of a /proc file, one of `records`. Raises `NotCaptured`."""
        if name not in self._data:
            raise NotCaptured(f"process {self.pid} has no file {name} in this snapshot")
        return self._data[name].size

    def read_part(self, name: str, offset: int, length: int) -> bytes:
        """Bytes of a /proc file, one of `records`; fewer at its end. Raises `NotCaptured`."""
        length = max(0, min(length, self.record_size(name) - offset))
        content = self._source.pread(self._data[name].position + offset, length)
        if len(content) != length:
            raise FormatError(f"{name} of process {self.pid} could not be read whole: the file has changed")
        return content

    @functools.cached_property
    def text_size(self) -> int:
        return max((segment.end for segment in self.text), default=0)

    def read_text(self, offset: int, length: int) -> bytes:
        """Bytes of the text image; fewer at its end. Raises `NotCaptured` where there are none."""
        length = min(length, max(0, self.text_size - offset))
        return self._read(self._text_image, offset, length, "text offset")

    def read_text_into(self, offset: int, target: U8) -> None:
        """Fill `target` with as many bytes of the text image. Raises `NotCaptured` where there are none."""
        self._read_into(self._text_image, offset, target, "text offset")

    def read_memory(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes of memory. Raises `NotCaptured`, naming the first address missing."""
        pieces = [
            bytes(end - start) if is_zero else self._read(self._memory_image, start, end - start)
            for start, end, is_zero in self._runs(address, address + length)
        ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_memory_into(self, address: int, target: U8) -> None:
        """Fill `target` with as many bytes of memory from `address` on. Raises `NotCaptured`, as above.

        Where much is read this is quicker: nothing is copied, or allocated, once more.
        """
        for start, end, is_zero in self._runs(address, address + len(target)):
            part = target[start - address : end - address]
            if is_zero:
                part[:] = 0
            else:
                self._read_into(self._memory_image, start, part)

    def read_segment(self, segment: Segment, start: int, length: int) -> bytes:
        """Bytes of one segment of the file, from its byte `start` on; fewer at its end."""
        return self._table.read(segment, start, length)

    def memory_extents(self) -> Iterator[Extent]:
        """Where among the pages each captured range of memory is, by address."""
        for area in self._areas:
            if area.kind == "zero":
                yield area.start, area.end, ALL_ZEROS
            elif area.kind != "left out":
                yield from self._extents(self._memory_image, area.start, area.end)

    def text_extents(self) -> Iterator[Extent]:
        """Where among the pages each captured range of the text image is, by offset."""
        for start, end in self._text_image.ranges():
            yield from self._extents(self._text_image, start, end)

    def direct(self, extents: Iterable[Extent]) -> Extents | None:
        """What compiled code reads a file of these `extents` by; None where it cannot, or might wait."""
        pages = self._table.direct
        return None if pages is None or pages.may_wait else Extents(pages, extents)

    def _extents(self, image: _Image, start: int, end: int) -> Iterator[Extent]:
        """Of a range: as far as it is there."""
        with contextlib.suppress(NotCaptured):
            for segment, within, size in image.pieces(start, end - start, ""):
                yield start, start + size, self._table.first_page(segment) * PAGE + within
                start += size

    def page_counts(self, segment: Segment) -> dict[str, int]:
        """How many pages (1 KiB) of `segment` are raw `r`, zero `z`, or the same as one of `m` or `t`."""
        return self._table.counts(segment)

    @functools.cached_property
    def linux(self) -> LinuxRecord | None:
        """The Linux record; None in a snapshot from elsewhere, or if it is broken."""
        if "proc" not in self._data:
            return None
        try:
            return LinuxRecord(self.read("proc"))
        except FormatError:
            return None

    def areas(self) -> tuple[Area, ...]:
        """Every range of the address space that is known of, by address."""
        return self._areas

    @functools.cached_property
    def _areas(self) -> tuple[Area, ...]:
        if self.linux is not None:
            return self.linux.captured
        return tuple(
            Area(start, end, "stored", name=self.segment_name(start))
            for start, end in self._memory_image.ranges()
        )

    def segment_name(self, address: int) -> str:
        """What Plan 9 calls the segment at `address` (`Text`, `Data`, `Stack`, ...); empty if not known."""
        return next((name for start, end, name in self._named_ranges if start <= address < end), "")

    @functools.cached_property
    def _named_ranges(self) -> list[tuple[int, int, str]]:
        return parse_segment_file(self.read("segment")) if "segment" in self._data else []

    @functools.cached_property
    def _area_starts(self) -> list[int]:
        return [area.start for area in self._areas]

    @functools.cached_property
    def _memory_image(self) -> _Image:
        return _Image(self.memory)

    @functools.cached_property
    def _text_image(self) -> _Image:
        return _Image(self.text)

    def _runs(self, start: int, end: int) -> Sequence[tuple[int, int, bool]]:
        """Cut a range into runs that can be read at once: (start, end, all zeros). Raises `NotCaptured`."""
        index = max(bisect.bisect_right(self._area_starts, start) - 1, 0)
        if index < len(self._areas):
            area = self._areas[index]
            if area.start <= start < end <= area.end and area.kind != "left out":
                return ((start, end, area.kind == "zero"),)  # nearly always
        runs: list[tuple[int, int, bool]] = []
        at = start
        # Not by islice: that walks from the first one on, and there may be 65,530.
        for area in map(self._areas.__getitem__, range(index, len(self._areas))):
            if area.end <= at:
                continue
            if area.start > at or at >= end:
                break
            if area.kind == "left out":
                raise NotCaptured(f"{at:#x} is not captured: {area.reason}")
            stop, is_zero = min(area.end, end), area.kind == "zero"
            if runs and runs[-1][2] == is_zero:
                runs[-1] = (runs[-1][0], stop, is_zero)
            else:
                runs.append((at, stop, is_zero))
            at = stop
        if at < end:
            raise NotCaptured(f"{at:#x} is not captured: nothing was mapped there")
        return runs

    def _read(self, image: _Image, address: int, length: int, what: str = "address") -> bytes:
        pieces = [
            self._table.read(segment, start, size)
            for segment, start, size in image.pieces(address, length, what)
        ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_into(self, image: _Image, address: int, target: U8, what: str = "address") -> None:
        for segment, start, size in image.pieces(address, len(target), what):
            at = segment.offset + start - address
            self._table.read_into(segment, start, target[at : at + size])

    @property
    def name(self) -> str:
        """The program's name, from `status`; empty if that is missing. So are the next two."""
        return self._status(_STATUS_NAME)

    @property
    def user(self) -> str:
        return self._status(_STATUS_USER)

    @property
    def state(self) -> str:
        return self._status(_STATUS_STATE)

    def _status(self, field: slice) -> str:
        status = self.read("status") if "status" in self._data else b""
        return status[field].decode("utf-8", "replace").rstrip()


class _Image:
    """The segments of one image, by address. Where they overlap, the later one in the file counts."""

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self._spans: list[tuple[int, int, Segment]] = []
        for segment in segments:
            if segment.length:
                self._lay(segment)
        self._starts = [start for start, _, _ in self._spans]

    def _lay(self, segment: Segment) -> None:
        """Put `segment` over what is there already."""
        spans = self._spans
        if spans and spans[-1][1] > segment.offset:
            kept = []
            for start, end, owner in spans:
                if start < segment.offset:
                    kept.append((start, min(end, segment.offset), owner))
                if end > segment.end:
                    kept.append((max(start, segment.end), end, owner))
            self._spans = spans = [span for span in kept if span[0] < span[1]]
        bisect.insort(spans, (segment.offset, segment.end, segment), key=lambda span: span[0])

    def ranges(self) -> list[tuple[int, int]]:
        return [(start, end) for start, end, _ in self._spans]

    def pieces(self, address: int, length: int, what: str) -> Iterator[tuple[Segment, int, int]]:
        """Cut a range into (segment, byte in it, bytes). Raises `NotCaptured` where nothing is."""
        at, end = address, address + length
        index = bisect.bisect_right(self._starts, at) - 1
        while at < end:
            if (
                index < 0
                or index >= len(self._spans)
                or not self._spans[index][0] <= at < self._spans[index][1]
            ):
                raise NotCaptured(f"{what} {at:#x} is not captured: the snapshot has no page there")
            _, stop, segment = self._spans[index]
            size = min(stop, end) - at
            yield segment, at - segment.offset, size
            at += size
            index += 1


def parse_segment_file(content: bytes) -> list[tuple[int, int, str]]:
    """The lines of Plan 9's `segment` file (proc(3)): start, end and name. A segment may be saved in part."""
    ranges = []
    for line in content.decode("latin-1").splitlines():
        words = line[10:].split()
        try:
            ranges.append((int(words[0], 16), int(words[1], 16), line[:6].strip()))
        except (IndexError, ValueError):
            continue  # not a line that the original reads either
    return ranges


def open_snapshot(
    path: str, *, fresh: bool = False, sink: Sink = ignore, cancel: CancelToken | None = None
) -> Snapshot:
    """Open the snapshot at `path`, plain or compressed.

    Where everything is in a large one is remembered, and found out anew only if the file has changed; with
    `fresh` it always is, and so all of the file is read.
    Raises `AccessDenied`, `FormatError` or `SnapError`, naming the file.
    """
    source = open_source(path)
    try:
        return Snapshot(path, source, (scan if fresh else layout_of)(source, sink, cancel))
    except FormatError as error:
        source.close()
        raise FormatError(f"{path}: {error}", help=error.help) from error
    except BaseException:
        source.close()
        raise
