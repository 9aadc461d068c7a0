"""Tables on terminals and elsewhere; sizes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from snaptui.commands.output import Column, print_table, size_text
from tests.helpers.commands import command, environment

TWO_PROCS = Path(__file__).parent.parent / "data/plan9/two-procs.snap"


def on_a_terminal(columns: int, *arguments: str | Path, **variables: str) -> list[str]:
    """The lines that a command shows on a terminal of that width, colours taken off."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    terminal = {**environment(), "TERM": "xterm", **variables}
    del terminal["COLUMNS"]
    with subprocess.Popen(
        command(*arguments), stdout=slave, stderr=slave, stdin=slave, env=terminal
    ) as process:
        os.close(slave)
        shown = b""
        # A pty's master reads EIO when the last one who had the slave open has closed it.
        with contextlib.suppress(OSError), os.fdopen(master, "rb", buffering=0) as screen:
            while piece := screen.read(65536):
                shown += piece
    assert process.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()


def test_a_wide_terminal_gets_a_drawn_table() -> None:
    lines = on_a_terminal(100, "segments", TWO_PROCS, "1201")
    assert "──" in lines[1]
    assert lines[5].split() == ["0x7ffffeffc000", "0x7fffff000000", "16384", "stored", "-", "Stack"]


def test_a_narrow_terminal_gets_every_digit_in_one_piece() -> None:
    lines = on_a_terminal(40, "segments", TWO_PROCS, "1201")
    assert lines[4].split() == ["0x7ffffeffc000", "0x7fffff000000", "16384", "stored", "-", "Stack"]


@pytest.mark.parametrize("arguments", [["snap", "--help"], ["--help"], ["copy", "-h"]])
def test_help_on_a_terminal_says_the_same_as_elsewhere(arguments: list[str]) -> None:
    """Colours and cases differ; the words do not."""
    plain = subprocess.check_output(command(*arguments), env={**environment(), "COLUMNS": "100"}, text=True)
    shown = "\n".join(on_a_terminal(100, *arguments))
    assert shown.lower().split() == plain.lower().split()


def test_names_of_other_processes_are_no_markup_and_reach_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ["[heap]", "a[/]b", "[@click=app.quit]x", "\x1b[2J", ":warning:", "\u202edlrow"]
    print_table([Column("NAME"), Column("SIZE", "right")], [[name, "1"] for name in names])
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["NAME", *names[:3], r"\x1b[2J", ":warning:", r"\u202edlrow"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1024.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (1 << 40, "1.0 TiB"),
        ((1 << 64) - 1, "16.0 EiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size) == text
