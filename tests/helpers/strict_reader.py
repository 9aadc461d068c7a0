"""A second reader of snap(6), simple and strict, that shares no code with snaptui.

It reads a snapshot page by page from the first byte to the last, as Plan 9's own programs do,
and refuses what they refuse or would lose. For files that snaptui wrote (`ours`) it also holds
the writer to its promises: fields of exactly the documented form, whole pages, ordered segments.
"""

from __future__ import annotations

import io
import json
import mmap
import re
import tarfile
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

PAGE = 1024
FILES = {b"segment", b"fd", b"fpregs", b"kregs", b"noteid", b"ns", b"proc", b"regs", b"status"}

_FIELD = re.compile(rb" *([0-9]+) +")
_REFERENCE = re.compile(rb"([mt])( *[0-9]+ +)( *[0-9]+ +)")
_LONGEST_FIELD = 22
_ZERO = -1


class Refused(Exception):
    """An original reader would give up here, or lose something."""


@dataclass(frozen=True)
class StrictSegment:
    """A segment, with the place in the file of each page's bytes (`_ZERO`: it is all zeros)."""

    offset: int
    length: int
    file: mmap.mmap = field(repr=False)
    places: array[int] = field(repr=False, default_factory=lambda: array("q"))

    @property
    def end(self) -> int:
        return self.offset + self.length

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes from `address`, all of which must lie in this segment."""
        assert self.offset <= address <= address + length <= self.end
        start = address - self.offset
        first, last = start // PAGE, -(-(start + length) // PAGE)
        pieces = []
        for index in range(first, last):
            place, size = self.places[index], min(PAGE, self.length - index * PAGE)
            pieces.append(bytes(size) if place == _ZERO else self.file[place : place + size])
        return b"".join(pieces)[start - first * PAGE :][:length]


@dataclass
class StrictProcess:
    """What a snapshot holds of one process."""

    pid: int
    files: dict[str, bytes] = field(default_factory=dict)
    text: StrictSegment | None = None
    memory: list[StrictSegment] = field(default_factory=list)

    def read_memory(self, address: int, length: int) -> bytes:
        """Memory at `address`; it may run on through segments that touch."""
        pieces = []
        while length:
            segment = next((s for s in self.memory if s.offset <= address < s.end), None)
            if segment is None:
                raise KeyError(f"{address:#x} lies in no segment of {self.pid}")
            step = min(length, segment.end - address)
            pieces.append(segment.read(address, step))
            address, length = address + step, length - step
        return b"".join(pieces)

    def read_text(self, offset: int, length: int) -> bytes:
        assert self.text is not None
        return self.text.read(offset, length)

    def archive(self) -> tarfile.TarFile:
        """The Linux record: a tar archive laid out like /proc/PID."""
        return tarfile.open(fileobj=io.BytesIO(self.files["proc"]))

    def linux(self, name: str) -> bytes:
        """A file of the Linux record; of a symbolic link, what it says."""
        with self.archive() as archive:
            member = archive.getmember(name)
            if member.issym():
                return member.linkname.encode()
            content = archive.extractfile(member)
            assert content is not None
            return content.read()

    def linux_names(self) -> set[str]:
        with self.archive() as archive:
            return set(archive.getnames())

    def linux_json(self, name: str) -> Any:
        return json.loads(self.linux(name))

    def text_files(self) -> dict[str, dict[str, Any]]:
        """text.json's entries, by path: where in the text image each file is."""
        return {entry["path"]: entry for entry in self.linux_json("text.json")["files"]}

    def threads(self) -> set[int]:
        """Every thread of which the record says anything."""
        names = self.linux_names()
        return {
            int(name.split("/")[1]) for name in names if name.startswith("task/") and name.count("/") == 2
        }


@dataclass
class StrictSnapshot:
    """A whole snapshot, read to its end."""

    header: str
    processes: dict[int, StrictProcess]
    pages: Counter[str]
    """How many pages of each flag (`r`, `z`, `m`, `t`) the file holds."""
    size: int

    def only(self) -> StrictProcess:
        """The one process of a snapshot of one."""
        (process,) = self.processes.values()
        return process


def read_snapshot(path: Path | str, *, nine_front: bool = False, ours: bool = True) -> StrictSnapshot:
    """Read all of the plain snapshot at `path`, or raise `Refused` with the reason and the place.

    `nine_front` refuses what 9front refuses (a mem record of 0 or more than 16 segments);
    `ours` demands what snaptui promises of its own files beyond what the originals need.
    """
    with Path(path).open("rb") as file:
        if not file.read(1):
            raise Refused("the file is empty")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _Reading(data, nine_front, ours).run()


