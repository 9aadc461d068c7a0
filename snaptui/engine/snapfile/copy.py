"""Writing a snapshot anew, or some of its processes, so that the result stands on its own."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from typing import Final

from snaptui.engine.progress import CancelToken, Progress, Sink, ignore
from snaptui.engine.snapfile.model import PAGE, Segment
from snaptui.engine.snapfile.output import Output
from snaptui.engine.snapfile.reader import Process, Snapshot
from snaptui.engine.snapfile.writer import SnapshotWriter

_PIECE: Final = 4 << 20


def copy_snapshot(
    snapshot: Snapshot,
    output: Output,
    pids: Collection[int],
    *,
    sink: Sink = ignore,
    cancel: CancelToken | None = None,
) -> int:
    """Write the processes `pids` of `snapshot` to `output`, and commit it; returns the size of the file.

    Several memory records of a process become one. Raises `FormatError` when the snapshot is damaged.
    """
    copied = [process for pid, process in snapshot.processes.items() if pid in pids]
    total = sum(segment.length for process in copied for segment in process.text + process.memory)
    job = _Copy(SnapshotWriter(output, snapshot.header, expected_pages=total // PAGE), total, sink, cancel)
    with contextlib.closing(job.writer):
        for process in copied:
            job.process(process)
        job.writer.finish()
    return output.commit(sink, cancel)


class _Copy:
    def __init__(self, writer: SnapshotWriter, total: int, sink: Sink, cancel: CancelToken | None) -> None:
        self.writer = writer
        self._total, self._sink, self._cancel = total, sink, cancel or CancelToken()
        self._done = 0

    def process(self, process: Process) -> None:
        for name in process.records:
            self.writer.record(process.pid, name, process.read(name))
        for segment in process.text:
            self.writer.text(process.pid, segment.length, segment.offset)
            self._pages(process, [segment])
        if process.memory:
            self.writer.memory(process.pid, [(segment.offset, segment.length) for segment in process.memory])
            self._pages(process, process.memory)

    def _pages(self, process: Process, segments: Sequence[Segment]) -> None:
        for segment in segments:
            for start in range(0, segment.length, _PIECE):
                self._cancel.check()
                self._sink(Progress("copying", self._done, self._total))
                piece = process.read_segment(segment, start, _PIECE)
                whole = len(piece) // PAGE * PAGE
                if whole:
                    self.writer.pages(memoryview(piece)[:whole])
                if whole < len(piece):
                    self.writer.last_page(piece[whole:])
                self._done += len(piece)
