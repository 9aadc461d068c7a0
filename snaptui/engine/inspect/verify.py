"""Reading everything that a snapshot holds of a process, and saying what is not there.

Reading resolves every reference; what is garbled or cut short raises `FormatError` on the way.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.progress import CancelToken, Progress, Sink, ignore
from snaptui.engine.snapfile import Area, LinuxRecord, Process, Segment
from snaptui.engine.snapfile.linux import UNREADABLE
from snaptui.engine.snapfile.model import DATA_RECORDS

_PIECE: Final = 1 << 20
"""Bytes read at a time: one frame of a compressed snapshot."""
_TAR_MAGIC: Final = (257, b"ustar")
"""Where a tar archive says that it is one (POSIX.1, pax)."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The size in bytes and the SHA-256 (hex) of a file or a segment."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SegmentDigest:
    """A memory segment as it stands in the file: Plan 9's name for it, its address and contents."""

    name: str
    start: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """What is there of a process, and what is not."""

    pid: int
    files: dict[str, Digest]
    segments: tuple[SegmentDigest, ...]
    absent: tuple[str, ...]
    """Records of snap(6) that the snapshot does not have; any may be missing."""
    left_out: tuple[tuple[str, int], ...]
    """By design: why, and how many bytes."""
    missing: tuple[str, ...]
    """What was asked for and is not there, a line each."""

    @property
    def memory_size(self) -> int:
        """Bytes in the memory segments."""
        return sum(segment.digest.size for segment in self.segments)


class Verifier:
    """Reads processes; `sink` and `cancel` as everywhere."""

    def __init__(self, sink: Sink = ignore, cancel: CancelToken | None = None) -> None:
        self._sink = sink
        self._cancel = cancel or CancelToken()
        self._done = 0
        self._total = 0

    def verify(self, processes: Iterable[Process]) -> list[ProcessReport]:
        """Read all of `processes`. Raises FormatError at the first thing that is garbled, and Cancelled."""
        chosen = list(processes)
        self._total = sum(segment.length for one in chosen for segment in (*one.text, *one.memory))
        return [self._process(process) for process in chosen]

    def _process(self, process: Process) -> ProcessReport:
        files = {}
        for name in process.records:
            content = process.read(name)
            files[name] = Digest(len(content), hashlib.sha256(content).hexdigest())
        if process.text:
            files["text"] = self._text(process)
        segments = tuple(self._segment(process, segment) for segment in process.memory if segment.length)
        present = {*process.records, *(("text",) if process.text else ()), *(("mem",) if segments else ())}
        return ProcessReport(
            process.pid,
            files,
            segments,
            absent=tuple(name for name in (*DATA_RECORDS, "text", "mem") if name not in present),
            left_out=_left_out(process.areas()),
            missing=tuple(_missing(process)),
        )

    def _text(self, process: Process) -> Digest:
        digest = hashlib.sha256()
        for segment in process.text:
            self._read(process, segment, digest.update)
        return Digest(process.text_size, digest.hexdigest())

    def _segment(self, process: Process, segment: Segment) -> SegmentDigest:
        digest = hashlib.sha256()
        self._read(process, segment, digest.update)
        name = process.segment_name(segment.offset)
        return SegmentDigest(name, segment.offset, Digest(segment.length, digest.hexdigest()))

    def _read(self, process: Process, segment: Segment, take: Callable[[bytes], object]) -> None:
        for start in range(0, segment.length, _PIECE):
            self._cancel.check()
            piece = process.read_segment(segment, start, _PIECE)
            take(piece)
            self._done += len(piece)
            self._sink(Progress("verifying", self._done, self._total))


def _left_out(areas: Iterable[Area]) -> tuple[tuple[str, int], ...]:
    sizes: Counter[str] = Counter()
    for area in areas:
        if area.kind == "left out" and area.reason != UNREADABLE:
            sizes[area.reason] += area.size
    return tuple(sizes.most_common())


def _missing(process: Process) -> Iterable[str]:
    linux = process.linux
    if linux is None:
        at, magic = _TAR_MAGIC
        if "proc" in process.records and process.read("proc")[at:].startswith(magic):
            yield "the Linux record is broken: threads, libraries and mappings are not known"
        return
    told = linux.info.get("missing")
    yield from map(str, told) if isinstance(told, list) else _untold(process, linux)
    for file in linux.text_files:
        if file.offset + file.size > process.text_size:
            yield f"the end of {file.path} in the text image"
    for start, end in _gaps(process):
        yield f"memory {start:#x}-{end:#x}, which the Linux record says is stored"


def _untold(process: Process, linux: LinuxRecord) -> Iterable[str]:
    """What a snapshot lacks that does not list itself what it lacks."""
    for tid in linux.threads():
        if not _has_registers(linux, tid):
            reason = _reason(linux, tid)
            yield f"the registers of thread {tid}{': it ' if reason else ''}{reason}"
    for area in process.areas():
        if area.kind == "left out" and area.reason == UNREADABLE:
            yield f"memory {area.start:#x}-{area.end:#x}: {area.reason}"


def _has_registers(linux: LinuxRecord, tid: int) -> bool:
    try:
        return bool(linux.read(f"task/{tid}/regs"))
    except NotCaptured:
        return False


def _reason(linux: LinuxRecord, tid: int) -> str:
    """Why snap has not saved the registers of a thread, as far as the snapshot knows."""
    reasons = linux.info.get("registers")
    return str(reasons.get(str(tid), "")) if isinstance(reasons, dict) else ""


def _gaps(process: Process) -> Iterable[tuple[int, int]]:
    """Ranges that should be in the memory segments and are not."""
    segments = sorted((segment.offset, segment.end) for segment in process.memory if segment.length)
    at = 0
    for area in process.areas():
        if area.kind not in ("stored", "text"):
            continue
        start = area.start
        while start < area.end:
            while at < len(segments) and segments[at][1] <= start:
                at += 1
            if at == len(segments) or segments[at][0] >= area.end:
                yield start, area.end
                break
            if segments[at][0] > start:
                yield start, segments[at][0]
            start = segments[at][1]
