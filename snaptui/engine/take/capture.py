"""The use case: save some processes into one snapshot."""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import queue
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import snaptui
from snaptui.engine.errors import NothingSaved
from snaptui.engine.progress import CancelToken, Event, Paused, Progress, Sink, Warned, ignore
from snaptui.engine.snapfile.encoder import Rows
from snaptui.engine.snapfile.linux import (
    CAPTURED_JSON,
    SNAPSHOT_JSON,
    TEXT_JSON,
    UNREADABLE,
    Area,
    Link,
    build_record,
    captured_json,
    snapshot_json,
    text_json,
)
from snaptui.engine.snapfile.mappings import parse_maps
from snaptui.engine.snapfile.model import DATA_RECORDS, PAGE
from snaptui.engine.snapfile.output import Output
from snaptui.engine.snapfile.writer import SnapshotWriter
from snaptui.engine.take.images import ElfFacts, FileState, ImageWriter, TextImage, find_images
from snaptui.engine.take.layout import FromText, FromTwin, Zeros
from snaptui.engine.take.memory import Pages
from snaptui.engine.take.options import CaptureOptions
from snaptui.engine.take.permission import may_read, refusal
from snaptui.engine.take.plan9 import plan9_files
from snaptui.engine.take.preparation import Preparation
from snaptui.engine.take.procstat import read_if_possible
from snaptui.engine.take.threads import living_thread
from snaptui.engine.take.tracer import Begin, End, Message, Taken, Tracer, Written
from snaptui.engine.take.users import user_name

_FORMAT: Final = 1
"""The version of the Linux record's own files."""

_SWITCH_INTERVAL: Final = 0.000_5
"""Seconds until one thread must give the other the interpreter, while one reads and one writes. With
Python's default of 5 ms the reader waits for it after each system call: 768 MiB took 0.80 s, not 0.42 s."""

_POLL: Final = 0.1  # seconds between looks at the cancel token


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """What was saved."""

    pids: tuple[int, ...]
    size: int
    """Bytes of the file (compressed, if it is)."""
    plain_size: int
    """Bytes of the snapshot in plain form."""
    memory: int
    """Bytes of memory that were read."""
    pause: float
    """Seconds that the targets stood."""
    missing: tuple[Warned, ...]
    """What was asked for and is not in the file."""


def capture(
    pids: Sequence[int],
    output: Output,
    options: CaptureOptions,
    *,
    sink: Sink = ignore,
    cancel: CancelToken | None = None,
) -> CaptureResult:
    """Save the processes `pids`, all stopped together, to `output`, and commit it.

    What cannot be saved is a `Warned(missing=True)`; the rest is saved. Raises `NothingSaved`, `OutputError`
    and `Cancelled`; then nothing is written. The targets run on in every case.
    """
    job = _Capture(output, options, sink, cancel or CancelToken())
    return job.run(pids)


_CLOCKS: Final = {
    "realtime": time.CLOCK_REALTIME,
    "monotonic": time.CLOCK_MONOTONIC,
    "boottime": time.CLOCK_BOOTTIME,
}


