"""Which processes can be saved, and what is said about those that can't."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.commands import (
    OrdinaryUser,
    as_nobody,
    line_about,
    ordinary_user,
    snap,
    snaptui_command,
    take,
    take_one,
)
from tests.helpers.live import differences, mappings, read_memory
from tests.helpers.strict_reader import StrictProcess, read_snapshot
from tests.helpers.victims import (
    program,
    running,
    running_program,
    state_of,
    threads_of,
    tracer_of,
    wait_until,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def text_image(process: StrictProcess, path: str) -> bytes:
    """A file of the text image, by the path that text.json gives it."""
    entry = process.text_files()[path]
    return process.read_text(entry["offset"], entry["size"])


def children_of(pid: int) -> list[int]:
    """The pids of a process's children, from proc_pid_stat(5)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def test_text_is_the_executable_and_its_libraries(tmp_path: Path) -> None:
    with running_program("deadlock.c") as victim:
        process = take_one(tmp_path / "x.snap", victim.pid)
        executable = Path(os.readlink(f"/proc/{victim.pid}/exe"))
        libc = next(Path(m.path) for m in mappings(victim.pid) if Path(m.path).name.startswith("libc."))
    # The executable is at offset 0, as any old tool expects.
    content = executable.read_bytes()
    assert process.read_text(0, len(content)) == content
    assert text_image(process, str(executable)) == content
    assert text_image(process, str(libc)) == libc.read_bytes()


def test_a_deadlock_shows_where_each_thread_waits(tmp_path: Path) -> None:
    with running_program("deadlock.c") as victim:
        victim.wait_asleep()
        process = take_one(tmp_path / "x.snap", victim.pid)
        threads = victim.threads()
    kregs = process.files["kregs"].decode()
    for tid in threads:
        assert str(tid) in kregs
        assert process.linux(f"task/{tid}/syscall").startswith(b"202 ")  # futex (asm/unistd_64.h)
    assert kregs.count("futex") >= 3


@needs_root
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare (util-linux)")
def test_a_process_in_another_mount_and_pid_namespace(tmp_path: Path) -> None:
    # Given a program and a library on a file system that only their namespace has
    inside = tmp_path / "inside"
    inside.mkdir()
    binary = program("libraries.c")
    library = program("library.c", "-shared", "-fPIC")
    steps = [f"mount -t tmpfs none {inside}", f"cp {binary} {inside}/prog", f"cp {library} {inside}/lib.so"]
    script = " && ".join([*steps, f"exec {inside}/prog {inside}/lib.so"])
    argv = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script]
    with running(argv) as outer:
        (pid,) = children_of(outer.pid)
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: state_of(pid) == "T", "it stops")
        process = take_one(tmp_path / "x.snap", pid)
        assert differences(process, pid) == []
    assert not (inside / "prog").exists()
    assert text_image(process, f"{inside}/prog") == binary.read_bytes()
    assert text_image(process, f"{inside}/lib.so") == library.read_bytes()


@needs_root
@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_an_executable_and_a_library_that_were_deleted_or_replaced(tmp_path: Path, replaced: bool) -> None:
    binary, library = tmp_path / "prog", tmp_path / "lib.so"
    shutil.copy(program("libraries.c"), binary)
    shutil.copy(program("library.c", "-shared", "-fPIC"), library)
    expected = {path: path.read_bytes() for path in (binary, library)}
    with running([binary, library]) as victim:
        for path, content in expected.items():
            path.unlink()
            if replaced:
                path.write_bytes(content.replace(b"ready", b"steady"))
        victim.stop()
        process = take_one(tmp_path / "x.snap", victim.pid)
        assert differences(process, victim.pid) == []
    entries = process.text_files()
    for path, content in expected.items():
        assert text_image(process, str(path)) == content
        assert entries[str(path)]["deleted"] is True
    assert process.read_text(0, len(expected[binary])) == expected[binary]


def test_a_32_bit_program(tmp_path: Path) -> None:
    try:
        binary = program("small32.s", "-m32", "-nostdlib", "-static")
        with running([binary]) as probe:
            assert probe.state()
    except (subprocess.CalledProcessError, OSError):
        pytest.skip("32-bit programs can't be built or run here")
    with running([binary]) as victim:
        victim.wait_asleep()
        before = take_one(tmp_path / "running.snap", victim.pid)
        victim.stop()
        process = take_one(tmp_path / "x.snap", victim.pid)
        assert differences(process, victim.pid) == []
    assert process.read_text(0, binary.stat().st_size) == binary.read_bytes()
    # user_regs_struct32 (asm/user32.h): ebx ecx edx esi ... ; esi holds the program's mark.
    regs = before.linux(f"task/{victim.pid}/regs")
    assert int.from_bytes(regs[12:16], "little") == 0x5EED3232


