"""Whoever reads on gets, out of blocks made ahead, the very bytes that single reads give."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from snaptui.engine.errors import NotCaptured, SnapError
from snaptui.engine.serve.ahead import Ahead
from snaptui.engine.serve.nodes import Directory, File, Opened, StoredFile, Tree
from snaptui.engine.serve.tree import build_tree
from snaptui.engine.snapfile import open_snapshot
from snaptui.engine.snapfile.fieldarrays import U8
from snaptui.engine.snapfile.linux import Area
from tests.helpers.synthetic import PAGE, PID, made_up, page
from tests.serve.ninep import ORIGIN

START = 0x7F00_0000_0000
STORED = START + 3_000 * PAGE
ZERO = STORED + 400 * PAGE
GAP = ZERO + 8 * PAGE
END = GAP + 500 * PAGE
AREAS = (
    Area(START, STORED, "stored", perms="rw-p"),
    Area(STORED, ZERO, "zero", perms="rw-p"),
    Area(ZERO, GAP, "left out", perms="rw-p", reason="a device"),
    Area(GAP, END, "stored", perms="rw-p"),
)


def memory(start: int, end: int) -> bytes:
    """What the made-up process has from one address to another."""
    first, last = start // PAGE, -(-end // PAGE)
    content = b"".join(
        bytes(PAGE) if STORED <= number * PAGE < ZERO else page(number) for number in range(first, last)
    )
    return content[start - first * PAGE : end - first * PAGE]


@pytest.fixture(scope="module")
def snapshot_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ahead") / "made-up.snap"
    made_up(path, AREAS).close()
    return path


@pytest.fixture
def tree(snapshot_file: Path) -> Iterator[Tree]:
    tree = build_tree([open_snapshot(str(snapshot_file))], lambda _: None)
    yield tree
    tree.close()


@pytest.fixture
def mem(tree: Tree) -> File:
    return mem_of(tree.root)


def mem_of(root: Directory) -> File:
    process = root.lookup(str(PID))
    assert isinstance(process, Directory)
    found = process.lookup("mem")
    assert isinstance(found, File)
    return found


def read_on(opened: Opened, start: int, end: int, count: int) -> bytes:
    """Read as a client that wants all, and does what a server does after each answer."""
    pieces, at = [], start
    while at < end:
        pieces.append(bytes(opened.read(at, min(count, end - at))))
        assert len(pieces[-1]) == min(count, end - at), hex(at)
        at += len(pieces[-1])
        prepare = opened.preparation()
        if prepare is not None:
            prepare()
    return b"".join(pieces)


@pytest.mark.parametrize("prepares", [True, False])
@pytest.mark.parametrize("count", [64, 4096, 8168, 65512, 1_048_552, 3 << 20])
def test_reading_on_gives_what_was_saved(tree: Tree, mem: File, count: int, prepares: bool) -> None:
    start, end = (STORED - 300 * count, ZERO) if count == 64 else (START + 17, ZERO)
    assert read_on(mem.opened(tree.ahead, prepares), start, end, count) == memory(start, end)


@pytest.mark.parametrize("prepares", [True, False])
def test_reads_of_changing_sizes_are_never_short(tree: Tree, mem: File, prepares: bool) -> None:
    """As the kernel's are, around pages that it has: a short one is the end of the file to it."""
    rng = random.Random(5)
    for counts in ([1_024_000, 1_048_576], [4096, 131_072, 1_048_576], [8168, 8169, 100]):
        opened = mem.opened(tree.ahead, prepares)
        at = START
        while at < ZERO - max(counts):
            count = rng.choice(counts)
            assert bytes(opened.read(at, count)) == memory(at, at + count)
            at += count
            if (prepare := opened.preparation()) is not None:
                prepare()


def test_it_ends_where_nothing_was_captured_and_goes_on_behind(tree: Tree, mem: File) -> None:
    opened = mem.opened(tree.ahead, prepares=True)
    assert read_on(opened, ZERO - 65_536, ZERO, 4096) == memory(ZERO - 65_536, ZERO)
    with pytest.raises(NotCaptured, match=f"{ZERO:#x} is not captured: a device"):
        opened.read(ZERO, 4096)
    assert read_on(opened, GAP, END, 8192) == memory(GAP, END)
    assert opened.read(END, 8192) == b""
    assert opened.read(END - 100, 8192) == memory(END - 100, END)


