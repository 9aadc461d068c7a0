"""Finding out where everything in a snapshot is: one pass over the file, a window at a time.

Page descriptions differ in size, so the place of a page is only known when all before it are
read. They come in *runs* of one kind and size, which numpy tells apart a whole run at a time; a
run is all that is kept, whatever number of pages it has.
"""

from __future__ import annotations

import functools
import re
from array import array
from dataclasses import dataclass
from typing import Final

import numpy as np

from snaptui.engine.errors import FormatError
from snaptui.engine.progress import CancelToken, Progress, Sink, ignore
from snaptui.engine.snapfile import native
from snaptui.engine.snapfile.container import PlainSource, Source
from snaptui.engine.snapfile.fieldarrays import U8
from snaptui.engine.snapfile.fields import FIELD_MAX, parse_field, parse_fixed
from snaptui.engine.snapfile.model import DATA_RECORDS, MAGIC, PAGE, RAW, RAW_SIZE, ZERO, ImageKind, Segment

_WINDOW: Final = 1 << 20
"""Bytes looked at at a time: so few that they stay in the processor's cache."""
_AHEAD: Final = 64 << 10
"""So many are had before the compiled scanner is called: each call costs as much as 30 KiB."""
_MANY: Final = 1024
"""Pages from which on the compiled scanner reads them itself: then they stay in a smaller, quicker cache."""
_AT_ONCE: Final = 64 << 20
"""Bytes that it reads before it is asked how far it is: 10 ms."""
_LINE_MAX: Final = 4096
_REFERENCE_MAX: Final = 1 + 2 * FIELD_MAX + 64
"""Bytes within which a reference must end; blanks behind a number may be many, but not that many."""

_HEADER: Final = re.compile(rb" *([0-9]{1,18}) +([a-z]+)")
_ZEROS: Final = re.compile(rb"z*+")
_NUMBER_START: Final = re.compile(rb"[ 0-9]{0,%d}" % FIELD_MAX)
_REFERENCE_START: Final = re.compile(rb"[mt][ 0-9]{0,%d}" % _REFERENCE_MAX)
_REFERENCE: Final = re.compile(rb"([mt])( *+[0-9]++ ++)( *+[0-9]++ ++)")


@dataclass(frozen=True, slots=True)
class DataRecord:
    """Where the contents of a /proc file are."""

    pid: int
    name: str
    position: int
    size: int


class Runs:
    """Runs of page descriptions of one kind and size, over all segments in file order.

    Columns of equal length: `first`, the number of the run's first page in the file; `kind`, its
    flag; `position`, where the first description begins; `stride`, the size of each;
    `number_at`, for references, where in a description the offset's field begins.
    """

    def __init__(self) -> None:
        self.first = array("Q")
        self.kind = array("B")
        self.position = array("Q")
        self.stride = array("I")
        self.number_at = array("H")

    def add(self, first: int, kind: int, position: int, stride: int, number_at: int = 0) -> None:
        self.first.append(first)
        self.kind.append(kind)
        self.position.append(position)
        self.stride.append(stride)
        self.number_at.append(number_at)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a snapshot holds, and where."""

    header: str
    pids: tuple[int, ...]
    data: tuple[DataRecord, ...]
    segments: tuple[Segment, ...]
    first_pages: tuple[int, ...]
    """The number of each segment's first page."""
    runs: Runs
    page_count: int


def scan(source: Source, sink: Sink = ignore, cancel: CancelToken | None = None) -> Layout:
    """Read all of `source` and tell where its records and pages are.

    Raises `FormatError`, naming the place, when it ends early or is not what snap(6) allows.
    """
    return _Scanner(source, sink, cancel or CancelToken()).run()


