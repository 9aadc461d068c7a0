"""What is written can be read, byte for byte, by our reader and by one that shares no code with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snaptui.engine.compiled import PURE
from snaptui.engine.snapfile import PAGE, fields, open_snapshot
from snaptui.engine.snapfile.encoder import open_encoder
from snaptui.engine.snapfile.native import is_there
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.snapfile.writer import SnapshotWriter
from tests.helpers.strict_reader import read_snapshot

BASE = 0x7F12_3456_7000


@pytest.fixture(autouse=True, params=["compiled", "numpy"])
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of this module: with the compiled encoder, and with that of numpy."""
    assert is_there(), "the package was installed without a C compiler: run scripts/setup dev"
    monkeypatch.setenv(PURE, "1" if request.param == "numpy" else "0")


def write(path: Path, build: Callable[[SnapshotWriter], None], *, compress: bool = False) -> Path:
    with open_output(str(path), compress=compress) as output:
        writer = SnapshotWriter(output, "1 test@test x86_64 0")
        build(writer)
        writer.finish()
        output.commit()
    return path


def as_pages(content: bytes) -> np.ndarray:
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, PAGE)


def memory_of(path: Path, pid: int = 7) -> list[bytes]:
    """Each memory segment as our own reader has it, checked against the strict one."""
    with open_snapshot(str(path)) as snapshot:
        process = snapshot.process(pid)
        ours = [process.read_memory(segment.offset, segment.length) for segment in process.memory]
    strict = [s.read(s.offset, s.length) for s in read_snapshot(path, ours=False).processes[pid].memory]
    assert ours == strict
    return ours


