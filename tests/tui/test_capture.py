"""Saving processes from the app: real processes, a real child, and what is left when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot

from snaptui.children.child import Child, start
from snaptui.children.commands import CaptureRequest, start_capture
from snaptui.screens.capture import suggested_name
from tests.helpers.desk import (
    NOW,
    Machine,
    notices,
    process,
    real_app,
    type_text,
    until,
    until_gone,
    until_shown,
)
from tests.helpers.strict_reader import read_snapshot
from tests.helpers.victims import LARGE, running_python, state_of, tracer_of, wait_until

HANGS = "import ctypes, signal; ctypes.CDLL(None).prctl(15, b'%s', 0, 0, 0); print('ready'); signal.pause()"
"""A program of that name (PR_SET_NAME, prctl(2)) that waits for ever."""

"""1 GiB of memory: saving it takes long enough to be stopped, on a busy machine too."""


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["page"], "page-7-"),
        (["page", "page"], "page-20"),
        (["page", "gs"], "page+gs-20"),
        (["../../etc/passwd"], "etc_passwd-7-"),
        (["\x1b[31m"], "31m-7-"),
        (["页"], "process-7-"),
    ],
)
def test_the_name_offered_says_what_and_when_and_is_one_safe_word(names: list[str], expected: str) -> None:
    found = suggested_name([process(7 + at, name) for at, name in enumerate(names)], NOW)
    assert found.startswith(expected)
    assert found.endswith(".snap")
    assert "/" not in found


async def mark_two(pilot: Pilot[None], page: int, gs: int) -> None:
    await pilot.press("slash")
    await type_text(pilot, "page-test|gs-test/")
    await until_shown(pilot, str(page), str(gs), "2 of")
    await pilot.press("enter", "space", "space")


async def test_two_marked_processes_are_saved_into_one_file(tmp_path: Path) -> None:
    app = real_app(tmp_path)
    with running_python(HANGS % "page-test") as page, running_python(HANGS % "gs-test") as gs:
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await mark_two(pilot, page.pid, gs.pid)
            await pilot.press("s")
            await until_shown(pilot, "Snapshot of 2 processes", "page-test+gs-test-", "[ ] Compress")
            await pilot.press("enter")
            await until_shown(pilot, "Saved", "stopped for", "nothing")
            await pilot.press("escape")
            await pilot.press("2")
            await until_shown(pilot, "page-test, gs-test", "1 snapshot")
        assert state_of(page.pid) == "S"
        (file,) = (tmp_path / "snapshots").iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert set(read_snapshot(file).processes) == {page.pid, gs.pid}


async def test_what_ends_while_the_dialog_is_open_is_left_out_and_told(tmp_path: Path) -> None:
    app = real_app(tmp_path)
    with running_python(HANGS % "page-test") as page, running_python(HANGS % "gs-test") as gs:
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await mark_two(pilot, page.pid, gs.pid)
            await pilot.press("s")
            await until_shown(pilot, "Snapshot of 2 processes")
            os.kill(gs.pid, signal.SIGKILL)
            wait_until(lambda: state_of(gs.pid) == "Z", "it has ended")
            await pilot.press("enter")
            await until_shown(pilot, "Saved", "stopped for")
            assert f"gs-test ({gs.pid}): ended, not saved" in notices(app)
        (file,) = (tmp_path / "snapshots").iterdir()
        assert set(read_snapshot(file).processes) == {page.pid}


async def offered(pilot: Pilot[None], pid: int) -> None:
    """Ask for a snapshot of that process alone."""
    await pilot.press("slash")
    await type_text(pilot, f"pid:{pid}")
    await until_shown(pilot, "1 of", str(pid))
    await pilot.press("enter", "s")
    await until_shown(pilot, "Save as", "[ ] Compress", "[ ] Stop them only to copy themselves (fork)")


async def test_compressed_when_asked_and_that_is_remembered(tmp_path: Path) -> None:
    app = real_app(tmp_path)
    with running_python(HANGS % "page-test") as page:
        async with app.run_test(size=(80, 24)) as pilot:
            await offered(pilot, page.pid)
            await pilot.press("tab", "space")
            await until_shown(pilot, "[x] Compress", ".snap.zst")
            await pilot.press("ctrl+s")
            await until_shown(pilot, "Saved", "unpacked")
        (file,) = (tmp_path / "snapshots").iterdir()
        assert file.name.endswith(".snap.zst")
        assert app.preferences.compress


async def test_stopped_the_processes_run_on_and_no_file_stays(tmp_path: Path) -> None:
    app = real_app(tmp_path)
    with running_python(LARGE) as victim:
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await offered(pilot, victim.pid)
            await pilot.press("enter")
            await until_shown(pilot, "Saving 1 process", "escape stops")
            await pilot.press("escape")
            await until(pilot, lambda: notices(app), "the notice")
            assert "nothing was saved" in notices(app)[0]
        assert list((tmp_path / "snapshots").iterdir()) == []
        assert tracer_of(victim.pid) == 0
        wait_until(lambda: state_of(victim.pid) == "S", "the victim waits as before")


ENDLESS = """
import json, os, signal, sys, time
file = sys.argv[sys.argv.index("-o") + 1]
open(file + ".draft", "w").close()
def say(**record): print(json.dumps(record), flush=True)
def stop(*_):
    os.unlink(file + ".draft")
    say(event="error", message="interrupted by SIGINT", help="")
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
say(event="paused", pids=[1])
say(event="progress", stage="memory", done=1 << 20, total=4 << 20)
signal.pause()
"""
"""Stands for a capture that takes long."""


async def test_it_goes_on_in_the_background_and_quitting_asks_and_stops_it(tmp_path: Path) -> None:
    app = Machine().app(tmp_path, command=(sys.executable, "-c", ENDLESS))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press("down", "s")
        await until_shown(pilot, "Save as")
        await pilot.press("enter")
        await until_shown(pilot, "Memory", "1.0 MiB of 4.0 MiB", "Processes stopped for", "b goes on")
        await pilot.press("b")
        await until_shown(pilot, "Saving 1 process: memory 25%")
        await pilot.press("q")
        await until_shown(pilot, "A capture is running", "Stop it and quit")
        await pilot.press("escape")
        await until_gone(pilot, "A capture is running")
        assert app.is_running
        await pilot.press("q")
        await until_shown(pilot, "A capture is running")
        await pilot.press("right", "enter")
        await until(pilot, lambda: app._exit, "the end")
    assert [name for name in os.listdir(tmp_path) if name.endswith(".draft")] == []


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+q"])
async def test_what_ends_other_programs_stops_a_capture(tmp_path: Path, key: str) -> None:
    app = Machine().app(tmp_path, command=(sys.executable, "-c", ENDLESS))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press("down", "s")
        await until_shown(pilot, "Save as")
        await pilot.press("enter")
        await until_shown(pilot, "Memory", "Processes stopped for", "escape stops")
        await pilot.press(key)
        if key == "ctrl+c":
            await until(pilot, lambda: notices(app), "the notice")
            assert "nothing was saved" in notices(app)[0]
        else:
            await until_shown(pilot, "A capture is running", "Stop it and quit")
            await pilot.press("right", "enter")
            await until(pilot, lambda: app._exit, "the end")
    assert [name for name in os.listdir(tmp_path) if name.endswith(".draft")] == []


async def test_a_name_is_of_the_folder_of_snapshots_not_of_where_the_app_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "both").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    app = real_app(tmp_path)
    (tmp_path / "snapshots" / "taken").mkdir(parents=True)
    with running_python(HANGS) as victim:
        async with app.run_test(size=(80, 24)) as pilot:
            await offered(pilot, victim.pid)
            await pilot.press("ctrl+u")
            await type_text(pilot, "taken")
            await pilot.press("enter")
            await until_shown(pilot, "that is a directory")
            await pilot.press("ctrl+u")
            await type_text(pilot, "both")
            await pilot.press("enter")
            await until_shown(pilot, "Saved")
    assert (tmp_path / "snapshots" / "both").is_file()


async def test_what_cannot_be_saved_is_said(tmp_path: Path) -> None:
    gone = 4_000_000  # more than pid_max: there is none
    app = Machine(Machine().found[:0]).app(tmp_path, interval=0.0)
    from snaptui.screens.messages import TakeSnapshot

    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(TakeSnapshot([process(gone, "gone")]))
        await until_shown(pilot, "Save as")
        await pilot.press("enter")
        await until_shown(pilot, "Nothing was saved", str(gone))


async def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / suggested_name([process(471, "page")], NOW)).write_text("precious")
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press("down", "s")
        await until_shown(pilot, "Save as")
        await pilot.press("enter")
        await until_shown(pilot, "there is a file of that name already")


async def test_processes_of_others_are_told_and_sudo_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(refused={471})
    with_sudo(tmp_path, monkeypatch)
    app = machine.app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press("down", "s")
        await until_shown(pilot, "You may not trace 471", "[x] Through sudo")


def with_sudo(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `sudo` first in PATH that asks for nothing, takes sudo's options away, and notes its words."""
    place = directory / "bin"
    place.mkdir()
    log = directory / "sudo.log"
    sudo = place / "sudo"
    lines = [
        "#!/bin/sh",
        f'echo "$@" >> {log}',
        '[ "$1" = -n ] && shift',
        '[ "$1" = -v ] && exit 0',
        '[ "$1" = -- ] && shift',
        'exec "$@"',
    ]
    sudo.write_text("\n".join(lines))
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return log


