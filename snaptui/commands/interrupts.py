"""Signals that ask a command to stop become a request to the engine."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Final, Self

from snaptui.engine.errors import Cancelled
from snaptui.engine.progress import CancelToken
from snaptui.explain import Interrupted


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP ask the work to stop, within the `with` block.

    The first one is a request: the engine lets its targets run on, leaves no file behind and raises
    `Cancelled`, which leaves the block as `Interrupted`. The second one ends the program at once:
    the kernel lets the targets run on.
    """

    _SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    _STOPS: Final = (signal.SIGTSTP, signal.SIGTTOU, signal.SIGTTIN)

    def __init__(self) -> None:
        self.cancel = CancelToken()
        self._signal = 0
        self._before: list[tuple[signal.Signals, Callable[[int, FrameType | None], Any] | int | None]] = []

    def __enter__(self) -> Self:
        for number in self._SIGNALS:
            # Who started us with it ignored (nohup, a shell's background job) wants it ignored.
            if (before := signal.getsignal(number)) != signal.SIG_IGN:
                self._before.append((number, before))
                signal.signal(number, self._take)
        return self

    @contextlib.contextmanager
    def staying_awake(self) -> Iterator[None]:
        """Ignore ^Z and what a terminal does to background programs that write to it, within the block.

        A snap that stands still would have its targets stand still.
        """
        before = [(number, signal.signal(number, signal.SIG_IGN)) for number in self._STOPS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in self._before:
            signal.signal(number, before)
        if isinstance(error, Cancelled) and self._signal:
            raise Interrupted(self._signal) from error

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._signal:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._signal = number
        self.cancel.cancel()
