"""Searches over made-up memory, with borders everywhere, against a search of the bytes in one piece."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snaptui.engine.inspect import search as search_module
from snaptui.engine.inspect.matching import Matcher
from snaptui.engine.inspect.patterns import Pattern, parse_pattern, pointer_pattern, text_pattern
from snaptui.engine.inspect.search import search
from snaptui.engine.inspect.space import Space
from snaptui.engine.inspect.textruns import Encoding
from snaptui.engine.snapfile import open_snapshot
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.snapfile.writer import SnapshotWriter
from tests.engine.test_textruns import CHARACTERS
from tests.helpers.inside import FakeSpace, Piece

ALPHABETS = (b"ab", b"\0a", b"\0\1", b"abc\0\xff", b"a\0\xc3\x80")
EXPRESSIONS = (r"ab+a", r"(?<=a)b{2,5}", r"(?s)a.{0,30}b", r"a\x00{1,40}a", r"\x01+", "b{1,}")
VALUES = (0x1000, 0x10FF, 0x1100, 0x10FFF, 0xFF, 0, 0x7F0000001000, 1 << 63)
RANGES = ((0x1000, 1), (0x1000, 0x101), (0x10FF, 2), (0, 0x100), (0x7F0000000FFF, 0x10000), (0xFF, 0x2000))
LENGTHS = (1, 2, 3, 70, 200)
PAGE = 1024


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """Pieces of 256 bytes, searched in steps of 64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "_PIECE", 256)
        patch.setattr(search_module, "_STEP", 64)
        patch.setattr(search_module, "_GROWING_STEP", 64)
        yield


def found_in(space: Space, pattern: Pattern, start: int = 0, stop: int = 1 << 64) -> list[tuple[int, int]]:
    return [(hit.address, hit.size) for batch in search(space, pattern, start, stop) for hit in batch.hits]


def joined(pieces: list[Piece]) -> list[tuple[int, bytes]]:
    """The contiguous ranges that pieces make."""
    ranges: list[tuple[int, bytes]] = []
    for piece in pieces:
        if piece.data is None:
            continue
        if ranges and ranges[-1][0] + len(ranges[-1][1]) == piece.start:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + piece.data)
        else:
            ranges.append((piece.start, piece.data))
    return ranges


def expression(tokens: list[str]) -> re.Pattern[bytes]:
    """Where bytes stand, also one on the other, as a look ahead."""
    parts = [b"." if token == "??" else re.escape(bytes.fromhex(token)) for token in tokens]
    return re.compile(b"(?=" + b"".join(parts) + b")", re.DOTALL)


@st.composite
def memories(draw: st.DrawFn) -> list[Piece]:
    """Some areas, stored or untouched, with holes and areas that are left out between some of them."""
    alphabet = draw(st.sampled_from(ALPHABETS))
    pieces = []
    at = draw(st.integers(0, 3))
    for _ in range(draw(st.integers(1, 6))):
        at += draw(st.sampled_from([0, 0, 1, 100]))
        size = draw(st.integers(1, 400))
        kind = draw(st.sampled_from(["stored", "stored", "stored", "zero", "left out"]))
        if kind == "left out":
            pieces.append(Piece(at, None, size))
        elif kind == "zero":
            pieces.append(Piece(at, bytes(size), kind="zero"))
        else:
            seed = draw(st.integers(0, 1 << 30))
            letters = np.frombuffer(alphabet, dtype=np.uint8)
            data = letters[np.random.default_rng(seed).integers(0, len(letters), size)].tobytes()
            zeros = draw(st.integers(0, size))
            pieces.append(Piece(at, data[: size - zeros] + bytes(zeros)))
        at += size
    return pieces


@st.composite
def needles(draw: st.DrawFn, pieces: list[Piece]) -> list[str]:
    """Bytes in hexadecimal, most often some that stand in the memory, and perhaps wildcards."""
    ranges = joined(pieces)
    size = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 17, 90]))
    content = draw(st.binary(min_size=size, max_size=size))
    if ranges and draw(st.integers(0, 9)):
        _, data = draw(st.sampled_from(ranges))
        at = draw(st.integers(0, max(0, len(data) - size)))
        content = data[at : at + size] or content
    wild = draw(st.sets(st.integers(0, len(content) - 1), max_size=2)) if draw(st.booleans()) else set()
    return ["??" if index in wild else f"{byte:02x}" for index, byte in enumerate(content)]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_bytes_are_found_wherever_they_stand(data: st.DataObject) -> None:
    pieces = data.draw(memories())
    tokens = data.draw(needles(pieces))
    start, stop = data.draw(st.sampled_from([(0, 1 << 64), (7, 300), (200, 1 << 64)]))
    want = [
        (base + match.start(), len(tokens))
        for base, content in joined(pieces)
        for match in expression(tokens).finditer(content)
        if start <= base + match.start() < stop
    ]
    assert found_in(FakeSpace(*pieces), parse_pattern("hex", " ".join(tokens)), start, stop) == want


