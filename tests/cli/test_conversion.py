"""copy, compress and decompress."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.commands import snaptui_command

PLAN9 = Path(__file__).parent.parent / "data/plan9"
TWO_PROCS = PLAN9 / "two-procs.snap"
EXPECTED = json.loads((PLAN9 / "expected.json").read_text())["two-procs.snap"]


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return Path(shutil.copy(TWO_PROCS, tmp_path / "page.snap"))


def processes(path: Path) -> dict[str, object]:
    report = json.loads(snaptui_command("verify", "--json", path).expect(0).out)
    found: dict[str, object] = report["processes"]
    return found


def test_compress_names_its_output_and_keeps_the_snapshot(snapshot: Path) -> None:
    snaptui_command("compress", snapshot).expect(0)
    packed = snapshot.with_name("page.snap.zst")
    assert snapshot.read_bytes() == TWO_PROCS.read_bytes()
    assert packed.stat().st_size < snapshot.stat().st_size
    assert packed.stat().st_mode & 0o777 == 0o600
    assert processes(packed) == EXPECTED


@pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")
def test_zstd_unpacks_what_we_compress(snapshot: Path) -> None:
    snaptui_command("compress", snapshot, "-o", snapshot.with_name("x.zst")).expect(0)
    unpacked = subprocess.check_output(["zstd", "-dcq", snapshot.with_name("x.zst")])
    assert unpacked == TWO_PROCS.read_bytes()


def test_decompress_gives_the_same_bytes(snapshot: Path) -> None:
    snaptui_command("compress", snapshot).expect(0)
    snapshot.unlink()
    snaptui_command("decompress", snapshot.with_name("page.snap.zst")).expect(0)
    assert snapshot.read_bytes() == TWO_PROCS.read_bytes()


def test_decompress_of_another_name_wants_an_output(snapshot: Path) -> None:
    result = snaptui_command("decompress", snapshot).expect(2)
    assert "-o OUT" in result.err


def test_an_existing_file_is_replaced_only_by_force(snapshot: Path) -> None:
    packed = snapshot.with_name("page.snap.zst")
    packed.write_text("mine")
    for command in (["compress", snapshot], ["copy", snapshot, "-o", packed]):
        result = snaptui_command(*command).expect(1)
        assert result.lines == [f"snaptui: {packed}: is there already", "  --force replaces it"]
        assert packed.read_text() == "mine"
        snaptui_command(*command, "--force").expect(0)
        assert processes(packed) == EXPECTED
        packed.write_text("mine")


def test_the_output_cannot_be_the_snapshot_itself(snapshot: Path) -> None:
    for command in (["compress", snapshot, "-o", snapshot], ["copy", snapshot, "-o", snapshot]):
        snaptui_command(*command, "--force").expect(2)
        assert snapshot.read_bytes() == TWO_PROCS.read_bytes()


def test_copy_of_everything_holds_the_same(snapshot: Path) -> None:
    copied = snapshot.with_name("copy.snap")
    snaptui_command("copy", snapshot, "-o", copied).expect(0)
    assert processes(copied) == EXPECTED


@pytest.mark.parametrize("name", ["one.snap", "one.snap.zst"])
def test_copy_of_one_process_stands_on_its_own(snapshot: Path, name: str) -> None:
    """Given a process with pages that refer to another, when it alone is copied, then all is there."""
    copied = snapshot.with_name(name)
    snaptui_command("copy", snapshot, "-o", copied, "1202").expect(0)
    snapshot.unlink()
    assert processes(copied) == {"1202": EXPECTED["1202"]}
    assert copied.read_bytes().startswith(b"\x28\xb5\x2f\xfd") == name.endswith(".zst")


def test_copy_of_a_process_that_is_not_there_writes_nothing(snapshot: Path) -> None:
    copied = snapshot.with_name("copy.snap")
    snaptui_command("copy", snapshot, "-o", copied, "1202", "7").expect(1)
    assert not copied.exists()
