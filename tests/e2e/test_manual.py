"""The example of the manual page snap(4), in a real shell."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.commands import command, environment
from tests.helpers.strict_reader import read_snapshot
from tests.helpers.victims import program, running


@pytest.mark.skipif(not shutil.which("awk"), reason="needs awk")
def test_the_example_saves_the_errant_processes(tmp_path: Path) -> None:
    # Given `page` and `gs`, which hang, and something else that does too
    programs = {name: tmp_path / name for name in ("page", "gs", "other")}
    for path in programs.values():
        shutil.copy(program("deadlock.c"), path)
    # When the manual's line is typed with commands of those names
    install(tmp_path / "bin")
    line = "snap -o page.snap `psu | awk '$NF ~ /page|gs/ {print $2}'`"
    with (
        running([programs["page"]]) as page,
        running([programs["gs"]]) as gs,
        running([programs["other"]]) as other,
    ):
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env={**environment(), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        pids = {page.pid, gs.pid}
    # Then both are in the file
    assert "Traceback" not in done.stderr
    snapshot = read_snapshot(tmp_path / "page.snap")
    assert pids <= set(snapshot.processes)
    assert other.pid not in snapshot.processes
    assert done.returncode == 0, done.stderr


def install(directory: Path) -> None:
    """Put `snap`, `psu` and `snaptui` into a directory, as an installation would."""
    directory.mkdir()
    for name, words in (("snap", command("snap")), ("psu", command("psu")), ("snaptui", command())):
        script = directory / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        script.chmod(0o755)