@pytest.mark.parametrize(
    "offset",
    [
        0,
        1024,
        8192,
        BASE,
        *(10**digits // PAGE * PAGE - 3 * PAGE for digits in (4, 8, 15)),
        2**64 - 40 * PAGE,
    ],
)
def test_references_are_printed_as_any_other_number(offset: int) -> None:
    """Also where they get a digit more."""
    encoder = open_encoder(-1, 1)
    written = bytes(encoder.references("m", 7, offset, 40))
    assert written == b"".join(
        b"m" + fields.field(7) + fields.field(offset + page * PAGE) for page in range(40)
    )
    encoder.close()


def test_every_kind_of_page_comes_back(tmp_path: Path) -> None:
    random = np.random.default_rng(1).bytes(8 * PAGE)
    content = random + bytes(4 * PAGE) + random[::-1] + random + b"x" * (3 * PAGE)

    def build(writer: SnapshotWriter) -> None:
        writer.text(7, len(random))
        writer.pages(as_pages(random))
        writer.memory(7, [(BASE, len(content))])
        writer.pages(as_pages(content))

    path = write(tmp_path / "a.snap", build)
    assert memory_of(path) == [content]
    # 8 + 8 raw pages, one of x; everything else is a flag or a reference.
    assert 17 * PAGE < path.stat().st_size < 18 * PAGE + 1024


def test_pages_that_any_multiply_and_add_hash_confuses_survive(tmp_path: Path) -> None:
    """With odd coefficients, flipping the top bit of two words changes the sum by 2 * 2^63 = 0 (mod 2^64)."""
    page = np.random.default_rng(2).integers(0, 1 << 63, size=128, dtype=np.uint64)
    pages = []
    for first in range(0, 128, 2):
        other = page.copy()
        other[[first, first + 1]] ^= np.uint64(1 << 63)
        pages.append(other)
    pages.append(page)
    content = np.stack(pages).tobytes() * 2

    def build(writer: SnapshotWriter) -> None:
        writer.memory(7, [(BASE, len(content))])
        writer.pages(as_pages(content))

    assert memory_of(write(tmp_path / "a.snap", build)) == [content]


def test_such_pages_survive_in_separate_calls_and_processes_too(tmp_path: Path) -> None:
    page = np.arange(128, dtype=np.uint64)
    other = page.copy()
    other[[3, 90]] ^= np.uint64(1 << 63)

    def build(writer: SnapshotWriter) -> None:
        for pid, content in ((7, page), (8, other), (9, page)):
            writer.memory(pid, [(BASE, PAGE)])
            writer.pages(content.view(np.uint8).reshape(1, PAGE))

    path = write(tmp_path / "a.snap", build)
    assert memory_of(path, 7) == memory_of(path, 9) == [page.tobytes()]
    assert memory_of(path, 8) == [other.tobytes()]


def test_the_index_grows_past_what_was_expected(tmp_path: Path) -> None:
    content = np.random.default_rng(3).bytes(60_000 * PAGE)

    def build(writer: SnapshotWriter) -> None:
        writer.memory(7, [(BASE, 2 * len(content))])
        writer.pages(as_pages(content))
        writer.pages(as_pages(content))

    path = write(tmp_path / "a.snap", build)
    with open_snapshot(str(path)) as snapshot:
        counts = snapshot.process(7).page_counts(snapshot.process(7).memory[0])
        # Of so many pages two may have the same tag, which costs a reference, and nothing else.
        assert counts["r"] + counts["m"] == 120_000
        assert counts["m"] > 59_990
        assert snapshot.process(7).read_memory(BASE + len(content), len(content)) == content


def test_a_segment_can_end_in_a_short_page_and_others_can_have_none(tmp_path: Path) -> None:
    def build(writer: SnapshotWriter) -> None:
        writer.text(7, PAGE + 10)
        writer.pages(as_pages(b"t" * PAGE))
        writer.last_page(b"t" * 10)
        writer.memory(7, [(0, 0), (BASE, 300), (0, 0), (BASE + 8192, PAGE + 5), (0, 0)])
        writer.last_page(b"short" * 60)
        writer.pages(as_pages(b"t" * PAGE))
        writer.last_page(bytes(5))

    path = write(tmp_path / "a.snap", build)
    assert memory_of(path) == [b"", b"short" * 60, b"", b"t" * PAGE + bytes(5), b""]
    with open_snapshot(str(path)) as snapshot:
        assert snapshot.process(7).read_text(0, 9999) == b"t" * (PAGE + 10)


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda w: w.memory(7, [(0, PAGE)]), id="pages missing at the end"),
        pytest.param(
            lambda w: (w.memory(7, [(0, PAGE)]), w.record(7, "status", b"")), id="a record too early"
        ),
        pytest.param(lambda w: (w.memory(7, [(0, PAGE)]), w.zeros(2)), id="too many pages"),
        pytest.param(lambda w: (w.memory(7, [(0, 10)]), w.zeros(1)), id="a whole page for a short one"),
        pytest.param(lambda w: (w.memory(7, [(0, 10)]), w.last_page(b"x" * 9)), id="a last page too short"),
        pytest.param(lambda w: w.record(7, "syscall", b""), id="a record that snap(6) does not know"),
    ],
)
def test_the_writer_refuses_to_write_what_would_be_garbled(
    tmp_path: Path, build: Callable[[SnapshotWriter], None]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        write(tmp_path / "a.snap", build)
    assert list(tmp_path.iterdir()) == []


# Contents made of few different pages, so that all kinds of references occur.
_page = st.sampled_from([bytes(PAGE), b"a" * PAGE, b"b" * PAGE, bytes(PAGE - 1) + b"c"]) | st.binary(
    min_size=1, max_size=64
).map(lambda some: (some * PAGE)[:PAGE])
_segment = st.tuples(st.lists(_page, max_size=12), st.binary(max_size=PAGE - 1))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(_segment, st.lists(_segment, max_size=5)), min_size=1, max_size=4),
    st.booleans(),
)
def test_any_text_and_segments_come_back(
    tmp_path_factory: pytest.TempPathFactory, processes: Sequence[tuple], compress: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.snap"

    def put(writer: SnapshotWriter, pages: list[bytes], tail: bytes) -> None:
        half = len(pages) // 2
        for part in (pages[:half], pages[half:]):
            if part:
                writer.pages(as_pages(b"".join(part)))
        if tail:
            writer.last_page(tail)

    def build(writer: SnapshotWriter) -> None:
        for pid, ((pages, tail), segments) in enumerate(processes, start=1):
            writer.text(pid, len(pages) * PAGE + len(tail))
            put(writer, pages, tail)
            lengths = [len(pages) * PAGE + len(tail) for pages, tail in segments]
            writer.memory(pid, [(n << 32, length) for n, length in enumerate(lengths, start=1)])
            for pages, tail in segments:
                put(writer, pages, tail)

    write(path, build, compress=compress)
    with open_snapshot(str(path)) as snapshot:
        for pid, ((pages, tail), segments) in enumerate(processes, start=1):
            process = snapshot.process(pid)
            assert process.read_text(0, 1 << 20) == b"".join(pages) + tail
            for number, (pages, tail) in enumerate(segments, start=1):
                content = b"".join(pages) + tail
                assert process.read_memory(number << 32, len(content)) == content
                middle = len(content) // 3
                assert process.read_memory((number << 32) + middle, len(content) - middle) == content[middle:]
