"""Naming processes: by pid, by name, with their descendants."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.commands import (
    NOBODY,
    command,
    environment,
    line_about,
    snap,
    snaptui_command,
    take,
)
from tests.helpers.live import differences
from tests.helpers.victims import (
    Victim,
    program,
    running,
    running_program,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_name_takes_all_processes_of_that_name(tmp_path: Path) -> None:
    with (
        named(tmp_path, "snaptuivictim") as one,
        named(tmp_path, "snaptuivictim") as two,
        named(tmp_path, "snaptuiother"),
    ):
        snapshot = take(tmp_path / "x.snap", "snaptuivictim")
    assert set(snapshot.processes) == {one.pid, two.pid}


def test_names_longer_than_the_kernel_keeps(tmp_path: Path) -> None:
    # comm holds 15 characters (proc_pid_comm(5))
    with named(tmp_path, "snaptui-with-a-very-long-name") as victim:
        snapshot = take(tmp_path / "x.snap", "snaptui-with-a-very-long-name")
    assert set(snapshot.processes) == {victim.pid}


def test_several_names_and_pids_in_the_order_given_each_once(tmp_path: Path) -> None:
    with (
        named(tmp_path, "snaptuione") as one,
        named(tmp_path, "snaptuitwo") as two,
        named(tmp_path, "three") as three,
    ):
        snapshot = take(tmp_path / "x.snap", "snaptuitwo", three.pid, "snaptuione", two.pid)
    assert list(snapshot.processes) == [two.pid, three.pid, one.pid]


def test_a_name_of_nobody_is_one_clear_line(tmp_path: Path) -> None:
    result = snap("-o", tmp_path / "x.snap", "no-such-name-at-all").expect(1)
    assert "no-such-name-at-all" in result.expect_clear_failure()
    assert not (tmp_path / "x.snap").exists()


@needs_root
def test_a_name_means_the_current_users_processes(tmp_path: Path) -> None:
    nobody: dict[str, object] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="snaptui-public-") as public:
        Path(public).chmod(0o755)
        binary = named_binary(Path(public), "snaptuishared")
        with running([binary]) as mine, running([binary], **nobody) as other:
            snapshot = take(tmp_path / "x.snap", "snaptuishared")
            assert list(snapshot.processes) == [mine.pid]
            mine.popen.kill()
            mine.popen.wait()
            result = snap("-o", tmp_path / "y.snap", "snaptuishared").expect(1)
            assert str(other.pid) in result.err
            assert "nobody" in result.err


def named_binary(directory: Path, name: str) -> Path:
    """A program of that name, which every user may run."""
    binary = directory / name
    if not binary.exists():
        shutil.copy(program("deadlock.c"), binary)
        binary.chmod(0o755)
    return binary


@contextmanager
def named(directory: Path, name: str) -> Iterator[Victim]:
    """Run a program under a name of its own."""
    with running([named_binary(directory, name)]) as victim:
        yield victim


def test_tree_takes_the_descendants_too(tmp_path: Path) -> None:
    with running_program("family.c", "3", "1") as victim:
        children = {int(words[0]) for words in victim.table()}
        alone = take(tmp_path / "alone.snap", victim.pid)
        tree = take(tmp_path / "tree.snap", "--tree", victim.pid)
    assert set(alone.processes) == {victim.pid}
    assert set(tree.processes) == {victim.pid} | children


def test_snap_never_snaps_itself(tmp_path: Path) -> None:
    # `exec` gives snap the shell's own pid, which the shell knows beforehand.
    words = " ".join(f"'{word}'" for word in command("snap", "-o", tmp_path / "x.snap"))
    done = subprocess.run(
        ["sh", "-c", f"exec {words} $$"], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "itself" in done.stderr
    assert not (tmp_path / "x.snap").exists()


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "new\nline",
        "paren) R 1 1",
        "esc\x1b[31mred",
        os.fsdecode(b"\xff\xfe"),
        "-dash",
        "%s",
        "back\\slash",
    ],
)
def test_a_program_of_an_odd_name(tmp_path: Path, name: str) -> None:
    with named(tmp_path, name) as victim:
        victim.stop()
        snapshot = take(tmp_path / "x.snap", "--", name)
        assert list(snapshot.processes) == [victim.pid]
        assert differences(snapshot.only(), victim.pid) == []
    content = (tmp_path / name).read_bytes()
    assert snapshot.only().read_text(0, len(content)) == content
    described = snaptui_command("info", tmp_path / "x.snap").expect(0)
    assert b"\x1b" not in described.out


def test_a_thread_id_names_its_process_in_the_answer(tmp_path: Path) -> None:
    with running_program("deadlock.c") as victim:
        thread = victim.threads()[1]
        result = snap("-o", tmp_path / "x.snap", thread).expect(1)
    assert str(victim.pid) in line_about(result, thread)