def test_a_process_that_was_stopped_before_stays_stopped(tmp_path: Path) -> None:
    with running_program("threads.c", "8") as victim:
        victim.stop()
        process = take_one(tmp_path / "x.snap", victim.pid)
        # From one stop to the other a thread goes through R, within the kernel (__ptrace_unlink).
        wait_until(lambda: {state_of(victim.pid, tid) for tid in victim.threads()} == {"T"}, "all stand")
        assert tracer_of(victim.pid) == 0
        assert all(f"task/{tid}/regs" in process.linux_names() for tid in victim.threads())
        assert process.linux("stat").rpartition(b")")[2].split()[0] == b"T"
        assert process.files["status"][56:68].decode().split() == ["Stopped"]
        os.kill(victim.pid, signal.SIGCONT)
        victim.wait_asleep()


def test_a_vfork_parent_is_saved_without_registers(tmp_path: Path) -> None:
    with running_program("vfork_parent.c") as victim:
        # Given a parent in uninterruptible sleep; both share their memory, and the child only sleeps
        wait_until(lambda: victim.state() == "D", "the parent waits for its vfork child")
        start = time.monotonic()
        result = snap("-o", tmp_path / "x.snap", victim.pid)
        assert time.monotonic() - start < 10
        assert victim.state() == "D"
        process = read_snapshot(tmp_path / "x.snap").processes[victim.pid]
        assert differences(process, victim.pid) == []
    result.expect(1)
    assert "register" in line_about(result, victim.pid)
    assert "regs" not in process.files
    assert process.linux("stat").rpartition(b")")[2].split()[0] == b"D"


@pytest.mark.skipif(not shutil.which("gdb"), reason="needs gdb")
def test_a_process_under_gdb_is_saved_without_registers(tmp_path: Path) -> None:
    with running_program("deadlock.c") as victim, under_gdb(victim.pid) as gdb:
        result = snap("-o", tmp_path / "x.snap", victim.pid)
        process = read_snapshot(tmp_path / "x.snap").processes[victim.pid]
        assert differences(process, victim.pid) == []
        # gdb has it still, and goes on with it
        assert tracer_of(victim.pid) == gdb
    result.expect(1)
    line = line_about(result, victim.pid)
    assert "gdb" in line
    assert "register" in line
    assert str(gdb) in result.err
    assert "regs" not in process.files