COMMAND = (sys.executable, "-m", "snaptui")


def test_a_capture_through_sudo_writes_a_file_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = with_sudo(tmp_path, monkeypatch)
    target = tmp_path / "x.snap"
    with running_python(HANGS % "page-test") as victim:
        child = start_capture(COMMAND, CaptureRequest((victim.pid,), str(target), sudo=True))
        wait_until(lambda: child.status is not None, "the capture ends")
        assert child.status == 0, child.failure
        assert set(read_snapshot(target).processes) == {victim.pid}
    assert "-o" not in log.read_text(), "root's process opens no file of the user's"
    assert child.report.result is not None
    assert child.report.result["file"] == str(target)


def test_a_capture_through_sudo_that_is_stopped_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sudo(tmp_path, monkeypatch)
    folder = tmp_path / "out"
    with running_python(LARGE) as victim:
        child = start_capture(COMMAND, CaptureRequest((victim.pid,), str(folder / "x.snap"), sudo=True))
        wait_until(lambda: child.report.stage, "it has begun")
        child.cancel()
        wait_until(lambda: child.status is not None, "it ends")
        assert list(folder.iterdir()) == []
        wait_until(lambda: tracer_of(victim.pid) == 0, "nobody traces the victim")


def saying(*lines: object) -> Child:
    code = "import sys\nfor line in sys.argv[1:]: print(line)"
    child = start(
        [
            sys.executable,
            "-c",
            code,
            *(json.dumps(line) if isinstance(line, dict) else str(line) for line in lines),
        ]
    )
    wait_until(lambda: child.status is not None, "the child ends")
    return child


