"""Two snapshots of the same processes: what has changed in between, and whether they hang or are slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snaptui.engine.errors import NoSuchProcess, NotCaptured
from snaptui.engine.inspect.diff.descriptors import descriptor_changes
from snaptui.engine.inspect.diff.mappings import mapping_changes
from snaptui.engine.inspect.diff.memory import MemoryComparison, Meter
from snaptui.engine.inspect.diff.model import (
    DescriptorChange,
    MappingChange,
    MemoryChange,
    ProcessChange,
    Report,
    ThreadChange,
)
from snaptui.engine.inspect.diff.moments import moment_of, same_process, seconds_between
from snaptui.engine.inspect.diff.threads import ThreadComparison
from snaptui.engine.inspect.diff.verdict import judge
from snaptui.engine.inspect.opened import Opened
from snaptui.engine.progress import CancelToken, Sink, ignore
from snaptui.engine.snapfile import Process, Snapshot

__all__ = [
    "Comparison",
    "DescriptorChange",
    "MappingChange",
    "MemoryChange",
    "ProcessChange",
    "Report",
    "ThreadChange",
    "compare",
]


def compare(
    before: Snapshot,
    after: Snapshot,
    pids: Sequence[int] | None = None,
    *,
    range_limit: int | None = None,
    sink: Sink = ignore,
    cancel: CancelToken | None = None,
) -> Report:
    """All that has changed, memory too. Raises what `Comparison` and its `memory` raise."""
    comparison = Comparison(before, after, pids, cancel=cancel)
    return comparison.report.with_memory(tuple(comparison.memory(range_limit, sink)))


@dataclass(frozen=True, slots=True)
class _Pair:
    before: Opened
    after: Opened


class Comparison:
    """What has changed from one snapshot to a later one, in the processes `pids` or in all.

    Raises ArgumentError if the first is the later one, NoSuchProcess, Cancelled, and FormatError where a
    file is damaged.
    """

    def __init__(
        self,
        before: Snapshot,
        after: Snapshot,
        pids: Sequence[int] | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> None:
        self._cancel = cancel or CancelToken()
        self._before, self._after = before, after
        self._pairs: list[_Pair] = []
        seconds = seconds_between(before, after)
        processes = list(self._pair_up(pids, seconds))
        stops = moment_of(before).stops_until(moment_of(after))
        threads: list[ThreadChange] = []
        mappings: list[MappingChange] = []
        descriptors: list[DescriptorChange] = []
        for pair in self._pairs:
            self._cancel.check()
            threads += ThreadComparison(pair.before, pair.after, stops).changes()
            mappings += mapping_changes(pair.before.process, pair.after.process)
            descriptors += descriptor_changes(pair.before.process, pair.after.process)
        verdict, kind = judge(seconds, processes, threads)
        self.report = Report(
            *(verdict, kind, seconds, tuple(processes)),
            *(tuple(threads), tuple(mappings), tuple(descriptors)),
        )
        """All but the memory, which takes its time."""

    def memory(self, range_limit: int | None = None, sink: Sink = ignore) -> Iterator[MemoryChange]:
        """Each mapping that is in both, as soon as it is compared. Raises Cancelled, FormatError."""
        meter = Meter(sink, self._cancel)
        comparisons = [MemoryComparison(pair.before, pair.after, meter, range_limit) for pair in self._pairs]
        for comparison in comparisons:
            yield from comparison.changes()

    def _pair_up(self, pids: Sequence[int] | None, seconds: float) -> Iterator[ProcessChange]:
        """What became of each process; those that are in both are kept to be compared."""
        old, new = self._before.processes, self._after.processes
        elsewhere = moment_of(self._before).elsewhere(moment_of(self._after))
        for pid in dict.fromkeys((*old, *new)) if pids is None else pids:
            was, now = old.get(pid), new.get(pid)
            if was is None and now is None:
                raise NoSuchProcess(f"process {pid} is in neither snapshot", help=_held(old, new))
            if now is None and was is not None:
                yield ProcessChange(pid, was.name, "went", "is in the first snapshot alone")
            elif was is None and now is not None:
                yield ProcessChange(pid, now.name, "came", "is in the second snapshot alone")
            elif was is not None and now is not None:
                if elsewhere or not same_process(was, now, seconds):
                    why = elsewhere or "it started later, and has got the id of one that ended"
                    yield ProcessChange(pid, now.name, "other", f"is another one in the second: {why}")
                    continue
                self._pairs.append(_Pair(Opened(self._before, was), Opened(self._after, now)))
                yield _continued(was, now)


def _held(old: dict[int, Process], new: dict[int, Process]) -> str:
    first, second = (", ".join(map(str, held)) or "none" for held in (old, new))
    return f"the first holds {first}, the second {second}"


def _continued(was: Process, now: Process) -> ProcessChange:
    """Of a process that is in both: whether it executes another program now (execve(2))."""
    programs = _member(was, "exe"), _member(now, "exe")
    if programs[0] != programs[1]:
        words = [program.decode("utf-8", "backslashreplace") or "an unknown program" for program in programs]
        return ProcessChange(
            now.pid, now.name, "executed", f"executed another program: {words[1]}, was {words[0]}"
        )
    # Made by the kernel in execve(2), with 16 random bytes at an address of its own.
    if _member(was, "auxv") != _member(now, "auxv"):
        return ProcessChange(now.pid, now.name, "executed", "executed its program anew")
    return ProcessChange(now.pid, now.name, "same", "is in both snapshots")


def _member(process: Process, name: str) -> bytes:
    try:
        return process.linux.read(name) if process.linux is not None else b""
    except NotCaptured:
        return b""
