"""The app under a shell that stops it, lets it go on, takes and gives the terminal: signal(7)."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.commands import command, environment
from tests.helpers.terminal import app_in_terminal
from tests.helpers.victims import state_of, threads_of, wait_until

STOPS_AMID_A_WRITE = """
import os, signal, sys
from snaptui.app import make_app

app = make_app()

def stop():
    with app._driver._writer_thread._queue.mutex:  # as whoever writes to the terminal does
        os.kill(os.getpid(), signal.SIGTSTP)

app.call_later(app.set_timer, 1.0, stop)
app.run()
sys.exit(app.return_code)
"""


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_who_was_stopped_goes_on_and_reads_keys(tmp_path: Path, number: signal.Signals) -> None:
    with app_in_terminal(tmp_path, 80, 24) as terminal:
        terminal.wait_for("COMMAND")
        pid = terminal.pid()
        threads = len(threads_of(pid))
        for key, shown in (("2", "PROCESSES"), ("1", "COMMAND")) * 5:
            os.kill(pid, number)
            wait_until(lambda: state_of(pid) == "T", "the app stops")
            os.kill(pid, signal.SIGCONT)

            def is_shown(key: str = key, shown: str = shown) -> bool:
                terminal.press(key)  # again: what comes before it has the terminal again is lost
                return shown in terminal.screen()

            wait_until(is_shown, f"{shown} on the screen")
        assert len(threads_of(pid)) < threads + 10, "threads that write and read are left, two each time"
        terminal.type("/no such command")
        terminal.wait_for("no such command")
        terminal.press("Escape", "C-q")
        assert terminal.status() == 0


def test_one_who_was_not_stopped_may_be_told_to_go_on_and_ends_when_told_to(tmp_path: Path) -> None:
    # The kernel tells so those whose terminal vanishes, with SIGHUP, and that at any moment.
    with app_in_terminal(tmp_path, 80, 24) as terminal:
        terminal.wait_for("COMMAND")
        pid = terminal.pid()
        terminal.press("C-q")

        def has_ended() -> bool:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                return True
            return False

        try:
            wait_until(has_ended, "the app ends")
        finally:
            with contextlib.suppress(ProcessLookupError):  # a terminal that vanishes would not end it either
                os.kill(pid, signal.SIGKILL)
        assert terminal.status() == 0


def test_a_stop_amid_a_write_to_the_terminal_waits_for_its_end(tmp_path: Path) -> None:
    with app_in_terminal(tmp_path, 80, 24, program=("-c", STOPS_AMID_A_WRITE)) as terminal:
        terminal.wait_for("COMMAND")
        pid = terminal.pid()
        wait_until(lambda: state_of(pid) == "T", "the app stops")
        assert "COMMAND" not in terminal.screen(), "the terminal is as it was before"
        os.kill(pid, signal.SIGCONT)
        terminal.wait_for("COMMAND")
        terminal.press("C-q")
        assert terminal.status() == 0


def test_who_is_told_to_stop_and_go_on_many_times_at_once_stops_once(tmp_path: Path) -> None:
    with app_in_terminal(tmp_path, 80, 24) as terminal:
        terminal.wait_for("COMMAND")
        pid = terminal.pid()
        for _ in range(50):
            os.kill(pid, signal.SIGTSTP)
            os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGTSTP)
        wait_until(lambda: state_of(pid) == "T", "the app stops")
        os.kill(pid, signal.SIGCONT)
        terminal.wait_for("COMMAND")
        terminal.press("C-q")
        assert terminal.status() == 0


def test_one_started_in_the_background_comes_up_when_it_is_given_the_terminal(tmp_path: Path) -> None:
    with app_in_terminal(tmp_path, 80, 24, in_background=True) as terminal:
        terminal.wait_for("COMMAND")
        terminal.press("C-q")
        assert terminal.status() == 0


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_one_that_stands_still_ends_when_its_terminal_vanishes(
    tmp_path: Path, number: signal.Signals
) -> None:
    with app_in_terminal(tmp_path, 80, 24) as terminal:
        terminal.wait_for("COMMAND")
        pid = terminal.pid()
        os.kill(pid, number)
        wait_until(lambda: state_of(pid) == "T", "the app stops")
    assert state_of(pid) == "", "nobody is left to let it go on"


def test_one_in_a_background_that_no_shell_can_end_says_so() -> None:
    # Orphaned, without a parent in the session: the kernel stops no such group of processes (setpgid(2)).
    shell, terminal = pty.fork()
    if shell == 0:  # the session's leader, which has the terminal
        if (job := os.fork()) == 0:
            os.setpgid(0, 0)
            if os.fork() == 0:
                while os.getppid() == os.getpgrp():
                    time.sleep(0.01)
                os.execve(sys.executable, command("app"), {**environment(), "TERM": "xterm"})
            os._exit(0)
        os.waitpid(job, 0)
        signal.pause()
    try:
        said = b""
        while b"in its foreground" not in said:
            assert select.select([terminal], [], [], 20)[0], said
            said += os.read(terminal, 1 << 16)
        assert b"snaptui: the terminal is gone, or another program has it\r\n" in said
        assert b"Traceback" not in said
    finally:
        os.kill(shell, signal.SIGKILL)
        os.waitpid(shell, 0)
        os.close(terminal)
