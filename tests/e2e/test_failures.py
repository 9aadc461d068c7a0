"""What goes wrong is said in one clear line, and nothing half-written is left."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.commands import as_nobody, command, environment, finish, snap, snaptui_command, start
from tests.helpers.strict_reader import read_snapshot
from tests.helpers.victims import Victim, program, running, running_program, state_of, tracer_of, wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with running_program("deadlock.c") as program:
        yield program
        # None of the failures harmed it.
        wait_until(lambda: tracer_of(program.pid) == 0, "nobody traces it")
        assert {state_of(program.pid, tid) for tid in program.threads()} == {"S"}


@pytest.fixture(scope="module")
def snapshot(victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "x.snap"
    snap("-o", path, victim.pid).expect(0)
    return path


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 1 MiB."""
    directory = tmp_path / "full"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@needs_root
@pytest.mark.parametrize("name", ["x.snap", "x.snap.zst"])
def test_a_full_disk(full_disk: Path, name: str) -> None:
    # Random bytes: they don't become fewer by compression
    with running_program("large.c", "4") as large:
        line = snap("-o", full_disk / name, large.pid).expect_clear_failure()
        wait_until(lambda: tracer_of(large.pid) == 0, "it runs on")
    assert "space" in line.lower()
    assert list(full_disk.iterdir()) == []


@needs_root
def test_a_full_disk_keeps_the_old_file(full_disk: Path) -> None:
    (full_disk / "x.snap").write_bytes(b"old")
    with running_program("large.c", "4") as large:
        snap("-o", full_disk / "x.snap", large.pid).expect_clear_failure()
    assert (full_disk / "x.snap").read_bytes() == b"old"
    assert len(list(full_disk.iterdir())) == 1


