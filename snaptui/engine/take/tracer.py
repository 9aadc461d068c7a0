"""The thread that stops the targets, reads them, and lets them run on.

ptrace(2) binds a tracee to the *thread* that traces it. This thread does nothing else and ends as
soon as the targets run again; then the kernel lets go of any that could not be let go of by request.
It tells the thread that writes what to take, and waits for it; or, where that cannot read, hands it what
it reads itself, through a queue with a bounded number of buffers.
"""

from __future__ import annotations

import contextlib
import mmap
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from snaptui.engine.errors import NoSuchProcess, TargetError
from snaptui.engine.progress import CancelToken, Paused, Sink, Warned
from snaptui.engine.snapfile.encoder import Rows
from snaptui.engine.snapfile.joining import SEGMENTS_9FRONT, Range, join
from snaptui.engine.snapfile.linux import DataFile, Link
from snaptui.engine.snapfile.mappings import parse_maps
from snaptui.engine.take import ptracing
from snaptui.engine.take.images import TextImage
from snaptui.engine.take.layout import Item, layout
from snaptui.engine.take.memory import CHUNK, MemoryReader, Pages
from snaptui.engine.take.options import CaptureOptions
from snaptui.engine.take.permission import refusal
from snaptui.engine.take.plan import Piece, Planner
from snaptui.engine.take.preparation import Preparation
from snaptui.engine.take.procfiles import kernel_state, process_files
from snaptui.engine.take.stop import StoppedThread, StopSession
from snaptui.engine.take.twins import Twins

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from snaptui.engine.take.forker import Copied

_BUFFERS: Final = 24
"""Buffers of CHUNK bytes between reading and writing: 192 MiB that are read ahead of the writer at most."""

_MOST: Final = 96 << 20
"""Bytes that who writes takes at once: 25 ms, until it looks whether to go on, and tells how far it is.

At the end its threads wait for the last one of them: with 32 MiB a twentieth of the time."""

_POLL: Final = 0.1  # seconds between looks at the cancel token while the writer is behind


@dataclass(slots=True)
class Taken:
    """One process as it was found while stopped."""

    pid: int
    image: TextImage
    state: dict[str, bytes]
    """`kernel_state`, from just before the stop."""
    files: dict[str, bytes | Link]
    threads: tuple[StoppedThread, ...]
    pieces: list[Piece]
    segments: list[Range]
    data_files: tuple[DataFile, ...]
    uptime: float
    """Seconds since boot when the state was read."""
    unreadable: list[Range] = field(default_factory=list)
    """What was planned, but refused by the kernel, by address."""
    has_ended: bool = False
    """The process was killed while it was read."""
    copy: int = 0
    """The pid of the copy that its memory is read from (--fork)."""

    @property
    def source(self) -> int:
        """The thread whose memory is read."""
        return self.copy or self.image.tid

    def missed(self, ranges: Iterable[tuple[int, int]]) -> None:
        """So many bytes at these addresses, ascending, could not be read."""
        for address, size in ranges:
            if self.unreadable and self.unreadable[-1][1] == address:
                self.unreadable[-1] = (self.unreadable[-1][0], address + size)
            else:
                self.unreadable.append((address, address + size))

    @property
    def stored_size(self) -> int:
        return sum(piece.size for piece in self.pieces if piece.kind == "stored")


class Begin(NamedTuple):
    """From here on come the items of this process."""

    taken: Taken


class End(NamedTuple):
    """The last thing in the queue: the targets run on. `error`: why not everything was read."""

    pause: float
    error: BaseException | None = None


class Written(NamedTuple):
    """To be set when all before it is written: the processes stand until then, for who writes also reads."""

    event: threading.Event


Message = Begin | Item | Pages | Written | End


