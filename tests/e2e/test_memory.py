"""Memory: what a snapshot gives back is, byte for byte, what the process held."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from snaptui.engine.compiled import PURE
from tests.helpers.commands import snap, take, take_one
from tests.helpers.live import captured_areas, differences, kinds, mappings, read_memory, reasons, restored
from tests.helpers.strict_reader import Refused, StrictProcess, read_snapshot
from tests.helpers.victims import program, running_program

MIB = 1 << 20
needs_much = pytest.mark.skipif(
    os.environ.get("SNAPTUI_BIG") != "1", reason="takes minutes: set SNAPTUI_BIG=1"
)


@dataclass(frozen=True)
class Saved:
    """The program with a mapping of every kind, which stands still, and its snapshot."""

    pid: int
    table: dict[str, tuple[int, int]]
    process: StrictProcess

    def place(self, name: str) -> tuple[int, int]:
        if name not in self.table:
            pytest.skip(f"this kernel has no {name}")
        return self.table[name]


@pytest.fixture(scope="module", params=["0", "1"], ids=["compiled", "numpy"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    directory = tmp_path_factory.mktemp("mappings")
    with (
        pytest.MonkeyPatch.context() as patch,
        running_program("mappings.c", directory, flags=["-lrt"]) as victim,
    ):
        table = {name: (int(address, 16), int(length)) for name, address, length in victim.table()}
        victim.stop()
        patch.setenv(PURE, request.param)
        process = take_one(directory / "x.snap", victim.pid)
        yield Saved(victim.pid, table, process)


@pytest.fixture(scope="module")
def saved_all(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The same process taken with --all. What nobody can read was not asked for: it succeeds."""
    process = take_one(tmp_path_factory.mktemp("all") / "x.snap", saved.pid, "--all")
    return Saved(saved.pid, saved.table, process)


def test_every_address_of_every_mapping_equals_the_live_memory(saved: Saved) -> None:
    assert differences(saved.process, saved.pid) == []


def test_with_all_every_address_equals_the_live_memory_too(saved_all: Saved) -> None:
    assert differences(saved_all.process, saved_all.pid) == []


@pytest.mark.parametrize(
    "name",
    [
        "stack", "heap", "data", "bss", "filled", "sparse", "zeroed", "only-read", "untouched", "read-only",
        "generated-code", "around-guard", "before-light-guard", "after-light-guard", "twins", "large-pages",
        "dev-zero", "shared-anonymous", "shared-by-child", "sysv", "memfd", "memfd-written", "memfd-private",
        "posix-shared", "patched-code", "dont-fork", "wipe-on-fork",
    ],
)  # fmt: skip
def test_memory_that_only_the_process_has_is_saved_in_full(saved: Saved, name: str) -> None:
    start, length = saved.place(name)
    assert restored(saved.process, start, length) == read_memory(saved.pid, start, length)


@pytest.mark.parametrize(
    ("name", "page"), [("file-changed", 3), ("file-changed", 7), ("file-gone", 0), ("cut", 0)]
)
def test_changed_pages_of_a_mapped_data_file_are_saved(saved: Saved, name: str, page: int) -> None:
    size = os.sysconf("SC_PAGESIZE")
    start = saved.place(name)[0] + page * size
    assert restored(saved.process, start, size) == read_memory(saved.pid, start, size)


def test_untouched_memory_costs_nothing(saved: Saved) -> None:
    assert kinds(saved.process, *saved.place("untouched")) == {"zero"}


def test_unmodified_pages_of_a_data_file_are_left_out_and_the_file_is_named(saved: Saved) -> None:
    start, length = saved.place("file")
    assert kinds(saved.process, start, length) == {"left out"}
    path = next(m.path for m in mappings(saved.pid) if m.start <= start < m.end)
    assert path in reasons(saved.process, start, length)
    # Which version of the file it was can be told later
    now = Path(path).stat()
    recorded = {"path": path, "size": now.st_size, "mtime_ns": now.st_mtime_ns}
    assert recorded in saved.process.linux_json("text.json")["data_files"]


def test_unmodified_pages_of_a_deleted_data_file_are_not_lost(saved: Saved) -> None:
    # Nothing has them any more once the process is gone.
    start, length = saved.place("file-gone")
    assert restored(saved.process, start, length) == read_memory(saved.pid, start, length)


