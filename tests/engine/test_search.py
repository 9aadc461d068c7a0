"""Search in pieces, against a search of all bytes at once."""

from __future__ import annotations

import random
import re

import pytest

from snaptui.engine.errors import ArgumentError, Cancelled
from snaptui.engine.inspect import search as search_module
from snaptui.engine.inspect.finder import LIMIT, Finder
from snaptui.engine.inspect.patterns import Pattern, PatternKind, parse_pattern, pointer_pattern
from snaptui.engine.inspect.search import Hit, search
from snaptui.engine.inspect.strings import TextScan
from snaptui.engine.progress import CancelToken
from tests.helpers.inside import FakeSpace, Piece

MIB = 1 << 20


def hits(space: FakeSpace, pattern: Pattern, start: int = 0, stop: int = 1 << 64) -> list[tuple[int, int]]:
    return [(hit.address, hit.size) for batch in search(space, pattern, start, stop) for hit in batch.hits]


def whole(kind: PatternKind, text: str, base: int, data: bytes) -> list[tuple[int, int]]:
    """What `re` finds in all the bytes at once; what is no regular expression wherever it stands."""
    if kind == "regex":
        return [(base + m.start(), len(m[0])) for m in re.finditer(text.encode(), data) if m[0]]
    if kind == "hex":
        parts = [b"." if pair == "??" else re.escape(bytes.fromhex(pair)) for pair in text.split()]
    else:
        parts = [re.escape(text.encode("utf-16-le" if kind == "utf-16" else "utf-8"))]
    ahead = re.compile(b"(?=(" + b"".join(parts) + b"))", re.DOTALL)
    return [(base + m.start(), len(m[1])) for m in ahead.finditer(data)]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that everything lies on a border sooner or later."""
    monkeypatch.setattr(search_module, "_PIECE", 64 << 10)
    monkeypatch.setattr(search_module, "_STEP", 32 << 10)
    monkeypatch.setattr(search_module, "_GROWING_STEP", 16 << 10)


PATTERNS: list[tuple[PatternKind, str]] = [
    ("text", "needle"),
    ("text", "aa"),
    ("text", "n"),
    ("utf-16", "né"),
    ("hex", "00"),
    ("hex", "00 00 00 00"),
    ("hex", "?? 65 ??"),
    ("hex", "6e ?? 65 ?? 6c"),
    ("hex", "6e 65 ?? 64"),
    ("regex", r"ne+dle\d*"),
    ("regex", r"(?<=x)needle"),
    ("regex", r"[a-z]{3,}"),
    ("regex", r"a*"),
    ("regex", r"(?s)n.{0,40}e"),
]


@pytest.mark.parametrize(("kind", "text"), PATTERNS)
def test_pieces_find_what_one_search_over_everything_finds(
    small_pieces: None, kind: PatternKind, text: str
) -> None:
    source = random.Random(text)
    words = [
        b"needle",
        b"xneedle7",
        b"neeeedle12",
        b"aaa",
        "né".encode("utf-16-le"),
        bytes(5),
        b"\xff\xfe",
        b"n",
    ]
    data = b"".join(source.choice(words) + source.randbytes(source.randrange(30)) for _ in range(20_000))
    pattern = parse_pattern(kind, text)
    assert hits(FakeSpace(Piece(0x1000, data)), pattern) == whole(kind, text, 0x1000, data)


@pytest.mark.parametrize("border", [4 * MIB, 256 << 10])
@pytest.mark.parametrize("kind", ["text", "regex"])
def test_a_match_on_the_border_of_two_pieces_is_found_once(kind: PatternKind, border: int) -> None:
    for before in range(8):
        data = bytearray(5 * MIB)
        data[border - before : border - before + 6] = b"needle"
        found = hits(FakeSpace(Piece(0, bytes(data))), parse_pattern(kind, "needle"))
        assert found == [(border - before, 6)]


def test_areas_that_touch_are_one_haystack_and_a_hole_is_none() -> None:
    touching = FakeSpace(Piece(0x1000, b"xxneed"), Piece(0x1006, b"lexx", name="other", perms="r--p"))
    apart = FakeSpace(Piece(0x1000, b"xxneed"), Piece(0x1007, b"lexx"))
    left_out = FakeSpace(Piece(0x1000, b"xxneed"), Piece(0x1006, None, 4), Piece(0x100A, b"lexx"))
    needle = parse_pattern("text", "needle")
    assert hits(touching, needle) == [(0x1002, 6)]
    assert hits(apart, needle) == []
    assert hits(left_out, needle) == []


def test_untouched_memory_is_not_read_unless_zeros_can_match() -> None:
    zeros = bytes(MIB)
    space = FakeSpace(Piece(0, b"abc\0"), Piece(4, zeros, kind="zero"), Piece(4 + MIB, b"\0\0xyz"))
    assert hits(space, parse_pattern("text", "xyz")) == [(6 + MIB, 3)]
    assert sum(length for _, length in space.reads) < 100
    assert hits(space, parse_pattern("hex", "63 00 00 00")) == [(2, 4)]
    assert hits(space, parse_pattern("hex", "00 00 78")) == [(4 + MIB, 3)]
    assert hits(space, parse_pattern("regex", r"c\0+x")) == []  # longer than what is looked at
    found = hits(space, parse_pattern("hex", "00 00 00 00"))
    assert found == whole("hex", "00 00 00 00", 0, b"abc\0" + zeros + b"\0\0xyz")


@pytest.mark.parametrize(("start", "stop"), [(0, 1 << 64), (3, 1 << 64), (0, 12), (6, 12), (7, 13)])
def test_only_matches_that_begin_in_the_range_are_found(start: int, stop: int) -> None:
    space = FakeSpace(Piece(0, b"needle" * 4))
    found = [at for at, _ in hits(space, parse_pattern("text", "needle"), start, stop)]
    assert found == [at for at in (0, 6, 12, 18) if start <= at < stop]


def test_what_a_damaged_file_lacks_is_passed_over() -> None:
    """Given an area that is said to be stored, and of which a page cannot be read."""

    class Damaged(FakeSpace):
        def areas(self):  # type: ignore[no-untyped-def]
            first, last = super().areas()
            return (type(first)(first.start, last.end, "stored"),)

    space = Damaged(Piece(0, b"needle".ljust(1024, b".")), Piece(2048, b"needle".ljust(1024, b".")))
    assert hits(space, parse_pattern("text", "needle")) == [(0, 6), (2048, 6)]
    assert hits(space, parse_pattern("hex", "00")) == []


def test_progress_is_told_by_time_and_ends_at_the_total() -> None:
    clock = iter(range(1000))
    space = FakeSpace(Piece(0, bytes(10 * MIB)))
    batches = list(search(space, parse_pattern("text", "x"), clock=lambda: float(next(clock))))
    done = [batch.done for batch in batches]
    assert done == sorted(done)
    assert len(done) >= 4
    assert (batches[-1].done, batches[-1].total) == (10 * MIB, 10 * MIB)


def test_the_first_hit_is_told_at_once() -> None:
    space = FakeSpace(Piece(0, b"needle" + bytes(20 * MIB)))
    first = next(search(space, parse_pattern("text", "needle")))
    assert first.hits == (Hit(0, 6),)
    assert len(space.reads) == 1


def test_cancel_ends_it_within_one_piece() -> None:
    token = CancelToken()
    space = FakeSpace(Piece(0, bytes(64 * MIB)))
    found = search(space, parse_pattern("text", "x"), cancel=token, clock=iter(range(99)).__next__)
    next(found)
    token.cancel()
    with pytest.raises(Cancelled):
        list(found)
    assert sum(length for _, length in space.reads) <= 8 * MIB


@pytest.mark.parametrize("text", ["", "xyz", "1", "de a", "?", "0x", "é"])
def test_what_are_no_bytes_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        parse_pattern("hex", text)


@pytest.mark.parametrize("text", ["(", "[", "*", r"\2"])
def test_what_is_no_regular_expression_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="regular expression"):
        parse_pattern("regex", text)


def test_bytes_may_be_typed_in_several_ways() -> None:
    for text in ("de ad be ef", "deadbeef", "0xDEADBEEF", "DE AD BEEF"):
        assert parse_pattern("hex", text).literal == bytes.fromhex("deadbeef")


def test_a_pointer_is_found_in_the_byte_order_of_the_machine_at_any_alignment() -> None:
    data = b"x" + (0x7FFC00001234).to_bytes(8, "little") + b"yyy" + (0x7FFC00001234).to_bytes(8, "big")
    space = FakeSpace(Piece(0, data))
    assert hits(space, pointer_pattern(0x7FFC00001234, 8, "little")) == [(1, 8)]
    assert hits(space, pointer_pattern(0x7FFC00001234, 8, "big")) == [(12, 8)]
    with pytest.raises(ArgumentError):
        pointer_pattern(1 << 32, 4, "little")


# The finder.


def finder(data: bytes, origin: int = 0, text: str = "needle") -> Finder:
    made = Finder(FakeSpace(Piece(0, data)), parse_pattern("text", text), origin)
    made.run()
    return made


def test_next_and_previous_go_round() -> None:
    data = b"needle....needle....needle"
    found = finder(data, origin=5)
    assert found.count == 3
    assert [found.after(at).address for at in (0, 9, 10, 19, 20, 25)] == [10, 10, 20, 20, 0, 0]  # type: ignore[union-attr]
    assert [found.before(at).address for at in (0, 9, 10, 11, 25)] == [20, 0, 0, 10, 20]  # type: ignore[union-attr]
    assert found.ranges(3, 12) == ((0, 6), (10, 16))
    assert found.ranges(6, 10) == ()


def test_none_is_found_and_that_is_no_error() -> None:
    found = finder(b"nothing")
    assert (found.count, found.error, found.is_finished) == (0, "", True)
    assert found.after(0) is None


def test_a_hit_that_is_yet_to_come_is_not_the_first_one_again() -> None:
    """Given a search that has found one hit and runs on, the next one is not known: not the first."""
    made = Finder(FakeSpace(Piece(0, b"needle")), parse_pattern("text", "needle"))
    made._search(1, 0, 1 << 64)
    assert made.after(3) is None
    made.run()
    assert made.after(3) == Hit(0, 6)


def test_hits_end_at_the_limit_and_say_so() -> None:
    found = finder(b"a" * (LIMIT + 5), text="a")
    assert found.count == LIMIT
    assert "100,000" in found.error


# Texts.


def texts(*pieces: Piece, **options: object) -> list[tuple[int, str]]:
    scan = TextScan(FakeSpace(*pieces), **options)  # type: ignore[arg-type]
    scan.run()
    return [(found.address, found.text) for found in scan.found]


def test_texts_are_those_of_a_length_or_more() -> None:
    data = (
        b"\x01short\0\0long enough\0"
        + "ünïcödé".encode()
        + b"\xff"
        + "wide text".encode("utf-16-le")
        + b"\0\0"
    )
    assert texts(Piece(0, data)) == [(8, "long enough"), (20, "ünïcödé")]
    assert (1, "short") in texts(Piece(0, data), minimum=5)
    assert texts(Piece(0, data), encoding="utf-16") == [(data.index(b"w\0i\0"), "wide text")]


def test_texts_with_a_word_are_shown_whole_over_a_hole_and_a_border() -> None:
    pieces = (
        Piece(0x1000, b"\0" * 5 + b"say nee"),
        Piece(0x100C, b"dle now\0", name="x"),
        Piece(0x2000, b"needle"),
    )
    assert texts(*pieces, word="needle") == [(0x1005, "say needle now"), (0x2000, "needle")]
    assert texts(*pieces, word="absent") == []
