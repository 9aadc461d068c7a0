"""Where an address lies, what a goto means, and symbols against nm(1)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from snaptui.engine.errors import ArgumentError, NotCaptured, SnapError
from snaptui.engine.inspect.addresses import AddressMap, Landing
from snaptui.engine.inspect.expressions import Surroundings, parse_address
from snaptui.engine.inspect.files import as_lines, read_file, saved_files
from snaptui.engine.inspect.held import GLYPHS, bar, page_counts, shares
from snaptui.engine.inspect.machine import machine_of
from snaptui.engine.inspect.opened import Opened, with_stacks
from snaptui.engine.inspect.space import TextImage, read_available
from snaptui.engine.inspect.threads import SavedThread, saved_threads
from snaptui.engine.snapfile import Area, open_snapshot
from snaptui.widgets.hex.lines import LineMap
from tests.helpers.commands import command
from tests.helpers.inside import PLAN9, FakeSpace, Piece, snapshot_of
from tests.helpers.synthetic import PID
from tests.helpers.victims import compile_c, running

AREAS = (
    Area(0x1000, 0x2000, "text", perms="r--p", name="/usr/lib/libc.so.6"),
    Area(0x2000, 0x3000, "text", perms="r-xp", name="/usr/lib/libc.so.6"),
    Area(0x8000, 0x9000, "stored", perms="rw-p", name="[heap]"),
    Area(0x9000, 0xB000, "zero", perms="rw-p", name="[heap]"),
    Area(0xB000, 0xC000, "left out", "no read permission", perms="---p"),
    Area(0x10000, 0x11000, "stored", perms="rw-p", name="[stack]"),
)


def test_neighbours_of_one_name_and_permissions_are_one_block() -> None:
    blocks = AddressMap(AREAS).blocks
    assert [(block.start, block.end, block.perms) for block in blocks] == [
        (0x1000, 0x2000, "r--p"),
        (0x2000, 0x3000, "r-xp"),
        (0x8000, 0xB000, "rw-p"),
        (0xB000, 0xC000, "---p"),
        (0x10000, 0x11000, "rw-p"),
    ]
    assert blocks[2].sizes() == {"stored": 0x1000, "zero": 0x2000}


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (0x1000, "libc.so.6"),
        (0x2010, "libc.so.6+0x1010"),
        (0x8000, "[heap]"),
        (0xAFFF, "[heap]+0x2fff"),
        (0xB004, "anonymous b000+0x4"),
        (0x3000, ""),
        (0, ""),
        (1 << 63, ""),
    ],
)
def test_a_place_is_told_by_its_mapping(address: int, place: str) -> None:
    assert AddressMap(AREAS).describe(address) == place


@pytest.mark.parametrize(
    ("address", "landing"),
    [
        (0x1234, Landing(0x1234)),
        (0x3000, Landing(0x8000, 0x5000)),
        (0x7FFF, Landing(0x8000, 0x5000)),
        (0, Landing(0x1000, 0x1000)),
        (0x11000, Landing(0x10FFF, (1 << 64) - 0x11000)),
    ],
)
def test_out_of_a_hole_one_lands_on_what_is_mapped_next(address: int, landing: Landing) -> None:
    assert AddressMap(AREAS).land(address) == landing


def test_areas_that_cannot_be_are_left_away() -> None:
    """Given areas of a garbled record: negative, upside down, beyond the end, on top of each other."""
    end = 1 << 64
    ranges = [(-5, 3), (0x1000, 0x2000), (0x1800, 0x2800), (0x3000, 0x2F00), (end - 16, end), (end, 2 * end)]
    found = AddressMap([Area(start, stop, "stored") for start, stop in ranges])
    assert [(block.start, block.end) for block in found.blocks] == [(0x1000, 0x2000), (end - 16, end)]
    lines = LineMap(found.blocks)
    assert lines.line(lines.number_of(end - 1)).end == end


def test_without_memory_there_is_nowhere_to_land() -> None:
    with pytest.raises(NotCaptured):
        AddressMap(()).land(0)


def test_steps_go_from_mapping_to_mapping() -> None:
    found = AddressMap(AREAS)
    assert found.step(0x1800, forward=True) == 0x2000
    assert found.step(0x1800, forward=False) == 0x1000
    assert found.step(0x2000, forward=False) == 0x1000
    assert found.step(0x1000, forward=False) is None
    assert found.step(0x10000, forward=True) is None


# Goto.

REGISTERS = {"rsp": 0x10010, "rip": 0x2010, "eflags": 0x246}
SYMBOLS = {"main": 0x2400, "add": 0x2500, "operator+": 0x2600}


def pointer(address: int) -> int:
    if address == 0x10010:
        return 0x8008
    raise NotCaptured(f"{address:#x} is not captured")


AROUND = Surroundings(AddressMap(AREAS), 0x8100, REGISTERS, SYMBOLS.get, pointer)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1234", 0x1234),
        ("0x1234", 0x1234),
        ("0XaBc", 0xABC),
        (" 1234 ", 0x1234),
        ("+10", 0x8110),
        ("-0x10", 0x80F0),
        ("rsp", 0x10010),
        ("$rsp", 0x10010),
        ("RSP", 0x10010),
        ("rsp-8", 0x10008),
        ("rsp + 8", 0x10018),
        ("heap", 0x8000),
        ("[heap]+10", 0x8010),
        ("libc", 0x1000),
        ("libc.so.6+1000", 0x2000),
        ("/usr/lib/libc.so.6", 0x1000),
        ("stack+8-4", 0x10004),
        ("main", 0x2400),
        ("main+4", 0x2404),
        ("operator+", 0x2600),
        ("operator++1", 0x2601),
        ("add", 0xADD),
        ("s:add", 0x2500),
        ("s:heap", 0x8000),
        ("*rsp", 0x8008),
        ("*rsp+0", 0x8008),
        ("*10010", 0x8008),
        ("1000+add", 0x1ADD),
    ],
)
def test_goto_understands(text: str, address: int) -> None:
    assert parse_address(text, AROUND) == address


@pytest.mark.parametrize(
    "text",
    ["", " ", "nowhere", "s:", "s:nowhere", "0x", "*1", "*", "-8101", "+", "12345678901234567", "rsp+rsp"],
)
def test_goto_refuses_in_words(text: str) -> None:
    with pytest.raises(SnapError) as caught:
        parse_address(text, AROUND)
    assert str(caught.value)


def test_goto_says_what_can_be_typed() -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_address("nowhere", AROUND)
    assert "register" in caught.value.help


# Spaces.


def test_reading_what_is_available_ends_at_the_first_byte_that_is_not() -> None:
    space = FakeSpace(
        Piece(0x1000, b"abc"),
        Piece(0x1003, b"def", kind="zero"),
        Piece(0x1006, None, 10),
        Piece(0x1010, b"x"),
    )
    assert read_available(space, 0x1001, 100) == b"bcdef"
    assert read_available(space, 0x1006, 4) == b""
    assert read_available(space, 0x5000, 4) == b""
    assert read_available(space, 0x1000, 2) == b"ab"


# Plan 9.


def test_a_process_of_plan9_opens_at_its_first_memory() -> None:
    with open_snapshot(str(PLAN9 / "two-procs.snap")) as snapshot:
        opened = Opened(snapshot, snapshot.process(1202))
        assert opened.first_address == 0x200000
        assert opened.describe(0x500010) == "Bss+0x10"
        assert parse_address("Stack+10", opened.surroundings(0)) == 0x7FFFFEFFC010
        assert (opened.machine.name, opened.machine.width, opened.machine.endian) == ("amd64", 8, "little")
        (thread,) = opened.threads
        assert (thread.tid, thread.name, thread.state) == (1202, "gs", "Pread")
        assert thread.data == snapshot.process(1202).read("regs")
        assert thread.registers == {}


def test_a_process_without_memory_has_its_text_image() -> None:
    with open_snapshot(str(PLAN9 / "partial.snap")) as snapshot:
        process = snapshot.process(77)
        opened = Opened(snapshot, process)
        assert opened.first_address is None
        image = opened.text_image
        assert [(area.start, area.end) for area in image.areas()] == [(0, 0x512C)]
        assert image.read_memory(0x5000, 0x12C) == process.read_text(0x5000, 0x12C)
        with pytest.raises(NotCaptured):
            image.read_memory(0x5000, 0x12D)


@pytest.mark.parametrize(
    ("objtype", "width", "endian"),
    [("386", 4, "little"), ("amd64", 8, "little"), ("mips", 4, "big"), ("new", 8, "little")],
)
def test_the_machine_is_told_by_the_first_line(objtype: str, width: int, endian: str, tmp_path: Path) -> None:
    plain = (PLAN9 / "two-procs.snap").read_bytes()
    path = tmp_path / "x.snap"
    path.write_bytes(plain.replace(b"amd64", objtype.encode(), 1))
    with open_snapshot(str(path)) as snapshot:
        machine = machine_of(snapshot, snapshot.process(1201))
    assert (machine.name, machine.width, machine.endian) == (objtype, width, endian)


# Files.


def test_files_of_plan9_are_there_and_text_is_text() -> None:
    with open_snapshot(str(PLAN9 / "two-procs.snap")) as snapshot:
        process = snapshot.process(1201)
        files = {file.name: file for file in saved_files(process)}
        assert files["proc"].size == 700
        assert as_lines("ns", read_file(process, files["ns"])) == [
            "bind  / /",
            "mount -a #s/boot / ",
            "cd /usr/glenda",
        ]
        assert as_lines("regs", read_file(process, files["regs"])) is None


def test_files_of_linux_have_their_names_and_links_their_targets(tmp_path: Path) -> None:
    members = {"cmdline": b"a\0b c\0", "environ": b"", "fd/10": b"x", "fd/9": b"y"}
    with snapshot_of(tmp_path / "x.snap", [Piece(0x1000, bytes(4096))], members) as snapshot:
        process = snapshot.process(PID)
        names = [file.name for file in saved_files(process)]
        assert names.index("status") < names.index("linux/cmdline") < names.index("linux/fd/9")
        assert names.index("linux/fd/9") < names.index("linux/fd/10")
        assert "proc" not in names
        cmdline = next(file for file in saved_files(process) if file.name == "linux/cmdline")
        assert as_lines(cmdline.name, read_file(process, cmdline)) == ["a", "b c"]


# How much is held.


def test_the_bar_has_a_cell_for_everything_and_the_right_length() -> None:
    assert bar({"stored": 50, "zero": 50}, 10) == "█████·····"
    assert bar({"stored": 1, "zero": 10_000}, 10) == "█·········"
    assert bar({}, 4) == "    "
    for sizes in (
        {"stored": 1, "text": 1, "zero": 1},
        dict.fromkeys(GLYPHS, 1),
        {"raw": 7, "left out": 1},
    ):
        assert len(bar(sizes, 12)) == 12


def test_bars_of_plan9_count_the_pages_of_the_file() -> None:
    """Given the segments of the fixture, whose pages `expected.json` counts as the original reader does."""
    with open_snapshot(str(PLAN9 / "two-procs.snap")) as snapshot:
        process = snapshot.process(1201)
        counts = [page_counts(process, segment) for segment in process.memory]
        blocks = AddressMap(process.areas()).blocks
        held = {block.name: shares(block, counts) for block in blocks}
        for block, count in zip(blocks, counts, strict=True):
            assert sum(held[block.name].values()) == block.size
            assert count.raw + count.zero + count.memory + count.text == count.segment.page_count
        assert held["Text"] == {"text": 20480}


# Real processes.

SOURCE = """
#include <stdio.h>
#include <unistd.h>
char the_buffer[64] = "text in the data";
int the_function(int x) { return x + 1; }
int main(void) { puts("ready"); fflush(stdout); for (;;) pause(); return the_function(1); }
"""


@pytest.mark.skipif(not shutil.which("nm"), reason="needs nm (binutils)")
@pytest.mark.parametrize("flags", [("-pie", "-fPIE"), ("-no-pie",)], ids=["pie", "no-pie"])
def test_symbols_are_where_nm_and_maps_say(flags: tuple[str, ...], tmp_path: Path) -> None:
    binary = compile_c(SOURCE, *flags)
    path = tmp_path / "x.snap"
    with running([binary]) as victim:
        maps = Path(f"/proc/{victim.pid}/maps").read_text().splitlines()
        subprocess.run(command("snap", "-o", path, victim.pid), check=True, capture_output=True)
    base = int(next(line for line in maps if str(binary) in line).split("-")[0], 16)
    table = subprocess.check_output(["nm", binary], text=True)
    offsets = {words[2]: int(words[0], 16) for line in table.splitlines() if len(words := line.split()) == 3}
    bias = base if flags[0] == "-pie" else 0
    with open_snapshot(str(path)) as snapshot:
        opened = Opened(snapshot, snapshot.process(victim.pid))
        for name in ("main", "the_function", "the_buffer"):
            address = offsets[name] + bias
            assert opened.symbols.address_of(name) == address
            assert opened.symbols.near(address + 3) == f"{name}+0x3"
            assert parse_address(f"{name}+3", opened.surroundings(0)) == address + 3
        assert opened.describe(offsets["main"] + bias) == f"main ({binary.name})"
        assert opened.text_at(offsets["the_buffer"] + bias) == "text in the data"
        assert opened.symbols.address_of("absent") is None
        assert opened.symbols.near(0) == ""
        assert opened.symbols.address_of("pause") is not None  # of libc
        (thread,) = saved_threads(snapshot.process(victim.pid))
        assert thread.where == "pause"
        assert thread.state == "S"
        assert opened.first_address == thread.registers["rsp"]
        image = TextImage(snapshot.process(victim.pid))
        assert image.areas()[0].name == str(binary)
        assert image.read_memory(0, 4) == b"\x7fELF"


def test_stacks_of_threads_have_their_name_where_a_guard_page_tells_them() -> None:
    """Given threads whose stack pointers are above a guard page, in a heap without, in a named mapping."""
    areas = (
        Area(0x1000, 0x2000, "left out", "no read permission", "---p"),
        Area(0x2000, 0x3000, "zero", "", "rw-p"),
        Area(0x3000, 0x4000, "stored", "", "rw-p"),
        Area(0x8000, 0x9000, "stored", "", "rw-p"),
        Area(0xA000, 0xB000, "stored", "", "rw-p", "[stack]"),
    )
    stacks = {7: 0x3100, 8: 0x8100, 9: 0xA100, 10: 0xF000}
    threads = [SavedThread(tid, "", "S", "", "", {"rsp": at}, "rip", "rsp") for tid, at in stacks.items()]
    names = [area.name for area in with_stacks(areas, [*threads, SavedThread(11, "", "S", "", "")])]
    assert names == ["", "[stack:7]", "[stack:7]", "", "[stack]"]


def test_a_chain_of_pointers_ends_in_its_text(tmp_path: Path) -> None:
    data = bytearray(4096)
    data[0:8] = (0x1010).to_bytes(8, "little")
    data[0x10:0x18] = (0x1020).to_bytes(8, "little")
    data[0x20:0x2C] = b"hello world\0"
    data[0x80:0x88] = (0x1080).to_bytes(8, "little")
    with snapshot_of(tmp_path / "x.snap", [Piece(0x1000, bytes(data), name="[heap]")]) as snapshot:
        opened = Opened(snapshot, snapshot.process(PID))
        chain = [(link.address, link.place, link.text) for link in opened.chain(0x1000)]
        assert chain == [(0x1010, "[heap]+0x10", ""), (0x1020, "[heap]+0x20", "hello world")]
        assert [link.address for link in opened.chain(0x1080)] == [0x1080]  # to itself, once
        assert list(opened.chain(0x1030)) == []
