"""How fast the memory of a saved process is searched: a real one, of 2 GiB.

    python benchmarks/search.py [--size MIB]

A quarter of it is random, a quarter zeros that were written, a quarter copies of 256 pages, a quarter like a
heap: pointers, small numbers. Needles are planted in all of it, and each pass must find them all.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rows import Row, table, timed

from snaptui.engine.inspect.patterns import Pattern, literal_pattern, parse_pattern, pointer_pattern
from snaptui.engine.inspect.search import Hit, search
from snaptui.engine.snapfile import Process, open_snapshot

ROUNDS = 3
REQUIRED = 1.0  # GB/s
NEEDLE = b"\xa7needle in 2 GiB of hay\x01"
PEER_SIZE = 256 << 20  # of the memory, for Python's own searches

_TARGET = """
import mmap, signal, sys
import numpy as np
size, needle = int(sys.argv[1]), bytes.fromhex(sys.argv[2])
quarter = size // 4
random = np.random.default_rng(1)
area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory = np.frombuffer(area, dtype=np.uint8)
base, step = memory.ctypes.data, 16 << 20
for at in range(0, quarter, step):
    memory[at : at + step] = random.integers(0, 256, step, dtype=np.uint8)
memory[quarter : 2 * quarter] = 0
block = random.integers(0, 256, (256, 4096), dtype=np.uint8)
for at in range(2 * quarter, 3 * quarter, step):
    memory[at : at + step] = block[random.integers(0, 256, step // 4096)].reshape(-1)
for at in range(3 * quarter, size, step):
    words = random.integers(0, 100, step // 8, dtype=np.uint64)
    pointers = random.random(len(words)) < 0.5
    words[pointers] = base + random.integers(0, quarter // 16, pointers.sum(), dtype=np.uint64) * 16
    memory[at : at + step] = words.view(np.uint8)
# Also over borders of 1 KiB, which are borders of references.
for at in range(1021, size - len(needle), (97 << 20) + 1):
    memory[at : at + len(needle)] = np.frombuffer(needle, dtype=np.uint8)
    print(base + at)
print("ready", base, flush=True)
signal.pause()
"""


def rows(directory: Path, size: int = 2 << 30) -> list[Row]:
    """The figures; the snapshot is made in `directory`."""
    path = directory / "search.snap"
    planted, base = _save(path, size)
    with open_snapshot(str(path)) as snapshot:
        (process,) = snapshot.processes.values()
        found = {hit.address for hit in _hits(process, literal_pattern(NEEDLE))}
        assert planted <= found, "a needle was not found"
        passes = {
            "text": literal_pattern(NEEDLE),
            "text, common letters": parse_pattern("text", "there is no"),
            "hex": parse_pattern("hex", "de ad be ef 00 00"),
            "hex, small numbers": parse_pattern("hex", "01 00 00 00 ff"),
            "hex, with ??": parse_pattern("hex", "de ad ?? ?? be ef 00"),
            "a pointer": pointer_pattern(base + 0x12345, 8, "little"),
            "pointers into 4 KiB": pointer_pattern(base + 0x1000, 8, "little", 4096),
        }
        figures = [
            Row(f"search: {what}", _rate(process, pattern), REQUIRED, "GB/s", "required", 1, is_rate=True)
            for what, pattern in passes.items()
        ]
        part = base, base + min(PEER_SIZE, size // 4)
        figures += [_expression(process, part, what) for what in (r"needle [a-z]+ \d", r"[a-z]{12,}")]
    figures.append(_command(path, size))
    path.unlink()
    return figures


def _save(path: Path, size: int) -> tuple[set[int], int]:
    """Save the target; where its needles are, and its memory begins."""
    with _target(size) as (process, lines):
        subprocess.run(
            [sys.executable, "-m", "snaptui", "snap", "-o", str(path), str(process.pid)],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    return {int(line) for line in lines[:-1]}, int(lines[-1].split()[1])


@contextlib.contextmanager
def _target(size: int) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    command = [sys.executable, "-c", _TARGET, str(size), NEEDLE.hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            while not lines[-1].startswith("ready"):
                assert lines[-1], "the target has ended"
                lines.append(process.stdout.readline())
            yield process, lines
        finally:
            process.kill()


def _hits(process: Process, pattern: Pattern) -> Iterator[Hit]:
    for batch in search(process, pattern):
        yield from batch.hits


def _rate(process: Process, pattern: Pattern) -> float:
    """GB/s of memory in the middle one of some passes over all of it."""
    total = 0

    def one_pass() -> None:
        nonlocal total
        for batch in search(process, pattern):
            total = batch.total

    seconds = statistics.median(timed(one_pass) for _ in range(ROUNDS))
    return total / 1e9 / seconds


def _expression(process: Process, part: tuple[int, int], source: str) -> Row:
    """A regular expression, beside the module `re` on some of the same bytes, read already."""
    pattern = parse_pattern("regex", source)
    content = process.read_memory(part[0], part[1] - part[0])
    regex = re.compile(source.encode())
    ours = []
    for _ in range(ROUNDS):
        ours.append(timed(lambda: [batch.done for batch in search(process, pattern, *part)]))
    peer = statistics.median(timed(lambda: sum(1 for _ in regex.finditer(content))) for _ in range(ROUNDS))
    rates = len(content) / 1e9 / statistics.median(ours), len(content) / 1e9 / peer
    return Row(f"search: regular expression {source}", *rates, "GB/s", "re", 0.25, is_rate=True)


def _command(path: Path, size: int) -> Row:
    """The whole command, beside grep, which goes through the file and knows nothing of it."""
    what = "there is no"
    command = [sys.executable, "-m", "snaptui", "search", str(path), "--text", what, "--count"]
    rates = [
        size / 1e9 / statistics.median(timed(partial(_run, argv)) for _ in range(ROUNDS))
        for argv in (command, ["grep", "-cF", what, str(path)])
    ]
    return Row("search: the command, indexing the file first", *rates, "GB/s", "grep -cF", 0.5, is_rate=True)


def _run(command: list[str]) -> None:
    # To a pipe: grep that writes to /dev/null ends at the first match.
    subprocess.run(command, stdout=subprocess.PIPE, check=False)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=2048, help="MiB, a multiple of 64 (default: 2048)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(table(rows(Path(directory), arguments.size << 20)), end="")


if __name__ == "__main__":
    main()