@contextmanager
def under_gdb(pid: int) -> Iterator[int]:
    """Attach gdb to a process; the pid of gdb."""
    with subprocess.Popen(
        ["gdb", "-q", "-nx", "-p", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as gdb:
        try:
            wait_until(lambda: {tracer_of(pid)} == {gdb.pid}, "gdb traces it")
            wait_until(
                lambda: {state_of(pid, tid) for tid in threads_of(pid)} == {"t"},
                "gdb has stopped every thread",
            )
            yield gdb.pid
        finally:
            gdb.kill()


def test_a_zombie_is_one_clear_line(tmp_path: Path) -> None:
    with running_program("zombie.c") as victim:
        zombie = int(victim.readline())
        result = snap("-o", tmp_path / "x.snap", zombie)
    result.expect(1)
    assert "zombie" in line_about(result, zombie)
    assert not (tmp_path / "x.snap").exists()


def test_a_zombie_beside_a_good_process_does_not_spoil_it(tmp_path: Path) -> None:
    with running_program("zombie.c") as victim:
        zombie = int(victim.readline())
        result = snap("-o", tmp_path / "x.snap", zombie, victim.pid)
    result.expect(1)
    assert "zombie" in line_about(result, zombie)
    assert list(read_snapshot(tmp_path / "x.snap").processes) == [victim.pid]


@pytest.mark.skipif(
    not Path("/proc/2/comm").exists() or Path("/proc/2/maps").read_bytes() != b"",
    reason="sees no kernel thread",
)
def test_a_kernel_thread_is_one_clear_line(tmp_path: Path) -> None:
    result = snap("-o", tmp_path / "x.snap", 2).expect(1)
    assert "kernel thread" in line_about(result, 2)
    assert not (tmp_path / "x.snap").exists()


def test_a_vanished_pid_is_one_clear_line(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    result = snap("-o", tmp_path / "x.snap", gone.pid).expect(1)
    assert "no process" in line_about(result, gone.pid)
    assert not (tmp_path / "x.snap").exists()


@needs_root
def test_another_users_process_without_rights_names_the_remedies(tmp_path: Path) -> None:
    prefix = as_nobody()
    if not prefix:
        pytest.skip("another user can't reach the interpreter")
    tmp_path.chmod(0o777)
    with running_program("deadlock.c") as victim:
        result = snap(victim.pid, prefix=prefix)
        result.expect(1)
        assert victim.state() == "S"
    assert "permission denied" in line_about(result, victim.pid)
    # Root's process: the same user or sudo would help.
    assert "root" in result.err
    assert "sudo" in result.err
    assert result.out == b""
    assert len(result.lines) <= 2, result.err


def test_processes_taken_together_are_of_one_moment(tmp_path: Path) -> None:
    # Given a parent and a child that share memory: both snapshots hold the same of it
    with running_program("family.c", "1", "4") as victim:
        (child,) = (int(words[0]) for words in victim.table())
        snapshot = take(tmp_path / "x.snap", victim.pid, child)
        shared = next(m for m in mappings(victim.pid) if "s" in m.perms)
    one, other = (snapshot.processes[pid].read_memory(shared.start, 4 << 20) for pid in (victim.pid, child))
    assert one == other


def test_a_processs_own_memory_is_read_through_the_commands_too(tmp_path: Path) -> None:
    with running_program("deadlock.c") as victim:
        victim.stop()
        take_one(tmp_path / "x.snap", victim.pid)
        place = next(m for m in mappings(victim.pid) if m.path == "[stack]")
        want = read_memory(victim.pid, place.end - 64, 64)
    dumped = snaptui_command("hexdump", tmp_path / "x.snap", victim.pid, f"{place.end - 64:#x}+64").expect(0)
    # hexdump -C: the address, then sixteen bytes in two halves, then |text|
    rows = [line.split("|")[0].split() for line in dumped.out.decode().splitlines()]
    assert bytes(int(byte, 16) for row in rows for byte in row[1:]) == want


def test_a_process_whose_main_thread_has_ended_is_no_zombie(tmp_path: Path) -> None:
    with running_program("leaderless.c") as victim:
        assert victim.state() == "Z"
        (other,) = set(victim.threads()) - {victim.pid}
        os.kill(victim.pid, signal.SIGSTOP)
        wait_until(lambda: state_of(victim.pid, other) == "T", "the other thread stops")
        process = take_one(tmp_path / "x.snap", victim.pid)
        # /proc/PID shows no memory any more, /proc/TID does.
        assert differences(process, other) == []
    assert f"task/{other}/regs" in process.linux_names()


def test_the_reader_of_the_pipe_may_be_the_target(tmp_path: Path) -> None:
    # While it stands it cannot read: snap must not wait for it.
    with (tmp_path / "x.snap").open("wb") as file:
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        try:
            assert reader.stdin is not None
            snap("-q", reader.pid, stdout=reader.stdin).expect(0)
            reader.stdin.close()
            assert reader.wait(20) == 0
        finally:
            reader.kill()
            reader.wait()
    assert list(read_snapshot(tmp_path / "x.snap").processes) == [reader.pid]


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may write to."""
    with tempfile.TemporaryDirectory(prefix="snaptui-public-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def ordinary() -> OrdinaryUser:
    user = ordinary_user()
    if user is None:
        pytest.skip("another user can't reach the interpreter")
    return user


def public_copy(source: Path, target: Path) -> Path:
    shutil.copy(source, target)
    target.chmod(0o755)
    return target


def test_an_ordinary_user_saves_all_of_an_own_process(public: Path, ordinary: OrdinaryUser) -> None:
    binary = public_copy(program("mappings.c", "-lrt"), public / "mappings")
    with running([binary, public], **ordinary.options) as victim:
        victim.table()
        victim.stop()
        snap("-o", public / "x.snap", victim.pid, prefix=ordinary.prefix).expect(0)
        process = read_snapshot(public / "x.snap", nine_front=True).only()
        assert differences(process, victim.pid) == []
    assert text_image(process, str(binary)) == binary.read_bytes()


def test_an_ordinary_user_is_told_of_a_deleted_library_that_only_root_can_read(
    public: Path, ordinary: OrdinaryUser
) -> None:
    binary = public_copy(program("libraries.c"), public / "prog")
    library = public_copy(program("library.c", "-shared", "-fPIC"), public / "lib.so")
    content = binary.read_bytes()
    with running([binary, library], **ordinary.options) as victim:
        binary.unlink()
        library.unlink()
        victim.stop()
        result = snap("-o", public / "x.snap", victim.pid, prefix=ordinary.prefix)
        process = read_snapshot(public / "x.snap", nine_front=True).only()
        assert differences(process, victim.pid) == []
    # The executable can be had through /proc/PID/exe; of the library the mapped pages alone.
    assert text_image(process, str(binary)) == content
    result.expect(1)
    assert "lib.so" in line_about(result, victim.pid)
