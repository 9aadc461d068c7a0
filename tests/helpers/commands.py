"""Running snaptui's commands as a user does: real processes, real files, real exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snaptui
from tests.helpers.strict_reader import StrictProcess, StrictSnapshot, read_snapshot

REPOSITORY = Path(snaptui.__file__).resolve().parent.parent
NOBODY = 65534
LONG_ENOUGH = 120.0


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    argv: tuple[str, ...]
    status: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines on standard error."""
        return self.err.splitlines()

    def events(self) -> list[dict[str, Any]]:
        """The events of `--json`, one a line: on standard output with `-o`, else on standard error."""
        lines = self.lines if "-o" not in self.argv else self.out.decode().splitlines()
        return [json.loads(line) for line in lines]

    def expect_no_crash(self) -> None:
        for word in ("Traceback", "internal error", "Exception ignored"):
            assert word not in self.err, f"{self.argv} crashed:\n{self.err}"

    def expect(self, status: int) -> Result:
        """This result, which must have that exit status, and must not be a crash."""
        self.expect_no_crash()
        assert self.status == status, f"{self.argv}: status {self.status}, not {status}; it said:\n{self.err}"
        return self

    def expect_clear_failure(self) -> str:
        """The one line in which the command says why it failed (a second may say what helps)."""
        self.expect_no_crash()
        assert self.status > 0, f"{self.argv}: status {self.status}; it said:\n{self.err}"
        assert 1 <= len(self.lines) <= 2, f"{self.argv} said not one clear line:\n{self.err}"
        return self.lines[0]


def command(*arguments: str | int | Path) -> list[str]:
    return [sys.executable, "-m", "snaptui", *map(str, arguments)]


def environment() -> dict[str, str]:
    """The tests' environment, in which the package is found from any directory."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}


def start(
    *arguments: str | int | Path, prefix: Sequence[str] = (), **options: Any
) -> subprocess.Popen[bytes]:
    """Start `snaptui ARGUMENTS` with pipes for its output and errors, unless told otherwise."""
    defaults: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "env": environment(),
    }
    return subprocess.Popen([*prefix, *command(*arguments)], **{**defaults, **options})


def finish(process: subprocess.Popen[bytes]) -> Result:
    """Wait for a command that `start` started."""
    with process:
        try:
            out, err = process.communicate(timeout=LONG_ENOUGH)
        except BaseException:
            process.kill()
            raise
    assert isinstance(process.args, list)
    return Result(tuple(process.args), process.returncode, out or b"", (err or b"").decode())


def snaptui_command(*arguments: str | int | Path, **options: Any) -> Result:
    """Run `snaptui ARGUMENTS` to its end."""
    return finish(start(*arguments, **options))


def snap(*arguments: str | int | Path, **options: Any) -> Result:
    """Run `snaptui snap ARGUMENTS` to its end."""
    return snaptui_command("snap", *arguments, **options)


def take(output: Path, *arguments: str | int | Path, status: int = 0, **options: Any) -> StrictSnapshot:
    """Snapshot into `output` with that exit status, and read it as the strictest original reader does."""
    snap("-o", output, *arguments, **options).expect(status)
    return read_snapshot(output, nine_front=True)


def take_one(output: Path, pid: int, *options: str, status: int = 0) -> StrictProcess:
    """Snapshot one process; what the file holds of it."""
    snapshot = take(output, *options, pid, status=status)
    assert list(snapshot.processes) == [pid]
    return snapshot.processes[pid]


def as_nobody() -> list[str]:
    """The words before a command that run it as a user without rights; empty where that can't be done.

    Needs root. Where that user cannot reach the interpreter (a virtual environment under /root,
    mode 0700), the one right to *read* any file is left; it does not help to trace anybody.
    """
    plain = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    probe = [sys.executable, "-c", "import sys, snaptui; print(sys.base_prefix)"]
    for prefix in (plain, plain + reading):
        try:
            done = subprocess.run(
                [*prefix, *probe], env=environment(), capture_output=True, text=True, check=False
            )
        except OSError:
            return []
        if done.stdout.strip() == sys.base_prefix:
            return prefix
    return []


@dataclass(frozen=True)
class OrdinaryUser:
    """Someone who is not root: how to run commands and other programs as they do."""

    prefix: Sequence[str]
    options: dict[str, Any]


def ordinary_user() -> OrdinaryUser | None:
    """Whoever runs the tests, or nobody if that is root; None where that can't be done."""
    if os.geteuid() != 0:
        return OrdinaryUser((), {})
    prefix = as_nobody()
    return OrdinaryUser(prefix, {"user": NOBODY, "group": NOBODY, "extra_groups": []}) if prefix else None


def line_about(result: Result, pid: int) -> str:
    """The one line on standard error that names a process."""
    result.expect_no_crash()
    lines = [line for line in result.lines if str(pid) in line and not line.startswith(" ")]
    assert len(lines) == 1, f"not one line about {pid}:\n{result.err}"
    return lines[0]