@pytest.mark.parametrize("name", ["dont-dump", "guard", "write-only", "secret"])
def test_what_is_left_out_says_why(saved: Saved, name: str) -> None:
    place = saved.place(name)
    assert kinds(saved.process, *place) == {"left out"}
    assert reasons(saved.process, *place)


def test_a_light_guard_page_is_no_reason_to_lose_its_neighbours(saved: Saved) -> None:
    start, length = saved.place("light-guard")
    with pytest.raises(OSError, match="error"):
        read_memory(saved.pid, start, length)
    # No one can read it: whatever the snapshot says of it, it holds nothing there.
    for segment in saved.process.memory:
        first, last = max(segment.offset, start), min(segment.end, start + length)
        assert first >= last or segment.read(first, last - first).count(0) == last - first


@pytest.mark.parametrize("name", ["dont-dump", "file", "file-changed", "file-gone", "file-shared", "guard"])
def test_all_takes_what_is_left_out_otherwise(saved_all: Saved, name: str) -> None:
    start, length = saved_all.place(name)
    assert restored(saved_all.process, start, length) == read_memory(saved_all.pid, start, length)


def test_the_file_is_no_larger_than_what_was_touched(saved: Saved) -> None:
    smaps = Path(f"/proc/{saved.pid}/smaps").read_text().splitlines()
    touched = sum(int(line.split()[1]) * 1024 for line in smaps if line.startswith(("Rss:", "Swap:")))
    untouched_but_shared = 3 * MIB  # shared-by-child and the two mappings of memfd-written
    assert saved.process.text is not None
    places = {place for segment in [*saved.process.memory, saved.process.text] for place in segment.places}
    assert len(places) * 1024 <= touched + untouched_but_shared + saved.process.text.length


def test_pages_that_hash_alike_survive(saved: Saved) -> None:
    start, _ = saved.place("twins")
    first, second = (saved.process.read_memory(start + at, 1024) for at in (0, 1024))
    assert (first, second) == (
        read_memory(saved.pid, start, 1024),
        read_memory(saved.pid, start + 1024, 1024),
    )
    assert first != second


def test_two_hundred_threads_are_all_there(tmp_path: Path) -> None:
    with running_program("threads.c", "200") as victim:
        victim.wait_asleep()
        threads = set(victim.threads())
        process = take_one(tmp_path / "x.snap", victim.pid)
    assert len(threads) == 201
    assert process.threads() == threads
    names = process.linux_names()
    assert all(f"task/{tid}/regs" in names for tid in threads)


def test_registers_of_every_thread_are_its_own(tmp_path: Path) -> None:
    # Given threads that keep a number in r12, which user_regs_struct (sys/user.h) has as its fourth word
    with running_program("threads.c", "40") as victim:
        victim.wait_asleep()
        threads = victim.threads()
        process = take_one(tmp_path / "x.snap", victim.pid)
    marks = {tid: int.from_bytes(process.linux(f"task/{tid}/regs")[24:32], "little") for tid in threads}
    assert marks[threads[0]] == 0x5EEDFFFF
    # Every fourth thread waits with its number in the register.
    assert {mark for mark in marks.values() if mark >> 16 == 0x5EED} == {
        0x5EEDFFFF,
        *range(0x5EED0000, 0x5EED0028, 4),
    }
    assert process.files["regs"] == process.linux(f"task/{threads[0]}/regs")


def test_three_hundred_libraries_are_saved_and_cost_their_mapped_code_once(tmp_path: Path) -> None:
    libraries = make_libraries(tmp_path, 300)
    names = tmp_path / "names"
    names.write_text("".join(f"{library}\n" for library in libraries))
    with running_program("libraries.c", f"@{names}") as victim:
        victim.stop()
        process = take_one(tmp_path / "x.snap", victim.pid)
        assert len(mappings(victim.pid)) > 1200
        assert differences(process, victim.pid) == []
    images = process.text_files()
    for library in libraries[::50]:
        entry = images[str(library)]
        assert process.read_text(entry["offset"], entry["size"]) == library.read_bytes()
    assert set(map(str, libraries)) <= set(images)
    mapped_code = [a for a in captured_areas(process) if a.kind == "text"]
    assert mapped_code, "code is saved as references into text"


def make_libraries(directory: Path, count: int) -> list[Path]:
    """`count` different libraries: one that was compiled, with another marker in each."""
    compiled = program("library.c", "-shared", "-fPIC").read_bytes()
    assert compiled.count(b"MARKER-00000000") == 1
    libraries = []
    for number in range(count):
        library = directory / f"lib{number}.so"
        library.write_bytes(compiled.replace(b"MARKER-00000000", b"MARKER-%08d" % number))
        libraries.append(library)
    return libraries