@pytest.mark.parametrize("options", [[], ["-z"]], ids=["plain", "compressed"])
def test_a_limit_on_the_size_of_files(tmp_path: Path, options: list[str]) -> None:
    words = shlex.join(command("snap", *options, "-o", tmp_path / "x.snap"))
    with running_program("large.c", "4") as large:
        line = f"ulimit -f 100; exec {words} {large.pid}"
        done = subprocess.run(
            ["bash", "-c", line], env=environment(), capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "too large" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_not_matter_with_a_file(
    tmp_path: Path, victim: Victim, closed: str
) -> None:
    words = shlex.join(command("snap", "-o", tmp_path / "x.snap", victim.pid))
    done = subprocess.run(
        ["bash", "-c", f"exec {words} {closed}"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(read_snapshot(tmp_path / "x.snap").processes) == [victim.pid]


def test_standard_output_that_is_closed_is_refused(victim: Victim) -> None:
    words = shlex.join(command("snap", victim.pid))
    done = subprocess.run(
        ["bash", "-c", f"exec {words} >&-"], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "closed" in done.stderr


def test_standard_output_on_a_full_disk(victim: Victim) -> None:
    with Path("/dev/full").open("wb") as full:
        line = snap(victim.pid, stdout=full).expect_clear_failure()
    assert "space" in line.lower()


@pytest.mark.parametrize("arguments", [["info"], ["verify"], ["info", "--json"]], ids=" ".join)
def test_what_the_reading_commands_print_on_a_full_disk(snapshot: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        snaptui_command(*arguments, snapshot, stdout=full).expect_clear_failure()


@pytest.mark.parametrize("options", [[], ["-z"]], ids=["plain", "compressed"])
def test_a_closed_pipe(options: list[str]) -> None:
    with running_program("large.c", "16") as large:
        process = start("snap", *options, large.pid)
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 10)
        process.stdout.close()
        process.stdout = None
        result = finish(process)
        wait_until(lambda: tracer_of(large.pid) == 0, "it runs on")
    result.expect_no_crash()
    assert result.status > 0, "nobody got the whole snapshot"
    assert len(result.lines) <= 2


def test_head_closes_the_pipe_of_a_reading_command(snapshot: Path) -> None:
    words = " ".join(
        f"'{word}'" for word in command("hexdump", snapshot, pid_in(snapshot), stack_of(snapshot))
    )
    done = subprocess.run(
        ["bash", "-c", f"{words} | head -c 10"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(done.stdout) == 10


def pid_in(snapshot: Path) -> int:
    """The first pid that a snapshot holds, from its first record."""
    with snapshot.open("rb") as file:
        file.readline()
        return int(file.read(12))


def stack_of(snapshot: Path) -> str:
    """ADDR+LEN of the saved stack, as `segments` could say, from the `segment` record (proc(3))."""
    segments = read_snapshot(snapshot).only().files["segment"].decode().splitlines()
    words = next(line.split() for line in segments if line.startswith("Stack"))
    start, end = words[-3:-1]
    return f"0x{start}+{int(end, 16) - int(start, 16):#x}"


@needs_root
def test_an_unwritable_directory(tmp_path: Path) -> None:
    prefix = as_nobody()
    if not prefix:
        pytest.skip("another user can't reach the interpreter")
    binary = Path("/tmp") / f"{tmp_path.name}-{os.getpid()}"
    shutil.copy(program("deadlock.c"), binary)
    binary.chmod(0o755)
    try:
        with running([binary], user=65534, group=65534, extra_groups=[]) as own:
            # The victim is that user's own: only the directory is in the way.
            result = snap("-o", tmp_path / "x.snap", own.pid, prefix=prefix)
    finally:
        binary.unlink()
    assert "ermission" in result.expect_clear_failure()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_read_only(tmp_path: Path, victim: Victim) -> None:
    tmp_path.chmod(0o555)
    assert "ermission" in snap("-o", tmp_path / "x.snap", victim.pid).expect_clear_failure()


@needs_root
def test_a_read_only_file_system(tmp_path: Path, victim: Victim) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", tmp_path], check=True)
    try:
        line = snap("-o", tmp_path / "x.snap", victim.pid).expect_clear_failure()
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert "read-only" in line.lower()


def test_the_output_is_a_directory(tmp_path: Path, victim: Victim) -> None:
    line = snap("-o", tmp_path, victim.pid).expect_clear_failure()
    assert "directory" in line
    assert list(tmp_path.iterdir()) == []


def test_the_outputs_directory_does_not_exist(tmp_path: Path, victim: Victim) -> None:
    line = snap("-o", tmp_path / "no" / "x.snap", victim.pid).expect_clear_failure()
    assert "no such file or directory" in line.lower() or "no such directory" in line.lower()


@needs_root
def test_a_device_stays_a_device(tmp_path: Path, victim: Victim) -> None:
    # As `-o /dev/null`, without risking the real one
    null = tmp_path / "null"
    os.mknod(null, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    snap("-o", null, victim.pid).expect(0)
    assert stat.S_ISCHR(null.stat().st_mode)


def test_a_fifo_is_written_to(tmp_path: Path, victim: Victim) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with (tmp_path / "x.snap").open("wb") as file, subprocess.Popen(["cat", fifo], stdout=file) as reader:
        try:
            snap("-o", fifo, victim.pid).expect(0)
            assert reader.wait(20) == 0
        finally:
            reader.kill()
    assert list(read_snapshot(tmp_path / "x.snap").processes) == [victim.pid]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_terminal_is_refused(victim: Victim) -> None:
    master, slave = pty.openpty()
    try:
        result = snap(victim.pid, stdout=slave)
    finally:
        os.close(slave)
    try:
        printed = os.read(master, 1000)
    except OSError:
        printed = b""
    os.close(master)
    assert "terminal" in result.expect_clear_failure()
    assert result.status == 2
    assert printed == b""


@pytest.mark.parametrize(
    "arguments", [[], ["--no-such-option", "1"], ["--progress", "loud", "1"]], ids=" ".join
)
def test_wrong_usage(arguments: list[str]) -> None:
    result = snap(*arguments).expect(2)
    assert "usage" in result.err.lower()


READERS = ["info", "segments", "hexdump", "regs", "cat", "verify", "compress", "decompress", "copy"]


def reading(name: str, file: Path, pid: int, directory: Path) -> list[str | int | Path]:
    """The words of a reading command that needs the whole of a snapshot's index at least."""
    more: dict[str, list[str | int | Path]] = {
        "segments": [pid],
        "hexdump": [pid, "0x1000+16"],
        "regs": [pid],
        "cat": [pid, "status"],
        "compress": ["-o", directory / "out.zst"],
        "decompress": ["-o", directory / "out.snap"],
        "copy": ["-o", directory / "out.snap"],
    }
    return [name, file, *more.get(name, [])]


def garblings(good: bytes) -> dict[str, bytes]:
    record = good.index(b"mem\n")
    flag = good.index(b"r", record + 40)
    return {
        "empty": b"",
        "no snapshot": b"#!/bin/sh\n" + good,
        "cut in the header": good[:20],
        "cut in a record": good[: good.index(b"\n") + 30],
        "cut in the middle": good[: len(good) // 2],
        "cut by a byte": good[:-1],
        "unknown record": good.replace(b"status\n", b"stutas\n", 1),
        "stray byte": good[:record] + b"?" + good[record:],
        "page flag": good[:flag] + b"x" + good[flag + 1 :],
        "more at the end": good + b"more",
    }


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "damage", ["empty", "no snapshot", "cut in the middle", "cut by a byte", "stray byte"]
)
def test_every_reading_command_refuses_a_damaged_snapshot(
    snapshot: Path, tmp_path: Path, name: str, damage: str
) -> None:
    bad = tmp_path / "bad.snap"
    bad.write_bytes(garblings(snapshot.read_bytes())[damage])
    if name == "decompress":
        bad = compressed(bad)
    result = snaptui_command(*reading(name, bad, pid_in(snapshot), tmp_path))
    line = result.expect_clear_failure()
    assert bad.name in line
    assert result.out == b""
    assert {path.name for path in tmp_path.iterdir()} <= {"bad.snap", "bad.snap.zst"}


@pytest.mark.parametrize(
    "damage", ["cut in the header", "cut in a record", "unknown record", "page flag", "more at the end"]
)
def test_verify_finds_every_damage(snapshot: Path, tmp_path: Path, damage: str) -> None:
    bad = tmp_path / "bad.snap"
    bad.write_bytes(garblings(snapshot.read_bytes())[damage])
    snaptui_command("verify", bad).expect_clear_failure()


def compressed(path: Path) -> Path:
    """The file packed by zstd(1), as a plain frame."""
    subprocess.run(["zstd", "-q", "-f", path], check=True)
    return path.with_name(path.name + ".zst")


@pytest.mark.parametrize("damage", ["cut", "garbled", "cut before the seek table"])
@pytest.mark.parametrize("name", ["info", "verify", "decompress"])
def test_a_damaged_compressed_snapshot(snapshot: Path, tmp_path: Path, name: str, damage: str) -> None:
    bad = tmp_path / "bad.snap.zst"
    snaptui_command("compress", snapshot, "-o", bad).expect(0)
    good = bad.read_bytes()
    middle = len(good) // 2
    bad.write_bytes(
        {
            "cut": good[:middle],
            "garbled": good[:middle]
            + bytes(byte ^ 0x55 for byte in good[middle : middle + 64])
            + good[middle + 64 :],
            "cut before the seek table": good[:-9],
        }[damage]
    )
    line = snaptui_command(*reading(name, bad, pid_in(snapshot), tmp_path)).expect_clear_failure()
    assert bad.name in line
    assert list(tmp_path.iterdir()) == [bad]


@pytest.mark.parametrize("name", READERS)
def test_every_reading_command_on_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    line = snaptui_command(*reading(name, tmp_path / "none.snap", 1, tmp_path)).expect_clear_failure()
    assert "none.snap" in line


def test_questions_that_the_snapshot_cannot_answer(snapshot: Path) -> None:
    pid = pid_in(snapshot)
    questions: list[list[str | int | Path]] = [
        ["segments", snapshot, 999999999],
        ["hexdump", snapshot, pid, "0x10+16"],
        ["hexdump", snapshot, pid, "nonsense"],
        ["regs", snapshot, pid, "--thread", 999999999],
        ["cat", snapshot, pid, "no-such-file"],
    ]
    for words in questions:
        snaptui_command(*words).expect_clear_failure()


def test_memory_that_was_not_captured_is_an_error_never_zeros(snapshot: Path) -> None:
    result = snaptui_command("hexdump", snapshot, pid_in(snapshot), "0xffffffffff600000+16")
    assert "not captured" in result.expect_clear_failure()
    assert result.out == b""
