"""What verify says of snapshots that lack something: made by hand, byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from snaptui.engine.errors import Cancelled, FormatError
from snaptui.engine.inspect.verify import ProcessReport, Verifier
from snaptui.engine.progress import CancelToken, Event, Progress
from snaptui.engine.snapfile import open_snapshot
from snaptui.engine.snapfile.linux import build_record

PID = 42
MAPS = b"00010000-00014000 rw-p 00000000 00:00 0 \n"
WHOLE = {"stored": [[0x10000, 0x12000]], "text": [], "zero": [[0x12000, 0x13000]], "left out": []}


def field(number: int) -> bytes:
    return b"%-11d " % number


def record(captured: dict[str, Any], *, regs: bool = True, texts: list[Any] | None = None) -> bytes:
    members = {
        "maps": MAPS,
        f"task/{PID}/stat": b"42 (x) S\n",
        "snapshot.json": json.dumps(
            {"pid": PID, "registers": {str(PID): "is traced by gdb (pid 7)"}}
        ).encode(),
        "text.json": json.dumps({"files": texts or []}).encode(),
        "captured.json": json.dumps({"page_size": 4096, **captured}).encode(),
    }
    if regs:
        members[f"task/{PID}/regs"] = bytes(216)
    return build_record(members)


def snapshot(path: Path, proc: bytes, memory: list[tuple[int, int]]) -> Path:
    """A snapshot with this record and these segments (start, pages) of zeros."""
    parts = [b"process snapshot 0 me@here x86_64\n"]
    parts += [field(PID), b"proc\n", field(len(proc)), proc]
    if memory:
        parts += [field(PID), b"mem\n", field(len(memory))]
        for start, pages in memory:
            parts += [field(start), field(pages * 1024), b"z" * pages]
    path.write_bytes(b"".join(parts))
    return path


@contextmanager
def verified(path: Path) -> Iterator[ProcessReport]:
    with open_snapshot(str(path)) as opened:
        (report,) = Verifier().verify(opened.processes.values())
        yield report


def test_all_is_there(tmp_path: Path) -> None:
    with verified(snapshot(tmp_path / "x", record(WHOLE), [(0x10000, 8)])) as report:
        assert report.missing == ()
        assert report.left_out == ()
        assert report.memory_size == 8192


@pytest.mark.parametrize(
    ("memory", "gaps"),
    [
        ([], ["0x10000-0x12000"]),
        ([(0x10000, 4)], ["0x11000-0x12000"]),
        ([(0x11000, 4)], ["0x10000-0x11000"]),
        ([(0x10400, 2), (0x11000, 2)], ["0x10000-0x10400", "0x10c00-0x11000", "0x11800-0x12000"]),
        ([(0x20000, 4)], ["0x10000-0x12000"]),
        ([(0x0F000, 20)], []),
        ([(0x11000, 4), (0x10000, 4)], []),
    ],
)
def test_memory_that_should_be_stored_and_is_not(
    tmp_path: Path, memory: list[tuple[int, int]], gaps: list[str]
) -> None:
    with verified(snapshot(tmp_path / "x", record(WHOLE), memory)) as report:
        assert report.missing == tuple(f"memory {gap}, which the Linux record says is stored" for gap in gaps)


def test_registers_that_are_not_there_with_the_reason(tmp_path: Path) -> None:
    with verified(snapshot(tmp_path / "x", record(WHOLE, regs=False), [(0x10000, 8)])) as report:
        assert report.missing == (f"the registers of thread {PID}: it is traced by gdb (pid 7)",)


def test_memory_left_out_by_design_is_no_fault_and_memory_that_failed_is_one(tmp_path: Path) -> None:
    captured = {
        "stored": [[0x10000, 0x11000]],
        "text": [],
        "zero": [],
        "left out": [
            [0x11000, 0x12000, "device memory"],
            [0x12000, 0x13000, "the kernel could not read it"],
            [0x13000, 0x14000, "device memory"],
        ],
    }
    with verified(snapshot(tmp_path / "x", record(captured), [(0x10000, 4)])) as report:
        assert report.left_out == (("device memory", 0x2000),)
        assert report.missing == ("memory 0x12000-0x13000: the kernel could not read it",)


def test_a_text_file_that_is_not_whole(tmp_path: Path) -> None:
    file = {
        "path": "/bin/x",
        "offset": 0,
        "size": 99,
        "build_id": "",
        "mode": 0,
        "mtime_ns": 0,
        "deleted": False,
    }
    with verified(snapshot(tmp_path / "x", record(WHOLE, texts=[file]), [(0x10000, 8)])) as report:
        assert report.missing == ("the end of /bin/x in the text image",)


def test_a_broken_linux_record_is_named_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    broken = record(WHOLE).replace(b"captured.json", b"captured.jsom")
    with verified(snapshot(tmp_path / "x", broken, [(0x10000, 8)])) as report:
        assert report.missing == (
            "the Linux record is broken: threads, libraries and mappings are not known",
        )
    with verified(snapshot(tmp_path / "y", bytes(700), [(0x10000, 8)])) as report:
        assert report.missing == ()


def test_absent_records_are_named(tmp_path: Path) -> None:
    with verified(snapshot(tmp_path / "x", record(WHOLE), [])) as report:
        assert report.absent == (
            "fd",
            "fpregs",
            "kregs",
            "noteid",
            "ns",
            "regs",
            "segment",
            "status",
            "text",
            "mem",
        )


def test_it_reports_how_far_it_is_and_stops_when_it_is_asked_to(tmp_path: Path) -> None:
    events: list[Event] = []
    cancel = CancelToken()

    def sink(event: Event) -> None:
        events.append(event)
        cancel.cancel()

    path = snapshot(tmp_path / "x", record(WHOLE), [(0x10000, 2048), (0x400000, 2048)])
    with open_snapshot(str(path)) as opened, pytest.raises(Cancelled):
        Verifier(sink, cancel).verify(opened.processes.values())
    assert events == [Progress("verifying", 1 << 20, 4 << 20)]


def test_a_reference_to_nowhere_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(
        b"process snapshot\n"
        + field(1)
        + b"mem\n"
        + field(1)
        + field(0)
        + field(1024)
        + b"m"
        + field(9)
        + field(0)
    )
    with pytest.raises(FormatError), open_snapshot(str(path)) as opened:
        Verifier().verify(opened.processes.values())
