"""Opening a large snapshot, known and not known yet, and reading all of it back.

    python benchmarks/reading.py [DIRECTORY] [--large MIB]

DIRECTORY is on a file system that keeps what is written in the page cache: 4 GiB for 8 GiB of memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rows import Row, paired, timed
from targets import MIB, distinct_pages, mixed, print_rows, quietly

from snaptui.engine.snapfile import open_snapshot

_BIN = Path(sys.executable).parent
_ROUNDS = 5
_FEW = 3
_PIECE = 8 * MIB


def rows(directory: Path, large: int = 8192) -> Iterator[Row]:
    """All figures, measured in `directory`."""
    yield from _opening(directory / "large.snap", large)
    yield _verifying(directory)


def _opening(snapshot: Path, large: int) -> Iterator[Row]:
    with mixed(large) as target:
        quietly([_BIN / "snap", "-q", "-o", snapshot, target.pid])
        pid = target.pid
    with open_snapshot(str(snapshot)) as opened:
        address = max(opened.process(pid).memory, key=lambda segment: segment.length).offset
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        dump = [_BIN / "snaptui", "hexdump", snapshot, pid, f"{address:#x}+256"]

        def unknown() -> float:
            for index in Path(cache).rglob("*"):
                if index.is_file():
                    index.unlink()
            return timed(lambda: quietly(dump))

        def read() -> float:
            with snapshot.open("rb") as file:
                return timed(lambda: quietly(["cat"], file))

        read()
        first, cat = paired(unknown, read, _ROUNDS)
        known, help_ = paired(
            lambda: timed(lambda: quietly(dump)),
            lambda: timed(lambda: quietly([_BIN / "snaptui", "--help"])),
            _ROUNDS,
        )
    snapshot.unlink()
    what = f"open {large >> 10} GiB, hexdump"
    yield Row(f"{what}: index known, beyond snaptui --help", known - help_, 0.3, "s", "required", 1.0)
    yield Row(f"{what}: index not known", first, cat, "s", "cat of the file", 3.0)


def _verifying(directory: Path) -> Row:
    snapshot, contents = directory / "verified.snap", directory / "verified.bytes"
    with mixed(1024) as target:
        quietly([_BIN / "snap", "-q", "-o", snapshot, target.pid])
    with open_snapshot(str(snapshot)) as opened, contents.open("wb") as file:
        for process in opened.processes.values():
            for segment in (*process.text, *process.memory):
                for at in range(0, segment.length, _PIECE):
                    file.write(process.read_segment(segment, at, _PIECE))
    assert distinct_pages(snapshot) > 0
    ours, peer = paired(
        lambda: timed(lambda: quietly([_BIN / "snaptui", "verify", snapshot])),
        lambda: timed(lambda: quietly(["sha256sum", contents])),
        _FEW,
    )
    snapshot.unlink()
    contents.unlink()
    return Row("verify 1 GiB", ours, peer, "s", "sha256sum of its bytes", 1.0)


if __name__ == "__main__":
    print_rows(__doc__, rows)