class _Reading:
    def __init__(self, data: mmap.mmap, nine_front: bool, ours: bool) -> None:
        self.data, self.nine_front, self.ours = data, nine_front, ours
        self.at = 0
        self.processes: dict[int, StrictProcess] = {}
        self.pages: Counter[str] = Counter()

    def run(self) -> StrictSnapshot:
        header = self.line()
        if not header.startswith(b"process snapshot"):
            raise Refused("the first line does not begin with 'process snapshot'")
        while self.at < len(self.data):
            self.record()
        return StrictSnapshot(header.decode(), self.processes, self.pages, len(self.data))

    def record(self) -> None:
        start = self.at
        head = self.line()
        match = _FIELD.match(head)
        # The originals read the pid with atol up to the line's 12th byte: the type must start there.
        if match is None or match.end() != 12 or len(head) < 13:
            raise Refused(f"bad record header {head[:40]!r} at byte {start}")
        self.check_form(head[:12])
        pid, kind = int(match[1]), head[12:]
        process = self.processes.setdefault(pid, StrictProcess(pid))
        if kind in FILES:
            length = self.exact_count("a data length")
            if kind.decode() in process.files:
                raise Refused(f"second {kind.decode()} record of {pid}: the first is lost")
            process.files[kind.decode()] = self.take(length, f"{kind.decode()} of {pid}")
        elif kind == b"text":
            self.text_record(process)
        elif kind == b"mem":
            self.memory_record(process)
        else:
            raise Refused(f"unknown record {kind!r} of {pid} at byte {start}: fatal to both readers")

    def text_record(self, process: StrictProcess) -> None:
        if process.text is not None:
            raise Refused(f"second text record of {process.pid}: the first is lost")
        process.text = self.segment(process, "t")
        if process.text.offset:
            raise Refused(
                f"text of {process.pid} is served from offset 0, but starts at {process.text.offset:#x}"
            )

    def memory_record(self, process: StrictProcess) -> None:
        if process.memory:
            raise Refused(f"second mem record of {process.pid}: the first is lost")
        count = self.exact_count("a segment count")
        if self.nine_front and not 0 < count <= 16:
            raise Refused(f"{count} segments in the mem record of {process.pid}: 9front takes 1 to 16")
        for _ in range(count):
            self.segment(process, "m")
        if not self.ours:
            return
        filled = [segment for segment in process.memory if segment.length]
        for before, after in pairwise(filled):
            if before.end > after.offset:
                raise Refused(f"segments of {process.pid} overlap or are out of order at {after.offset:#x}")

    def segment(self, process: StrictProcess, kind: str) -> StrictSegment:
        segment = StrictSegment(self.number("a segment offset"), self.number("a segment length"), self.data)
        if kind == "m":
            process.memory.append(segment)
            if segment.length and segment.offset % PAGE:
                raise Refused(
                    f"segment {segment.offset:#x} of {process.pid} is not 1 KiB aligned: snapfs would end"
                )
        else:
            process.text = segment
        if self.ours and segment.length % PAGE:
            raise Refused(f"{process.pid}: {kind} segment at {segment.offset:#x} ends in a part of a page")
        counts = {"r": 0, "z": 0, "m": 0, "t": 0}
        for index in range(-(-segment.length // PAGE)):
            want = min(PAGE, segment.length - index * PAGE)
            flag = self.page(segment, want)
            counts[flag] += 1
        self.pages.update(counts)
        return segment

    def page(self, segment: StrictSegment, want: int) -> str:
        """Read one page description; its flag."""
        if self.at >= len(self.data):
            raise Refused(f"the file ends inside the segment at {segment.offset:#x}")
        flag = chr(self.data[self.at])
        if flag == "r":
            if self.at + 1 + want > len(self.data):
                raise Refused("the file ends inside a page")
            segment.places.append(self.at + 1)
            self.at += 1 + want
        elif flag == "z":
            segment.places.append(_ZERO)
            self.at += 1
        elif flag in "mt":
            match = _REFERENCE.match(self.data, self.at)
            if match is None:
                raise Refused(f"bad reference at byte {self.at}")
            self.check_form(match[2])
            self.check_form(match[3])
            segment.places.append(self.look_up(int(match[2]), flag, int(match[3]), want))
            self.at = match.end()
        else:
            raise Refused(f"bad page flag {flag!r} at byte {self.at}")
        return flag

    def look_up(self, pid: int, kind: str, offset: int, want: int) -> int:
        """The place of the bytes of a page that was read before."""
        where = f"reference {kind} {pid} {offset:#x} at byte {self.at}"
        process = self.processes.get(pid)
        if process is None:
            raise Refused(f"{where}: no such process yet")
        candidates = process.memory if kind == "m" else [process.text] if process.text else []
        for segment in candidates:
            if segment.offset <= offset < segment.end:
                index, rest = divmod(offset - segment.offset, PAGE)
                if rest:
                    raise Refused(f"{where}: not at the start of a page")
                if index >= len(segment.places):
                    break
                if min(PAGE, segment.length - index * PAGE) != want:
                    raise Refused(f"{where}: the page is not {want} bytes long")
                return segment.places[index]
        raise Refused(f"{where}: no such page yet")

    def take(self, length: int, what: str) -> bytes:
        if self.at + length > len(self.data):
            raise Refused(f"the file ends inside {what}")
        self.at += length
        return self.data[self.at - length : self.at]

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Refused(f"no end of line after byte {self.at}")
        return self.take(end + 1 - self.at, "a line")[:-1]

    def number(self, what: str) -> int:
        """A decimal field; the originals eat every blank that follows."""
        match = _FIELD.match(self.data, self.at)
        if match is None or match.end() - match.start() > _LONGEST_FIELD:
            raise Refused(f"bad {what} at byte {self.at}")
        self.check_form(match[0])
        self.at = match.end()
        return int(match[1])

    def exact_count(self, what: str) -> int:
        """The count of a data or mem record: exactly 12 bytes, because data may begin with blanks."""
        text = self.take(12, what)
        match = _FIELD.fullmatch(text)
        if match is None:
            raise Refused(f"bad {what} {text!r} before byte {self.at}")
        self.check_form(text)
        return int(match[1])

    def check_form(self, text: bytes) -> None:
        """Our own fields are left-justified in 11 characters and end in one blank."""
        if self.ours and text != b"%-11d " % int(text):
            raise Refused(f"a field is written {text!r}, near byte {self.at}")
