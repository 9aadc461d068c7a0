"""The terminal that the app is in, which a shell may take from it, and which may vanish at any moment.

Who has no controlling terminal (setsid, a container's console), or started the app with nohup, gets no
signal when it vanishes. Textual by itself then reads the end of the file for ever, with all of one processor,
and soon waits for ever for the thread that wrote to the terminal, and has died of the error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
import termios
import threading
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from snaptui.engine.errors import SnapError


class TerminalGone(Message):
    """Nobody sees the app any more."""


class Terminal(LinuxDriver):
    """Textual's driver; it tells the app when the terminal is gone, and then writes into the void.

    What SIGTSTP and SIGCONT ask for is done in the event loop: a signal may have interrupted a write, whose
    lock the next write would await for ever. Textual by itself does it in the signal's handler.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file = _Forgiving(sys.__stderr__)  # type: ignore[assignment,arg-type]
        self._asked: signal.Signals | None = None
        threading.Thread(target=self._watch, name="terminal", daemon=True).start()

    def write(self, data: str) -> None:
        """Write to the terminal, as long as it is ours."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().write(data)

    def start_application_mode(self) -> None:
        """Take the terminal; in the background this stands still until a shell gives it back.

        Raises SnapError when no shell will.
        """
        before = self._key_thread
        while self._key_thread is before:  # Textual gives up when it was stopped in between
            _wait_for_foreground(self.fileno)
            super().start_application_mode()  # type: ignore[no-untyped-call]

    def resume_application_mode(self) -> None:
        """Take the terminal again."""
        try:
            super().resume_application_mode()
        except SnapError:
            self._app.post_message(TerminalGone())

    def _sigtstp_application(self, *_: object) -> None:
        if self._auto_restart:
            self._ask(signal.SIGTSTP)
        else:  # another program has the terminal
            os.kill(os.getpid(), signal.SIGSTOP)

    def _sigcont_application(self, *_: object) -> None:
        if self._auto_restart:
            self._ask(signal.SIGCONT)

    def _ask(self, number: signal.Signals) -> None:
        is_first, self._asked = self._asked is None, number
        if is_first:
            self._loop.call_soon_threadsafe(self._obey)

    def _obey(self) -> None:
        """Leave the terminal to others, stand still until told to go on, and take it again.

        Only the last signal counts. SIGCONT alone has the terminal taken again: who was stopped by SIGSTOP
        may find it as a shell left it. It comes to who was not stopped, too: with the SIGHUP of a terminal
        that vanishes, when the app may be ending and reads no keys any more.
        """
        reads_keys = self._key_thread is not None and self._key_thread.is_alive()
        if reads_keys:
            self._must_signal_resume = True
            self.suspend_application_mode()
        if self._asked == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)
        self._asked = None  # and so is what told us to go on
        if reads_keys:
            self.resume_application_mode()

    def _watch(self) -> None:
        hangup = select.poll()
        hangup.register(self.fileno, 0)  # POLLHUP and POLLERR are told always: poll(2)
        hangup.poll()
        self._app.post_message(TerminalGone())


def _wait_for_foreground(descriptor: int) -> None:
    """Have the kernel stop us as long as a shell keeps us in the background: SIGTTOU of tcsetattr(3).

    Raises SnapError when the terminal is gone, or no shell is left that could give it back.
    """
    while True:
        try:
            termios.tcsetattr(descriptor, termios.TCSANOW, termios.tcgetattr(descriptor))
        except termios.error as error:
            if error.args[0] != errno.EINTR:  # which is the SIGCONT that ended it
                raise SnapError(
                    "the terminal is gone, or another program has it", help="start snaptui in its foreground"
                ) from error
        else:
            return


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
