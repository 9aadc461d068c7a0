"""info, segments, hexdump, regs, cat and verify on the two snapshots that Plan 9's own snap wrote."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import snaptui_command
from tests.helpers.strict_reader import StrictProcess, read_snapshot

PLAN9 = Path(__file__).parent.parent / "data/plan9"
EXPECTED: dict[str, dict[str, Any]] = json.loads((PLAN9 / "expected.json").read_text())
TWO_PROCS = PLAN9 / "two-procs.snap"
PARTIAL = PLAN9 / "partial.snap"
PAGE = 1201


@pytest.fixture(scope="module")
def page() -> StrictProcess:
    """The process `page` of the snapshot, by another reader."""
    return read_snapshot(TWO_PROCS, ours=False).processes[PAGE]


def output_of(*arguments: str | int | Path) -> str:
    return snaptui_command(*arguments).expect(0).out.decode()


def json_of(*arguments: str | int | Path) -> Any:
    return json.loads(output_of(*arguments, "--json"))


# info


def test_info_says_when_where_and_what() -> None:
    info = json_of("info", TWO_PROCS)
    first_line = TWO_PROCS.read_bytes().split(b"\n", 1)[0].decode()
    words = first_line.removeprefix("process snapshot ").split()
    assert info["time"] == int(words[0])
    assert f"{info['user']}@{info['system']}" == words[1]
    assert info["arch"] == words[2]
    assert info["size"] == info["stored_size"] == TWO_PROCS.stat().st_size
    assert [(process["pid"], process["name"]) for process in info["processes"]] == [
        (1201, "page"),
        (1202, "gs"),
    ]
    for process in info["processes"]:
        expected = EXPECTED["two-procs.snap"][str(process["pid"])]
        assert process["memory"]["stored"] == sum(segment["length"] for segment in expected["segments"])
        assert process["text_size"] == expected["files"]["text"]["size"]
        assert set(process["records"]) == set(expected["files"]) - {"text"}


def test_info_as_a_table_has_the_same_numbers() -> None:
    lines = output_of("info", TWO_PROCS).splitlines()
    row = next(line.split() for line in lines if line.split()[:1] == [str(PAGE)])
    assert row[1:4] == ["page", "glenda", "Pread"]
    stored = sum(segment["length"] for segment in EXPECTED["two-procs.snap"][str(PAGE)]["segments"])
    assert row[5] == str(stored)


def test_a_table_in_a_narrow_window_is_not_cropped_when_it_goes_to_a_pipe() -> None:
    from tests.helpers.commands import environment

    narrow = snaptui_command("segments", TWO_PROCS, PAGE, env={**environment(), "COLUMNS": "20"}).expect(0)
    assert narrow.out.decode() == output_of("segments", TWO_PROCS, PAGE)
    assert "0x7fffff000000" in narrow.out.decode()


# segments


@pytest.mark.parametrize("pid", [1201, 1202])
def test_segments_are_those_of_the_segment_file(pid: int) -> None:
    expected = EXPECTED["two-procs.snap"][str(pid)]["segments"]
    listing = json_of("segments", TWO_PROCS, pid)
    got = [{key: one[key] for key in ("name", "start", "length")} for one in listing["segments"]]
    assert got == [{key: one[key] for key in ("name", "start", "length")} for one in expected]
    assert all(one["end"] == one["start"] + one["length"] for one in listing["segments"])
    assert [area["name"] for area in listing["areas"]] == [one["name"] for one in expected]


def test_the_table_of_segments_has_exact_addresses() -> None:
    lines = output_of("segments", TWO_PROCS, PAGE).splitlines()
    expected = EXPECTED["two-procs.snap"][str(PAGE)]["segments"]
    for line, segment in zip(lines[1:], expected, strict=True):
        start, end, size, kind, _, name = line.split()
        assert (int(start, 16), int(end, 16)) == (segment["start"], segment["start"] + segment["length"])
        assert (int(size), kind, name) == (segment["length"], "stored", segment["name"])


# hexdump


@pytest.mark.skipif(not shutil.which("hexdump"), reason="needs hexdump (bsdextrautils)")
@pytest.mark.parametrize(
    ("address", "length"),
    [(0x200000, 256), (0x200007, 333), (0x400000, 0x3000), (0x500000 + 0x1BF0, 16), (0x500000, 1)],
    ids=hex,
)
def test_hexdump_is_what_hexdump_shows(
    tmp_path: Path, page: StrictProcess, address: int, length: int
) -> None:
    image = tmp_path / "memory"
    with image.open("wb") as file:
        file.seek(address)
        file.write(page.read_memory(address, length))
    for options in ([], ["-v"]):
        want = subprocess.check_output(["hexdump", "-C", *options, "-s", str(address), image], text=True)
        assert output_of("hexdump", *options, TWO_PROCS, PAGE, f"{address:x}+{length}") == want


@pytest.mark.parametrize(
    ("text", "length"), [("64", 64), ("0x40", 64), ("1K", 1024), ("2k", 2048), ("0x1K", 1024), (None, 256)]
)
def test_lengths(page: StrictProcess, text: str | None, length: int) -> None:
    plus = "" if text is None else f"+{text}"
    rows = output_of("hexdump", "-v", TWO_PROCS, PAGE, f"0x200000{plus}").splitlines()
    assert rows[-1] == f"{0x200000 + length:08x}"
    shown = b"".join(bytes.fromhex(row[10:58].replace(" ", "")) for row in rows[:-1])
    assert shown == page.read_memory(0x200000, length)


def test_plain_digits_are_hexadecimal() -> None:
    assert output_of("hexdump", TWO_PROCS, PAGE, "200000") == output_of(
        "hexdump", TWO_PROCS, PAGE, "0x200000"
    )


def test_large_addresses_have_all_their_digits() -> None:
    rows = output_of("hexdump", TWO_PROCS, PAGE, "7ffffeffc000+32").splitlines()
    assert rows[0].startswith("7ffffeffc000  ")
    assert rows[-1] == "7ffffeffc020"


def test_what_lies_before_memory_that_was_not_captured_is_shown() -> None:
    """Given a range that runs over a segment's end, then its beginning is shown, and the error."""
    result = snaptui_command("hexdump", TWO_PROCS, PAGE, "204ff0+4K").expect(1)
    rows = result.out.decode().splitlines()
    assert len(rows) == 2
    assert rows[1] == "00205000"
    assert re.fullmatch(r"snaptui: 0x205000 is not captured: .+\n", result.err)


