"""Looking at something again and again, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_SHARE: Final = 4
"""A look may take a quarter of the time at most: listing 5,000 processes takes 0.5 s, and the screen
shares the interpreter with us."""


class Poller(Generic[T]):
    """Calls `look` every `interval` seconds, or less often if that takes long, and `deliver` with its result.

    Both are called in the thread; so is `failed`, with what `look` raised. The thread does not keep the
    program from ending.
    """

    def __init__(
        self,
        look: Callable[[], T],
        deliver: Callable[[T], object],
        failed: Callable[[Exception], object],
        *,
        interval: float,
    ) -> None:
        self._look, self._deliver, self._failed, self._interval = look, deliver, failed, interval
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        """Begin, with a look at once."""
        self._thread.start()

    def poke(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """Deliver nothing more. Does not wait."""
        self._ended = True
        self._wake.set()

    def _run(self) -> None:
        while not self._ended:
            began = time.monotonic()
            try:
                found = self._look()
            except Exception as error:  # noqa: BLE001 - whoever shows the result shows this too
                if not self._ended:
                    self._failed(error)
            else:
                if not self._ended:
                    self._deliver(found)
            took = time.monotonic() - began
            self._wake.wait(max(self._interval, took * _SHARE))
            self._wake.clear()