@dataclass(slots=True)
class _Notes:
    """Passes events on, and keeps the warnings for the snapshot itself."""

    sink: Sink
    warnings: list[Warned] = field(default_factory=list)
    pause: float = 0.0
    clocks: dict[str, float] = field(default_factory=dict)
    """What the clocks showed when the processes had been stopped: threads wait for times by these."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Warned):
            self.warnings.append(event)
        elif isinstance(event, Paused) and event.resumed:
            self.pause += event.seconds  # they stand twice if they could not be copied
        elif isinstance(event, Paused):
            self.clocks = {name: time.clock_gettime(clock) for name, clock in _CLOCKS.items()}
        self.sink(event)

    def missing(self) -> tuple[Warned, ...]:
        return tuple(warning for warning in self.warnings if warning.missing)

    def about(self, pid: int, *, missing: bool) -> list[str]:
        """The warnings about a process: those of something missing, or the others."""
        return [w.message for w in self.warnings if w.pid in (0, pid) and w.missing == missing]


class _Capture:
    def __init__(self, output: Output, options: CaptureOptions, sink: Sink, cancel: CancelToken) -> None:
        self._output, self._options, self._cancel = output, options, cancel
        self._notes = _Notes(sink)
        self._taken: list[Taken] = []
        self._done = self._total = 0

    def run(self, pids: Sequence[int]) -> CaptureResult:
        preparation = Preparation()
        images = self._find(pids)
        if not images:
            raise NothingSaved("there is nothing to save")
        writer = SnapshotWriter(self._output, _header(), expected_pages=_expected_pages(images))
        with contextlib.closing(writer):
            self._write_text(writer, images)
            self._output.hurry()
            self._write_memory(writer, images, preparation)
            if not self._taken:
                raise NothingSaved("there is nothing to save")
            for taken in self._taken:
                writer.record(taken.pid, "proc", self._linux_record(taken))
            writer.finish()
        size = self._output.commit(self._notes, self._cancel)
        return CaptureResult(
            pids=tuple(taken.pid for taken in self._taken),
            size=size,
            plain_size=writer.size,
            memory=sum(taken.stored_size for taken in self._taken),
            pause=self._notes.pause,
            missing=self._notes.missing(),
        )

    def _find(self, pids: Sequence[int]) -> list[TextImage]:
        """The text images of those processes that we may save."""
        images = []
        known: dict[FileState, ElfFacts] = {}
        for pid in pids:
            tid = living_thread(pid)
            if not may_read(tid):
                self._notes(refusal(pid))
                continue
            try:
                with open(f"/proc/{tid}/maps", "rb") as file:
                    maps = file.read()
            except OSError:
                self._notes(Warned("ended before it could be saved", pid=pid, missing=True))
                continue
            images.append(find_images(pid, tid, parse_maps(maps), self._notes, known))
        return images

    def _write_text(self, writer: SnapshotWriter, images: Sequence[TextImage]) -> None:
        """The text images, before anything is stopped."""
        total = sum(image.length for image in images)
        done = 0
        image_writer = ImageWriter(writer, self._notes, self._cancel)
        for image in images:
            self._notes(Progress("text", done, total))
            image_writer.write(image)
            done += image.length

    def _write_memory(
        self, writer: SnapshotWriter, images: Sequence[TextImage], preparation: Preparation
    ) -> None:
        """Stop the processes and write what the tracer reads; they run on when this returns or fails."""
        halt = CancelToken()
        tracer = Tracer(
            images,
            self._options,
            preparation=preparation,
            reads=not writer.takes,
            sink=self._notes,
            cancel=halt,
        )
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL)
        tracer.start()
        try:
            for message in self._messages(tracer):
                if isinstance(message, Begin):
                    self._begin(writer, message.taken)
                elif isinstance(message, Rows):
                    self._take(writer, message)
                elif isinstance(message, Pages):
                    writer.pages(message.content)
                    self._advance(message.size_read)
                    tracer.give_back(message)
                elif isinstance(message, Written):
                    message.event.set()
                elif isinstance(message, Zeros):
                    writer.zeros(message.pages)
                elif isinstance(message, FromTwin):
                    self._refer(writer, message)
                elif isinstance(message, FromText):
                    writer.references("t", self._taken[-1].pid, message.offset, message.pages)
        finally:
            halt.cancel()
            tracer.join()
            sys.setswitchinterval(interval)

    def _take(self, writer: SnapshotWriter, rows: Rows) -> None:
        taken = self._taken[-1]
        result = writer.take(taken.source, rows)
        taken.missed(result.missed)
        taken.has_ended |= result.has_ended
        self._advance(rows.size_read)

    def _refer(self, writer: SnapshotWriter, item: FromTwin) -> None:
        """Memory is that of a process saved before, unless that was killed in the middle."""
        twin = next(taken for taken in self._taken if taken.pid == item.pid)
        if twin.unreadable:
            self._take(writer, item.rows)
            return
        writer.references("m", item.pid, item.address, item.rows.size // PAGE)
        self._advance(item.rows.size)

    def _advance(self, size: int) -> None:
        """So many bytes more are written of the memory to be read."""
        self._done += size
        self._notes(Progress("memory", min(self._done, self._total), self._total))

    def _messages(self, tracer: Tracer) -> Iterator[Message]:
        """What the tracer says, up to its end; raises what went wrong there."""
        while True:
            self._cancel.check()
            with contextlib.suppress(queue.Empty):
                message = tracer.messages.get(timeout=_POLL)
                if isinstance(message, End):
                    if message.error is not None:
                        raise message.error
                    return
                yield message

    def _begin(self, writer: SnapshotWriter, taken: Taken) -> None:
        self._taken.append(taken)
        self._total += taken.stored_size
        for name, content in _records(taken).items():
            writer.record(taken.pid, name, content)
        if taken.segments:
            writer.memory(taken.pid, [(start, end - start) for start, end in taken.segments])

    def _linux_record(self, taken: Taken) -> bytes:
        members = _members(taken)
        info = {
            "format": _FORMAT,
            "program": f"snaptui {snaptui.__version__}",
            "arch": taken.image.architecture or os.uname().machine,
            "kernel": os.uname().release,
            "hostname": os.uname().nodename,
            "page_size": os.sysconf("SC_PAGE_SIZE"),
            "pid": taken.pid,
            "taken": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
            "pause_seconds": round(self._notes.pause, 6),
            "read_from": "copy" if taken.copy else "process",
            "clocks": self._notes.clocks,
            "boot_id": _boot_id(),
            "registers": {str(thread.tid): thread.why_not for thread in taken.threads},
            "missing": self._notes.about(taken.pid, missing=True),
            "warnings": self._notes.about(taken.pid, missing=False),
        }
        if self._options.series is not None:
            # Each stop is one more wakeup of every thread: who compares two of them has to know.
            name, number = self._options.series
            info["series"] = {"id": name, "number": number}
        members[SNAPSHOT_JSON] = snapshot_json(info)
        members[TEXT_JSON] = text_json(taken.image.directory(), taken.data_files)
        members[CAPTURED_JSON] = captured_json(_areas(taken), os.sysconf("SC_PAGE_SIZE"))
        return build_record(members)


def _records(taken: Taken) -> dict[str, bytes]:
    """The records of Plan 9's /proc files, in the order of snap(6), but `proc`."""
    user = user_name(os.stat(f"/proc/{taken.pid}").st_uid) if os.path.exists(f"/proc/{taken.pid}") else ""
    files = plan9_files(taken.pid, {**taken.files, **taken.state}, user=user, uptime=taken.uptime)
    # The main thread comes first, unless it has ended or could not be stopped.
    main = next((thread.registers for thread in taken.threads if thread.registers), None)
    if main is not None:
        files["regs"], files["fpregs"] = main.regs, main.fpregs
    return {name: files[name] for name in DATA_RECORDS if files.get(name)}