class Tracer:
    """Takes several processes in one stop; `messages` tells what it finds, in the order of the file."""

    def __init__(
        self,
        images: Sequence[TextImage],
        options: CaptureOptions,
        *,
        preparation: Preparation,
        reads: bool,
        sink: Sink,
        cancel: CancelToken,
    ) -> None:
        """`reads`: hand over contents, not rows to be taken."""
        self._images = {image.pid: image for image in images}
        self._options, self._reads = options, reads
        self._twins = Twins()
        self._preparation = preparation
        self._sink, self._cancel = sink, cancel
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        # The one used last comes first: its bytes are in the cache, and those never used take no memory.
        self._free: queue.LifoQueue[mmap.mmap] = queue.LifoQueue()
        for _ in range(_BUFFERS if reads else 0):
            self._free.put(mmap.mmap(-1, CHUNK))
        self._thread = threading.Thread(target=self._run, name="snap-tracer", daemon=True)

    def start(self) -> None:
        """Stop the targets and begin to read."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the targets run on."""
        self._thread.join()

    def give_back(self, pages: Pages) -> None:
        """The pages of this message are written: their buffer is free again."""
        self._free.put(pages.buffer)

    def _run(self) -> None:
        began = time.monotonic()
        try:
            pause = self._take()
        except BaseException as error:  # noqa: BLE001 (handed on, whatever it is, and raised there)
            self.messages.put(End(time.monotonic() - began, error))
        else:
            self.messages.put(End(pause))

    def _take(self) -> float:
        """Take them one way or the other; returns the seconds that the targets stood."""
        if not self._options.fork:
            return self._take_stopped()
        from snaptui.engine.take.forked import ForkedTargets  # 5 ms, for --fork alone

        with ForkedTargets(tuple(self._images.values()), all_memory=self._options.all_memory) as targets:
            answer = targets.copy(self._sink, self._cancel)
            if not answer.why_not:
                self._read(taken for copied in answer.copied for taken in self._describe_copied(copied))
                return answer.pause
        return answer.pause + self._take_stopped()

    def _take_stopped(self) -> float:
        """Stop, read, let go; returns the seconds that the targets stood."""
        pids = tuple(self._images)
        # Before the pause, not in it; and before the state is read, which is to be that of the stop.
        self._preparation.locks()
        ptracing.load()
        from concurrent.futures import ThreadPoolExecutor  # 12 ms of logging, which python-ptrace has brought

        pool = ThreadPoolExecutor(1, "snap-files")
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        states = {pid: kernel_state(pid) for pid in pids}
        self._sink(Paused(pids))
        began = time.monotonic()
        try:
            with StopSession(pids, cancel=self._cancel) as session:
                threads: dict[int, list[StoppedThread]] = {pid: [] for pid in pids}
                for thread in session.stop():
                    threads[thread.pid].append(thread)
                with self._reading_files(threads, pool) as files:
                    self._read(
                        taken
                        for pid in files
                        for taken in self._describe(pid, states[pid], tuple(threads[pid]), uptime, files[pid])
                    )
        finally:
            pause = time.monotonic() - began
            self._sink(Paused(pids, resumed=True, seconds=pause))
        return pause

    @contextlib.contextmanager
    def _reading_files(
        self, threads: dict[int, list[StoppedThread]], pool: ThreadPoolExecutor
    ) -> Iterator[dict[int, Future[dict[str, bytes | Link]]]]:
        """The /proc files of all processes but those that must not be looked at.

        They are read by the pool's thread, one process after the other, and the page tables meanwhile.
        """
        with pool:
            files = {}
            for pid, stopped in threads.items():
                if stopped and all(thread.is_refused for thread in stopped):
                    self._sink(refusal(pid))
                else:
                    files[pid] = pool.submit(process_files, self._images[pid].tid, self._preparation.locks())
            try:
                yield files
            finally:
                pool.shutdown(cancel_futures=True)

    def _describe(
        self,
        pid: int,
        state: dict[str, bytes],
        threads: tuple[StoppedThread, ...],
        uptime: float,
        reading: Future[dict[str, bytes | Link]],
    ) -> list[Taken]:
        """Everything of a process but its memory; nothing if it has ended."""
        image = self._images[pid]
        try:
            with contextlib.closing(Planner(image, all_memory=self._options.all_memory)) as planner:
                planner.look_ahead()
                files = reading.result()
                pieces = self._plan(planner, pid, files)
                data_files = tuple(planner.data_files.values())
        except (NoSuchProcess, OSError):
            self._sink(Warned(f"process {pid} ended before it could be saved", pid=pid, missing=True))
            return []
        return [self._taken(Taken(pid, image, state, files, threads, pieces, [], data_files, uptime))]

    def _describe_copied(self, copied: Copied) -> list[Taken]:
        """The same of a process that runs on, and has a copy."""
        from snaptui.engine.take.forked import image_of_copy

        image = self._images[copied.pid]
        try:
            seen = image_of_copy(image, copied)
            pieces, data_files = copied.kept.plan(seen, all_memory=self._options.all_memory)
        except OSError:
            message = f"the copy of process {copied.pid} was killed before it could be saved"
            self._sink(Warned(message, pid=copied.pid, missing=True))
            return []
        taken = Taken(
            *(copied.pid, image, copied.state, copied.files, copied.threads, pieces, []),
            *(data_files, copied.uptime),
            copy=copied.copy,
        )
        taken.missed(copied.kept.missed)
        return [self._taken(taken)]

    def _taken(self, taken: Taken) -> Taken:
        """Complete what was found."""
        _warn_of_missing_registers(taken.pid, taken.threads, self._sink)
        taken.state = _of_these_threads(taken.pid, taken.state, taken.threads)
        if len(self._images) > 1 and not self._reads:
            taken.pieces = self._twins.find(taken.pid, taken.source, taken.pieces)
        taken.segments = self._segments(taken.pid, taken.pieces)
        return taken

    def _plan(self, planner: Planner, pid: int, files: dict[str, bytes | Link]) -> list[Piece]:
        smaps = files.get("smaps") or files.get("maps")
        if isinstance(smaps, bytes):
            return planner.plan(parse_maps(smaps))
        self._sink(Warned("its memory map cannot be read: its memory is missing", pid=pid, missing=True))
        return []

    def _segments(self, pid: int, pieces: Sequence[Piece]) -> list[Range]:
        """The segments of the memory record. Raises TargetError if they must be 16 and cannot."""
        ranges: list[Range] = []
        for piece in pieces:
            if piece.kind not in ("stored", "text"):
                continue
            if ranges and ranges[-1][1] == piece.start:
                ranges[-1] = (ranges[-1][0], piece.end)
            else:
                ranges.append((piece.start, piece.end))
        stored = sum(piece.size for piece in pieces if piece.kind == "stored")
        segments, too_costly = join(ranges, self._images[pid].length + stored) if ranges else ([], 0)
        if too_costly:
            message = (
                f"its memory lies so far apart that {SEGMENTS_9FRONT} segments would cost"
                f" {too_costly >> 20} MiB: it is written as {len(segments)}, which 9front's snapfs refuses"
            )
            if self._options.plan9:
                raise TargetError(
                    f"process {pid}: {message}", help="leave out --plan9 to save it all the same"
                )
            self._sink(Warned(message, pid=pid))
        return segments

    def _read(self, processes: Iterable[Taken]) -> None:
        """Hand over each as soon as it is described: while it is written, the next one is described."""
        handed_over = []
        for taken in processes:
            self._cancel.check()
            self.messages.put(Begin(taken))
            items = layout(taken.segments, taken.pieces, CHUNK if self._reads else _MOST)
            for item in self._read_here(taken, items) if self._reads else items:
                self.messages.put(item)
            written = threading.Event()
            self.messages.put(Written(written))
            handed_over.append((taken, written))
        for taken, written in handed_over:
            while not written.wait(_POLL):
                self._cancel.check()
            _warn_of_unreadable(taken, self._sink)

    def _read_here(self, process: Taken, items: Iterable[Item]) -> Iterator[Item | Pages]:
        """The items, with contents in the place of rows."""
        reader = MemoryReader(process.source, self._new_buffer)
        for item in items:
            yield reader.read(item) if isinstance(item, Rows) else item
        process.missed(sorted(reader.missed))
        process.has_ended = reader.has_ended

    def _new_buffer(self) -> mmap.mmap:
        while True:
            self._cancel.check()
            with contextlib.suppress(queue.Empty):
                return self._free.get(timeout=_POLL)


