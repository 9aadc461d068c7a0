"""Large snapshots open at once the second time, and never by an index that is not theirs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from snaptui.engine.compiled import PURE
from snaptui.engine.errors import FormatError
from snaptui.engine.progress import Event, Progress
from snaptui.engine.snapfile import Snapshot, open_snapshot
from snaptui.engine.snapfile.container import open_source
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.snapfile.scan import scan
from snaptui.engine.snapfile.writer import SnapshotWriter

PAGE = 1024
BASE = 0x5555_0000_0000
SIZE = 32 << 20


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "snaptui" / "index"


def content(seed: int) -> bytes:
    """Runs of raw pages, zeros and pages seen before, long ones and single ones."""
    random = np.random.default_rng(seed)
    pages = np.frombuffer(random.bytes(SIZE), dtype=np.uint8).reshape(-1, PAGE).copy()
    pages[4000:9000] = 0
    pages[10_000:14_000] = pages[:4000]
    for number in random.integers(14_000, len(pages), 2000).tolist():
        pages[number] = pages[random.integers(0, 4000)] if number % 2 else 0
    return pages.tobytes()


def write(path: Path, seed: int, *, compress: bool = False) -> bytes:
    memory = content(seed)
    with open_output(str(path), compress=compress) as output:
        writer = SnapshotWriter(output, "1 test@test x86_64 0")
        writer.memory(7, [(BASE, len(memory))])
        writer.pages(memory)
        writer.finish()
        output.commit()
    return memory


def opened(path: Path) -> tuple[Snapshot, bool]:
    """The snapshot, and whether the file was scanned for it."""
    events: list[Event] = []
    snapshot = open_snapshot(str(path), sink=events.append)
    return snapshot, any(isinstance(event, Progress) for event in events)


@pytest.mark.parametrize("compress", [False, True])
def test_a_large_snapshot_is_scanned_once(tmp_path: Path, cache: Path, compress: bool) -> None:
    memory = write(tmp_path / "a.snap", 1, compress=compress)
    for scanned in (True, False, False):
        snapshot, was = opened(tmp_path / "a.snap")
        with snapshot:
            assert was is scanned
            assert snapshot.process(7).read_memory(BASE, len(memory)) == memory
    (index,) = cache.iterdir()
    assert index.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_replaced_or_written_to_is_scanned_anew(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.snap"
    write(path, 1)
    opened(path)[0].close()
    memory = write(path, 2)
    snapshot, scanned = opened(path)
    with snapshot:
        assert scanned
        assert snapshot.process(7).read_memory(BASE, len(memory)) == memory
    with path.open("r+b") as file:
        file.truncate(SIZE // 2)
    with pytest.raises(FormatError, match="cut short"):
        open_snapshot(str(path))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "directory"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, cache: Path, damage: str) -> None:
    memory = write(tmp_path / "a.snap", 3)
    opened(tmp_path / "a.snap")[0].close()
    (index,) = cache.iterdir()
    whole = index.read_bytes()
    if damage == "directory":
        index.unlink()
        index.mkdir()
    else:
        flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
        index.write_bytes({"flip": flipped, "cut": whole[:-4], "empty": b""}[damage])
    snapshot, scanned = opened(tmp_path / "a.snap")
    with snapshot:
        assert scanned
        assert snapshot.process(7).read_memory(BASE, len(memory)) == memory


def test_without_a_place_for_the_index_the_snapshot_opens_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    write(tmp_path / "a.snap", 1)
    for _ in range(2):
        snapshot, scanned = opened(tmp_path / "a.snap")
        snapshot.close()
        assert scanned


def test_indexes_used_longest_ago_make_room(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.snap", number)
    opened(tmp_path / "0.snap")[0].close()
    (first,) = cache.iterdir()
    os.utime(first, (1, 1))
    opened(tmp_path / "1.snap")[0].close()
    monkeypatch.setattr("snaptui.engine.snapfile.index._MOST", 2 * first.stat().st_size + 1000)
    opened(tmp_path / "2.snap")[0].close()
    assert len(list(cache.iterdir())) == 2
    assert not first.exists()


@pytest.fixture(params=["plain", "odd", "often odd", "compressed"])
def snapshot_file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file as we write it; and one whose fields are padded as nobody does, but snap(6) allows."""
    path = tmp_path / "a.snap"
    write(path, 4, compress=request.param == "compressed")
    if "odd" in request.param:
        parts = path.read_bytes().split(b"m7           ")
        every, most = (3, len(parts)) if request.param == "often odd" else (1, 50)
        padded = [number % every == 0 and number < most for number in range(len(parts) - 1)]
        fields = [b"m          7   " if odd else b"m7           " for odd in padded]
        path.write_bytes(b"".join(part + field for part, field in zip(parts, [*fields, b""], strict=True)))
    yield path


def test_the_compiled_scanner_finds_what_the_other_finds(
    snapshot_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for pure in ("0", "1"):
        monkeypatch.setenv(PURE, pure)
        source = open_source(str(snapshot_file))
        layout = scan(source)
        source.close()
        pages = []
        runs = layout.runs
        columns = zip(runs.first, runs.kind, runs.position, runs.stride, runs.number_at, strict=True)
        ends = [*runs.first[1:], layout.page_count]
        for (first, kind, position, stride, number_at), end in zip(columns, ends, strict=True):
            pages += [(kind, position + k * stride, stride, number_at) for k in range(end - first)]
        found.append((pages, dataclasses.replace(layout, runs=None)))
    assert found[0] == found[1]
    assert len(found[0][0]) == SIZE // PAGE
