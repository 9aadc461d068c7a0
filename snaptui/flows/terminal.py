"""The terminal that the app is in, which may vanish at any moment, and not every time with a SIGHUP.

Who has no controlling terminal (setsid, a container's console), or started the app with nohup, gets no
signal. Textual by itself then reads the end of the file for ever, with all of one processor, and soon waits
for ever for the thread that wrote to the terminal, and has died of the error.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message


class TerminalGone(Message):
    """Nobody sees the app any more."""


class Terminal(LinuxDriver):
    """Textual's driver; it tells the app when the terminal is gone, and then writes into the void."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file = _Forgiving(sys.__stderr__)  # type: ignore[assignment,arg-type]
        threading.Thread(target=self._watch, name="terminal", daemon=True).start()

    def _watch(self) -> None:
        hangup = select.poll()
        hangup.register(self.fileno, 0)  # POLLHUP and POLLERR are told always: poll(2)
        hangup.poll()
        self.exit_event.set()  # the thread that reads keys ends, also of an app that is just ending
        self._app.post_message(TerminalGone())


class _Forgiving:
    """A stream to a terminal; what is written to one that is gone is lost, and no error."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return os.isatty(self.fileno())
