"""The registry of running servers: listing, ending, and cleaning up after those that were killed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.engine.errors import AccessDenied
from snaptui.engine.serve import registry
from snaptui.engine.serve.registry import Entry, Registry, runtime_directory, start_ticks
from tests.helpers.mounts import (
    PARTIAL,
    TWO_PROCS,
    Servers,
    is_mounted,
    is_running,
    mounts_at,
    needs_fuse,
    servers,
)
from tests.helpers.victims import running_python, wait_until

FOREVER = "import signal; print('ready', flush=True); signal.pause()"
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
while True: signal.pause()
"""


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Servers]:
    with servers(tmp_path) as group:
        yield group


@pytest.fixture
def mtpt(tmp_path: Path) -> Path:
    path = tmp_path / "mtpt"
    path.mkdir()
    return path


def entry_for(pid: int, **changes: object) -> Entry:
    entry = Entry(pid, start_ticks(pid), ("/x.snap",), "", "", ("unix!/tmp/ns/x",), 0)
    return dataclasses.replace(entry, **changes)  # type: ignore[arg-type]


def test_the_directory_is_private_and_in_xdg_runtime_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_directory() == str(tmp_path / "snapfs")
    assert (tmp_path / "snapfs").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("unusable", ["", "relative", "/nowhere/at/all"])
def test_without_xdg_runtime_dir_it_is_in_tmp(monkeypatch: pytest.MonkeyPatch, unusable: str) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", unusable)
    assert runtime_directory() == f"/tmp/snapfs-{os.geteuid()}"


def test_a_directory_that_others_may_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "snapfs").mkdir()
    (tmp_path / "snapfs").chmod(0o777)
    with pytest.raises(AccessDenied, match="only you can use"):
        runtime_directory()
    (tmp_path / "snapfs").rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "snapfs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AccessDenied):
        runtime_directory()


def test_start_time_is_that_of_the_kernel() -> None:
    # /proc/PID/stat by another reader: ps counts seconds, the kernel ticks since boot
    boot = float(Path("/proc/uptime").read_text().split()[0])
    with running_python(FOREVER) as victim:
        age = boot - start_ticks(victim.pid) / os.sysconf("SC_CLK_TCK")
        assert -30 < age < 30
    assert start_ticks(victim.pid) == 0


def test_a_process_that_got_the_pid_of_a_server_is_left_alone(tmp_path: Path) -> None:
    known = Registry(str(tmp_path))
    with running_python(FOREVER) as victim:
        stale = entry_for(victim.pid, start_ticks=start_ticks(victim.pid) - 1)
        known.add(stale)
        assert registry.end(stale) == "gone"
        assert known.entries() == []
        with known.locked():
            known.clean()
        assert not list(tmp_path.glob("*.json"))
        assert is_running(victim.pid)


