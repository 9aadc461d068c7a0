"""Snapshots through pipes and in the compressed form."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.commands import command, environment, finish, snap, snaptui_command, start
from tests.helpers.live import differences
from tests.helpers.strict_reader import read_snapshot
from tests.helpers.victims import Victim, running_program, tracer_of, wait_until

needs_zstd = pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")


@pytest.fixture(scope="module")
def still() -> Iterator[Victim]:
    """A program with some memory, which stands still."""
    with running_program("large.c", "8") as victim:
        victim.stop()
        yield victim


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `snap` is snap."""
    words = " ".join(f"'{word}'" for word in command("snap"))
    script = f'snap() {{ {words} "$@"; }}; set -o pipefail; {line}'
    return subprocess.run(
        ["bash", "-c", script], env=environment(), capture_output=True, text=True, check=False
    )


def test_a_pipe_is_a_fine_target(still: Victim, tmp_path: Path) -> None:
    done = shell(f"snap {still.pid} | cat > {tmp_path}/x.snap")
    assert (done.returncode, done.stderr) == (0, "")
    process = read_snapshot(tmp_path / "x.snap", nine_front=True).only()
    assert differences(process, still.pid) == []


def test_standard_output_into_a_file(still: Victim, tmp_path: Path) -> None:
    done = shell(f"snap {still.pid} > {tmp_path}/x.snap")
    assert (done.returncode, done.stderr) == (0, "")
    assert differences(read_snapshot(tmp_path / "x.snap").only(), still.pid) == []


@needs_zstd
def test_compressed_into_a_pipe_for_zstd(still: Victim, tmp_path: Path) -> None:
    done = shell(f"snap -z {still.pid} | zstd -d > {tmp_path}/x.snap")
    assert done.returncode == 0, done.stderr
    assert differences(read_snapshot(tmp_path / "x.snap", nine_front=True).only(), still.pid) == []


@needs_zstd
def test_zstd_unpacks_a_compressed_snapshot(still: Victim, tmp_path: Path) -> None:
    snap("-o", tmp_path / "x.snap.zst", still.pid).expect(0)
    subprocess.run(["zstd", "-q", "-d", tmp_path / "x.snap.zst"], check=True)
    process = read_snapshot(tmp_path / "x.snap", nine_front=True).only()
    assert differences(process, still.pid) == []
    assert (tmp_path / "x.snap.zst").stat().st_size < (tmp_path / "x.snap").stat().st_size


@pytest.mark.parametrize("options", [[], ["-z"]], ids=["plain", "compressed"])
def test_a_slow_reader_does_not_prolong_the_pause(options: list[str]) -> None:
    # Given a reader that does not read at all: the target must run on all the same
    with running_program("large.c", "64") as victim:
        process = start("snap", "--json", *options, victim.pid)
        wait_until(lambda: tracer_of(victim.pid) != 0, "snap stops it")
        wait_until(lambda: tracer_of(victim.pid) == 0, "it runs on while nobody reads", 10)
        assert process.poll() is None, "most of the snapshot is still to be read"
        result = finish(process)
    result.expect(0)
    assert float(result.events()[-1]["pause"]) < 5
    assert len(result.out) > 1 << 20


@dataclass(frozen=True)
class Forms:
    pid: int
    plain: Path
    packed: Path


@pytest.fixture(scope="module")
def forms(still: Victim, tmp_path_factory: pytest.TempPathFactory) -> Forms:
    """The same snapshot plain and compressed, under the same name in two directories."""
    plain = tmp_path_factory.mktemp("plain") / "x.snap"
    packed = tmp_path_factory.mktemp("packed") / "x.snap"
    snap("-o", plain, still.pid).expect(0)
    snaptui_command("compress", plain, "-o", packed).expect(0)
    return Forms(still.pid, plain, packed)


@pytest.mark.parametrize(
    "words",
    [
        ["segments", "FILE", "PID"],
        ["segments", "--json", "FILE", "PID"],
        ["regs", "FILE", "PID"],
        ["cat", "FILE", "PID", "status"],
        ["cat", "FILE", "PID", "proc"],
        ["cat", "FILE", "PID", "text"],
        ["hexdump", "FILE", "PID", "PLACE"],
    ],
    ids=" ".join,
)
def test_every_reading_command_takes_either_form(forms: Forms, words: list[str]) -> None:
    place = read_snapshot(forms.plain).only().memory[-1]
    values = {"PID": str(forms.pid), "PLACE": f"{place.offset:#x}+300"}

    def output(file: Path) -> bytes:
        return (
            snaptui_command(*(str(file) if word == "FILE" else values.get(word, word) for word in words))
            .expect(0)
            .out
        )

    assert output(forms.plain) == output(forms.packed)
    assert output(forms.plain)


@pytest.mark.parametrize("name", ["info", "verify"])
def test_what_is_said_of_the_whole_file_takes_either_form(forms: Forms, name: str) -> None:
    for file in (forms.plain, forms.packed):
        assert str(forms.pid).encode() in snaptui_command(name, file).expect(0).out


def test_there_and_back_again(forms: Forms, tmp_path: Path) -> None:
    snaptui_command("decompress", forms.packed, "-o", tmp_path / "back.snap").expect(0)
    assert (tmp_path / "back.snap").read_bytes() == forms.plain.read_bytes()
    assert os.stat(tmp_path / "back.snap").st_mode & 0o777 == 0o600


def test_json_progress_ends_with_how_it_went(still: Victim, tmp_path: Path) -> None:
    result = snap("--json", "-o", tmp_path / "x.snap", still.pid).expect(0)
    events = result.events()
    assert result.err == ""
    assert events[-1]["event"] == "done"
    assert 0 < float(events[-1]["pause"]) < 10


def test_nothing_is_said_when_nobody_watches(still: Victim, tmp_path: Path) -> None:
    result = snap("-o", tmp_path / "x.snap", still.pid).expect(0)
    assert (result.out, result.err) == (b"", "")
