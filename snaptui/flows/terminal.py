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
        self._is_suspended = False
        threading.Thread(target=self._watch, name="terminal", daemon=True).start()

    def suspend_application_mode(self) -> None:
        """Leave the terminal to others."""
        self._is_suspended = True
        super().suspend_application_mode()

    def resume_application_mode(self) -> None:
        """Take the terminal again; also called for each SIGCONT.

        One comes to who was not stopped, too: with the SIGHUP of a terminal that vanishes. Textual by itself
        then starts a second thread that reads keys, of which nobody knows: an app that is ending never does.
        """
        if self._is_suspended:
            super().resume_application_mode()
            self._is_suspended = not self._reads_keys  # in the background it waits for the next SIGCONT
        elif self._reads_keys:  # not from here, where a signal may have interrupted a write
            self._loop.call_soon_threadsafe(self._take_again)

    @property
    def _reads_keys(self) -> bool:
        return self._key_thread is not None and self._key_thread.is_alive()

    def _take_again(self) -> None:
        """Who was stopped by SIGSTOP may find the terminal as a shell left it."""
        if self._reads_keys:
            self._must_signal_resume = True
            self.suspend_application_mode()
            self.resume_application_mode()

    def _watch(self) -> None:
        hangup = select.poll()
        hangup.register(self.fileno, 0)  # POLLHUP and POLLERR are told always: poll(2)
        hangup.poll()
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
