"""Snapshots that Plan 9's own snap wrote, and the tests' own reader on them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import snaptui_command
from tests.helpers.strict_reader import Refused, StrictProcess, read_snapshot

DATA = Path(__file__).parent.parent / "data" / "plan9"
EXPECTED: dict[str, Any] = json.loads((DATA / "expected.json").read_text())
"""Sizes and digests, made together with the snapshots."""


def digest(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def content_of(process: StrictProcess, name: str) -> bytes:
    if name != "text":
        return process.files[name]
    return process.read_text(0, process.text.length) if process.text else b""


def assert_as_expected(name: str, path: Path, *, ours: bool) -> None:
    snapshot = read_snapshot(path, ours=ours, nine_front=True)
    assert {str(pid) for pid in snapshot.processes} == set(EXPECTED[name])
    for pid, expected in EXPECTED[name].items():
        process = snapshot.processes[int(pid)]
        for file, want in expected["files"].items():
            content = content_of(process, file)
            if ours and file == "text":
                content = content[: want["size"]]  # padded to a whole page
            assert digest(content) == want, file
        for segment in expected["segments"]:
            if segment["length"]:
                memory = process.read_memory(segment["start"], segment["length"])
                assert digest(memory)["sha256"] == segment["sha256"], segment


@pytest.mark.parametrize("name", EXPECTED)
def test_the_strict_reader_reads_them(name: str) -> None:
    assert_as_expected(name, DATA / name, ours=False)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_file_comes_out_of_them(name: str) -> None:
    for pid, expected in EXPECTED[name].items():
        for file, want in expected["files"].items():
            assert digest(snaptui_command("cat", DATA / name, pid, file).expect(0).out) == want, file


@pytest.mark.parametrize("name", EXPECTED)
def test_written_anew_they_hold_the_same(name: str, tmp_path: Path) -> None:
    snaptui_command("copy", DATA / name, "-o", tmp_path / "x.snap").expect(0)
    assert_as_expected(name, tmp_path / "x.snap", ours=False)


@pytest.mark.parametrize("name", EXPECTED)
def test_packed_and_unpacked_they_are_the_same_bytes(name: str, tmp_path: Path) -> None:
    snaptui_command("compress", DATA / name, "-o", tmp_path / "x.snap.zst").expect(0)
    snaptui_command("decompress", tmp_path / "x.snap.zst", "-o", tmp_path / "x.snap").expect(0)
    assert (tmp_path / "x.snap").read_bytes() == (DATA / name).read_bytes()


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("words", [["info"], ["info", "--json"], ["verify"]], ids=" ".join)
def test_they_are_described_without_a_linux_record(name: str, words: list[str]) -> None:
    result = snaptui_command(*words, DATA / name)
    result.expect_no_crash()
    for pid in EXPECTED[name]:
        assert pid in result.out.decode()


RECORD = b"%-11d " % 1201


def mem(*segments: bytes) -> bytes:
    return RECORD + b"mem\n" + b"%-11d " % len(segments) + b"".join(segments)


@pytest.mark.parametrize(
    ("reason", "content"),
    [
        ("first line", b"procession snapshot\n"),
        ("unknown record", b"process snapshot\n" + RECORD + b"args\n" + b"%-11d " % 0),
        ("ends inside", b"process snapshot\n" + RECORD + b"status\n" + b"%-11d x" % 2),
        (
            "no such page yet",
            b"process snapshot\n" + mem(b"%-11d %-11d m%-11d %-11d " % (0, 1024, 1201, 1024)),
        ),
        ("no such process", b"process snapshot\n" + mem(b"%-11d %-11d m%-11d %-11d " % (0, 1024, 1202, 0))),
        ("second mem record", b"process snapshot\n" + 2 * mem(b"%-11d %-11d z" % (0, 1024))),
        (
            "17 segments",
            b"process snapshot\n" + mem(*(b"%-11d %-11d z" % (at << 16, 1024) for at in range(17))),
        ),
    ],
)
def test_the_strict_reader_refuses_what_the_originals_refuse(
    tmp_path: Path, reason: str, content: bytes
) -> None:
    (tmp_path / "bad.snap").write_bytes(content)
    with pytest.raises(Refused, match=reason):
        read_snapshot(tmp_path / "bad.snap", nine_front=True)