def test_memory_that_was_not_captured_is_an_error_and_not_zeros() -> None:
    result = snaptui_command("hexdump", TWO_PROCS, PAGE, "0").expect(1)
    assert not result.out
    assert "0x0 is not captured" in result.err


# cat


@pytest.mark.parametrize("name", sorted(EXPECTED["two-procs.snap"][str(PAGE)]["files"]))
def test_cat_writes_each_file_as_it_is(page: StrictProcess, name: str) -> None:
    size = EXPECTED["two-procs.snap"][str(PAGE)]["files"][name]["size"]
    want = page.files[name] if name != "text" else page.read_text(0, size)
    got = snaptui_command("cat", TWO_PROCS, PAGE, name).expect(0).out
    assert len(got) == size
    assert got == want


def test_cat_lists_the_files() -> None:
    files = json_of("cat", TWO_PROCS, PAGE, "--list")["files"]
    want = {name: entry["size"] for name, entry in EXPECTED["two-procs.snap"][str(PAGE)]["files"].items()}
    assert {file["name"]: file["size"] for file in files} == want


def test_cat_of_what_is_not_there() -> None:
    result = snaptui_command("cat", PARTIAL, 77, "segment").expect(1)
    assert result.lines[0] == "snaptui: process 77 has no file segment in this snapshot"
    snaptui_command("cat", TWO_PROCS, PAGE, "maps").expect(1)
    snaptui_command("cat", TWO_PROCS, PAGE, "../../etc/passwd").expect(1)


def test_cat_of_mem_names_what_does_it() -> None:
    result = snaptui_command("cat", TWO_PROCS, PAGE, "mem").expect(2)
    assert "hexdump" in result.err


@pytest.mark.parametrize("arguments", [[], ["fd", "--list"], ["fd", "--json"]])
def test_cat_wants_a_name_or_the_list(arguments: list[str]) -> None:
    snaptui_command("cat", TWO_PROCS, PAGE, *arguments).expect(2)


# regs


def test_registers_of_an_unknown_machine_are_shown_as_bytes(page: StrictProcess) -> None:
    rows = output_of("regs", TWO_PROCS, PAGE).splitlines()
    shown = b"".join(bytes.fromhex(row[10:58].replace(" ", "")) for row in rows[:-1])
    assert shown == page.files["regs"]
    (thread,) = json_of("regs", TWO_PROCS, PAGE)["threads"]
    assert (thread["tid"], thread["registers"], thread["raw"]) == (PAGE, {}, page.files["regs"].hex())


def test_registers_of_a_thread_that_is_not_there() -> None:
    result = snaptui_command("regs", TWO_PROCS, PAGE, "--thread", "5").expect(1)
    assert result.lines[0] == "snaptui: process 1201 has no thread 5"


# verify


@pytest.mark.parametrize("form", ["plain", "compressed"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_verify_finds_what_the_original_holds(tmp_path: Path, name: str, form: str) -> None:
    """Each file and segment has the size and the SHA-256 that Plan 9's own program gives it."""
    path = PLAN9 / name
    if form == "compressed":
        path = tmp_path / f"{name}.zst"
        snaptui_command("compress", PLAN9 / name, "-o", path).expect(0)
    report = json_of("verify", path)
    assert report["processes"] == EXPECTED[name]
    assert report["complete"] is True


def test_verify_names_the_records_that_are_not_there() -> None:
    text = output_of("verify", PARTIAL)
    assert text.splitlines()[0] == f"{PARTIAL}: intact"
    assert "  not in the snapshot: fpregs ns segment mem" in text.splitlines()
    assert json_of("verify", PARTIAL)["reports"]["77"]["absent"] == ["fpregs", "ns", "segment", "mem"]


@pytest.mark.parametrize("cut", [0, 10, 16, 400, 20_000, 54_336])
def test_a_truncated_snapshot_is_one_clear_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.snap"
    path.write_bytes(TWO_PROCS.read_bytes()[:cut])
    for name in ("verify", "info"):
        result = snaptui_command(name, path)
        result.expect_no_crash()
        if cut in (16,):
            continue  # a first line without its end: nothing says that more was there
        line = result.expect_clear_failure()
        assert line.startswith(f"snaptui: {path}: ")
