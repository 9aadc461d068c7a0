"""Saving processes, beside gdb's gcore on the same processes, in turn.

    python benchmarks/capture.py [DIRECTORY] [--large MIB]

Needs gdb, zstd, and root or the right to trace. Each snapshot is compared with the process, byte for byte,
outside of what is timed. DIRECTORY holds up to 5 GiB; neither program waits until they are on the disk.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rows import Row, timed
from targets import (
    Target,
    compare,
    distinct_pages,
    have_at_hand,
    join_free_memory,
    mixed,
    peak_memory,
    print_rows,
    python_objects,
    quietly,
)

_BIN = Path(sys.executable).parent
_ROUNDS = 5
_FEW = 3


@dataclass(frozen=True, slots=True)
class Run:
    """One capture: seconds that it took, that the target suffered, and bytes written."""

    wall: float
    pause: float
    size: int


class Bench:
    """Runs captures in a directory, one at a time; the file of the last one stays."""

    def __init__(self, directory: Path) -> None:
        self.snapshot = directory / "bench.snap"
        self.packed = directory / "bench.snap.zst"
        self._core = directory / "bench-core"

    def snap(self, target: Target, *options: str, output: Path | None = None, all_pids: bool = False) -> Run:
        """What our capture takes."""
        path = output or self.snapshot
        pids = target.pids if all_pids else [target.pid]
        return self._run([_BIN / "snap", "-q", "-o", path, *options, *pids], target, path)

    def gcore(self, target: Target) -> Run:
        """What gdb's takes."""
        path = self._core.with_name(f"{self._core.name}.{target.pid}")
        return self._run(["gcore", "-o", self._core, target.pid], target, path)

    def gcore_packed(self, target: Target) -> Run:
        """gcore's, and then zstd on all processors."""
        core = self._core.with_name(f"{self._core.name}.{target.pid}")
        packed = core.with_name(core.name + ".zst")
        script = f"gcore -o {self._core} {target.pid} && zstd -q -3 -T0 -f {core} -o {packed} && rm {core}"
        return self._run(["sh", "-c", script], target, packed)

    def gcore_each(self, target: Target) -> Run:
        """gcore of every process in turn: the time and the size of all."""
        wall, size = 0.0, 0
        for pid in target.pids:
            path = self._core.with_name(f"{self._core.name}.{pid}")
            wall += timed(lambda pid=pid: quietly(["gcore", "-o", self._core, pid]))  # type: ignore[misc]
            size += path.stat().st_size
            path.unlink()
        return Run(wall, 0.0, size)

    def _run(self, command: list[object], target: Target, path: Path) -> Run:
        path.unlink(missing_ok=True)
        target.longest_pause()
        wall = timed(lambda: quietly(command))
        run = Run(wall, target.longest_pause(), path.stat().st_size)
        if path != self.snapshot:
            path.unlink()
        return run


def _in_turn(rounds: int, *captures: Callable[[], Run], at_hand: int = 0) -> list[Run]:
    """The medians of each, measured in turn, in the one order and then in the other.

    What one has removed, the next can use before a virtual machine gives it back to its host. `rounds` is
    odd: the last is in the order given. `at_hand`: MiB of memory that each finds at hand.
    """
    taken: list[list[Run]] = [[] for _ in captures]
    for number in range(rounds):
        turns = list(zip(captures, taken, strict=True))
        for capture, runs in turns if number % 2 == 0 else reversed(turns):
            if at_hand:
                have_at_hand(at_hand)
            runs.append(capture())
    return [
        Run(*(statistics.median(getattr(run, name) for run in runs) for name in ("wall", "pause", "size")))
        for runs in taken
    ]


def rows(directory: Path, large: int = 8192) -> Iterator[Row]:
    """All figures, measured in `directory`."""
    bench = Bench(directory)
    join_free_memory()
    yield from _standard(bench)
    yield from _python(bench)
    yield from _workers(bench)
    yield from _scaling(bench, large)


def _standard(bench: Bench) -> Iterator[Row]:
    """1 GiB of mixed memory."""
    with mixed(1024) as target, mixed(1024) as other:
        # Of one of its own: after a fork(2) the kernel has more to do for each page that is read next.
        forked, ours, peer = _in_turn(
            _ROUNDS,
            lambda: bench.snap(other, "--fork"),
            lambda: bench.snap(target),
            lambda: bench.gcore(target),
        )
        compare(bench.snapshot, target.pid)
        bench.snap(other, "--fork")
        compare(bench.snapshot, other.pid)
        peak = peak_memory([_BIN / "snap", "-q", "-o", bench.snapshot, target.pid])
        allowed = 300 + 24 * distinct_pages(bench.snapshot) / 1e6
    yield Row("capture of 1 GiB, wall time", ours.wall, peer.wall, "s", "gcore", 0.5)
    yield Row("the same, pause", ours.pause, peer.pause, "s", "gcore", 0.35)
    yield Row("the same with --fork, pause", forked.pause, peer.pause, "s", "gcore", 0.04)
    yield Row("the same, file with all libraries", ours.size / 1e6, peer.size / 1e6, "MB", "gcore", 0.30)
    yield Row("snap's own memory at most", peak, allowed, "MB", "300 MB + 24 bytes a page", 1.0)


def _python(bench: Bench) -> Iterator[Row]:
    """1 GiB of Python's objects."""
    with python_objects(1024) as target:
        ours, peer = _in_turn(
            _ROUNDS,
            lambda: bench.snap(target, output=bench.packed),
            lambda: bench.gcore_packed(target),
        )
        bench.snapshot.unlink(missing_ok=True)
        quietly([_BIN / "snap", "-q", "-z", "-o", bench.snapshot, target.pid])
        compare(bench.snapshot, target.pid)
    what = "Python process to .snap.zst"
    yield Row(f"{what}, wall time", ours.wall, peer.wall, "s", "gcore, then zstd -3 -T0", 0.6)
    yield Row(f"{what}, size", ours.size / 1e6, peer.size / 1e6, "MB", "the same", 1.0)


def _workers(bench: Bench) -> Iterator[Row]:
    """100 processes forked from one, which share 64 MiB."""
    with mixed(4, 0, 100, 64) as target:
        ours = _in_turn(_FEW, lambda: bench.snap(target, all_pids=True))[0]
        for pid in target.pids[:3]:
            compare(bench.snapshot, pid)
        peer = bench.gcore_each(target)
    yield Row("100 forked workers, wall time", ours.wall, peer.wall, "s", "gcore each", 0.10)
    yield Row("100 forked workers, size", ours.size / 1e6, peer.size / 1e6, "MB", "gcore each", 0.05)


def _scaling(bench: Bench, large: int) -> Iterator[Row]:
    """More memory, and more that is only reserved."""
    with mixed(1024) as small, mixed(large) as big, mixed(1024, 1024) as reserved:
        one, many, sparse = _in_turn(
            _FEW,
            lambda: bench.snap(small),
            lambda: bench.snap(big),
            lambda: bench.snap(reserved),
            at_hand=large * 3 // 8,  # more than is written
        )
        compare(bench.snapshot, reserved.pid)
        bench.snap(big)
        compare(bench.snapshot, big.pid)
    each = many.wall * 1024 / large
    yield Row(f"{large >> 10} GiB, wall time a GiB", each, one.wall, "s", "own 1 GiB", 1.1)
    yield Row("1 TiB reserved, wall time", sparse.wall, one.wall, "s", "own without it", 1.2)


if __name__ == "__main__":
    print_rows(__doc__, rows)
