"""Pids and names, and what becomes of those that cannot be saved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snaptui.engine.errors import ArgumentError
from snaptui.engine.progress import Event, Warned
from snaptui.engine.take.choose import resolve
from tests.helpers.named import sleeping, wait_for_state
from tests.helpers.victims import running_c, running_python


class Notes:
    """A sink that keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[Warned] = []

    def __call__(self, event: Event) -> None:
        assert isinstance(event, Warned)
        assert event.missing
        self.warnings.append(event)

    @property
    def messages(self) -> list[str]:
        return [warning.message for warning in self.warnings]


def _unique(name: str) -> str:
    """A name that no other test run on this machine has at the same time."""
    return f"{name}{os.getpid()}"


def test_pids_are_taken_in_the_order_given_and_once(tmp_path: Path) -> None:
    notes = Notes()
    with sleeping(tmp_path / "first") as first, sleeping(tmp_path / "second") as second:
        pids = [second.pid, first.pid]
        assert (
            resolve([str(second.pid), str(first.pid), str(second.pid), f"00{first.pid}"], sink=notes) == pids
        )
    assert notes.warnings == []


def test_name_argument_takes_all_processes_of_that_name(tmp_path: Path) -> None:
    name = _unique("pg")
    with (
        sleeping(tmp_path / name) as one,
        sleeping(tmp_path / name) as two,
        sleeping(tmp_path / (name + "x")),
    ):
        assert resolve([name]) == sorted([one.pid, two.pid])
        assert resolve([str(two.pid), name]) == [two.pid, *{one.pid, two.pid} - {two.pid}]


def test_a_process_is_found_by_its_comm_its_argv0_and_its_executable() -> None:
    comm, argv0 = _unique("c"), _unique("a")
    source = f"""
    #include <stdio.h>
    #include <sys/prctl.h>
    #include <unistd.h>
    int main(int argc, char **argv)
    {{
        if (argc < 2) {{ execl("/proc/self/exe", "/any/where/{argv0}", "again", NULL); return 1; }}
        prctl(PR_SET_NAME, "{comm}");
        puts("ready"); fflush(stdout);
        pause();
    }}
    """
    with running_c(source) as victim:
        executable = os.readlink(f"/proc/{victim.pid}/exe").rpartition("/")[2]
        for name in (comm, argv0, executable):
            assert resolve([name]) == [victim.pid], name


def test_a_process_whose_executable_was_removed_keeps_its_name(tmp_path: Path) -> None:
    name = _unique("long-name-of-a-removed-program")
    with sleeping(tmp_path / name) as popen:
        (tmp_path / name).unlink()
        assert resolve([name]) == [popen.pid]


def test_a_name_nobody_has_is_missing() -> None:
    notes = Notes()
    assert resolve(["no-such-name-at-all"], sink=notes) == []
    (message,) = notes.messages
    assert "no process named 'no-such-name-at-all'" in message


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts another user's process")
def test_another_users_processes_of_that_name_are_told_not_taken() -> None:
    name = _unique("them")
    code = (
        "import ctypes, os, sys, time\n"
        "ctypes.CDLL(None).prctl(15, sys.argv[1].encode())\n"  # PR_SET_NAME
        "os.setresuid(12345, 12345, 12345)\n"
        "print('ready'); time.sleep(100)"
    )
    notes = Notes()
    with running_python(code, name) as victim:
        assert resolve([name], sink=notes) == []
        assert resolve([str(victim.pid)]) == [victim.pid]
    (warning,) = notes.warnings
    assert f"12345 has {victim.pid}" in warning.message
    assert "pids" in warning.help


def test_tree_takes_descendants_parents_first() -> None:
    code = (
        "import os, time\n"
        "r, w = os.pipe()\n"
        "for _ in range(2):\n"
        "    if os.fork() == 0:\n"
        "        if os.fork() == 0: os.write(w, b'x')\n"
        "        time.sleep(100)\n"
        "os.read(r, 1); os.read(r, 1)\n"
        "print('ready'); time.sleep(100)"
    )
    with running_python(code) as victim:
        parents = {pid: _parent(pid) for pid in resolve([str(victim.pid)], tree=True)}
        pids = list(parents)
        assert pids[0] == victim.pid
        assert len(pids) == 5
        assert all(pids.index(parents[pid]) < pids.index(pid) for pid in pids[1:])
        assert resolve([str(victim.pid)]) == [victim.pid]