@pytest.mark.parametrize("mibs", [256, pytest.param(2048, marks=needs_much)])
def test_much_mixed_memory(tmp_path: Path, mibs: int) -> None:
    # Given a quarter each of random bytes, of a few pages again and again, of touched zeros, and of text
    with running_program("large.c", str(mibs)) as victim:
        victim.stop()
        snapshot = take(tmp_path / "x.snap", victim.pid)
        assert differences(snapshot.only(), victim.pid) == []
    # Then only the random and the text are stored as they are
    assert snapshot.size < mibs * MIB * 0.6 + 16 * MIB
    # And the disk has nothing set aside for the rest
    assert (tmp_path / "x.snap").stat().st_blocks * 512 < snapshot.size + MIB // 4


def test_a_second_process_that_shares_memory_and_libraries_costs_little(tmp_path: Path) -> None:
    with running_program("family.c", "1", "32") as victim:
        (child,) = (int(words[0]) for words in victim.table())
        victim.stop()
        one = take(tmp_path / "one.snap", victim.pid)
        both = take(tmp_path / "both.snap", victim.pid, child)
        assert differences(both.processes[victim.pid], victim.pid) == []
        assert list(both.processes) == [victim.pid, child]
        # A reference is 25 bytes or a little more, for a page of 1024.
        assert both.size < one.size * 1.06 + MIB


@pytest.mark.parametrize("kind", ["noaccess", "noreserve"])
def test_a_reserved_terabyte_costs_neither_time_nor_space(tmp_path: Path, kind: str) -> None:
    plain_seconds, plain_size, _ = timed_snapshot(tmp_path / "plain.snap", "none")
    seconds, size, process = timed_snapshot(tmp_path / "reserved.snap", kind)
    assert size < plain_size * 1.2 + MIB // 8
    assert seconds < plain_seconds * 2 + 1
    if kind == "noreserve":
        assert sum(a.end - a.start for a in captured_areas(process) if a.kind == "zero") > (1 << 40) - MIB


def timed_snapshot(output: Path, kind: str) -> tuple[float, int, StrictProcess]:
    """Seconds that a snapshot of the program reserve.c takes, its size, and what it holds."""
    with running_program("reserve.c", kind) as victim:
        touched = int(victim.readline(), 16) + (1 << 39) if kind == "noreserve" else 0
        victim.stop()
        start = time.monotonic()
        snap("-o", output, victim.pid).expect(0)
        seconds = time.monotonic() - start
        process = read_snapshot(output).processes[victim.pid]
        assert differences(process, victim.pid) == []
        if touched:
            assert process.read_memory(touched, 4096) == read_memory(victim.pid, touched, 4096)
    return seconds, output.stat().st_size, process


def test_memory_too_scattered_for_the_original_readers_is_written_as_it_is(tmp_path: Path) -> None:
    with running_program("scattered.c") as victim:
        victim.stop()
        result = snap("-o", tmp_path / "x.snap", victim.pid).expect(0)
        process = read_snapshot(tmp_path / "x.snap").only()
        assert differences(process, victim.pid) == []
        assert (tmp_path / "x.snap").stat().st_size < 8 * MIB
        # The user is told, and can refuse it.
        assert "9front" in result.err
        with pytest.raises(Refused, match="9front"):
            read_snapshot(tmp_path / "x.snap", nine_front=True)
        assert "9front" in snap("--plan9", "-o", tmp_path / "y.snap", victim.pid).expect_clear_failure()
        assert not (tmp_path / "y.snap").exists()


@pytest.mark.parametrize("options", [[], ["--all"]], ids=["default", "all"])
def test_pages_that_the_process_must_fill_in_itself_are_not_waited_for(
    tmp_path: Path, options: list[str]
) -> None:
    with running_program("userfault.c") as victim:
        answer = victim.readline()
        if answer == "none":
            pytest.skip("no userfaultfd here, or not for us")
        start, page = int(answer, 16), os.sysconf("SC_PAGESIZE")
        victim.stop()
        process = take_one(tmp_path / "x.snap", victim.pid, *options)
        assert restored(process, start, 4 * page) == read_memory(victim.pid, start, 4 * page)
        assert kinds(process, start + 4 * page, 252 * page) == {"left out"}