def _of_these_threads(
    pid: int, state: dict[str, bytes], threads: Sequence[StoppedThread]
) -> dict[str, bytes]:
    """`kernel_state` of just these threads: some have ended since it was read, some are new.

    What is read of the new ones now shows that we stopped them; there is nothing better.
    """
    known = {name.split("/")[1] for name in state if name.startswith("task/")}
    wanted = {str(thread.tid) for thread in threads} | {str(pid)}
    if wanted - known:
        state = {**kernel_state(pid), **state}
    return {name: content for name, content in state.items() if _thread_of(name) in wanted | {""}}


def _thread_of(name: str) -> str:
    return name.split("/")[1] if name.startswith("task/") else ""


def _warn_of_missing_registers(pid: int, threads: Sequence[StoppedThread], sink: Sink) -> None:
    reasons: dict[str, list[int]] = {}
    for thread in threads:
        if thread.registers is None:
            reasons.setdefault(thread.why_not, []).append(thread.tid)
    for why_not, tids in reasons.items():
        who = f"thread {tids[0]}" if len(tids) == 1 else f"{len(tids)} threads ({tids[0]}, ...)"
        message = f"the registers of {who} are missing: it {why_not}; memory was read all the same"
        sink(Warned(message, pid=pid, missing=True))


def _warn_of_unreadable(process: Taken, sink: Sink) -> None:
    lost = [
        (start, min(end, piece.end))
        for start, end in process.unreadable
        for piece in process.pieces
        if piece.start <= start < piece.end and not piece.unreadable
    ]
    size = sum(end - start for start, end in lost) >> 10
    if lost and process.has_ended:
        message = (
            f"{'its copy ' if process.copy else ''}was killed while it was read:"
            f" {size} KiB of its memory from {lost[0][0]:#x} on are missing"
        )
        sink(Warned(message, pid=process.pid, missing=True))
    elif lost:
        message = f"{size} KiB of its memory could not be read, the first at {lost[0][0]:#x}"
        sink(Warned(message, pid=process.pid, missing=True))
