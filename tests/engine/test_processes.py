"""Listing live processes: names of any bytes, threads, users, and who hangs where."""

from __future__ import annotations

import dataclasses
import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest

from snaptui.engine.errors import NoSuchProcess
from snaptui.engine.take.hung import hung_processes
from snaptui.engine.take.processes import list_processes, read_process, still_runs
from snaptui.engine.take.procstat import full_name, status_field
from snaptui.engine.take.syscalls import parse_syscall
from snaptui.engine.take.users import user_name
from tests.helpers.named import CALLS_ITSELF, sleeping, wait_for_state
from tests.helpers.victims import Victim, running_c, running_python


@pytest.mark.parametrize(
    "name", ["a) S 1 1 1", "two\nlines", "[@click=bell()]", "\x1b[31mred", "\udcff\udcfe", ""]
)
def test_a_process_may_call_itself_anything(name: str) -> None:
    with running_c(CALLS_ITSELF, arguments=[name]) as victim:
        process = read_process(victim.pid)
        assert process.comm == os.fsdecode(Path(f"/proc/{victim.pid}/comm").read_bytes()[:-1]) == name
        assert process.name == name
        assert process.ppid == os.getpid()
        assert process.uid == os.getuid()


def test_a_name_that_the_kernel_cut_to_15_bytes_is_shown_in_full(tmp_path: Path) -> None:
    path = tmp_path / "a-program-with-a-long-name"
    with sleeping(path) as popen:
        process = read_process(popen.pid)
        assert process.comm == "a-program-with-"
        assert process.name == "a-program-with-a-long-name"
        assert process.cmdline == (str(path), "1000")
        assert process.exe == str(path)


def test_the_full_name_is_taken_only_from_what_begins_with_the_comm() -> None:
    assert full_name("123456789012345", "/bin/other", "/bin/1234567890123456 (deleted)") == "1234567890123456"
    assert full_name("123456789012345", "/bin/other", "") == "123456789012345"
    assert full_name("12345", "/bin/123456", "/bin/123456") == "12345"


def test_figures_are_those_of_ps() -> None:
    with running_python(
        "import threading, time\n"
        "for _ in range(3): threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
        "sum(range(10_000_000))\n"
        "print('ready'); time.sleep(100)"
    ) as victim:
        victim.wait_asleep()
        process = read_process(victim.pid)
        columns = "ppid=,uid=,nlwp=,rss=,vsz=,stat="
        words = subprocess.check_output(["ps", "-o", columns, "-p", str(victim.pid)], text=True).split()
        ppid, uid, threads, rss, vsize = (int(word) for word in words[:5])
        assert (process.ppid, process.uid, process.threads) == (ppid, uid, threads)
        assert (process.rss // 1024, process.vsize // 1024) == (rss, vsize)
        assert process.state == words[5][0]
        times = os.times()
        assert 0 < process.utime_ms < 1000 * times.elapsed
        assert process.user == pwd.getpwuid(uid).pw_name
        assert not process.kernel_thread


def test_the_list_has_itself_its_child_and_pid_1_in_order() -> None:
    with running_python("print('ready'); input()") as victim:
        pids = [process.pid for process in list_processes()]
        assert pids == sorted(pids)
        assert {1, os.getpid(), victim.pid} <= set(pids)


def test_processes_that_vanish_meanwhile_are_left_out() -> None:
    """Children come and go all the time while we list."""
    churn = "import os\nprint('ready')\nwhile True:\n if os.fork() == 0: os._exit(0)\n os.wait()"
    with running_python(churn) as victim:
        for _ in range(30):
            assert victim.pid in [process.pid for process in list_processes()]


def test_a_pid_that_is_not_there_and_a_thread_id_are_told_apart() -> None:
    with running_python(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
        "print('ready'); time.sleep(100)"
    ) as victim:
        _, tid = victim.threads()
        with pytest.raises(
            NoSuchProcess, match=f"{tid} is a thread of process {victim.pid}: give {victim.pid}"
        ):
            read_process(tid)
    with pytest.raises(NoSuchProcess, match=f"no process {victim.pid}"):
        read_process(victim.pid)


def test_a_kernel_thread_is_known_as_one() -> None:
    if not Path("/proc/2/stat").exists() or "kthreadd" not in Path("/proc/2/comm").read_text():
        pytest.skip("no kernel threads are to be seen here (a pid namespace)")
    process = read_process(2)
    assert process.kernel_thread
    assert (process.cmdline, process.syscall) == ((), "")


def test_a_zombie_is_known_as_one() -> None:
    with subprocess.Popen(["true"]) as popen:
        wait_for_state(popen.pid, "Z")
        process = read_process(popen.pid)
        assert process.is_zombie

        assert process.name == "true"


def test_a_process_still_runs_until_it_has_ended_and_not_when_another_has_its_pid() -> None:
    with running_python("print('ready'); import signal; signal.pause()") as victim:
        process = read_process(victim.pid)
        assert still_runs(process)
        assert not still_runs(dataclasses.replace(process, start_ticks=process.start_ticks - 1))
        os.kill(victim.pid, signal.SIGKILL)
        wait_for_state(victim.pid, "Z")
        assert not still_runs(process)
    assert not still_runs(process)


def test_a_user_without_a_login_name_is_a_number() -> None:
    assert user_name(0) == "root"
    assert user_name(3_999_999_999) == "3999999999"


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts another user's process")
def test_the_user_is_the_real_one() -> None:
    code = "import os, time; os.setresuid(12345, 54321, 54321); print('ready'); time.sleep(100)"
    with running_python(code) as victim:
        process = read_process(victim.pid)
        assert (process.uid, process.user) == (12345, "12345")


def _hung(victim: Victim, sample: float = 0.3) -> list[tuple[str, tuple[str, ...]]]:
    found = hung_processes(sample, processes=[read_process(victim.pid)])
    return [(one.place, tuple(wait.syscall for wait in one.waits)) for one in found]


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("print('ready'); os.read(0, 1)", "read"),
        ("print('ready'); select.poll().poll()", "poll"),
        ("print('ready'); time.sleep(100)", "clock_nanosleep"),
        ("print('ready'); select.epoll().poll()", "epoll_wait"),
        ("lock = threading.Lock(); lock.acquire(); print('ready'); lock.acquire()", "futex"),
    ],
)
def test_a_process_that_waits_hangs_in_a_system_call(code: str, call: str) -> None:
    with running_python(f"import os, select, threading, time; {code}") as victim:
        victim.wait_asleep()
        assert _hung(victim) == [(call, (call,))]


