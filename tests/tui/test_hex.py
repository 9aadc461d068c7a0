"""The hex view: its lines, its strips (against hexdump -C), its cursor, and how little it reads."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.style import Style
from textual.app import App
from textual.strip import Strip

from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.machine import Machine
from snaptui.engine.inspect.values import Endian
from snaptui.widgets.hex import caret
from snaptui.widgets.hex.caret import Caret
from snaptui.widgets.hex.lines import FOLD, Line, LineMap
from snaptui.widgets.hex.rows import RowReader
from snaptui.widgets.hex.strips import (
    CURSOR,
    HIT,
    POINTER,
    SELECTED,
    Flags,
    Format,
    Palette,
    address_text,
    class_of,
    glyph_of,
    header_strip,
    note_strip,
    row_strip,
)
from snaptui.widgets.hex.trail import Trail
from snaptui.widgets.hex.view import HexView
from tests.helpers.desk import screen_text
from tests.helpers.inside import FakeSpace, Piece

HOSTILE = ("[heap]", "a[/]b", "[@click=app.quit]x[/]", "\x1b[31mred", "\u202eevil")


def map_of(
    *pieces: Piece, row: int = 16, fold: bool = True, unfolded: frozenset[int] = frozenset()
) -> LineMap:
    return LineMap(AddressMap([piece.area for piece in pieces]).blocks, row, fold=fold, unfolded=unfolded)


def all_lines(lines: LineMap) -> list[tuple[str, int, int]]:
    return [(line.kind, line.start, line.end) for line in map(lines.line, range(lines.height))]


PIECES = (
    Piece(0x1000, bytes(0x20), name="a"),
    Piece(0x1020, bytes(8), kind="zero", name="a"),
    Piece(0x1028, None, 0x18, name="a"),
    Piece(0x1040, bytes(4), name="a"),
    Piece(0x2008, bytes(0x18), name="b"),
    Piece(0x2020, bytes(0x10), name="c"),
    Piece(0x10000, bytes(FOLD), kind="zero", name="d"),
    Piece(0x10000 + FOLD, bytes(1), name="d"),
)


def test_lines_are_headers_rows_and_one_for_what_is_left_out_or_folded() -> None:
    assert all_lines(map_of(*PIECES)) == [
        ("header", 0x1000, 0x1044),
        ("rows", 0x1000, 0x1010),
        ("rows", 0x1010, 0x1020),
        ("rows", 0x1020, 0x1028),
        ("left out", 0x1028, 0x1040),
        ("rows", 0x1040, 0x1044),
        ("header", 0x2008, 0x2020),
        ("rows", 0x2008, 0x2010),
        ("rows", 0x2010, 0x2020),
        ("header", 0x2020, 0x2030),
        ("rows", 0x2020, 0x2030),
        ("header", 0x10000, 0x10000 + FOLD + 1),
        ("folded", 0x10000, 0x10000 + FOLD),
        ("rows", 0x10000 + FOLD, 0x10000 + FOLD + 1),
    ]


@pytest.mark.parametrize("row", [16, 32])
@pytest.mark.parametrize("fold", [True, False])
def test_every_address_has_the_line_that_shows_it(row: int, fold: bool) -> None:
    lines = map_of(*PIECES, row=row, fold=fold)
    for piece in PIECES:
        for address in range(piece.start, piece.end, 7):
            line = lines.line(lines.number_of(address))
            assert line.kind != "header"
            assert line.contains(address)
    for number in range(lines.height):
        line = lines.line(number)
        if line.kind != "header":
            assert lines.number_of(line.start) == lines.number_of(line.end - 1) == number


def test_a_terabyte_that_was_never_touched_costs_a_line_and_unfolds_to_all_its_rows() -> None:
    from snaptui.engine.snapfile import Area

    areas = [Area(1 << 40, 2 << 40, "zero", perms="rw-p")]
    blocks = AddressMap(areas).blocks
    assert LineMap(blocks).height == 2
    unfolded = LineMap(blocks, unfolded=frozenset({1 << 40}))
    assert unfolded.height == 1 + (1 << 36)
    assert unfolded.line(1 << 36).end == 2 << 40
    assert unfolded.number_of((2 << 40) - 1) == 1 << 36


def test_down_keeps_the_column_counts_headers_and_stops_at_the_ends() -> None:
    lines = map_of(*PIECES)
    assert lines.down(0x1003, 1) == 0x1013
    assert lines.down(0x101A, 1) == 0x1027  # a short line
    assert lines.down(0x1023, 1) == 0x1028  # what is left out is one place
    assert lines.down(0x1043, 1) == 0x2008  # its column 3 is before the mapping
    assert lines.down(0x2008, -1) == 0x1043
    assert lines.down(0x1003, -100) == 0x1003
    assert lines.down(0x1003, 100) == 0x10000 + FOLD


# Strips.


def palette() -> Palette:
    """Styles that tell in a strip what was meant."""
    named = {"pointer": Style(underline=True), "hit": Style(reverse=True), "selected": Style(bgcolor="blue"),
             "cursor": Style(bold=True), "mark": Style(italic=True), "ff": Style(color="red"),
             "nul": Style(color="black")}  # fmt: skip
    return Palette(lambda name: named.get(name, Style()), Style())


def row_line(address: int, data: bytes) -> Line:
    return map_of(Piece(address, data)).line(1)


def strip_of(address: int, data: bytes, form: Format | None = None, **flags: object) -> Strip:
    line = row_line(address, data)
    return row_strip(line, data, Flags(**flags).of_line(line), form or Format(), palette())  # type: ignore[arg-type]


@pytest.mark.skipif(not shutil.which("hexdump"), reason="needs hexdump (bsdextrautils)")
def test_rows_have_the_digits_of_hexdump_in_80_columns(tmp_path: Path) -> None:
    """Given random rows, address, bytes and text are those of hexdump -C, a column further left."""
    data = random.Random(4).randbytes(16 * 40)
    (tmp_path / "x").write_bytes(data)
    expected = subprocess.check_output(["hexdump", "-vC", tmp_path / "x"], text=True).splitlines()
    for number, theirs in enumerate(expected[:-1]):
        at = 16 * number
        strip = strip_of(at, data[at : at + 16])
        assert strip.cell_length == len(strip.text) == 78
        assert strip.text[:12] == f"0000{theirs[:8]}"
        assert strip.text[13:61] == theirs[10:58]
        for ours, byte, their in zip(strip.text[62:], data[at : at + 16], theirs[61:77], strict=True):
            assert ours == (their if 0x20 <= byte < 0x7F else glyph_of(byte))


def test_kinds_of_bytes_have_their_own_glyphs() -> None:
    assert [class_of(byte) for byte in b"\0 \nA\x01\x80\xfe\xff"] == [
        "nul", "space", "space", "printable", "ascii", "high", "high", "ff",
    ]  # fmt: skip
    glyphs = [glyph_of(byte) for byte in b"\0\nA\x01\x80\xff"]
    assert len(set(glyphs)) == len(glyphs)
    assert all(len(glyph_of(byte)) == 1 and glyph_of(byte).isprintable() for byte in range(256))


@pytest.mark.parametrize(
    ("word", "endian", "digits"),
    [
        (2, "little", "0100  0302  0504  0706  0908  0b0a  0d0c  0f0e"),
        (2, "big", "0001  0203  0405  0607  0809  0a0b  0c0d  0e0f"),
        (4, "little", "03020100    07060504    0b0a0908    0f0e0d0c"),
        (8, "little", "0706050403020100        0f0e0d0c0b0a0908"),
        (8, "big", "0001020304050607        08090a0b0c0d0e0f"),
    ],
)
def test_words_stand_in_their_byte_order_where_their_bytes_were(
    word: int, endian: Endian, digits: str
) -> None:
    strip = strip_of(0x1000, bytes(range(16)), Format(16, word, endian))
    assert strip.cell_length == len(strip.text) == 78
    assert strip.text[13:61].rstrip() == digits


def test_a_short_line_is_blank_where_nothing_is_mapped() -> None:
    digits, text = " " * 12 + "61 62 63", "    abc"
    assert strip_of(0x1004, b"abc").text == f"000000001000 {digits:<48} {text:<16}"


def test_addresses_beyond_48_bits_keep_their_last_digits() -> None:
    assert address_text(0x7FFC12345678) == "7ffc12345678"
    assert address_text(0xFFFFFFFFFF600000) == "…fffff600000"


def styles(strip: Strip) -> list[Style]:
    """The style of each cell."""
    return [segment.style or Style() for segment in strip for _ in segment.text]


def test_pointers_hits_selection_and_cursor_are_shown_in_digits_and_text() -> None:
    strip = strip_of(
        0x1000, bytes(16), cursor=(0x1000, 0x1001), selected=(0x1002, 0x1004), hits=((0x1006, 0x100A),),
        pointers=(0x1008,), pointer_width=8,
    )  # fmt: skip
    found = styles(strip)
    text = found[62:]
    assert [style.bold for style in text] == [True] + [None] * 15
    assert [at for at, style in enumerate(text) if style.bgcolor] == [2, 3]
    assert [at for at, style in enumerate(text) if style.reverse] == [6, 7, 8, 9]
    assert [at for at, style in enumerate(text) if style.underline] == list(range(8, 16))
    digits = found[13:61]
    assert [at for at, style in enumerate(digits) if style.bold] == [0, 1]
    assert [at for at, style in enumerate(digits) if style.bgcolor] == [6, 7, 8, 9, 10]
    assert [at for at, style in enumerate(digits) if style.reverse] == [*range(18, 24), 24, *range(25, 30)]


def test_the_cursor_is_seen_on_a_hit() -> None:
    cell = styles(strip_of(0x1000, bytes(16), cursor=(0x1001, 0x1002), hits=((0x1000, 0x1004),)))[63]
    assert (cell.bold, cell.reverse, cell.underline) == (True, False, True)


def test_runs_of_one_kind_are_one_segment() -> None:
    assert len(list(strip_of(0x1000, bytes(16)))) == 4  # address, digits, gap, text


def test_flags_of_a_line_are_clipped_to_it() -> None:
    line = row_line(0x1000, bytes(16))
    flags = Flags((0x100F, 0x1017), (0, 1 << 63), ((0xFF0, 0x1002),), (), (0x1008,)).of_line(line)
    assert flags[0] == SELECTED | HIT
    assert flags[2] == SELECTED
    assert flags[15] == SELECTED | POINTER | CURSOR
    assert len(flags) == 16


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_shown_as_they_are_and_never_obeyed(name: str) -> None:
    lines = map_of(Piece(0x1000, bytes(16), name=name), Piece(0x1010, None, 16, name=name, reason=name))
    header = header_strip(lines.line(0), palette(), 100)
    note = note_strip(lines.line(2), name, palette(), 100, cursor=False)
    for strip in (header, note):
        assert strip.cell_length == 100
        assert all(char.isprintable() for char in strip.text)
        assert "\x1b" not in strip.text
        if name.isprintable():
            assert name in strip.text


@pytest.mark.parametrize("word", [1, 2, 4, 8])
@pytest.mark.parametrize("row", [16, 32])
def test_a_click_on_a_digit_or_character_is_its_byte(word: int, row: int) -> None:
    """Given a row whose bytes all differ, the column that is clicked is that of the byte shown there."""
    form = Format(row, word, "big")
    data = bytes(range(0x41, 0x41 + row))
    line = map_of(Piece(0x1000, data), row=row).line(1)
    strip = row_strip(line, data, [0] * row, form, palette())
    for x, char in enumerate(strip.text):
        column = form.column_of(x)
        if x < 13:
            assert column is None
        elif x >= form.text_at:
            assert column == data.index(char.encode())
        elif column is not None and char != " ":
            digits = data[column : column + word].hex()
            assert char in digits
            assert column % word == 0


# The cursor.


def test_sideways_goes_over_lines_holes_and_ends() -> None:
    lines = map_of(*PIECES)
    assert caret.sideways(lines, 0x1000, 1, 1) == 0x1001
    assert caret.sideways(lines, 0x100F, 1, 1) == 0x1010
    assert caret.sideways(lines, 0x1010, -1, 1) == 0x100F
    assert caret.sideways(lines, 0x1027, 1, 1) == 0x1028
    assert caret.sideways(lines, 0x1028, 1, 1) == 0x1040
    assert caret.sideways(lines, 0x1043, 1, 1) == 0x2008
    assert caret.sideways(lines, 0x2008, -1, 1) == 0x1043
    assert caret.sideways(lines, 0x1000, -1, 1) == 0x1000
    assert caret.sideways(lines, 0x1003, 1, 8) == 0x1008
    assert caret.sideways(lines, 0x10000 + FOLD, 1, 1) == 0x10000 + FOLD


def test_home_and_end_go_to_the_line_and_then_to_all() -> None:
    lines = map_of(*PIECES)
    assert caret.edge(lines, 0x1015, 1, forward=True) == 0x101F
    assert caret.edge(lines, 0x101F, 1, forward=True) == 0x10000 + FOLD
    assert caret.edge(lines, 0x1015, 8, forward=True) == 0x1018
    assert caret.edge(lines, 0x1015, 1, forward=False) == 0x1010
    assert caret.edge(lines, 0x1010, 1, forward=False) == 0x1000


def test_a_selection_begins_with_shift_or_v_and_ends_with_a_plain_move() -> None:
    here = Caret(0x1005)
    here.move(0x1008, select=True)
    assert here.selection(1) == (0x1005, 0x1009)
    here.move(0x1002, select=True)
    assert here.selection(1) == (0x1002, 0x1006)
    here.move(0x1003)
    assert here.anchor is None
    here.toggle_visual()
    here.move(0x1004)
    assert here.selection(1) == (0x1003, 0x1005)
    assert here.clear()
    assert not here.clear()


def test_the_trail_goes_back_and_forward_as_in_a_browser() -> None:
    trail = Trail()
    assert trail.back(1) is None
    trail.jump(1)
    trail.jump(2)
    assert trail.back(3) == 2
    assert trail.back(2) == 1
    assert trail.back(1) is None
    assert trail.forward(1) == 2
    assert trail.forward(2) == 3
    assert trail.forward(3) is None
    trail.back(3)
    trail.jump(7)
    assert trail.forward(8) is None


# Reading.


def test_one_frame_is_one_read_and_rows_are_read_once() -> None:
    space = FakeSpace(Piece(0x1000, bytes(0x1000), name="a"), Piece(0x2000, bytes(0x1000), name="b"))
    addresses = AddressMap(space.areas())
    lines = LineMap(addresses.blocks)
    reader = RowReader(space, addresses, Machine("amd64"))
    frame = [lines.line(number) for number in range(246, 270)]
    assert len(reader.rows(frame)) == 23
    assert len(space.reads) == 1
    reader.rows(frame)
    assert len(space.reads) == 1


def test_pointers_into_what_is_mapped_are_known_by_width_and_byte_order() -> None:
    data = (0x1004).to_bytes(8, "little") + (0x5000).to_bytes(8, "little")
    space = FakeSpace(Piece(0x1000, data))
    addresses = AddressMap(space.areas())
    line = LineMap(addresses.blocks).line(1)

    def pointers(machine: Machine) -> tuple[int, ...]:
        return RowReader(space, addresses, machine).rows([line])[0x1000].pointers

    assert pointers(Machine("amd64", 8, "little")) == (0x1000,)
    assert pointers(Machine("amd64", 8, "big")) == ()
    assert pointers(Machine("386", 4, "little")) == (0x1000,)


def test_what_cannot_be_read_says_why_and_its_neighbours_are_shown() -> None:
    space = FakeSpace(Piece(0x1000, bytes(0x20)))
    claims = FakeSpace(Piece(0x1000, bytes(0x40)))
    addresses = AddressMap(claims.areas())
    lines = LineMap(addresses.blocks)
    rows = RowReader(space, addresses, Machine("amd64")).rows([lines.line(number) for number in range(1, 5)])
    assert [bool(row.error) for row in rows.values()] == [False, False, True, True]
    assert "not captured" in rows[0x1020].error


class ViewApp(App[None]):
    def __init__(self, *pieces: Piece) -> None:
        super().__init__()
        self.space = FakeSpace(*pieces)
        self.view = HexView()

    def compose(self):  # type: ignore[no-untyped-def]
        yield self.view

    def on_mount(self) -> None:
        self.view.show(self.space, AddressMap(self.space.areas()), Machine("amd64"))


async def test_page_down_reads_a_screen_and_no_more() -> None:
    app = ViewApp(Piece(0x1000, bytes(1 << 20)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.space.reads.clear()
        await pilot.press("pagedown")
        await pilot.pause()
        assert app.view.cursor == 0x1000 + 23 * 16
        assert app.view.scroll_offset.y == 23
        assert len(app.space.reads) == 1
        assert sum(length for _, length in app.space.reads) <= 24 * 16


async def test_zeros_unfold_and_what_was_left_out_never_shows_as_zeros() -> None:
    app = ViewApp(
        Piece(0x1000, b"A" * 16, name="[heap]"),
        Piece(0x1010, bytes(FOLD), kind="zero", name="[heap]"),
        Piece(0x1010 + FOLD, None, 4096, name="[heap]", reason="a[/]b device memory"),
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        text = screen_text(app)  # type: ignore[arg-type]
        assert "64.0 KiB never touched" in text
        assert "4.0 KiB not captured: a[/]b device memory" in text
        assert "00 00" not in text
        assert app.view.unfold(0x1010)
        await pilot.pause()
        assert "00 00 00 00" in screen_text(app)  # type: ignore[arg-type]
        app.view.go_to(0x1010 + FOLD)
        await pilot.pause()
        assert "not captured" in screen_text(app)  # type: ignore[arg-type]


async def test_the_mouse_moves_the_cursor_and_drags_a_selection() -> None:
    app = ViewApp(Piece(0x1000, bytes(range(256))))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.click(HexView, offset=(13 + 3 * 2, 2))
        assert app.view.cursor == 0x1012
        await pilot.mouse_down(HexView, offset=(13, 1))
        await pilot.hover(HexView, offset=(13 + 9, 1))
        await pilot.mouse_up(HexView, offset=(13 + 9, 1))
        assert app.view.selection == (0x1000, 0x1004)


async def test_nothing_to_show_says_so_and_every_key_is_harmless() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "no memory" in screen_text(app)  # type: ignore[arg-type]
        for key in ("down", "right", "pagedown", "end", "G", "]", "[", "v", "home", "shift+down", "enter"):
            await pilot.press(key)
        await pilot.click(HexView, offset=(20, 5))