def test_what_a_child_says_becomes_plain_values() -> None:
    child = saying(
        {"event": "progress", "stage": "memory", "done": 5, "total": 10},
        {"event": "paused", "pids": [1]},
        {"event": "resumed", "pids": [1], "seconds": 0.125},
        {"event": "paused", "pids": [1]},
        {"event": "resumed", "pids": [1], "seconds": 0.125},
        {"event": "warning", "pid": 1, "message": "m", "help": "h", "missing": True},
        {"event": "error", "message": "no space", "help": "make some"},
        "snap: words",
        "{no json",
    )
    report = child.report
    assert (report.stage, report.done, report.total, report.pause_so_far) == ("memory", 5, 10, 0.25)
    assert [warning.message for warning in report.warnings] == ["m"]
    assert child.failure == ("no space", "make some")
    assert report.text == ["snap: words", "{no json"]


def test_why_a_child_failed_is_its_last_message_and_what_helps() -> None:
    assert saying("snapfs: no", "snapfs: cannot mount: in use", "  end it").failure == (
        "cannot mount: in use",
        "end it",
    )


async def test_read_from_a_copy_when_asked(tmp_path: Path) -> None:
    app = real_app(tmp_path)
    with running_python(HANGS % "page-test") as page:
        async with app.run_test(size=(80, 24)) as pilot:
            await offered(pilot, page.pid)
            await pilot.press("tab", "tab", "tab", "tab", "space")
            await until_shown(pilot, "[x] Stop them only")
            await pilot.press("ctrl+s")
            await until_shown(pilot, "Saved", "stopped for")
        (file,) = (tmp_path / "snapshots").iterdir()
        assert read_snapshot(file).only().linux_json("snapshot.json")["read_from"] == "copy"
        assert state_of(page.pid) == "S"