def _members(taken: Taken) -> dict[str, bytes | Link]:
    """The Linux record's files but our own three."""
    members: dict[str, bytes | Link] = {**taken.state, **taken.files}
    for thread in taken.threads:
        if thread.registers is not None:
            sets = thread.registers
            for name in ("regs", "fpregs", "xstate", "siginfo"):
                if content := getattr(sets, name):
                    members[f"task/{thread.tid}/{name}"] = content
    return members


def _areas(taken: Taken) -> list[Area]:
    """What became of every address, with what could not be read left out."""
    areas = []
    missed = iter(sorted(taken.unreadable))
    gap = next(missed, None)
    for piece in taken.pieces:
        start = piece.start
        while gap is not None and gap[0] < piece.end and piece.kind in ("stored", "text"):
            if start < gap[0]:
                areas.append(piece.part(start, gap[0]).area())
            stop = min(gap[1], piece.end)
            areas.append(piece.part(max(start, gap[0]), stop).left_out(piece.unreadable or UNREADABLE).area())
            start = stop
            if gap[1] > piece.end:
                break
            gap = next(missed, None)
        if start < piece.end:
            areas.append(piece.part(start, piece.end).area())
    return areas


@functools.cache
def _boot_id() -> str:
    """Which start of the machine this is: process ids and start times mean something within it alone."""
    return read_if_possible("/proc/sys/kernel/random/boot_id").decode().strip()


def _expected_pages(images: Sequence[TextImage]) -> int:
    """About how many pages will be written: the resident memory of all, and their files."""
    size = 0
    for image in images:
        size += image.length
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{image.tid}/statm") as file:
            size += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return size // PAGE


def _header() -> str:
    """The rest of the first line, for people: time, user, system, machine, kernel, terminal."""
    system = os.uname()
    terminal = os.environ.get("TERM", "no terminal")
    return (
        f"{int(time.time())} {getpass.getuser()}@{system.nodename} {system.machine}"
        f' {system.sysname}-{system.release} "{terminal}"'
    )
