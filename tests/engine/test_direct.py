"""Reading by compiled code, straight from the file: the same as by numpy, or it is left to that."""

from __future__ import annotations

import ctypes
import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snaptui.engine import compiled
from snaptui.engine.compiled import PURE
from snaptui.engine.errors import SnapError
from snaptui.engine.snapfile import Process, Snapshot, open_snapshot
from snaptui.engine.snapfile.direct import ALL_ZEROS, Extents, cut
from tests.helpers.handmade import PAGE, PID, HandMade, field

pytestmark = pytest.mark.skipif(compiled.library() is None, reason="there is no compiled code here")

RAW = b"r" + b"A" * PAGE


def opened(path: Path, *, pure: bool) -> Snapshot:
    """A snapshot that is read with or without compiled code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PURE, str(int(pure)))
        snapshot = open_snapshot(str(path))
        for process in snapshot.processes.values():
            assert (process.direct(()) is None) == pure
    return snapshot


def read_of(process: Process, address: int, size: int) -> bytes | str:
    """The bytes, or the error."""
    target = np.full(size, 0xAA, dtype=np.uint8)
    try:
        process.read_memory_into(address, target)
    except SnapError as error:
        return str(error)
    return target.tobytes()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9))
def test_both_ways_read_the_same(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    made = HandMade(seed)
    path = made.write(tmp_path_factory.mktemp("made") / "x.snap")
    rng = random.Random(seed)
    with opened(path, pure=False) as direct, opened(path, pure=True) as pure:
        for pid, ranges in made.ranges.items():
            for start, end in ranges:
                at = rng.randrange(start, end)
                for first, last in ((start, end), (start, at), (at, end), (at, min(end, at + 20 * PAGE))):
                    there = read_of(direct.process(pid), first, last - first)
                    assert there == read_of(pure.process(pid), first, last - first)
                    assert first == last or isinstance(there, bytes)
            assert read_of(direct.process(pid), ranges[-1][1] - 9, 10) == read_of(
                pure.process(pid), ranges[-1][1] - 9, 10
            )


def by_hand(path: Path, memory: bytes, count: int) -> Path:
    head = b"process snapshot made by hand\n" + field(PID) + b"mem\n" + field(1) + field(0)
    path.write_bytes(head + field(count * PAGE) + memory)
    return path


@pytest.mark.parametrize(
    "reference",
    [
        b"m" + field(PID) + field(0),
        b"m" + field(PID) + field(30 * PAGE),
        b"m" + field(4) + field(0),
        b"t" + field(PID) + field(0),
        b"m" + field(PID) + field(1),
    ],
)
def test_what_is_wrong_is_said_as_ever(tmp_path: Path, reference: bytes) -> None:
    path = by_hand(tmp_path / "x.snap", reference + RAW * 39, 40)
    with opened(path, pure=False) as direct:
        assert "not there or comes later" in str(read_of(direct.process(PID), 0, 20 * PAGE))
        assert read_of(direct.process(PID), PAGE, 20 * PAGE) == b"A" * 20 * PAGE


def test_long_chains_of_references_are_followed(tmp_path: Path) -> None:
    chain = b"".join(b"m" + field(PID) + field(k * PAGE) for k in range(3000))
    path = by_hand(tmp_path / "x.snap", RAW + chain, 3001)
    with opened(path, pure=False) as direct:
        assert read_of(direct.process(PID), 0, 3001 * PAGE) == b"A" * 3001 * PAGE


def test_a_file_that_changes_is_read_no_more(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "x.snap", RAW * 40, 40)
    with opened(path, pure=False) as direct:
        assert read_of(direct.process(PID), 0, 40 * PAGE) == b"A" * 40 * PAGE
        with path.open("r+b") as file:
            file.seek(-3, os.SEEK_END)
            file.write(b"B")
        assert "has changed" in str(read_of(direct.process(PID), 0, 40 * PAGE))


def test_a_file_that_is_cut_off_is_an_error_not_zeros(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "x.snap", RAW * 40, 40)
    with opened(path, pure=False) as direct:
        os.truncate(path, path.stat().st_size // 2)
        assert "has changed" in str(read_of(direct.process(PID), 0, 40 * PAGE))


def test_a_compressed_snapshot_is_read_by_the_other_way(tmp_path: Path) -> None:
    from snaptui.engine.snapfile.container import convert

    convert(str(HandMade(1).write(tmp_path / "x.snap")), str(tmp_path / "x.zst"), compress=True)
    with open_snapshot(str(tmp_path / "x.zst")) as snapshot:
        assert snapshot.process(PID).direct(()) is None


def test_extents_that_overlap_or_are_out_of_order_are_passed_over(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "x.snap", RAW * 40, 40)
    with opened(path, pure=False) as direct:
        found = direct.process(PID).direct([(10, 20, 0), (15, 30, 0), (5, 8, 0), (30, 30, 0), (30, 31, 7)])
        assert isinstance(found, Extents)
        starts = (ctypes.c_uint64 * found.struct.count).from_address(found.struct.start)
        assert list(starts) == [10, 30]


def test_cut_moves_what_is_in_a_range() -> None:
    extents = [(0, 10, 100), (10, 20, ALL_ZEROS), (30, 40, 300)]
    assert list(cut(extents, 5, 35, 1000)) == [(1005, 1010, 105), (1010, 1020, ALL_ZEROS), (1030, 1035, 300)]
    assert list(cut(extents, 20, 30, 0)) == []
    assert list(cut(extents, 12, 13, -12)) == [(0, 1, ALL_ZEROS)]
    assert list(cut([], 0, 10, 0)) == []


def test_it_is_known_where_a_read_might_have_to_wait(tmp_path: Path) -> None:
    library = compiled.library()
    assert library is not None
    (tmp_path / "file").write_bytes(b"1")
    for path, flags in ((tmp_path / "file", (os.RWF_NOWAIT, 0)), (Path("/proc/version"), (-1,))):
        with path.open("rb") as file:
            assert library.pages_flags(file.fileno()) in flags
