"""Signals: those that end the app, and those of the keyboard while another program has the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""To the app itself ^C is a key: SIGINT comes from elsewhere."""

_KEYBOARD: Final = (signal.SIGINT, signal.SIGQUIT)
"""What a terminal sends for ^C and ^\\ to all that runs in its foreground, so to us too."""


class Signals:
    """The signals of an app that runs in an event loop of the main thread."""

    def __init__(self, end: Callable[[signal.Signals], object]) -> None:
        """`end` is called in the loop, with the signal that asks for the end."""
        self._end = end

    def heed(self) -> None:
        """Call `end` from now on; not for what whoever started us wants ignored, as nohup does."""
        for number in _ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._end, number)

    @contextlib.contextmanager
    def leave_keyboard(self) -> Iterator[None]:
        """Another program has the terminal: ^C there is for that alone. What else asks for the end waits."""
        loop = asyncio.get_running_loop()

        def take(number: int, _frame: FrameType | None) -> None:
            if number not in _KEYBOARD:
                loop.call_soon(self._end, signal.Signals(number))

        # The loop stands still meanwhile, and would hear of a ^C when all is over.
        wakeup = signal.set_wakeup_fd(-1)
        # Handlers, not SIG_IGN, which the other program would inherit.
        before = {
            number: signal.signal(number, take)
            for number in {*_KEYBOARD, *_ENDING}
            if signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
