"""`snaptui psu`, run as a user runs it."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import command, environment, snaptui_command
from tests.helpers.named import CALLS_ITSELF, sleeping
from tests.helpers.victims import running_c, running_python


def _rows(*arguments: str) -> dict[int, dict[str, Any]]:
    rows = json.loads(snaptui_command("psu", "--json", *arguments).expect(0).out)
    return {row["pid"]: row for row in rows}


def _lines(*arguments: str) -> dict[int, list[str]]:
    """The table's lines, in awk's columns, by pid."""
    lines = [line.split() for line in snaptui_command("psu", *arguments).expect(0).out.decode().splitlines()]
    return {int(words[1]): words for words in lines}


def test_the_example_of_the_manual_works_as_it_stands(tmp_path: Path) -> None:
    """Given page and gs, when the manual's pipe runs in a shell, then it prints their pids."""
    psu = tmp_path / "psu"
    psu.write_text(f'#!/bin/sh\nexec {sys.executable} -m snaptui psu "$@"\n')
    psu.chmod(0o755)
    path = {**environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with sleeping(tmp_path / "page") as page, sleeping(tmp_path / "gs") as gs, sleeping(tmp_path / "other"):
        out = subprocess.check_output(["sh", "-c", "psu | awk '$NF ~ /page|gs/ {print $2}'"], env=path)
    assert {page.pid, gs.pid} <= {int(word) for word in out.split()}
    # Other processes of this machine may have names with gs in them; ours that have not must not be there.
    assert os.getpid() not in {int(word) for word in out.split()}


def test_the_columns_are_those_of_plan_9(tmp_path: Path) -> None:
    with sleeping(tmp_path / "page") as page:
        words = _lines()[page.pid]
        rss = int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(page.pid)]))
    assert words == [
        pwd.getpwuid(os.getuid()).pw_name,
        str(page.pid),
        "0:00",
        "0:00",
        f"{rss}K",
        "clock_nanosleep",
        "page",
    ]


def test_any_name_is_one_harmless_word_in_the_table_and_exact_in_json() -> None:
    name = "a b\n\x1b[2J) \udcff"
    with running_c(CALLS_ITSELF, arguments=[name]) as victim:
        assert _lines()[victim.pid][6:] == [r"a_b\n\x1b[2J)_\xff"]
        assert _rows()[victim.pid]["name"] == name
    with running_c(CALLS_ITSELF, arguments=[""]) as victim:
        assert _lines()[victim.pid][6:] == ["?"]


def test_psu_lists_everything_but_itself() -> None:
    with subprocess.Popen(command("psu"), env=environment(), stdout=subprocess.PIPE) as popen:
        assert popen.stdout is not None
        pids = [int(line.split()[1]) for line in popen.stdout]
    assert os.getpid() in pids
    assert popen.pid not in pids


@pytest.mark.parametrize("pattern", ["^pag.$|^gs$", "/^pag.$|^gs$/"])
def test_match_takes_a_regular_expression_with_or_without_slashes(tmp_path: Path, pattern: str) -> None:
    with sleeping(tmp_path / "page") as page, sleeping(tmp_path / "other") as other:
        rows = _rows("--match", pattern)
    assert page.pid in rows
    assert other.pid not in rows
    assert {row["name"] for row in rows.values()} <= {"page", "gs"}


def test_a_bad_expression_is_a_mistake_in_usage() -> None:
    result = snaptui_command("psu", "--match", "(").expect(2)
    assert "'(' is no regular expression" in result.err


@pytest.mark.parametrize("user", ["no-such-user", "9" * 5000, "\u0661", "12345x"])
def test_an_unknown_user_is_one_clear_line(user: str) -> None:
    result = snaptui_command("psu", user).expect(1)
    assert "there is no user" in result.expect_clear_failure()


def test_user_and_all_exclude_each_other() -> None:
    snaptui_command("psu", "--all", "root").expect(2)


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts another user's process")
def test_processes_of_another_user() -> None:
    code = "import os, time; os.setresuid(12345, 12345, 12345); print('ready'); time.sleep(100)"
    with running_python(code) as victim:
        assert victim.pid in _lines("12345")
        assert victim.pid in _lines("--all")
        assert victim.pid not in _lines()
        assert victim.pid not in _lines("root")
        assert os.getpid() not in _lines("12345")


def test_hung_says_in_which_system_call() -> None:
    with (
        running_python("import os; print('ready'); os.read(0, 1)") as still,
        running_python("print('ready')\nwhile True: pass") as busy,
    ):
        still.wait_asleep()
        lines = _lines("--hung", "--match", "python")
        assert lines[still.pid][5] == "read"
        assert busy.pid not in lines
        row = _rows("--hung", "--match", "python")[still.pid]
        assert row["place"] == "read"
        assert [(wait["tid"], wait["syscall"]) for wait in row["waits"]] == [(still.pid, "read")]


def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    """`psu | head -1`, when head is gone before psu writes."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        result = snaptui_command("psu", "--all", stdout=closed)
    assert result.err == ""


def test_psu_imports_nothing_heavy() -> None:
    code = "import snaptui.cli, snaptui.commands.psu, sys; print('\\n'.join(sys.modules))"
    out = subprocess.check_output([sys.executable, "-c", code], env=environment(), text=True)
    assert not {"rich", "numpy", "ptrace", "textual", "backports", "psutil"} & set(out.split())
