"""A command of ours as a child process: its JSON lines become plain values that a screen looks at."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

from snaptui.engine.progress import Warned

_LINES: Final = 50  # of text on standard error that are kept: the last ones say what went wrong


@dataclass(slots=True)
class Report:
    """What a child has said so far. Its threads write it, the screen reads it; times by time.monotonic."""

    stage: str = ""
    done: int = 0
    total: int = 0
    stage_began: float = field(default_factory=time.monotonic)
    paused_since: float | None = None
    """When the targets were stopped; None while they run."""
    pause: float = 0.0
    """Seconds that the targets stood before they ran again."""
    warnings: list[Warned] = field(default_factory=list)
    error: str = ""
    help: str = ""
    result: dict[str, Any] | None = None
    """The last record, `done`."""
    text: list[str] = field(default_factory=list)
    """Lines that are no JSON."""

    def take(self, line: str) -> None:
        """Take a line that the child wrote."""
        record = _parse(line)
        match record.get("event"):
            case "progress":
                self._progress(record)
            case "paused":
                self.paused_since = time.monotonic()
            case "resumed":
                # They stand twice where they could not be copied (--fork).
                self.paused_since, self.pause = None, self.pause + float(record["seconds"])
            case "warning":
                self.warnings.append(
                    Warned(record["message"], record["pid"], record["help"], bool(record["missing"]))
                )
            case "error":
                self.error, self.help = record["message"], record["help"]
            case "done":
                self.result = record
            case _:
                self.text = [*self.text[-_LINES:], line.rstrip("\n")]

    def _progress(self, record: dict[str, Any]) -> None:
        if record["stage"] != self.stage:
            self.stage_began = time.monotonic()
        self.stage, self.done, self.total = record["stage"], record["done"], record["total"]

    @property
    def pause_so_far(self) -> float:
        """Seconds that the targets have stood, up to now."""
        return self.pause + (time.monotonic() - self.paused_since if self.paused_since is not None else 0)


class Child:
    """A running command; made by `start`."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.report = Report()
        self.cancelled = False
        self._popen = popen
        self._threads = [
            threading.Thread(target=self._read, args=(stream,), name="child", daemon=True)
            for stream in (popen.stdout, popen.stderr)
            if stream is not None
        ]
        for thread in self._threads:
            thread.start()

    @property
    def status(self) -> int | None:
        """The exit status, when it has ended and all it said has been read; None before."""
        if self._popen.poll() is None or any(thread.is_alive() for thread in self._threads):
            return None
        return self._popen.returncode

    @property
    def failure(self) -> tuple[str, str]:
        """Why it failed and what helps, as far as it said so."""
        if self.report.error:
            return self.report.error, self.report.help
        return failure_in(self.report.text, self._popen.returncode)

    def cancel(self) -> None:
        """Ask it to stop, as ^C does; the second time it is killed."""
        number = signal.SIGKILL if self.cancelled else signal.SIGINT
        self.cancelled = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self._popen.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, or for `seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.report.take(line.decode("utf-8", "replace"))


def failure_in(said: Sequence[str], status: int) -> tuple[str, str]:
    """Why a command failed and what helps, from the lines that it wrote.

    `snaptui verify: message`, and a second line, indented, that says what helps.
    """
    lines = [line for line in said if line.strip()]
    at = max((number for number, line in enumerate(lines) if not line.startswith(" ")), default=None)
    if at is None:
        return f"it ended with status {status}", ""
    return lines[at].partition(": ")[2] or lines[at], " ".join(line.strip() for line in lines[at + 1 :])


def start(argv: Sequence[str]) -> Child:
    """Run `argv`, apart from the terminal's keys: ^C there is not for it. Raises OSError."""
    return Child(
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Not a session of its own: sudo knows by the terminal that the password was given.
            process_group=0,
            env=environment(),
        )
    )


def environment() -> dict[str, str]:
    """The environment for a child: its own words, without colours."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _parse(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
