"""The /proc files of the Linux record, compared with /proc itself."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from snaptui.engine.compiled import PURE
from snaptui.engine.errors import NoSuchProcess
from snaptui.engine.snapfile import Link
from snaptui.engine.take.procfiles import kernel_state, process_files, read_files
from snaptui.engine.take.procstat import open_directory
from tests.helpers.named import wait_for_state
from tests.helpers.victims import running_c, running_python


def test_the_files_are_those_of_proc() -> None:
    with running_python("print('ready'); input()") as victim:
        victim.stop()
        files = process_files(victim.pid)
        proc = Path(f"/proc/{victim.pid}")
        for name in ("maps", "auxv", "cmdline", "environ", "limits", "cgroup", "mountinfo", "comm"):
            assert files[name] == (proc / name).read_bytes(), name
        # The sizes in smaps change with whoever maps the same libraries.
        smaps = files["smaps"]
        assert isinstance(smaps, bytes)
        assert _lines_with(smaps, b"VmFlags:") == _lines_with((proc / "smaps").read_bytes(), b"VmFlags:")
        for name in ("exe", "cwd", "root", "fd/0", "fd/1", "fd/2"):
            assert files[name] == Link(os.readlink(proc / name)), name
        assert files["fdinfo/0"] == (proc / "fdinfo/0").read_bytes()
        assert files[f"task/{victim.pid}/comm"] == (proc / "comm").read_bytes()
        assert not set(files) & {"stat", "status", "wchan", "syscall", "stack"}


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("room", [1, 24, 25, 26, 1000, 1 << 20])
def test_files_are_read_whole_whatever_their_number_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pure: str, room: int
) -> None:
    monkeypatch.setenv(PURE, pure)
    sizes = [0, 1, 24, 25, 26, 0, 70_000, 3, *range(100)]
    expected = {f"{k} \udcff": os.urandom(size) for k, size in enumerate(sizes)}
    for name, content in expected.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "directory").mkdir()
    names = [*expected]
    names[3:3] = ["missing", "directory"]  # one that can't be opened, and one that can't be read
    with open_directory(str(tmp_path)) as directory:
        before = len(os.listdir("/proc/self/fd"))
        assert read_files(directory, [*names, "missing"], room) == expected
        assert read_files(directory, []) == {}
        assert len(os.listdir("/proc/self/fd")) == before


def _lines_with(content: bytes, start: bytes) -> list[bytes]:
    return [line for line in content.splitlines() if line.startswith(start)]


def test_the_kernel_state_is_that_of_every_thread() -> None:
    code = (
        "import threading, time\n"
        "for _ in range(200): threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
        "print('ready'); time.sleep(100)"
    )
    with running_python(code) as victim:
        victim.wait_asleep()
        start = time.process_time()
        files = kernel_state(victim.pid)
        assert time.process_time() - start < 1, "1001 small files are quick to read (20 ms)"
        tids = os.listdir(f"/proc/{victim.pid}/task")
        assert len(tids) == 201
        for tid in tids:
            task = Path(f"/proc/{victim.pid}/task/{tid}")
            for name in ("wchan", "syscall", "stack"):
                assert files.get(f"task/{tid}/{name}") == _content(task / name)
            assert files[f"task/{tid}/stat"].startswith(tid.encode() + b" (")
            assert b"\nTgid:\t%d\n" % victim.pid in files[f"task/{tid}/status"]
        assert files["syscall"] == _content(Path(f"/proc/{victim.pid}/syscall"))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _first_line(path: Path) -> bytes:
    return path.read_bytes().splitlines(keepends=True)[0]


def test_only_the_process_own_sockets_are_kept() -> None:
    code = (
        "import socket, time\n"
        "tcp = socket.create_server(('127.0.0.1', 0)); print(tcp.getsockname()[1])\n"
        "udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('127.0.0.1', 0))\n"
        "unix = socket.socket(socket.AF_UNIX); unix.bind('\\0snaptui test %d'); unix.listen()\n"
        "print('done'); time.sleep(100)"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as ours,
        running_python(f"print('ready')\n{code % os.getpid()}") as victim,
    ):
        port = int(victim.readline())
        assert victim.readline() == "done"
        files = process_files(victim.pid)
        tcp, udp, unix = (files[f"net/{name}"] for name in ("tcp", "udp", "unix"))
        assert isinstance(tcp, bytes)
        assert isinstance(udp, bytes)
        assert isinstance(unix, bytes)
        header, line = tcp.splitlines()
        assert header + b"\n" == _first_line(Path("/proc/net/tcp"))
        assert line.split()[1] == b"0100007F:%04X" % port
        assert b":%04X " % ours.getsockname()[1] not in tcp
        assert len(udp.splitlines()) == 2
        assert unix.splitlines()[1].endswith(b"@snaptui test %d" % os.getpid())
        assert len(unix.splitlines()) == 2


def test_for_a_process_without_sockets_the_kernel_is_not_asked_for_any() -> None:
    """To go through all sockets of the machine takes 10 ms, in which the process stands."""
    with running_c(
        '#include <stdio.h>\nint main(void) { puts("ready"); fflush(stdout); getchar(); }'
    ) as victim:
        assert not [name for name in process_files(victim.pid) if name.startswith("net/")]


def test_names_of_files_may_be_any_bytes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\n\x1b)"
    code = (
        "import os, sys; os.open(os.fsencode(sys.argv[1]), os.O_RDWR | os.O_CREAT); print('ready'); input()"
    )
    with running_python(code, os.fsdecode(name)) as victim:
        link = process_files(victim.pid)["fd/3"]
        assert isinstance(link, Link)
        assert os.fsencode(link.target) == name


def test_ten_thousand_descriptors() -> None:
    code = (
        "import os, resource\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 11_000), hard))\n"
        "count = min(hard - 100, 10_000)\n"
        "for _ in range(count): os.dup(0)\n"
        "print('ready'); print(count); input()"
    )
    with running_python(code) as victim:
        count = int(victim.readline())
        start = time.process_time()
        files = process_files(victim.pid)
        assert time.process_time() - start < 3, "0.2 s is what it takes"
        assert sum(name.startswith("fd/") for name in files) == count + 3
        assert sum(name.startswith("fdinfo/") for name in files) == count + 3


def test_a_vanished_process_is_told() -> None:
    popen = subprocess.Popen(["true"])
    popen.wait()
    assert kernel_state(popen.pid) == {}
    with pytest.raises(NoSuchProcess, match=str(popen.pid)):
        process_files(popen.pid)


def test_a_zombie_has_what_is_left_of_it() -> None:
    with subprocess.Popen(["true"]) as popen:
        wait_for_state(popen.pid, "Z")
        assert b") Z " in kernel_state(popen.pid)["stat"]
        files = process_files(popen.pid)
        assert files["comm"] == b"true\n"
        assert "exe" not in files
        assert not any(name.startswith("fd/") for name in files)