@settings(max_examples=200, deadline=None)
@given(
    memories(),
    st.sampled_from([r"ab+a", r"(?<=a)b{2,5}", r"(?s)a.{0,30}b", r"a\x00{1,40}a", r"\x01+", "b{1,}"]),
)
def test_regular_expressions_match_as_in_one_piece(pieces: list[Piece], source: str) -> None:
    want = [
        (base + match.start(), len(match[0]))
        for base, content in joined(pieces)
        for match in re.finditer(source.encode(), content)
    ]
    assert found_in(FakeSpace(*pieces), parse_pattern("regex", source)) == want


@settings(max_examples=200, deadline=None)
@given(memories(), st.sampled_from([1, 3, 6]), st.sampled_from(sorted(CHARACTERS)))
def test_texts_are_found_as_in_one_piece(pieces: list[Piece], minimum: int, encoding: Encoding) -> None:
    """Also where they are longer than what a match is sure to have, and cut within a character."""
    pattern = dataclasses.replace(text_pattern(minimum, encoding), reach=32)
    want = [
        (base + match.start(), len(match[0]))
        for base, content in joined(pieces)
        for match in re.finditer(CHARACTERS[encoding] + b"{%d,}" % minimum, content)
    ]
    assert found_in(FakeSpace(*pieces), pattern) == want


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(VALUES), max_size=40),
    st.sampled_from(RANGES),
    st.sampled_from(["little", "big"]),
    st.integers(0, 7),
)
def test_pointers_into_a_range_are_those_whose_value_is_in_it(
    values: list[int], target: tuple[int, int], endian: str, shift: int
) -> None:
    content = b"\xff" + bytes(shift) + b"".join(value.to_bytes(8, endian) for value in values)  # type: ignore[arg-type]
    want = [
        (at, 8)
        for at in range(len(content) - 7)
        if target[0] <= int.from_bytes(content[at : at + 8], endian) < sum(target)  # type: ignore[arg-type]
    ]
    pattern = pointer_pattern(target[0], 8, endian, target[1])  # type: ignore[arg-type]
    assert found_in(FakeSpace(Piece(0, content)), pattern) == want


@given(st.binary(max_size=300), st.integers(0, 1), st.integers(0, 60))
def test_a_matcher_finds_at_odd_addresses_too(content: bytes, odd: int, size: int) -> None:
    needle = content[size : 2 * size + 1] or b"x"
    data = np.frombuffer(b"." * odd + content, dtype=np.uint8)[odd:]
    want = [match.start() for match in expression([f"{byte:02x}" for byte in needle]).finditer(content)]
    assert Matcher(parse_pattern("hex", needle.hex())).find(data).tolist() == want


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("search") / "made-up.snap"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_references_zeros_and_raw_pages_are_read_and_searched_alike(path: Path, data: st.DataObject) -> None:
    """Given runs of pages of each kind, long and short, in segments that touch, all is as it was."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    distinct = [rng.integers(0, 256, PAGE, dtype=np.uint8).tobytes() for _ in range(3)]
    run = st.tuples(st.sampled_from("frz012"), st.sampled_from(LENGTHS))
    runs = data.draw(st.lists(run, min_size=1, max_size=8))
    pages = []
    for kind, count in runs:
        for _ in range(count):
            fresh = rng.integers(0, 256, PAGE, dtype=np.uint8).tobytes()
            pages.append(fresh if kind in "fr" else bytes(PAGE) if kind == "z" else distinct[int(kind)])
    content = b"".join(pages)
    cut = data.draw(st.integers(0, len(pages))) * PAGE
    base = 0x10000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "_PIECE", 96 << 10)
        patch.setattr(search_module, "_STEP", 32 << 10)
        with open_output(str(path)) as output:
            writer = SnapshotWriter(output, "made up")
            sizes = [(base, cut), (base + cut, len(content) - cut)]
            writer.memory(7, [(start, size) for start, size in sizes if size])
            writer.pages(np.frombuffer(content, dtype=np.uint8).reshape(-1, PAGE))
            writer.finish()
            output.commit()
        at = data.draw(st.integers(0, max(0, len(content) - 20)))
        needle = content[at : at + data.draw(st.sampled_from([3, 8, 20]))]
        with open_snapshot(str(path)) as snapshot:
            process = snapshot.process(7)
            target = np.empty(len(content) - at, dtype=np.uint8)
            process.read_memory_into(base + at, target)
            assert target.tobytes() == content[at:] == process.read_memory(base + at, len(content) - at)
            if any(needle):
                everywhere = expression([f"{byte:02x}" for byte in needle])
                want = [(base + match.start(), len(needle)) for match in everywhere.finditer(content)]
                assert found_in(process, parse_pattern("hex", needle.hex())) == want
