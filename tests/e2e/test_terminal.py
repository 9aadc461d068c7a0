"""The app in a real terminal, with keys only: the whole story, and how it ends in all cases."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import command, environment
from tests.helpers.mounts import is_mounted, why_no_fuse
from tests.helpers.terminal import Terminal, app_in_terminal
from tests.helpers.victims import (
    LARGE,
    Victim,
    compile_c,
    running,
    running_python,
    state_of,
    tracer_of,
    wait_until,
)

SIZES = ((80, 24), (200, 50))
PLAN9 = Path(__file__).parents[1] / "data" / "plan9" / "two-procs.snap"

TEXT = "%!PS-Adobe-3.0 page 3 that never came"
HANGS = f"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void) {{
    char **holder = malloc(64), *text = malloc(64);
    strcpy(text, "{TEXT}");
    holder[0] = text;
    puts("ready");
    printf("%p %p\\n", (void *)holder, (void *)text);
    fflush(stdout);
    pause();
}}
"""
"""A program that hangs, with a text in its heap and a pointer to it."""


def started_as(name: str, directory: Path) -> Path:
    program = directory / name
    shutil.copy(compile_c(HANGS), program)
    return program


def mark(terminal: Terminal, victims: list[Victim]) -> None:
    """Mark just these of the list: the machine may run others of those names."""
    wanted = {victim.pid for victim in victims}
    screen = terminal.wait_for(*(str(pid) for pid in wanted), "name matches")
    rows = [int(found[1]) for line in screen.splitlines() if (found := re.match(r"[● ]\s+(\d+) ", line))]
    for pid in rows:
        terminal.press("Space" if pid in wanted else "Down")
    terminal.wait_for(f"● {len(wanted)} marked")


@pytest.mark.skipif(bool(why_no_fuse()), reason=why_no_fuse() or "FUSE is there")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_pick_save_look_inside_mount_unmount(  # noqa: PLR0915 (one story, told once)
    tmp_path: Path, size: tuple[int, int]
) -> None:
    place = tmp_path / "mnt"
    with (
        running([started_as("page", tmp_path)]) as page,
        running([started_as("gs", tmp_path)]) as gs,
        app_in_terminal(tmp_path, *size) as terminal,
    ):
        holder, text = (int(word, 16) for word in page.readline().split())

        # Filter two processes, as the manual does, and select both.
        terminal.wait_for("Processes", "COMMAND")
        terminal.press("/")
        terminal.type("/page|gs/")
        terminal.press("Enter")
        mark(terminal, [page, gs])

        # Save them.
        terminal.press("s")
        terminal.wait_for("Snapshot of 2 processes", "page+gs-", "[ ] Compress")
        terminal.press("Enter")
        terminal.wait_for("Saved", "stopped for", "nothing")
        assert state_of(page.pid) == state_of(gs.pid) == "S"

        # Open; choose the process; find a text in its heap.
        terminal.press("Enter")
        terminal.wait_for("Memory", "Segments", "Strings", "/2 ")
        if f"/2 {page.pid} " not in terminal.screen():
            terminal.press("p", "Down", "Enter")
        terminal.wait_for(f"/2 {page.pid} page")
        terminal.press("/")
        terminal.wait_for("what to look for")
        terminal.type(TEXT)
        terminal.press("Enter")
        first = TEXT.encode()[:8].hex(" ")
        screen = terminal.wait_for("hit 1 of 1", "[heap]", TEXT[:16])
        # A line holds 16 bytes, or 32 where there is room.
        starts = tuple(f"{text - text % length:012x}" for length in (16, 32))
        assert any(line.startswith(starts) and first in line for line in screen.splitlines())

        # Follow the pointer to it, and back.
        terminal.press("g")
        terminal.wait_for("Go to")
        terminal.type(f"{holder:#x}")
        terminal.press("Enter")
        terminal.wait_for(f"{holder:012x}  [heap]")
        terminal.press("Enter")
        terminal.wait_for(f"{text:012x}  [heap]")
        terminal.press("C-o")
        terminal.wait_for(f"{holder:012x}  [heap]")
        terminal.press("q")
        terminal.wait_for("1 Processes", "2 Snapshots")

        # Mount, and read the same bytes through the mount.
        terminal.press("2")
        terminal.wait_for("page+gs-", "1 snapshot")
        terminal.press("m")
        terminal.wait_for("Mount a snapshot", "Mount point")
        terminal.type(str(place))
        terminal.press("Enter")
        terminal.wait_for("1 server running")
        with open(place / str(page.pid) / "mem", "rb") as mem:
            mem.seek(text)
            assert mem.read(len(TEXT)) == TEXT.encode()
        terminal.press("!")
        terminal.wait_for("exit brings the app back")
        terminal.type(
            f"dd if={page.pid}/mem bs=1 iflag=skip_bytes skip={text} count={len(TEXT)} status=none; echo"
        )
        terminal.press("Enter")
        terminal.wait_for(TEXT)
        terminal.type("exit")
        terminal.press("Enter")
        terminal.wait_for("1 server running")

        # Unmount, quit.
        terminal.press("u")
        terminal.wait_for("0 servers running")
        assert not is_mounted(place)
        terminal.press("q")
        assert terminal.status() == 0
        terminal.wait_for("the app has ended")