@pytest.mark.parametrize(
    "code",
    [
        "print('ready')\nwhile True: pass",
        "print('ready')\nwhile True: time.sleep(0.02)",
        # The main thread stands still, another one does not.
        (
            "threading.Thread(target=lambda: [time.sleep(0.02) for _ in iter(int, 1)], daemon=True).start()\n"
            "print('ready')\nos.read(0, 1)"
        ),
    ],
    ids=["spins", "wakes up", "one thread wakes up"],
)
def test_a_process_that_moves_does_not_hang(code: str) -> None:
    with running_python(f"import os, threading, time\n{code}") as victim:
        assert _hung(victim) == []


def test_a_vfork_parent_hangs_in_uninterruptible_sleep() -> None:
    source = """
    #include <stdio.h>
    #include <unistd.h>
    int main(void) { puts("ready"); fflush(stdout); if (vfork() == 0) { pause(); _exit(0); } }
    """
    with running_c(source) as victim:
        wait_for_state(victim.pid, "D")
        (one,) = hung_processes(0.1, processes=[read_process(victim.pid)])
        assert one.waits[0].state == "D"
        assert one.waits[0].syscall == "vfork"
        assert one.place in (one.waits[0].wchan, "Wakeme")


def test_threads_are_told_one_by_one() -> None:
    code = (
        "import os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "print('ready'); os.read(0, 1)"
    )
    with running_python(code) as victim:
        victim.wait_asleep()
        ((place, calls),) = _hung(victim)
        assert (place, calls[0]) == ("read", "read")
        assert sorted(calls[1:]) == ["clock_nanosleep", "futex"]


def test_zombies_kernel_threads_and_we_never_hang() -> None:
    with subprocess.Popen(["true"]) as popen:
        wait_for_state(popen.pid, "Z")
        pids = {one.process.pid for one in hung_processes(0.05)}
        assert not pids & {popen.pid, os.getpid(), 2}


def test_system_calls_have_the_names_of_their_architecture() -> None:
    """Numbers from asm/unistd_64.h, asm/unistd_32.h and asm-generic/unistd.h."""
    wide = "0x1 0x2 0x3 0x4 0x5 0x6 0x7ffe2934cec8 0x7fdfdcde12ad"
    narrow = "0x1 0x2 0x3 0x4 0x5 0x6 0xffa0cec8 0xf7f2e559"
    expected = {
        ("x86_64", 202, wide): "futex",
        ("x86_64", 441, wide): "epoll_pwait2",
        ("x86_64", 426, wide): "io_uring_enter",
        ("x86_64", 435, wide): "clone3",
        ("x86_64", 449, wide): "futex_waitv",
        ("x86_64", 240, narrow): "futex",
        ("i686", 3, narrow): "read",
        ("aarch64", 98, wide): "futex",
        ("aarch64", 63, wide): "read",
        ("x86_64", 99999, wide): "",
        ("pdp11", 3, wide): "",
    }
    for (machine, number, registers), name in expected.items():
        call = parse_syscall(f"{number} {registers}\n".encode())
        assert call is not None
        assert call.arguments == (1, 2, 3, 4, 5, 6)
        assert call.name(machine) == name


@pytest.mark.parametrize("line", [b"running\n", b"-1 0x7ffe2934cec8 0x7fdfdcde12ad\n", b""])
def test_a_thread_outside_of_system_calls_is_in_none(line: bytes) -> None:
    assert parse_syscall(line) is None


def test_a_name_cannot_forge_a_line_of_status() -> None:
    with running_c(CALLS_ITSELF, arguments=["x\nUid:\t7\nz"]) as victim:
        status = Path(f"/proc/{victim.pid}/status").read_bytes()
        assert status_field(status, "Uid").split()[0] == str(os.getuid())
        assert status_field(status, "NoSuchField") == ""
