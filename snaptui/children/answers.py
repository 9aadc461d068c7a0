"""What a command of ours answers about a snapshot, read in a process of its own.

Unwinding a thousand stacks takes seconds in C code that holds the interpreter, and a library that fails on
damaged memory may end the process that it is in: the screen shall not suffer from either.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from snaptui.children.child import environment, failure_in
from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.stacks.model import Frame, Local, ThreadStack
from snaptui.engine.inspect.waits.model import Report

_ANSWERED: Final = (0, 1)
"""Statuses that go with an answer: 1 says that something is missing, or that two snapshots differ."""


class Answers:
    """Asks commands; `command` are the words that run snaptui."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "snaptui")) -> None:
        self._command = tuple(command)

    async def stacks(self, path: str, pid: int) -> list[ThreadStack]:
        """What `snaptui stack` says of a process. Raises SnapError."""
        answer = await _ask(self._command, "stack", "--locals", path, str(pid))
        return [_stack(thread) for process in answer["processes"] for thread in process["threads"]]

    async def why(self, path: str) -> Report:
        """What `snaptui why` says of all processes. Raises SnapError."""
        return Report.from_json(await _ask(self._command, "why", path))


def _stack(thread: dict[str, Any]) -> ThreadStack:
    frames = tuple(
        Frame(**{**frame, "locals": tuple(Local(name, value) for name, value in frame["locals"].items())})
        for frame in thread["frames"]
    )
    return ThreadStack(thread["tid"], thread["name"], frames, thread["problem"])


async def _ask(command: Sequence[str], *words: str) -> dict[str, Any]:
    """The JSON object that `snaptui WORDS --json` prints. Raises SnapError; ends the child if cancelled."""
    child = await asyncio.create_subprocess_exec(
        *command,
        *words,
        "--json",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # ^C in the terminal is not for it.
        process_group=0,
        env=environment(),
    )
    try:
        output, said = await child.communicate()
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if child.returncode in _ANSWERED:
        with contextlib.suppress(ValueError):
            answer = json.loads(output)
            if isinstance(answer, dict):
                return answer
    message, remedy = failure_in(said.decode("utf-8", "replace").splitlines(), child.returncode or 0)
    raise SnapError(message, help=remedy)