@pytest.mark.skipif(bool(why_no_fuse()), reason=why_no_fuse() or "FUSE is there")
def test_interrupting_what_has_the_terminal_does_not_interrupt_the_app(tmp_path: Path) -> None:
    # A shell makes groups of its own for what it runs; cat is in the app's, as a debugger is.
    with app_in_terminal(tmp_path, 80, 24, SHELL="/bin/cat") as terminal:
        terminal.wait_for("COMMAND")
        terminal.press("3")
        terminal.wait_for("Nothing is served")
        terminal.press("m")
        terminal.wait_for("Mount a snapshot")
        terminal.type(str(PLAN9))
        terminal.press("Enter")
        terminal.wait_for("1 server running")
        terminal.press("!")
        terminal.wait_for("exit brings the app back")
        terminal.type("said to cat")
        terminal.press("Enter")
        wait_until(lambda: terminal.screen().count("said to cat") == 2, "cat repeats it")
        terminal.press("C-c")
        terminal.wait_for("1 server running")
        terminal.press("u")
        terminal.wait_for("0 servers running")
        terminal.press("q")
        assert terminal.status() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_during_a_capture_leaves_the_target_running_and_no_file(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running_python(LARGE) as victim, app_in_terminal(tmp_path, 80, 24) as terminal:
        begin_capture(terminal, victim.pid)
        os.kill(terminal.pid(), number)
        assert terminal.status() == 128 + number
        assert "Saving" not in terminal.wait_for("the app has ended"), "the terminal is as it was before"
        assert list((tmp_path / "data/snaptui").iterdir()) == []
        wait_until(lambda: tracer_of(victim.pid) == 0, "nobody traces the target")
        wait_until(lambda: state_of(victim.pid) == "S", "the target waits as before")


def test_a_killed_app_leaves_the_target_running_and_no_partial_file(tmp_path: Path) -> None:
    with running_python(LARGE) as victim, app_in_terminal(tmp_path, 80, 24) as terminal:
        begin_capture(terminal, victim.pid)
        os.kill(terminal.pid(), signal.SIGKILL)
        assert terminal.status() == 128 + signal.SIGKILL
        wait_until(lambda: tracer_of(victim.pid) == 0, "nobody traces the target")
        wait_until(lambda: state_of(victim.pid) == "S", "the target waits as before")
        for file in (tmp_path / "data/snaptui").iterdir():
            subprocess.run(command("verify", file), env=environment(), check=True, capture_output=True)


def test_a_terminal_that_vanishes_without_a_signal_ends_the_app(tmp_path: Path) -> None:
    # The kernel sends SIGHUP to those who have the terminal as their controlling one; here nobody has.
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    ends: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), other_end)
    places = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"), str(tmp_path))
    values = {**environment(), **places, "TERM": "xterm"}
    with (
        running_python(LARGE) as victim,
        subprocess.Popen(command("app"), env=values, start_new_session=True, **ends) as app,
    ):
        os.close(other_end)
        for keys, then in (
            (b"", b"COMMAND"),
            (f"/pid:{victim.pid}\r".encode(), b"1 of"),
            (b"s", b"Save as"),
            (b"\r", b"escape stops"),
        ):
            os.write(terminal, keys)
            painted = b""
            while then not in painted:
                painted += os.read(terminal, 1 << 16)
        os.close(terminal)
        try:
            assert app.wait(20) == 128 + signal.SIGHUP
        finally:
            app.kill()
        assert list((tmp_path / "snaptui").glob("*.snap*")) == []
        wait_until(lambda: tracer_of(victim.pid) == 0, "nobody traces the target")
        wait_until(lambda: state_of(victim.pid) == "S", "the target waits as before")


