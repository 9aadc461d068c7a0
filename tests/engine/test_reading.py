"""Reading what others wrote: the originals' files, everything that the manual allows, and garbage."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snaptui.engine.errors import FormatError, NotCaptured, SnapError
from snaptui.engine.snapfile import PAGE, Link, LinuxRecord, Snapshot, open_snapshot
from snaptui.engine.snapfile.container import convert
from snaptui.engine.snapfile.copy import copy_snapshot
from snaptui.engine.snapfile.linux import build_record
from snaptui.engine.snapfile.output import open_output

FIXTURES = Path(__file__).parent.parent / "data" / "plan9"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text())


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def contents(snapshot: Snapshot) -> dict[str, object]:
    """Everything in a snapshot, in the form of expected.json."""
    found: dict[str, object] = {}
    for pid, process in snapshot.processes.items():
        read = {name: process.read(name) for name in process.records}
        if process.text:
            read["text"] = process.read_text(0, process.text_size)
        found[str(pid)] = {
            "files": {name: {"size": len(data), "sha256": digest(data)} for name, data in read.items()},
            "segments": [
                {
                    "name": process.segment_name(segment.offset),
                    "start": segment.offset,
                    "length": segment.length,
                    "sha256": digest(process.read_memory(segment.offset, segment.length)),
                }
                for segment in process.memory
            ],
        }
    return found


@pytest.fixture(params=sorted(EXPECTED))
def fixture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_snapshots_of_the_original_read_back_exactly(fixture: str) -> None:
    with open_snapshot(str(FIXTURES / fixture)) as snapshot:
        assert contents(snapshot) == EXPECTED[fixture]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_they_still_do_when_written_again(fixture: str, compress: bool, tmp_path: Path) -> None:
    target = str(tmp_path / "again.snap")
    with open_snapshot(str(FIXTURES / fixture)) as snapshot, open_output(target, compress=compress) as output:
        copy_snapshot(snapshot, output, snapshot.processes)
    with open_snapshot(target) as again:
        assert contents(again) == EXPECTED[fixture]


def test_one_process_of_two_stands_on_its_own(tmp_path: Path) -> None:
    target = str(tmp_path / "one.snap")
    with open_snapshot(str(FIXTURES / "two-procs.snap")) as snapshot, open_output(target) as output:
        copy_snapshot(snapshot, output, [1202])
    with open_snapshot(target) as again:
        assert contents(again) == {"1202": EXPECTED["two-procs.snap"]["1202"]}


@pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")
def test_zstd_unpacks_a_compressed_snapshot_to_the_same_bytes(fixture: str, tmp_path: Path) -> None:
    convert(str(FIXTURES / fixture), str(tmp_path / "a.zst"), compress=True)
    unpacked = subprocess.run(["zstd", "-dc", tmp_path / "a.zst"], check=True, capture_output=True).stdout
    assert unpacked == (FIXTURES / fixture).read_bytes()
    convert(str(tmp_path / "a.zst"), str(tmp_path / "plain"), compress=False)
    assert (tmp_path / "plain").read_bytes() == unpacked


def f(number: int) -> bytes:
    return b"%-11d " % number


def right(number: int) -> bytes:
    return b"%11d " % number


RAW = b"r" + b"A" * PAGE


def snapshot_of(tmp_path: Path, *records: bytes) -> Snapshot:
    path = tmp_path / "hand.snap"
    path.write_bytes(b"process snapshot made by hand\n" + b"".join(records))
    return open_snapshot(str(path))


def test_numbers_may_be_right_justified(tmp_path: Path) -> None:
    snapshot = snapshot_of(
        tmp_path,
        right(5) + b"status\n" + right(3) + b"abc",
        right(5) + b"mem\n" + right(1) + right(4096) + right(2048) + RAW + b"m" + right(5) + right(4096),
    )
    assert snapshot.process(5).read("status") == b"abc"
    assert snapshot.process(5).read_memory(4096, 2048) == b"A" * 2048


def test_memory_and_text_may_come_in_several_records(tmp_path: Path) -> None:
    snapshot = snapshot_of(
        tmp_path,
        f(5) + b"text\n" + f(0) + f(1024) + RAW,
        f(5) + b"mem\n" + f(1) + f(8192) + f(1024) + b"z",
        f(5) + b"text\n" + f(4096) + f(1024) + b"t" + f(5) + f(0),
        f(5)
        + b"mem\n"
        + f(2)
        + f(0)
        + f(0)
        + f(1 << 46)
        + f(2048)
        + b"t"
        + f(5)
        + f(4096)
        + b"m"
        + f(5)
        + f(8192),
    )
    process = snapshot.process(5)
    assert process.read_text(4096, 1024) == b"A" * 1024
    assert process.read_memory(8192, 1024) == bytes(1024)
    assert process.read_memory(1 << 46, 2048) == b"A" * 1024 + bytes(1024)


def test_a_reference_may_lead_to_a_reference_however_often(tmp_path: Path) -> None:
    chain = b"".join(b"m" + f(5) + f(k * PAGE) for k in range(3000))
    snapshot = snapshot_of(tmp_path, f(5) + b"mem\n" + f(1) + f(0) + f(3001 * PAGE) + RAW + chain)
    assert snapshot.process(5).read_memory(0, 3001 * PAGE) == b"A" * (3001 * PAGE)


def test_a_reference_may_lead_to_any_earlier_process(tmp_path: Path) -> None:
    snapshot = snapshot_of(
        tmp_path,
        f(9) + b"text\n" + f(0) + f(1024) + RAW,
        f(5) + b"mem\n" + f(1) + f(512) + f(1024) + b"t" + f(9) + f(0),
        f(6) + b"mem\n" + f(1) + f(0) + f(1024) + b"m" + f(5) + f(512),
    )
    assert snapshot.process(6).read_memory(0, 1024) == b"A" * 1024


def test_fields_of_one_run_may_differ_in_their_blanks(tmp_path: Path) -> None:
    same = b"m" + f(5) + f(0)
    wider, shifted = b"m" + f(5) + b"0" + b" " * 14, b"m" + right(5) + right(0)
    pages = RAW + same * 3 + wider * 2 + same + shifted * 2 + same
    snapshot = snapshot_of(tmp_path, f(5) + b"mem\n" + f(1) + f(0) + f(10 * PAGE) + pages)
    assert snapshot.process(5).read_memory(0, 10 * PAGE) == b"A" * (10 * PAGE)


def test_addresses_that_were_not_saved_are_named(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path, f(5) + b"mem\n" + f(1) + f(4096) + f(1024) + RAW)
    with pytest.raises(NotCaptured, match="0x1400 is not captured"):
        snapshot.process(5).read_memory(4096, 1025)
    with pytest.raises(NotCaptured, match="0x0 is not captured"):
        snapshot.process(5).read_memory(0, 1)


MEM = f(5) + b"mem\n" + f(1) + f(0) + f(1024)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (b"5           mem\n", "cut short"),
        (MEM, "cut short"),
        (MEM + RAW[:-1], "cut short"),
        (MEM + b"m" + f(5), "cut short"),
        (MEM + b"x", "no page of the memory of process 5"),
        (MEM + b"m12x45678901 ", "no page of the memory of process 5"),
        (MEM + RAW + b"rubbish\n", "no record begins there"),
        (f(5) + b"ghost\n", "does not know"),
        (f(5) + b"status\n" + b"12345678901 ", "cut short"),
        (f(5) + b"status\n" + b"12 34       ", "garbled"),
        (f(5) + b"mem\n" + f(1) + b"x" * 20, "garbled"),
        (f(5) + b"mem\n" + f(1) + f(10**19) + f(10**19), "ends past the address space"),
    ],
)
def test_what_is_wrong_and_where_is_said(tmp_path: Path, records: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        snapshot_of(tmp_path, records)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(b"m" + f(5) + f(0), id="to itself"),
        pytest.param(b"m" + f(5) + f(1024), id="to a later page"),
        pytest.param(b"m" + f(4) + f(0), id="to no process"),
        pytest.param(b"t" + f(5) + f(0), id="to no text"),
        pytest.param(b"m" + f(5) + f(1), id="to the middle of a page"),
    ],
)
def test_a_reference_to_nowhere_is_an_error_where_it_is_read(tmp_path: Path, reference: bytes) -> None:
    memory = f(5) + b"mem\n" + f(1) + f(0) + f(2048) + reference + RAW
    snapshot = snapshot_of(tmp_path, memory)
    assert snapshot.process(5).read_memory(1024, 1024) == b"A" * 1024
    with pytest.raises(FormatError, match="not there or comes later"):
        snapshot.process(5).read_memory(0, 1024)


def read_all(path: Path) -> None:
    """Open and read everything; nothing worse than our own error may come of it."""
    try:
        with open_snapshot(str(path)) as snapshot:
            for process in snapshot.processes.values():
                for segment in process.text + process.memory:
                    try:
                        process.read_segment(segment, 0, min(segment.length, 1 << 22))
                    except SnapError as error:
                        assert "\n" not in str(error)
                process.areas()
                assert process.linux is None or process.linux.names()
    except SnapError as error:
        assert "\n" not in str(error)


_pieces = st.lists(
    st.sampled_from(
        [
            *(
                f(5),
                f(0),
                f(1),
                f(1024),
                f(2048),
                f(1 << 40),
                f(10**22),
                b"r",
                RAW,
                b"z" * 5,
                b"m",
                b"t",
                b"\n",
            ),
            *(
                b"5           mem\n",
                b"5           text\n",
                b"5           proc\n",
                b"6           status\n",
                b"    ",
            ),
        ]
    )
    | st.binary(max_size=30),
    max_size=25,
)


@settings(max_examples=400, deadline=None)
@given(_pieces)
@example([b"5           mem\n", f(1), f(0), f(2048), b"m", f(5), f(0), b"z"])
def test_arbitrary_bytes_raise_nothing_but_our_own_error(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.snap"
    path.write_bytes(b"process snapshot\n" + b"".join(pieces))
    read_all(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_snapshots_raise_nothing_but_our_own_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("damaged")
    name = data.draw(st.sampled_from(sorted(EXPECTED)))
    content = bytearray((FIXTURES / name).read_bytes())
    if data.draw(st.booleans()):
        convert(str(FIXTURES / name), str(directory / "x.zst"), compress=True)
        content = bytearray((directory / "x.zst").read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = directory / "a.snap"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    read_all(path)


def test_a_garbled_linux_record_has_only_the_threads_that_are_numbers() -> None:
    files: dict[str, bytes | Link] = {
        "maps": b"",
        "snapshot.json": b'{"pid": 8}',
        "text.json": b'{"files": []}',
        "captured.json": b'{"stored": [], "text": [], "zero": [], "left out": []}',
        **dict.fromkeys(("task/abc/stat", "task/", "task/٩/stat", "task/9/stat", "task/8/stat"), b""),
    }
    assert LinuxRecord(build_record(files)).threads() == (8, 9)


def test_a_file_that_is_no_snapshot_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    with pytest.raises(FormatError, match=r"a\.txt: is no snapshot"):
        open_snapshot(str(path))