def test_a_read_across_a_gap_ends_before_it(tree: Tree, mem: File) -> None:
    opened = mem.opened(tree.ahead, prepares=True)
    read_on(opened, ZERO - 80_000, ZERO - 10_000, 10_000)
    assert opened.read(ZERO - 10_000, 20_000) == memory(ZERO - 10_000, ZERO)


def test_readers_of_one_file_at_different_places_do_not_disturb_each_other(tree: Tree, mem: File) -> None:
    """More of them than may have blocks at once, each jumping now and then, in several threads."""
    ahead = tree.ahead

    def read(seed: int) -> None:
        rng, opened = random.Random(seed), mem.opened(ahead, prepares=bool(seed % 2))
        for _ in range(4):
            count = rng.choice([1, 512, 4096, 8168, 65512])
            start = rng.randrange(START, ZERO - 20 * count)
            assert read_on(opened, start, start + 20 * count, count) == memory(start, start + 20 * count)

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(read, range(32)))


def test_one_open_file_may_be_read_by_several_threads(tree: Tree, mem: File) -> None:
    """As the kernel does: pieces in sequence, asked for at the same time."""
    opened, count = mem.opened(tree.ahead, prepares=False), 128 << 10
    with ThreadPoolExecutor(4) as pool:
        places = range(START, STORED - count, count)
        for place, content in zip(
            places, pool.map(lambda at: bytes(opened.read(at, count)), places), strict=True
        ):
            assert content == memory(place, place + count)


def test_a_tree_is_closed_when_nothing_is_read_of_it_any_more(snapshot_file: Path) -> None:
    """A descriptor read after it was closed may be another file's."""
    for _ in range(30):
        tree = build_tree([open_snapshot(str(snapshot_file))], lambda _: None)
        opened = mem_of(tree.root).opened(tree.ahead, prepares=False)
        for at in range(START, START + (3 << 18), 1 << 18):
            opened.read(at, 1 << 18)
        tree.close()
        assert "read ahead" not in {thread.name for thread in threading.enumerate()}


def test_what_was_written_to_the_file_later_is_never_given(snapshot_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "changing.snap"
    path.write_bytes(snapshot_file.read_bytes())
    tree = build_tree([open_snapshot(str(path))], lambda _: None)
    opened = mem_of(tree.root).opened(tree.ahead, prepares=True)
    assert read_on(opened, START, START + 80_000, 8000) == memory(START, START + 80_000)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    os.utime(path, ns=(0, 0))  # that it is another time does not depend on the clock's steps
    with pytest.raises(SnapError, match="has changed since it was opened"):
        for at in range(START + 80_000, STORED, 8000):  # what was made before may come first
            assert opened.read(at, 8000) == memory(at, at + 8000)
    tree.close()


class Counted(StoredFile):
    """A file in memory that tells what was asked of it."""

    def __init__(self, content: bytes) -> None:
        super().__init__("counted", 1, ORIGIN, size=len(content))
        self.content = content
        self.asked: list[tuple[int, int]] = []

    def read(self, offset: int, count: int) -> bytes:
        self.asked.append((offset, count))
        return self.content[offset : offset + count]

    def read_into(self, offset: int, out: U8) -> int:
        data = self.read(offset, len(out))
        out[: len(data)] = np.frombuffer(data, dtype=np.uint8)
        return len(data)


def test_a_file_read_on_in_small_pieces_is_asked_for_large_ones() -> None:
    file = Counted(random.Random(1).randbytes(4 << 20))
    assert read_on(file.opened(Ahead(), prepares=True), 0, file.size, 8192) == file.content
    assert len(file.asked) <= 24  # of 512 reads


def test_a_file_read_here_and_there_is_asked_for_no_more_than_that() -> None:
    file = Counted(random.Random(1).randbytes(4 << 20))
    opened, rng = file.opened(Ahead(), prepares=True), random.Random(2)
    reads = [(rng.randrange(file.size - 64), 64) for _ in range(1000)]
    for offset, count in reads:
        assert opened.read(offset, count) == file.content[offset : offset + count]
        assert opened.preparation() is None
    assert file.asked == reads
