"""snapfs as a command: what it prints, when it returns, and where the server goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.commands import as_nobody, finish, start
from tests.helpers.mounts import (
    PARTIAL,
    TWO_PROCS,
    Servers,
    is_mounted,
    is_running,
    needs_fuse,
    servers,
)
from tests.helpers.victims import wait_until

PROCESSES = [b"process 1201 page glenda Pread", b"process 1202 gs glenda Pread"]
"""Of two-procs.snap: pid, and the first words of status."""

# Tversion, tag NOTAG, msize 8192, 9P2000 (intro(5)), and the answer's type.
TVERSION = struct.pack("<IBHIH6s", 19, 100, 0xFFFF, 8192, 6, b"9P2000")
RVERSION = 101


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Servers]:
    with servers(tmp_path) as group:
        yield group


@pytest.fixture
def mtpt(tmp_path: Path) -> Path:
    path = tmp_path / "mtpt"
    path.mkdir()
    return path


def speaks_9p(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(TVERSION)
        return client.recv(100)[4] == RVERSION


@needs_fuse
def test_it_mounts_at_the_default_place_and_returns(group: Servers) -> None:
    done = group.snapfs(TWO_PROCS)
    assert done.out.splitlines() == PROCESSES
    assert done.err == ""
    place = group.runtime / "snapfs" / "proc"
    assert sorted(os.listdir(place)) == ["1201", "1202"]
    assert place.parent.stat().st_mode & 0o777 == 0o700


@needs_fuse
def test_the_server_is_a_daemon(group: Servers, mtpt: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    group.snapfs("-m", mtpt, TWO_PROCS, pass_fds=[writer], cwd=tmp_path)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b""  # at once: the server does not hold what it was given
    pid = group.listed()[0]["pid"]
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[3]) == pid  # session
    assert int(stat[1]) not in (os.getpid(), pid)  # parent
    assert int(stat[4]) == 0  # no terminal
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert {Path(f"/proc/{pid}/fd/{fd}").readlink() for fd in (0, 1, 2)} == {Path("/dev/null")}


def test_a_socket_alone_needs_no_fuse(group: Servers, tmp_path: Path) -> None:
    environment = group.environment | {"FUSE_LIBRARY_PATH": "/nowhere/libfuse.so"}
    done = group.snapfs("-s", "page", TWO_PROCS, env=environment)
    assert done.out.splitlines() == PROCESSES
    assert speaks_9p(tmp_path / "namespace" / "page")
    assert group.listed()[0]["mountpoint"] == ""
    group.umount("page")
    assert not (tmp_path / "namespace" / "page").exists()


@needs_fuse
def test_mount_and_socket_together(group: Servers, mtpt: Path, tmp_path: Path) -> None:
    group.snapfs("-m", mtpt, "-s", tmp_path / "sock", TWO_PROCS)
    assert speaks_9p(tmp_path / "sock")
    assert (mtpt / "1201").is_dir()
    # unmounted by hand the socket is served on
    os.system(f"fusermount3 -u {mtpt} || umount {mtpt}")
    wait_until(lambda: group.listed()[0]["mountpoint"] == "", "the server knows")
    assert speaks_9p(tmp_path / "sock")
    group.umount(tmp_path / "sock")
    assert group.listed() == []


def test_without_libfuse_it_says_what_to_install(group: Servers, mtpt: Path) -> None:
    environment = group.environment | {"FUSE_LIBRARY_PATH": "/nowhere/libfuse.so"}
    done = group.snapfs("-m", mtpt, TWO_PROCS, status=1, env=environment)
    assert done.expect_clear_failure() == "snaptui: cannot mount: libfuse is not installed"
    assert "apt-get install fuse3" in done.lines[1]
    assert group.listed() == []


def test_a_bad_snapshot_serves_nothing(group: Servers, mtpt: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.snap"
    bad.write_bytes(TWO_PROCS.read_bytes()[:5000])
    done = group.snapfs("-s", "x", TWO_PROCS, bad, status=1)
    assert str(bad) in done.expect_clear_failure()
    assert done.out == b""
    assert group.listed() == []
    assert not (tmp_path / "namespace" / "x").exists()


def test_the_same_pid_twice_is_a_warning(group: Servers, tmp_path: Path) -> None:
    copy = tmp_path / "copy.snap"
    shutil.copy(TWO_PROCS, copy)
    done = group.snapfs("-s", "x", TWO_PROCS, copy, PARTIAL)
    assert [line for line in done.lines if "1201" in line] == [
        f"snapfs: process 1201 is in {TWO_PROCS} and in {copy}: the first is served"
    ]
    assert len(done.out.splitlines()) == 3


def test_a_name_that_is_served_already_is_refused(group: Servers, tmp_path: Path) -> None:
    group.snapfs("-s", "x", TWO_PROCS)
    assert "in use" in group.snapfs("-s", "x", PARTIAL, status=1).expect_clear_failure()
    assert len(group.listed()) == 1
    assert speaks_9p(tmp_path / "namespace" / "x")


def test_a_port_that_others_reach_needs_insistence(group: Servers) -> None:
    line = group.snapfs("-s", "tcp!0.0.0.0!0", TWO_PROCS, status=2).expect_clear_failure()
    assert "other machines" in line
    group.snapfs("-s", "tcp!127.0.0.1!0", TWO_PROCS)
    assert group.listed()[0]["services"][0].startswith("tcp!127.0.0.1!")


@needs_fuse
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_the_foreground_it_stays_until_a_signal(
    group: Servers, mtpt: Path, number: signal.Signals
) -> None:
    server = start("fs", "-f", "-m", mtpt, TWO_PROCS, env=group.environment)
    assert server.stdout is not None
    assert [server.stdout.readline().rstrip() for _ in PROCESSES] == PROCESSES
    assert (mtpt / "1201").is_dir()
    assert group.listed()[0]["pid"] == server.pid
    server.send_signal(number)
    finish(server).expect(0)
    assert not is_mounted(mtpt)
    assert group.listed() == []


@needs_fuse
def test_in_the_foreground_it_ends_though_a_file_is_in_use(group: Servers, mtpt: Path) -> None:
    server = start("fs", "-f", "-m", mtpt, TWO_PROCS, env=group.environment)
    assert server.stdout is not None
    server.stdout.readline()
    file = os.open(mtpt / "1201" / "text", os.O_RDONLY)
    try:
        assert os.read(file, 4)
        server.send_signal(signal.SIGINT)
        finish(server).expect(0)
        assert not is_mounted(mtpt)
    finally:
        with contextlib.suppress(OSError):  # close(2) says that the server is gone
            os.close(file)


@needs_fuse
def test_the_default_place_can_be_used_again_after_a_kill(group: Servers) -> None:
    group.snapfs(TWO_PROCS)
    group.kill()
    group.snapfs(PARTIAL)
    assert os.listdir(group.runtime / "snapfs" / "proc") == ["77"]


@needs_fuse
def test_the_error_of_the_server_is_told_by_the_command(tmp_path: Path) -> None:
    """Given a user who may not mount there, when he tries, then he is told why, in a line."""
    prefix = as_nobody()
    if os.geteuid() != 0 or not prefix or os.stat("/dev/fuse").st_mode & 0o006 != 0o006:
        pytest.skip("needs root, to become a user without rights, and a /dev/fuse that such a user may open")
    path = Path("/tmp") / f"snapfs-error-{os.getpid()}"
    (path / "mtpt").mkdir(parents=True)
    try:
        shutil.copy(TWO_PROCS, path)
        with servers(path, prefix) as group:
            os.chown(group.runtime, 65534, 65534)
            line = group.snapfs("-m", path / "mtpt", path / TWO_PROCS.name, status=1).expect_clear_failure()
            assert f"cannot mount at {path / 'mtpt'}" in line
            assert "no write access" in line  # fusermount3's own words
            assert group.listed() == []
    finally:
        shutil.rmtree(path)


@needs_fuse
def test_a_server_that_is_killed_while_it_starts_leaves_nothing(group: Servers, mtpt: Path) -> None:
    """Given the registry held by another, when the waiting command is interrupted, then nothing begins."""
    from snaptui.engine.serve.registry import Registry

    (group.runtime / "snapfs").mkdir(mode=0o700)
    with Registry(str(group.runtime / "snapfs")).locked():
        command = start("fs", "-m", mtpt, TWO_PROCS, env=group.environment)
        lock = group.runtime / "snapfs" / "lock"
        wait_until(lambda: children_with(command.pid, lock), "there is a child that waits for the lock")
        (child,) = children_with(command.pid, lock)
        command.send_signal(signal.SIGINT)
        done = finish(command)
    assert done.status == 128 + signal.SIGINT
    wait_until(lambda: not is_running(child), "the child ends")
    assert not is_mounted(mtpt)


def children_with(pid: int, file: Path) -> list[int]:
    """The children of a process that have a file open; it has others for moments, as ldconfig."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if file in opened_by(child)]


def opened_by(pid: str) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return [Path(os.readlink(link)) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return []