@needs_fuse
def test_a_server_that_is_stopped_can_be_listed_and_ended(group: Servers, mtpt: Path) -> None:
    """Given a stopped server, whose mount answers nobody, then neither hangs, nor does another server."""
    group.snapfs("-m", mtpt, TWO_PROCS)
    pid = group.listed()[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    entry = group.runtime / "snapfs" / f"{pid}.json"
    hidden = entry.rename(entry.with_name("hidden"))  # as if it were of another registry
    assert group.listed() == []
    hidden.rename(entry)
    group.snapfs("-s", "other", PARTIAL)
    assert len(group.listed()) == 2
    group.umount(mtpt)
    assert not is_running(pid)
    assert not is_mounted(mtpt)


def test_a_server_that_is_deaf_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_END_PATIENCE", 0.2)
    with running_python(DEAF) as victim:
        assert registry.end(entry_for(victim.pid)) == "killed"
        assert victim.popen.wait() == -signal.SIGKILL


def test_strange_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    known = Registry(str(tmp_path))
    known.add(entry_for(os.getpid()))
    strange = {"1.json": b"", "2.json": b"\xff", "3.json": b"[1]", "4.json": b'{"pid": "x"}', "notes": b"{}"}
    for name, content in strange.items():
        (tmp_path / name).write_bytes(content)
    with known.locked():
        known.clean()
    assert [entry.pid for entry in known.entries()] == [os.getpid()]
    assert all((tmp_path / name).exists() for name in strange)


@pytest.mark.parametrize(
    ("target", "meant"),
    [("x", True), ("/tmp/ns/x", True), ("unix!/tmp/ns/x", True), ("y", False), ("/tmp/ns", False)],
)
def test_a_service_goes_by_name_path_and_address(target: str, meant: bool) -> None:
    assert entry_for(os.getpid()).is_called(target) is meant


def test_one_waits_for_the_other(tmp_path: Path) -> None:
    """The lock holds across processes, and goes with the process that holds it."""
    hold = (
        "import signal, sys\nfrom snaptui.engine.serve.registry import Registry\n"
        "with Registry(sys.argv[1]).locked():\n print('ready', flush=True)\n signal.pause()"
    )
    with running_python(hold, str(tmp_path)) as victim:
        take = [sys.executable, "-c", hold.replace("signal.pause()", ""), str(tmp_path)]
        with subprocess.Popen(take, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            wait_until(lambda: (tmp_path / "lock").exists(), "there is a lock")
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(0.7)
            os.kill(victim.pid, signal.SIGKILL)
            assert other.stdout.read() == "ready\n"


@needs_fuse
def test_running_servers_are_listed(group: Servers, mtpt: Path) -> None:
    group.snapfs("-m", mtpt, "-s", "one", TWO_PROCS, PARTIAL)
    (entry,) = group.listed()
    assert entry["mountpoint"] == str(mtpt)
    assert entry["files"] == [str(TWO_PROCS), str(PARTIAL)]
    assert [service.rpartition("/")[2] for service in entry["services"]] == ["one"]
    assert is_running(entry["pid"])
    table = group.run("mounts").expect(0).out.decode()
    assert str(mtpt) in table
    assert str(entry["pid"]) in table
    group.umount("one")
    assert not is_mounted(mtpt)
    assert group.listed() == []


@needs_fuse
@pytest.mark.parametrize("cleaner", ["umount --all", "umount mtpt", "snapfs", "mounts"])
def test_what_a_killed_server_left_is_cleaned_up(group: Servers, mtpt: Path, cleaner: str) -> None:
    group.snapfs("-m", mtpt, TWO_PROCS)
    entry = group.listed()[0]
    os.kill(entry["pid"], signal.SIGKILL)
    wait_until(lambda: not is_running(entry["pid"]), "it is gone")
    assert is_mounted(mtpt)
    match cleaner:
        case "umount --all":
            group.umount("--all")
        case "umount mtpt":
            group.umount(mtpt)
        case "mounts":
            assert group.listed() == []
        case "snapfs":
            group.snapfs("-m", mtpt, PARTIAL)
            assert os.listdir(mtpt) == ["77"]
            assert mounts_at(mtpt) == 1
            return
    assert not is_mounted(mtpt)
    assert os.listdir(mtpt) == []
    assert not list((group.runtime / "snapfs").glob("*.json"))


@needs_fuse
def test_all_of_a_stack_killed_is_cleaned_up(group: Servers, mtpt: Path) -> None:
    for path in (TWO_PROCS, PARTIAL, TWO_PROCS):
        group.snapfs("-m", mtpt, path)
    assert mounts_at(mtpt) == 3
    assert len(group.kill()) == 3
    group.umount("--all")
    assert mounts_at(mtpt) == 0


@needs_fuse
def test_umount_all_ends_all(group: Servers, mtpt: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    group.snapfs("-m", mtpt, TWO_PROCS)
    group.snapfs("-m", mtpt, PARTIAL)
    group.snapfs("-m", other, PARTIAL)
    group.snapfs("-s", "alone", PARTIAL)
    pids = [entry["pid"] for entry in group.listed()]
    assert len(set(pids)) == 4
    group.umount("--all")
    assert group.listed() == []
    assert not any(is_running(pid) for pid in pids)
    assert mounts_at(mtpt) == mounts_at(other) == 0
    assert not list((tmp_path / "namespace").iterdir())


def test_umount_of_what_nobody_serves_is_one_line(group: Servers, tmp_path: Path) -> None:
    for target in (tmp_path, "nobody"):
        line = group.umount(target, status=1).expect_clear_failure()
        assert line == f"snaptui: no snapfs of yours serves {target}"


def test_umount_without_or_with_too_much_is_a_usage_error(group: Servers) -> None:
    group.umount(status=2)
    group.umount("--all", "x", status=2)


def test_entries_are_small_json_files(group: Servers) -> None:
    group.snapfs("-s", "alone", PARTIAL)
    (path,) = (group.runtime / "snapfs").glob("*.json")
    entry = json.loads(path.read_text())
    assert int(path.stem) == entry["pid"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert entry["start_ticks"] == start_ticks(entry["pid"])
