"""The same processes again and again: a process id alone does not tell, it is given to others."""

from __future__ import annotations

from collections.abc import Sequence

from snaptui.engine.errors import NoSuchProcess
from snaptui.engine.progress import Sink, Warned, ignore
from snaptui.engine.take.processes import LiveProcess, read_process


class Followed:
    """Processes chosen once. Each that ends is a warning to the sink, `missing` if it was to be there."""

    def __init__(self, pids: Sequence[int], *, missing: bool, sink: Sink = ignore) -> None:
        self._missing, self._sink = missing, sink
        self._started: dict[int, int | None] = {}
        for pid in pids:
            process = _living(pid)
            self._started[pid] = process.start_ticks if process is not None else None

    @property
    def pids(self) -> list[int]:
        """Those that had not ended at the last look."""
        return list(self._started)

    def look(self) -> list[int]:
        """Look which of them still run."""
        for pid, started in list(self._started.items()):
            process = _living(pid)
            if process is not None and process.start_ticks == started:
                continue
            del self._started[pid]
            other = "" if process is None else f"; its id is now that of another process ({process.comm})"
            self._sink(Warned(f"process {pid} has ended{other}", pid=pid, missing=self._missing))
        return self.pids


def _living(pid: int) -> LiveProcess | None:
    try:
        process = read_process(pid)
    except NoSuchProcess:
        return None
    return None if process.is_zombie else process
