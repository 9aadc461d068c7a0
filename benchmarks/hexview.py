"""What it costs to look inside a large snapshot: opening, page down, search, memory of the app.

    python benchmarks/hexview.py [--size MIB] [--mappings N] [SNAPSHOT]

Without SNAPSHOT one is made up, of SIZE MiB in N mappings, in a temporary directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from textual.app import App
from textual.geometry import Region

from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.opened import Opened
from snaptui.engine.inspect.patterns import parse_pattern
from snaptui.engine.inspect.search import search
from snaptui.engine.snapfile import Snapshot, open_snapshot
from snaptui.engine.snapfile.linux import build_record
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.snapfile.writer import SnapshotWriter
from snaptui.screens.inside.memory import MemoryPane
from snaptui.screens.snapshot import SnapshotScreen
from snaptui.widgets.hex.lines import LineMap
from snaptui.widgets.hex.view import HexView

_PID = 4242
_PAGE = 4096
_JUMPS = 200
_PIECE = 4 << 20


def make(path: Path, size: int, mappings: int) -> None:
    """A snapshot of one process: `size` bytes in `mappings` mappings with a hole after each."""
    each = max(_PAGE, size // mappings // _PAGE * _PAGE)
    starts = [0x7F00_0000_0000 + number * 2 * each for number in range(mappings)]
    maps = "".join(f"{start:x}-{start + each:x} rw-p 00000000 00:00 0\n" for start in starts)
    areas = {"stored": [[start, start + each] for start in starts], "text": [], "zero": [], "left out": []}
    record = build_record(
        {
            "maps": maps.encode(),
            "snapshot.json": json.dumps({"format": 1, "arch": "x86_64", "pid": _PID}).encode(),
            "text.json": b'{"files":[]}',
            "captured.json": json.dumps({"page_size": _PAGE, **areas}).encode(),
            f"task/{_PID}/regs": bytes(27 * 8),
        }
    )
    rng = np.random.default_rng(1)
    content = rng.integers(0, 256, _PIECE, dtype=np.uint8)
    # Half of it pointers into the mappings, as in a heap.
    content.view(np.uint64)[::2] = rng.choice(np.array(starts, dtype=np.uint64), _PIECE // 16)
    with open_output(str(path)) as output:
        writer = SnapshotWriter(output, f"{int(time.time())} nobody@nowhere amd64 0")
        writer.memory(_PID, [(start, each) for start in starts])
        left = each * mappings
        while left:
            piece = content[: min(left, _PIECE)]
            # No two pages alike: equal ones would be stored once.
            piece.view(np.uint64)[1::128] = left + np.arange(len(piece) // 1024, dtype=np.uint64)
            writer.pages(piece.reshape(-1, 1024))
            left -= len(piece)
        writer.record(_PID, "proc", record)
        writer.finish()
        output.commit()


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the block took."""
    began = time.perf_counter()
    yield
    print(f"{what:<58} {1000 * (time.perf_counter() - began):10.2f} ms")


def spread(what: str, seconds: list[float]) -> None:
    """Print the middle, the 95th percentile and the worst of some times."""
    ordered = sorted(1000 * value for value in seconds)
    p95 = ordered[int(0.95 * len(ordered))]
    print(f"{what:<46} median {statistics.median(ordered):7.2f}  p95 {p95:7.2f}  worst {ordered[-1]:7.2f} ms")


def measure(call: Callable[[], object]) -> float:
    """Seconds of processor and waiting that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


async def moves(snapshot: Snapshot, size: tuple[int, int]) -> dict[str, list[float]]:
    """Seconds of work for moves at addresses all over the memory, by what they are."""
    app: App[None] = App()
    times: dict[str, list[float]] = {name: [] for name in ("paint", "goto", "page down", "line", "inspect")}
    async with app.run_test(size=size) as pilot:
        began = time.perf_counter()
        await app.push_screen(SnapshotScreen(snapshot))
        await pilot.pause()
        times["paint"].append(time.perf_counter() - began)
        pane = app.screen.query_one(MemoryPane)
        hexview = app.screen.query_one(HexView)
        blocks = pane.opened.memory.blocks
        rng = random.Random(1)
        region = Region(0, 0, *hexview.size)
        for _ in range(_JUMPS):
            block = rng.choice(blocks)
            target = rng.randrange(block.start, block.end)
            times["goto"].append(measure(lambda at=target: (pane.jump(at), hexview.render_lines(region))))
            times["page down"].append(measure(lambda: (hexview.action_page(1), hexview.render_lines(region))))
            times["line"].append(measure(lambda: (hexview.action_by(0, 1), hexview.render_lines(region))))
            await pilot.pause(0)
        times["inspect"] = [measure(pane._settle) for _ in range(_JUMPS)]
    return times


def show_moves(snapshot: Snapshot, size: tuple[int, int]) -> None:
    """Print what moves cost."""
    times = asyncio.run(moves(snapshot, size))
    spread(f"the screen at {size[0]}x{size[1]}, until it is painted", times["paint"])
    spread("goto, anywhere", times["goto"])
    spread("page down, there", times["page down"])
    spread("a line down", times["line"])
    spread("what the inspector says", times["inspect"])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("snapshot", nargs="?")
    parser.add_argument("--size", type=int, default=1024, help="MiB (default: 1024)")
    parser.add_argument("--mappings", type=int, default=65_530)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = arguments.snapshot or str(Path(directory) / "made-up.snap")
        if not arguments.snapshot:
            # In a child, whose memory is not ours.
            child = multiprocessing.get_context("spawn").Process(
                target=make, args=(Path(path), arguments.size << 20, arguments.mappings)
            )
            child.start()
            child.join()
        print(f"{path}: {Path(path).stat().st_size / 1e6:.0f} MB; memory before opening: {peak():.0f} MB")
        with timed("open_snapshot (indexing)"):
            snapshot = open_snapshot(path)
        process = next(iter(snapshot.processes.values()))
        with timed(f"areas and mappings ({len(process.areas()):,})"):
            opened = Opened(snapshot, process)
        with timed("AddressMap"):
            AddressMap(process.areas())
        with timed("LineMap"):
            LineMap(opened.memory.blocks)
        for size in ((80, 24), (200, 50)):
            show_moves(snapshot, size)
        for kind, text in (
            ("text", "no such text anywhere"),
            ("hex", "de ad ?? ?? be ef"),
            ("regex", r"[a-z]{40,}"),
        ):
            began, total = time.perf_counter(), 0
            for batch in search(process, parse_pattern(kind, text)):
                total = batch.done
                if time.perf_counter() - began > 10:
                    break
            rate = total / 1e6 / (time.perf_counter() - began)
            print(f"search, {kind:<50} {rate:10.0f} MB/s")
        print(f"{'memory of all this, at its peak':<58} {peak():10.0f} MB")
        snapshot.close()


if __name__ == "__main__":
    main()
