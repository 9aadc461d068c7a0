"""`snap` as a command: what it says, where, and with which exit status."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snaptui.commands.interrupts import Interrupts
from snaptui.commands.reporting import event_lines
from snaptui.engine.progress import Paused, Warned
from tests.helpers.commands import command, environment, finish, snap, snaptui_command, start
from tests.helpers.victims import Victim, running_program, running_python, wait_until

NO_SUCH_PID = 999_999_999


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with running_program("deadlock.c") as one:
        yield one


def on_a_terminal(arguments: list[str | int | Path]) -> tuple[int, str]:
    """Run `snap ARGUMENTS` with standard error on a terminal; the exit status and what it showed."""
    master, slave = pty.openpty()
    terminal = {**environment(), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command("snap", *arguments), stderr=slave, env=terminal) as process:
        os.close(slave)
        shown = b""
        # A pty's master reads EIO when the last one who had the slave open has closed it.
        with contextlib.suppress(OSError), os.fdopen(master, "rb", buffering=0) as screen:
            while piece := screen.read(65536):
                shown += piece
    return process.returncode, shown.decode()


# on a terminal


def test_a_terminal_gets_a_summary(victim: Victim, tmp_path: Path) -> None:
    status, shown = on_a_terminal(["-o", tmp_path / "x.snap", victim.pid])
    assert status == 0
    assert f"snap: {tmp_path}/x.snap: 1 process, " in shown
    assert "stopped for " in shown


def test_a_terminal_gets_a_bar_with_bytes_rate_and_time_left(tmp_path: Path) -> None:
    with running_program("large.c", "1024") as large:
        _, shown = on_a_terminal(["-o", tmp_path / "x.snap", large.pid])
    assert "━" in shown
    assert "MiB" in shown or "bytes" in shown
    assert "/s" in shown


@pytest.mark.parametrize("options", [["-q"], ["--progress", "none", "-q"]])
def test_quiet_is_quiet_on_a_terminal(victim: Victim, tmp_path: Path, options: list[str]) -> None:
    assert on_a_terminal([*options, "-o", tmp_path / "x.snap", victim.pid]) == (0, "")


def test_a_terminal_whose_server_is_the_target_does_not_hang_snap(tmp_path: Path) -> None:
    """Given a terminal that takes nothing more until the target runs, the snapshot is taken all the same."""
    code = (
        "import os, pty, sys\n"
        "master, slave = pty.openpty()\n"
        "os.set_blocking(slave, False)\n"
        "try:\n"
        "    while True: os.write(slave, b'x' * 512)\n"
        "except BlockingIOError: pass\n"
        "os.set_blocking(slave, True)\n"
        "print('ready'); print(os.ttyname(slave))\n"
        "sys.stdin.readline()\n"
        "while True: os.read(master, 65536)\n"
    )
    with running_python(code) as server:
        name = server.readline()
        with open(name, "wb", buffering=0) as terminal:
            process = start("snap", "-v", "-o", tmp_path / "x.snap", server.pid, stderr=terminal)
        wait_until((tmp_path / "x.snap").exists, "the snapshot is complete while its warnings wait")
        assert process.poll() is None
        server.send("go on and read")
        finish(process).expect(0)


# lines


def test_verbose_says_what_happens(victim: Victim, tmp_path: Path) -> None:
    lines = snap("-v", "-o", tmp_path / "x.snap", victim.pid).expect(0).lines
    assert lines[0] == f"snap: stopped: {victim.pid}"
    assert lines[1].startswith("snap: running again after ")
    assert lines[-1].startswith(f"snap: {tmp_path}/x.snap: 1 process, ")


@pytest.mark.parametrize("noise", [[], ["-q"]])
def test_what_is_missing_is_named_and_the_rest_is_saved(
    victim: Victim, tmp_path: Path, noise: list[str]
) -> None:
    result = snap(*noise, "-o", tmp_path / "x.snap", NO_SUCH_PID, victim.pid).expect(1)
    assert len(result.lines) == 1
    assert result.lines[0].startswith("snap: ")
    assert str(NO_SUCH_PID) in result.lines[0]
    assert str(victim.pid) in snaptui_command("info", tmp_path / "x.snap").expect(0).out.decode()


def test_nothing_to_save_makes_no_file(tmp_path: Path) -> None:
    result = snap("-o", tmp_path / "x.snap", NO_SUCH_PID).expect(1)
    assert len(result.lines) == 1
    assert not list(tmp_path.iterdir())


def test_a_dash_is_standard_output(victim: Victim, tmp_path: Path) -> None:
    done = subprocess.run(
        command("snap", "-o", "-", victim.pid),
        capture_output=True,
        check=True,
        env=environment(),
        cwd=tmp_path,
    )
    assert done.stdout.startswith(b"process snapshot ")
    assert not list(tmp_path.iterdir())


def test_a_closed_standard_output_is_refused(victim: Victim) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command("snap", victim.pid)],
        stderr=subprocess.PIPE,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (2, b"snaptui: standard output is closed\n")


@pytest.mark.parametrize(
    ("event", "verbosity", "lines"),
    [
        (Warned("it hides", pid=7), "normal", ["snap: 7: it hides"]),
        (Warned("it hides", pid=7), "quiet", []),
        (Warned("it hides", pid=7, missing=True), "quiet", ["snap: 7: it hides"]),
        (Warned("process 7 hides", pid=7), "normal", ["snap: process 7 hides"]),
        (Warned("77 hide", pid=7), "normal", ["snap: 7: 77 hide"]),
        (Warned("all hide", help="seek"), "normal", ["snap: all hide", "  seek"]),
        (Warned("\x1b[2J", help="\n"), "normal", [r"snap: \x1b[2J", r"  \n"]),
        (Paused((1, 2)), "normal", []),
        (Paused((1, 2)), "verbose", ["snap: stopped: 1 2"]),
        (Paused((1, 2), resumed=True, seconds=0.5), "verbose", ["snap: running again after 500.0 ms: 1 2"]),
    ],
)
def test_events_as_lines(event: Warned | Paused, verbosity: str, lines: list[str]) -> None:
    assert event_lines(event, "snap", verbosity) == lines  # type: ignore[arg-type]


# JSON lines


def test_json_tells_the_whole_story_in_order(victim: Victim, tmp_path: Path) -> None:
    path = tmp_path / "x.snap"
    result = snap("--json", "-o", path, victim.pid, NO_SUCH_PID).expect(1)
    assert result.err == ""
    events = result.events()
    story = [event for event in events if event["event"] != "progress"]
    assert [event["event"] for event in story] == ["warning", "paused", "resumed", "done"]
    warning, paused, resumed, done = story
    assert warning["missing"] is True
    assert paused["pids"] == resumed["pids"] == done["pids"] == [victim.pid]
    assert done["pause"] == resumed["seconds"] > 0
    assert done["size"] == done["plain_size"] == path.stat().st_size
    assert done["file"] == str(path)
    assert all(event["done"] <= event["total"] for event in events if event["event"] == "progress")


def test_json_goes_to_standard_error_when_the_snapshot_takes_standard_output(victim: Victim) -> None:
    result = snap("--json", victim.pid).expect(0)
    assert result.out.startswith(b"process snapshot ")
    assert result.events()[-1]["event"] == "done"


def test_json_has_progress_when_it_is_asked_for_alone(victim: Victim, tmp_path: Path) -> None:
    result = snap("--progress", "json", "-o", tmp_path / "x.snap", victim.pid).expect(0)
    assert {"progress", "done"} <= {event["event"] for event in result.events()}
    result = snap("--json", "--progress", "none", "-o", tmp_path / "x.snap", victim.pid).expect(0)
    assert "progress" not in {event["event"] for event in result.events()}


def test_json_tells_of_errors_too(victim: Victim, tmp_path: Path) -> None:
    result = snap("--json", "-o", tmp_path / "no/x.snap", victim.pid).expect(1)
    (error,) = [event for event in result.events() if event["event"] == "error"]
    assert "No such file or directory" in error["message"]
    result = snap("--json", "-o", tmp_path / "x.snap", NO_SUCH_PID).expect(1)
    assert [event["event"] for event in result.events()] == ["warning", "done"]
    assert result.events()[-1]["pids"] == []
    assert result.events()[-1]["file"] is None


def test_a_bar_among_json_lines_is_refused(victim: Victim) -> None:
    snap("--json", "--progress", "bar", victim.pid).expect(2)


# looking into it


def test_the_commands_look_into_a_live_snapshot(victim: Victim, tmp_path: Path) -> None:
    """Given a deadlocked program, what /proc says of it is what the commands say of its snapshot."""
    path, pid = tmp_path / "x.snap", str(victim.pid)
    where = Path(f"/proc/{pid}/syscall").read_text().split()
    link = os.readlink(f"/proc/{pid}/fd/0")
    threads = sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    snap("-o", path, pid).expect(0)

    (main,) = _json("regs", path, pid)["threads"]
    registers = main["registers"]
    assert registers.get("rsp", registers.get("sp")) == int(where[-2], 16)
    assert registers.get("rip", registers.get("pc")) == int(where[-1], 16)
    assert sorted(thread["tid"] for thread in _json("regs", path, pid, "--all")["threads"]) == threads
    assert [thread["tid"] for thread in _json("regs", path, pid, "--thread", threads[1])["threads"]] == [
        threads[1]
    ]

    def cat(name: str) -> bytes:
        return snaptui_command("cat", path, pid, name).expect(0).out

    assert cat("fd/0") == os.fsencode(link)
    assert cat("linux/status").startswith(b"Name:\t")
    assert not cat("status").startswith(b"Name:")
    assert cat("maps") == cat("linux/maps") == Path(f"/proc/{pid}/maps").read_bytes()
    assert b"futex" in cat("kregs")

    report = _json("verify", path)
    assert report["complete"] is True
    assert report["reports"][pid]["missing"] == []
    (process,) = _json("info", path)["processes"]
    assert process["threads"] == len(threads)
    areas = _json("segments", path, pid)["areas"]
    for kind in ("stored", "text", "zero", "left out"):
        size = sum(area["size"] for area in areas if area["kind"] == kind)
        assert process["memory"][kind.replace(" ", "_")] == size


def test_missing_registers_are_told_by_the_reading_commands(tmp_path: Path) -> None:
    with running_program("vfork_parent.c") as parent:
        wait_until(lambda: parent.state() == "D", "the parent waits for its vfork child")
        snap("-o", tmp_path / "x.snap", parent.pid).expect(1)
    result = snaptui_command("regs", tmp_path / "x.snap", parent.pid).expect(1)
    assert result.lines == [f"snaptui: the registers of thread {parent.pid} are not in the snapshot"]
    report = snaptui_command("verify", tmp_path / "x.snap").expect(1).out.decode()
    assert f"missing: the registers of thread {parent.pid}" in report


def _json(name: str, *arguments: str | int | Path) -> Any:
    return json.loads(snaptui_command(name, "--json", *arguments).expect(0).out)


# signals


def test_an_ignored_signal_stays_ignored() -> None:
    """Given nohup, which ignores SIGHUP, then snap does too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupts.cancel.cancelled
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