@pytest.mark.parametrize(("wanted", "given"), [({}, "120"), ({"TEXTUAL_FPS": "30"}, "30")])
def test_it_paints_more_often_than_textual_does_unless_told_otherwise(
    tmp_path: Path, wanted: dict[str, str], given: str
) -> None:
    told = tmp_path / "told"
    program = f"""
import argparse, pathlib
from snaptui.commands import app
app.run(argparse.Namespace(files=[], no_mouse=False))
from textual import constants
pathlib.Path({str(told)!r}).write_text(str(constants.MAX_FPS))
"""
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    ends: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), other_end)
    places = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"), str(tmp_path))
    values = {**environment(), **places, "TERM": "xterm", **wanted}
    with subprocess.Popen([sys.executable, "-c", program], env=values, start_new_session=True, **ends) as app:
        os.close(other_end)
        try:
            painted = b""
            while b"COMMAND" not in painted:
                painted += os.read(terminal, 1 << 16)
            os.write(terminal, b"q")
            with contextlib.suppress(OSError):  # EIO: it has closed its end
                while os.read(terminal, 1 << 16):
                    pass
            assert app.wait(20) == 0
        finally:
            app.kill()
            os.close(terminal)
    assert told.read_text() == given


def begin_capture(terminal: Terminal, pid: int) -> None:
    terminal.wait_for("COMMAND")
    terminal.press("/")
    terminal.type(f"pid:{pid}")
    terminal.press("Enter")
    terminal.wait_for("1 of", str(pid))
    terminal.press("s")
    terminal.wait_for("Save as")
    terminal.press("Enter")
    terminal.wait_for("Saving 1 process", "escape stops")


def test_without_a_terminal_it_says_so_and_paints_nothing() -> None:
    done = subprocess.run(
        command("app"),
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs a terminal" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_a_terminal_that_can_do_nothing_is_refused(tmp_path: Path) -> None:
    with app_in_terminal(tmp_path, 80, 24, "app", term="dumb") as terminal:
        assert terminal.status() == 1
        terminal.wait_for("TERM is dumb")


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"COLORTERM": ""}], ids=["NO_COLOR", "16 colours"])
def test_without_colours_the_cursor_and_marks_are_seen(tmp_path: Path, variables: dict[str, str]) -> None:
    with app_in_terminal(tmp_path, 80, 24, **variables) as terminal:
        terminal.wait_for("COMMAND", "Help", "python -m snaptui")
        terminal.press("Space")
        terminal.wait_for("● 1 marked")
        painted = terminal._tmux("capture-pane", "-p", "-e")
        assert "\x1b[7m" in painted, "the cursor is in reverse"
        if "NO_COLOR" in variables:
            assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|38|48|4[0-7])[;m]", painted)
        terminal.press("q")
        assert terminal.status() == 0


def test_the_size_may_change_while_it_runs(tmp_path: Path) -> None:
    with app_in_terminal(tmp_path, 200, 50) as terminal:
        terminal.wait_for("COMMAND", "PARENT", "VIRT")
        terminal.resize(80, 24)
        terminal.wait_without("VIRT")
        terminal.wait_for("COMMAND", "Help", "python -m snaptui")
        terminal.resize(30, 8)
        terminal.wait_for("PID")
        terminal.press("q")
        assert terminal.status() == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.snap", "there is no such file"),
        ("./missing", "there is no such file"),
        ("/", "is a directory"),
    ],
)
def test_a_file_that_cannot_be_opened_is_named_before_the_app_starts(
    tmp_path: Path, name: str, message: str
) -> None:
    with app_in_terminal(tmp_path, 80, 24, name) as terminal:
        assert terminal.status() == 1
        assert "usage:" not in terminal.wait_for(f"snaptui: {name}: {message}")


def test_the_mouse_can_be_left_to_the_terminal(tmp_path: Path) -> None:
    with app_in_terminal(tmp_path, 80, 24, "--no-mouse") as terminal:
        terminal.wait_for("COMMAND", "Help", "python -m snaptui")
        assert terminal._tmux("display-message", "-p", "#{mouse_any_flag}").strip() == "0"
        terminal.press("q")
        assert terminal.status() == 0
