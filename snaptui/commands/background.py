"""Going on in the background: the command returns when its child serves, or says why that failed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

from snaptui.engine.errors import SnapError
from snaptui.explain import explain

_READY: Final = b"ready"


def run_in_background(work: Callable[[Callable[[], None]], None]) -> int:
    """Run `work(ready)` in a child process of a session of its own; returns its pid when it calls `ready()`.

    Raises SnapError in this process with what ended the child before that.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # or the child would have the text as well
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _be_the_child(work, writer)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
    except BaseException:  # interrupted: what was asked for shall not begin after all
        os.kill(pid, signal.SIGTERM)
        raise
    if said == _READY:
        return pid
    _, status = os.waitpid(pid, 0)
    if not said:
        raise SnapError(f"the server ended before it served, by {_how(status)}")
    message, remedy = json.loads(said)
    raise SnapError(message, help=remedy)


def _be_the_child(work: Callable[[Callable[[], None]], None], writer: int) -> None:
    """The life of the child; never returns."""
    status = 1
    try:
        _detach()

        def ready() -> None:
            os.write(writer, _READY)
            os.close(writer)

        work(ready)
        status = 0
    except BaseException as error:  # noqa: BLE001 - nobody else is there to tell it to
        words = explain(error)
        with contextlib.suppress(OSError):  # served already: nobody listens any more
            os.write(writer, json.dumps([words.message, words.help]).encode())
    finally:
        os._exit(status)


def _detach() -> None:
    """Let go of the terminal, the directory, and every descriptor that whoever started us left open."""
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for name in os.listdir("/proc/self/fd"):
        # Python closes its own descriptors on exec (PEP 446). One that came through an exec is not ours:
        # a pipe, say, whose reader would wait for its end as long as we live.
        with contextlib.suppress(OSError):
            if int(name) > 2 and not fcntl.fcntl(int(name), fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                os.close(int(name))


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"
