"""search and strings: needles that a process planted, found where it says; all matches, by another reader."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import finish, snap, snaptui_command, start
from tests.helpers.live import captured_areas, read_memory
from tests.helpers.strict_reader import read_snapshot
from tests.helpers.victims import running_python

PLAN9 = Path(__file__).parent.parent / "data/plan9/two-procs.snap"

# Plants needles, whose bytes stand nowhere else in its memory: they are made from numbers that are not them.
PLANTER = r"""
import ctypes, mmap, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
MIB, PAGE = 1 << 20, 4096
area = mmap.mmap(-1, 6 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
base = ctypes.addressof(ctypes.c_char.from_buffer(area))
shared = mmap.mmap(-1, 16 * PAGE)
shared_base = ctypes.addressof(ctypes.c_char.from_buffer(shared))
needle = bytes(byte ^ 0x5A for byte in bytes.fromhex(sys.argv[1]))

def plant(name, at, content=needle, where=area, start=base):
    where[at : at + len(content)] = content
    print(name, start + at, flush=True)

print("ready", flush=True)
noise = os.urandom(PAGE)
# Two equal pages, again and again: all but the first are references.
for page in range(64, 128):
    area[page * PAGE : (page + 1) * PAGE] = noise
plant("over a border of 1 KiB", 10 * PAGE + 1024 - 3)
plant("over a border of pages", 20 * PAGE - 1)
plant("at an odd address", 30 * PAGE + 77)
plant("in a page of zeros", 40 * PAGE + 2048)
area[41 * PAGE : 42 * PAGE] = bytes(PAGE)
plant("at the very end of what is touched", 45 * PAGE - len(needle))
plant("from a page of its own into one that is there many times", 64 * PAGE - 4)
area[70 * PAGE : 71 * PAGE] = area[63 * PAGE : 64 * PAGE]
plant("over the border of two pieces", 4 * MIB - 5)
plant("over the border of two mappings", 200 * PAGE - 6)
assert libc.mprotect(ctypes.c_void_p(base + 200 * PAGE), ctypes.c_size_t(PAGE), 1) == 0
plant("in shared memory", 5 * PAGE + 1023, where=shared, start=shared_base)
plant("twice, one on the other", 50 * PAGE, needle + needle[2:])
# The needle begins and ends with the same two bytes.
print("the other", base + 50 * PAGE + len(needle) - 2, flush=True)
plant("in UTF-16", 55 * PAGE + 1023, "Grünkohl süß".encode("utf-16-le"))
plant("a pointer", 56 * PAGE + 1021, (base + 300 * PAGE).to_bytes(8, "little"))
plant("a pointer behind it", 57 * PAGE, (base + 300 * PAGE + 99).to_bytes(8, "little"))
plant("base", 0, b"\1")
print("end", flush=True)
del needle
signal.pause()
"""
NEEDLE = b"\xc3\x28needle-\x00\xff in hay\xc3\x28"
UTF16 = "Grünkohl süß"


@dataclass(frozen=True)
class Planted:
    """A saved process, what it says that it planted, and its memory as it was: contiguous ranges."""

    path: Path
    pid: int
    needles: dict[str, int]
    memory: tuple[tuple[int, bytes], ...]

    def all_of(self, pattern: bytes) -> list[int]:
        """Where bytes stand in the memory, also where they overlap."""
        found = []
        for base, content in self.memory:
            at = content.find(pattern)
            while at >= 0:
                found.append(base + at)
                at = content.find(pattern, at + 1)
        return found


def memory_of(pid: int, path: Path) -> Iterator[tuple[int, bytes]]:
    """What the snapshot says that it holds, as the live process has it; neighbours joined."""
    base, content = 0, bytearray()
    for area in captured_areas(read_snapshot(path).processes[pid]):
        if area.kind == "left out":
            continue
        if area.start != base + len(content):
            yield base, bytes(content)
            base, content = area.start, bytearray()
        content += read_memory(pid, area.start, area.end - area.start)
    yield base, bytes(content)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    path = tmp_path_factory.mktemp("search") / "planted.snap"
    hidden = bytes(byte ^ 0x5A for byte in NEEDLE).hex()
    with running_python(PLANTER, hidden) as victim:
        needles = {}
        for words in victim.table():
            needles[" ".join(words[:-1])] = int(words[-1])
        victim.wait_asleep()
        victim.stop()
        snap("-o", path, victim.pid).expect(0)
        yield Planted(path, victim.pid, needles, tuple(memory_of(victim.pid, path)))


def records(*arguments: str | int | Path, status: int = 0) -> list[dict[str, Any]]:
    out = snaptui_command("search", *arguments, "--json").expect(status).out
    return [json.loads(line) for line in out.splitlines()]


def addresses(*arguments: str | int | Path) -> list[int]:
    return [record["address"] for record in records(*arguments)]


def hexed(content: bytes) -> str:
    return content.hex(" ")


def test_every_needle_is_found_where_the_process_planted_it(planted: Planted) -> None:
    """Given needles over all kinds of borders, then each is found, and so is all else that equals it."""
    others = ("in UTF-16", "a pointer", "a pointer behind it", "base")
    mine = {at for name, at in planted.needles.items() if name not in others}
    found = addresses(planted.path, planted.pid, "--hex", hexed(NEEDLE))
    assert mine <= set(found)
    assert found == planted.all_of(NEEDLE)


def test_the_same_in_a_compressed_snapshot(planted: Planted, tmp_path: Path) -> None:
    packed = tmp_path / "planted.snap.zst"
    snaptui_command("compress", planted.path, "-o", packed).expect(0)
    assert addresses(packed, "--hex", hexed(NEEDLE)) == planted.all_of(NEEDLE)


@pytest.mark.parametrize(
    "pattern",
    [b"PYTHON", b"\x7fELF\x02\x01", b"GLIBC_2.", b"\0\0\0\0\0\0\0\x80\x3f", b"\xff" * 7],
    ids=["text", "ELF", "library", "zeros", "same"],
)
def test_all_that_is_in_memory_is_found_in_text_pages_too(planted: Planted, pattern: bytes) -> None:
    want = planted.all_of(pattern)
    assert want
    assert addresses(planted.path, "--hex", hexed(pattern)) == want


def test_zeros_are_found_where_nothing_was_written(planted: Planted) -> None:
    """Given more zeros than anybody wrote, the untouched end of a mapping holds them."""
    result = snaptui_command("search", planted.path, "--hex", "00" * 8, "--count").expect(0)
    want = len(planted.all_of(bytes(8)))
    assert result.out.decode().split(": ")[-1] == f"{want}\n"


def test_regular_expressions_match_as_in_one_piece(planted: Planted) -> None:
    found = records(planted.path, planted.pid, "--regex", r"(?i)GLIBC_2\.[0-9]+(?=\x00)")
    want = [
        (base + match.start(), len(match[0]))
        for base, content in planted.memory
        for match in re.finditer(rb"(?i)GLIBC_2\.[0-9]+(?=\x00)", content)
    ]
    assert [(record["address"], record["size"]) for record in found] == want
    assert want


def test_text_in_utf_16(planted: Planted) -> None:
    found = records(planted.path, "--text", UTF16, "--encoding", "utf-16")
    assert planted.needles["in UTF-16"] in [record["address"] for record in found]
    assert [record["address"] for record in found] == planted.all_of(UTF16.encode("utf-16-le"))
    assert all(UTF16 in record["context"]["text"] for record in found)


def test_pointers_to_an_address_and_into_a_range(planted: Planted) -> None:
    target = planted.needles["base"] + 300 * 4096
    want = planted.all_of(target.to_bytes(8, "little"))
    assert planted.needles["a pointer"] in want
    assert addresses(planted.path, planted.pid, "--pointer-to", f"{target:x}") == want
    into = addresses(planted.path, planted.pid, "--pointer-to", f"{target:#x}+100")
    values = range(target, target + 100)
    assert into == sorted(at for value in values for at in planted.all_of(value.to_bytes(8, "little")))
    assert {planted.needles["a pointer"], planted.needles["a pointer behind it"]} <= set(into)
    one_short = addresses(planted.path, planted.pid, "--pointer-to", f"{target:#x}+99")
    assert planted.needles["a pointer behind it"] not in one_short


def test_a_pointer_is_named_as_for_hexdump(planted: Planted) -> None:
    """Given the name of a register, it stands for what that holds."""
    out = snaptui_command("regs", planted.path, planted.pid, "--json").expect(0).out
    rsp = json.loads(out)["threads"][0]["registers"]["rsp"]
    want = planted.all_of(rsp.to_bytes(8, "little"))
    result = snaptui_command("search", planted.path, planted.pid, "--pointer-to", "rsp", "--json")
    assert [json.loads(line)["address"] for line in result.out.splitlines()] == want
    assert result.status == (0 if want else 1)


def test_a_match_says_where_it_is_and_what_is_around_it(planted: Planted) -> None:
    at = planted.needles["in a page of zeros"]
    record = next(r for r in records(planted.path, "--hex", hexed(NEEDLE)) if r["address"] == at)
    assert (record["pid"], record["size"]) == (planted.pid, len(NEEDLE))
    assert record["segment"]["perms"] == "rw-p"
    assert record["segment"]["start"] <= at < record["segment"]["end"]
    context = record["context"]
    around = read_memory(planted.pid, at - 16, len(NEEDLE) + 32)
    assert (context["start"], bytes.fromhex(context["bytes"])) == (at - 16, around)


def test_as_text_each_match_is_a_line_and_bytes_are_rows_of_hexdump(planted: Planted) -> None:
    at = planted.needles["over a border of 1 KiB"]
    rows = snaptui_command("search", planted.path, "--hex", hexed(NEEDLE)).expect(0).out.decode().splitlines()
    index = next(number for number, row in enumerate(rows) if f" {at:#x} " in row)
    assert rows[index].startswith(f"{planted.pid} {at:#x} rw-p ")
    start = at // 16 * 16
    want = snaptui_command("hexdump", "-v", planted.path, planted.pid, f"{start:x}+32").expect(0).out.decode()
    assert [row.strip() for row in rows[index + 1 : index + 3]] == want.splitlines()[:2]
    text = snaptui_command("search", planted.path, "--text", "needle-", "--max", "3").expect(0).out.decode()
    lines = text.splitlines()
    assert len(lines) == 3
    assert all("needle-" in line and line.startswith(f"{planted.pid} 0x") for line in lines)


def test_max_ends_it_and_count_counts(planted: Planted) -> None:
    want = planted.all_of(NEEDLE)
    assert addresses(planted.path, "--hex", hexed(NEEDLE), "--max", "2") == want[:2]
    (counted,) = records(planted.path, "--hex", hexed(NEEDLE), "--count")
    assert (counted["pid"], counted["count"]) == (planted.pid, len(want))


def test_nothing_found_is_status_1_and_silent(planted: Planted) -> None:
    result = snaptui_command("search", planted.path, "--hex", "de ad 00 be ef 00 de ad 12 34").expect(1)
    assert (result.out, result.err) == (b"", "")
    counted = snaptui_command("search", "-c", planted.path, "--hex", "de ad 00 be ef 00 de ad 12 34").expect(
        1
    )
    assert counted.out.decode().endswith(": 0\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--text", "a", "--hex", "00"],
        ["--text", ""],
        ["--hex", "xyz"],
        ["--regex", "("],
        ["--regex", "a", "--encoding", "utf-16"],
        ["--pointer-to", "no-such-name"],
        ["--pointer-to", "0x10+"],
        ["--pointer-to", "ffffffffffffffff+2"],
        ["--text", "a", "--max", "0"],
    ],
)
def test_what_makes_no_sense_is_status_2(arguments: list[str]) -> None:
    assert snaptui_command("search", PLAN9, 1201, *arguments).expect(2).out == b""


def test_a_process_that_is_not_there() -> None:
    assert "no process 7" in snaptui_command("search", PLAN9, 7, "--text", "a").expect_clear_failure()


def test_an_interrupted_search_keeps_what_it_found_and_says_so(planted: Planted) -> None:
    """Given a search with more to find than a pipe holds, when ^C comes, then it ends with 130."""
    process = start("search", planted.path, "--hex", "00", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["context"]["bytes"]
    process.send_signal(signal.SIGINT)
    others = process.stdout.read().splitlines()
    assert finish(process).expect(130).lines == ["snaptui: interrupted by SIGINT"]
    found = [json.loads(line)["address"] for line in others]
    assert found == sorted(found)


def test_matches_come_as_they_are_found(planted: Planted) -> None:
    """Given a reader that has seen enough, it ends as others do that write to a closed pipe."""
    process = start("search", planted.path, "--regex", r"\x00{1,4}", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["pid"] == planted.pid
    process.stdout.close()
    process.wait(60)
    assert process.stderr is not None
    with process.stderr as errors:
        assert (process.returncode, errors.read()) == (141, b"")


def test_a_snapshot_from_plan_9_is_searched_in_all_its_processes() -> None:
    snapshot = read_snapshot(PLAN9, ours=False)
    for pattern in (b"a", b"\0\0\0\0", b"w GY"):
        want = []
        for pid, process in snapshot.processes.items():
            for segment in sorted(process.memory, key=lambda one: one.offset):
                content = segment.read(segment.offset, segment.length)
                ahead = re.finditer(b"(?=" + re.escape(pattern) + b")", content)
                want += [(pid, segment.offset + match.start()) for match in ahead]
        found = records(PLAN9, "--hex", hexed(pattern))
        assert [(record["pid"], record["address"]) for record in found] == want
    assert {record["segment"]["name"] for record in found} == {"Text"}


# strings


def texts(*arguments: str | int | Path, status: int = 0) -> list[dict[str, Any]]:
    out = snaptui_command("strings", *arguments, "--json").expect(status).out
    return [json.loads(line) for line in out.splitlines()]


def test_strings_are_those_that_strings_finds() -> None:
    """Given memory without letters above ASCII in a row, then the texts are those of a plain definition."""
    snapshot = read_snapshot(PLAN9, ours=False)
    want = []
    char = rb"(?:[\t\x20-\x7e]|[\xc3-\xf4][\x80-\xbf]{1,3})"
    for pid, process in snapshot.processes.items():
        for segment in sorted(process.memory, key=lambda one: one.offset):
            content = segment.read(segment.offset, segment.length)
            found = re.finditer(char + rb"{7,}", content)
            want += [(pid, segment.offset + m.start(), m[0].decode("utf-8", "replace")) for m in found]
    got = [(one["pid"], one["address"], one["text"]) for one in texts(PLAN9, "-n", "7")]
    assert got == want
    lines = snaptui_command("strings", PLAN9, "-n", "7").expect(0).out.decode().splitlines()
    assert len(lines) == len(want)


def test_texts_in_utf_16_and_with_a_word(planted: Planted) -> None:
    wide = texts(planted.path, planted.pid, "--encoding", "utf-16", "-n", "4", "--containing", "nkohl")
    assert [one["text"] for one in wide] and all("nkohl" in one["text"] for one in wide)
    found = texts(planted.path, "--containing", "in hay")
    assert {one["address"] for one in found} >= {
        at + NEEDLE.index(b" in hay") for at in planted.all_of(NEEDLE)
    }


def test_a_long_text_is_printed_whole(tmp_path: Path) -> None:
    """Given a text that goes on over many steps of the search, it is one text."""
    code = """
import os, signal
word = os.urandom(8).hex()
text = word * 40_000
print("ready")
print(word)
signal.pause()
"""
    path = tmp_path / "long.snap"
    with running_python(code) as victim:
        word = victim.readline()
        victim.wait_asleep()
        snap("-o", path, victim.pid).expect(0)
    longest = max(texts(path, "-n", "4000"), key=lambda one: len(one["text"]))
    assert longest["text"].count(word) == 40_000


def test_no_texts_is_status_1() -> None:
    assert texts(PLAN9, "-n", "400", status=1) == []
    snaptui_command("strings", PLAN9, "-n", "0").expect(2)
    snaptui_command("strings", PLAN9, "-n", "99999999999").expect(2)


def test_help_says_what_the_exit_status_means() -> None:
    for name in ("search", "strings"):
        assert "Exit status: 0" in snaptui_command(name, "--help").expect(0).out.decode()


def test_a_damaged_snapshot_is_searched_and_its_damage_told(planted: Planted, tmp_path: Path) -> None:
    """Given a record that says more is stored than there is, the rest is searched, and the status is 1."""
    from tests.helpers.synthetic import with_members

    process = read_snapshot(planted.path).processes[planted.pid]
    captured = process.linux_json("captured.json")
    captured["stored"] = sorted([*captured["stored"], [0x1000, 0x3000]])
    path = tmp_path / "damaged.snap"
    with_members(planted.path, path, {"captured.json": json.dumps(captured).encode()}).close()
    result = snaptui_command("search", path, "--hex", hexed(NEEDLE), "--json").expect(1)
    assert [json.loads(line)["address"] for line in result.out.splitlines()] == planted.all_of(NEEDLE)
    (line,) = result.lines
    assert line.startswith(
        f"search: process {planted.pid}: 8192 bytes that should be in the snapshot are not"
    )
