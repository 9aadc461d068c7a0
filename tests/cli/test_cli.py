"""The command line as a whole: help, versions, errors and exit statuses."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import snaptui
from snaptui.cli import COMMANDS, Command
from tests.helpers.commands import environment, snaptui_command

TWO_PROCS = Path(__file__).parent.parent / "data/plan9/two-procs.snap"


def program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the console scripts' functions, installed or not."""
    code = f"import sys; sys.argv[0] = {name!r}; from snaptui.start import {name}; {name}()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_registered_as_it_describes_itself(command: Command) -> None:
    module = importlib.import_module(command.module)
    assert command.name == module.NAME
    first = (inspect.getdoc(module) or "").splitlines()[0].lower()
    assert first.split()[0] == command.summary.split()[0], "the list and the help begin with the same verb"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(command: Command) -> None:
    result = snaptui_command(command.name, "--help").expect(0)
    assert result.out.decode().startswith(f"usage: snaptui {command.name} ")
    assert not result.err


def test_the_list_names_all_commands() -> None:
    listed = snaptui_command("--help").expect(0).out.decode()
    for command in COMMANDS:
        assert command.name in listed
        assert command.summary in listed


@pytest.mark.parametrize("name", ["snap", "snapfs", "snaptui"])
def test_version(name: str) -> None:
    done = program(name, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"snaptui {snaptui.__version__}\n", "")


def test_without_arguments_the_commands_are_listed_and_it_is_a_usage_error() -> None:
    result = snaptui_command().expect(2)
    assert "usage: snaptui" in result.err
    assert result.err.rstrip().endswith("the application, which needs a terminal")
    assert "info" in result.err
    assert not result.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["snap"],
        ["info"],
        ["info", "--nonsense", "x.snap"],
        ["regs", "x.snap", "not-a-pid"],
        ["regs", "x.snap", "0"],
        ["regs", "x.snap", "١"],
        ["hexdump", "x.snap", "1", "12xyz"],
        ["hexdump", "x.snap", "1", "10+-5"],
        ["hexdump", "x.snap", "1", "10+0"],
        ["hexdump", "x.snap", "1", "1_0"],
        ["hexdump", "x.snap", "1", "10000000000000000"],
        ["copy", "x.snap"],
        ["fs"],
    ],
)
def test_a_wrong_command_line_ends_with_status_2(arguments: list[str]) -> None:
    result = snaptui_command(*arguments).expect(2)
    assert not result.out
    assert "usage:" in result.err


def test_options_may_stand_between_the_processes_and_names_may_begin_with_a_dash() -> None:
    between = program("snap", "999999999", "-o", "x.snap", "999999998")
    assert "unrecognized" not in between.stderr
    assert "999999998" in between.stderr
    dashed = program("snap", "-o", "x.snap", "--", "-nobody-has-this-name")
    assert "'-nobody-has-this-name'" in dashed.stderr


def test_snaptui_fs_and_snap_have_the_options_of_snapfs_and_snap() -> None:
    for name, subcommand in (("snapfs", "fs"), ("snap", "snap")):
        alone = program(name, "--help").stdout
        below = snaptui_command(subcommand, "--help").expect(0).out.decode()
        options = [line.split()[0] for line in alone.splitlines() if line.startswith("  -")]
        assert "--version" in options
        for option in set(options) - {"--version"}:
            assert f"\n  {option}" in below


def test_an_error_is_one_line_with_what_helps_below() -> None:
    result = snaptui_command("info", TWO_PROCS.parent / "missing.snap").expect(1)
    assert result.err == f"snaptui: {TWO_PROCS.parent}/missing.snap: No such file or directory\n"
    result = snaptui_command("regs", TWO_PROCS, 7).expect(1)
    assert result.err == f"snaptui: {TWO_PROCS}: holds no process 7\n  it holds: 1201, 1202\n"


def test_an_escape_sequence_in_a_name_does_not_reach_the_terminal(tmp_path: Path) -> None:
    result = snaptui_command("info", tmp_path / "\x1b[2Jx").expect(1)
    assert "\x1b" not in result.err
    assert r"\x1b[2Jx" in result.err


def test_debugging_shows_the_traceback(tmp_path: Path) -> None:
    result = snaptui_command("info", tmp_path / "missing.snap", env={**environment(), "SNAPTUI_DEBUG": "1"})
    assert result.status == 1
    assert "Traceback" in result.err


def test_a_reader_that_has_seen_enough_ends_a_command_quietly() -> None:
    """Given `snaptui hexdump ... | head -1`, when head ends, then nothing is said."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        done = subprocess.Popen(
            [sys.executable, "-m", "snaptui", "hexdump", "-v", TWO_PROCS, "1201", "200000+20K"],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        os.close(writing)
        assert pipe.readline().startswith(b"00200000  ")
    _, err = done.communicate()
    assert (done.returncode, err) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("info",), ("cat", "1201", "text"), ("hexdump", "1201", "200000+20K")])
def test_a_full_disk_is_one_clear_line(arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    with open("/dev/full", "wb") as full:
        result = snaptui_command(name, TWO_PROCS, *rest, stdout=full).expect(1)
    assert result.err == "snaptui: No space left on device\n"


def test_output_in_another_encoding_escapes_what_it_does_not_have(tmp_path: Path) -> None:
    latin = {**environment(), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = snaptui_command("info", tmp_path / "ü.snap", env=latin).expect(1)
    assert r"\xfc.snap" in result.err