class _Scanner:
    def __init__(self, source: Source, sink: Sink, cancel: CancelToken) -> None:
        self._source, self._sink, self._cancel = source, sink, cancel
        self._window = b""
        self._bytes: U8 = np.empty(0, dtype=np.uint8)
        self._base = 0  # where the window begins in the file
        self._at = 0  # where we are in the window
        self._pids: dict[int, None] = {}
        self._data: list[DataRecord] = []
        self._segments: list[Segment] = []
        self._first_pages: list[int] = []
        self._runs = Runs()
        self._is_compiled = native.is_there()
        self._next_page = 0
        self._in_window_until = 0  # the number of a page

    def run(self) -> Layout:
        line = self._line()
        if not line.startswith(MAGIC):
            raise FormatError(f"is no snapshot: it does not begin with '{MAGIC.decode()}'")
        while self._need(1):
            self._record()
        return Layout(
            line[len(MAGIC) :].decode("utf-8", "surrogateescape").strip(),
            tuple(self._pids),
            tuple(self._data),
            tuple(self._segments),
            tuple(self._first_pages),
            self._runs,
            self._next_page,
        )

    @property
    def _position(self) -> int:
        return self._base + self._at

    def _need(self, size: int) -> bool:
        """Have `size` bytes from here on in the window; false when the file ends before."""
        if len(self._window) - self._at < size:
            self._tell()
            self._base += self._at
            self._at = 0
            self._window = self._source.pread(self._base, max(size, _WINDOW))
            self._bytes = np.frombuffer(self._window, dtype=np.uint8)
        return len(self._window) >= self._at + size

    def _tell(self) -> None:
        self._cancel.check()
        self._sink(Progress("indexing", self._position, self._source.size))

    def _forget(self, position: int) -> None:
        """Go to `position` of the file, which is not in the window."""
        self._base, self._at = position, 0
        self._window, self._bytes = b"", self._bytes[:0]

    def _take(self, size: int, what: str) -> bytes:
        if not self._need(size):
            raise self._cut_short(what)
        start, self._at = self._at, self._at + size
        return self._window[start : self._at]

    def _cut_short(self, what: str) -> FormatError:
        return FormatError(f"ends in the middle of {what}, at byte {self._source.size}: it is cut short")

    def _line(self) -> bytes:
        self._need(_LINE_MAX)
        end = self._window.find(b"\n", self._at, self._at + _LINE_MAX)
        if end < 0:
            raise FormatError(f"has no end of line where one is due, at byte {self._position}")
        start, self._at = self._at, end + 1
        return self._window[start:end]

    def _number(self, what: str) -> int:
        self._need(_REFERENCE_MAX)
        try:
            number, self._at = parse_field(self._window, self._at)
        except FormatError as error:
            if _NUMBER_START.fullmatch(self._window, self._at):
                raise self._cut_short(what) from error
            raise FormatError(f"is garbled at byte {self._position}: {error}, in {what}") from error
        return number

    def _fixed(self, what: str) -> int:
        position = self._position
        try:
            return parse_fixed(self._take(12, what))
        except FormatError as error:
            if "cut short" in str(error):
                raise
            raise FormatError(f"is garbled at byte {position}: {error}, in {what}") from error

    def _record(self) -> None:
        position = self._position
        line = self._line()
        match = _HEADER.fullmatch(line)
        if match is None:
            raise FormatError(f"is garbled at byte {position}: no record begins there")
        pid, name = int(match[1]), match[2].decode()
        self._pids.setdefault(pid)
        if name == "text":
            self._segment(pid, "t")
        elif name == "mem":
            for _ in range(self._fixed(f"the memory of process {pid}")):
                self._segment(pid, "m")
        elif name in DATA_RECORDS:
            size = self._fixed(f"record {name} of process {pid}")
            self._data.append(DataRecord(pid, name, self._position, size))
            self._skip(size, f"record {name} of process {pid}")
        else:
            raise FormatError(f"holds a record '{name}' at byte {position}, which snap(6) does not know")

    def _skip(self, size: int, what: str) -> None:
        if self._position + size > self._source.size:
            raise self._cut_short(what)
        if self._at + size <= len(self._window):
            self._at += size
            return
        self._forget(self._position + size)

    def _segment(self, pid: int, kind: ImageKind) -> None:
        what = f"the {'text' if kind == 't' else 'memory'} of process {pid}"
        offset, length = self._number(what), self._number(what)
        segment = Segment(pid, kind, len(self._segments), offset, length)
        if segment.end > 1 << 64:
            raise FormatError(f"is garbled at byte {self._position}: {segment!r} ends past the address space")
        self._segments.append(segment)
        self._first_pages.append(self._next_page)
        whole, tail = divmod(length, PAGE)
        self._pages(whole, PAGE, what)
        self._pages(1 if tail else 0, tail, what)

    def _pages(self, count: int, size: int, what: str) -> None:
        """Find the runs of the next `count` page descriptions, of pages of `size` bytes."""
        while count:
            if size == PAGE and (found := self._compiled_runs(count)):
                count -= found
                continue
            if not self._need(_REFERENCE_MAX) and not self._need(1):
                raise self._cut_short(what)
            flag = self._window[self._at]
            first, position = self._next_page, self._position
            if flag == ZERO:
                run, stride, number_at = self._zero_run(count), 1, 0
            elif flag == RAW:
                run, stride, number_at = self._raw_run(count, 1 + size, what), 1 + size, 0
            else:
                run, stride, number_at = self._reference_run(count, what)
            self._runs.add(first, flag, position, stride, number_at)
            self._at += run * stride
            self._next_page += run
            count -= run

    def _compiled_runs(self, count: int) -> int:
        """Find what runs the compiled scanner finds of the next `count` whole pages; of how many it did."""
        if not self._is_compiled:
            return 0
        is_worth_it = count >= _MANY and self._next_page >= self._in_window_until
        if is_worth_it and isinstance(self._source, PlainSource):
            return self._runs_of_file(self._source, count)
        self._need(_AHEAD)
        place = native.Place(self._base, self._at, self._next_page, count)
        native.scan_pages(self._window, place, self._runs)
        self._at, self._next_page = place.at, place.next_page
        return count - place.count

    def _runs_of_file(self, source: PlainSource, count: int) -> int:
        self._tell()
        place = native.Place(self._base, self._at, self._next_page, count)
        native.scan_file(source.descriptor, _AT_ONCE, place, self._runs)
        source.check()
        found = count - place.count
        self._next_page += found
        if found < _MANY:  # what it cannot judge is frequent here, and reading so much for so few takes long
            self._in_window_until = self._next_page + _MANY
        if found:
            self._forget(place.base)
        return found

    def _zero_run(self, count: int) -> int:
        match = _ZEROS.match(self._window, self._at, min(len(self._window), self._at + count))
        assert match is not None  # the pattern matches the empty string
        return match.end() - self._at

    def _raw_run(self, count: int, stride: int, what: str) -> int:
        if not self._need(stride):
            raise self._cut_short(what)
        if stride != RAW_SIZE:
            return 1
        count = min(count, (len(self._window) - self._at) // stride)
        other = self._bytes[self._at : self._at + count * stride : stride] != RAW
        return int(other.argmax()) if other.any() else count

    def _reference_run(self, count: int, what: str) -> tuple[int, int, int]:
        """How many references follow that look alike: (number, size, where the offset's field begins).

        Alike: to the same image, with digits and blanks in the same columns.
        """
        match = _REFERENCE.match(self._window, self._at, self._at + _REFERENCE_MAX)
        if match is None:
            if _REFERENCE_START.fullmatch(self._window, self._at):
                raise self._cut_short(what)
            raise FormatError(f"is garbled at byte {self._position}: no page of {what} begins there")
        stride, number_at = match.end() - match.start(), 1 + len(match[2])
        parse_field(match[2], 0), parse_field(match[3], 0)  # refuses numbers past the 64 bits
        digits = match[3].strip(b" ")
        before = match[3].index(digits)
        alike = _references_like(
            match[1] + match[2], before, len(digits), len(match[3]) - before - len(digits)
        )
        run = alike.match(self._window, self._at, min(len(self._window), self._at + count * stride))
        return (run.end() - self._at) // stride if run else 1, stride, number_at


@functools.lru_cache(maxsize=256)
def _references_like(image: bytes, before: int, digits: int, after: int) -> re.Pattern[bytes]:
    """A run of references to one image, with as many blanks, digits and blanks in each number."""
    # Not possessive: before 3.11.5, Python's possessive groups match wrongly (Debian 12 has 3.11.2).
    return re.compile(rb"(?:%b {%d}[0-9]{%d} {%d}(?! ))+" % (re.escape(image), before, digits, after))