def _parent(pid: int) -> int:
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(pid)]))


def test_tree_of_our_parent_leaves_us_out(tmp_path: Path) -> None:
    """`snap --tree $$` saves the shell, not snap."""
    notes = Notes()
    with sleeping(tmp_path / "child") as child:
        pids = resolve([str(os.getppid())], tree=True, sink=notes)
        if notes.warnings and not pids:
            pytest.skip("the parent of the tests cannot be saved")
        assert os.getpid() not in pids
        assert child.pid not in pids  # snap's own children are its own too


def test_snap_does_not_save_itself() -> None:
    notes = Notes()
    assert resolve([str(os.getpid())], sink=notes) == []
    assert notes.messages == [f"process {os.getpid()} is snap: it does not save itself"]


def test_our_own_name_does_not_mean_us() -> None:
    """Who says `snap python3` means the others."""
    name = Path(os.readlink("/proc/self/exe")).name
    with running_python("print('ready'); input()") as victim:
        pids = resolve([name])
        assert victim.pid in pids
        assert os.getpid() not in pids


def test_a_zombie_is_one_clear_line(tmp_path: Path) -> None:
    notes = Notes()
    with subprocess.Popen(["true"]) as popen, sleeping(tmp_path / "other") as other:
        wait_for_state(popen.pid, "Z")
        assert resolve([str(popen.pid), str(other.pid)], sink=notes) == [other.pid]
    (warning,) = notes.warnings
    assert f"process {popen.pid} (true) is a zombie" in warning.message
    assert f"process {os.getpid()}" in warning.help


def test_a_process_that_lost_its_main_thread_can_be_chosen() -> None:
    source = """
    #include <pthread.h>
    #include <stdio.h>
    #include <unistd.h>
    static void *rest(void *unused) { for (;;) pause(); }
    int main(void)
    {
        pthread_t thread;
        pthread_create(&thread, 0, rest, 0);
        puts("ready"); fflush(stdout);
        pthread_exit(0);
    }
    """
    notes = Notes()
    with running_c(source, "-pthread") as victim:
        wait_for_state(victim.pid, "Z")
        assert resolve([str(victim.pid)], sink=notes) == [victim.pid]
    assert notes.messages == []


def test_a_kernel_thread_is_one_clear_line() -> None:
    if not Path("/proc/2/comm").exists() or "kthreadd" not in Path("/proc/2/comm").read_text():
        pytest.skip("no kernel threads are to be seen here (a pid namespace)")
    notes = Notes()
    assert resolve(["2"], tree=True, sink=notes) == []
    assert notes.messages == ["process 2 (kthreadd) is a kernel thread: it has no memory of its own"]


def test_a_thread_id_says_which_process_to_give() -> None:
    code = "import threading, time; threading.Thread(target=time.sleep, args=(100,), daemon=True).start()"
    notes = Notes()
    with running_python(f"{code}; print('ready'); time.sleep(100)") as victim:
        _, tid = victim.threads()
        assert resolve([str(tid)], sink=notes) == []
    assert notes.messages == [f"{tid} is a thread of process {victim.pid}: give {victim.pid}"]


def test_a_vanished_pid_is_one_clear_line() -> None:
    popen = subprocess.Popen([sys.executable, "-c", ""])
    popen.wait()
    notes = Notes()
    assert resolve([str(popen.pid)], sink=notes) == []
    assert notes.messages == [f"there is no process {popen.pid}"]


@pytest.mark.parametrize("digits", ["0", "000", "4294967297", "99999999999999999999", "9" * 10_000])
def test_impossible_pids_are_one_short_clear_line(digits: str) -> None:
    notes = Notes()
    assert resolve([digits], sink=notes) == []
    (message,) = notes.messages
    assert message.startswith("there is no process ")
    assert len(message) < 100


def test_digits_of_other_scripts_are_a_name() -> None:
    notes = Notes()
    assert resolve(["\u0661"], sink=notes) == []
    assert "no process named" in notes.messages[0]


def test_an_empty_name_is_a_mistake() -> None:
    with pytest.raises(ArgumentError):
        resolve([""])
