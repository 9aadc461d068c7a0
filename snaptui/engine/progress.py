"""How long work reports: plain frozen events to a sink, and a token that stops it.

The engine never prints. Whatever takes long is given a `Sink`, called with one of the events
below from any thread, and a `CancelToken` that it checks at least every 4 MiB.
A sink must return at once: while a target is stopped, a sink that waits prolongs the pause.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import Cancelled

_LOOK: Final = 0.05
"""Seconds between two looks of who waits whether to stop."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Work in progress: `done` of `total` bytes (0: not known yet) in the stage named."""

    stage: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Paused:
    """The targets were stopped (`seconds` 0) or run on again (`seconds`: how long they stood)."""

    pids: tuple[int, ...]
    resumed: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to know that did not stop the work.

    `missing` is true when something that was asked for is not in the snapshot.
    """

    message: str
    pid: int = 0
    help: str = ""
    missing: bool = False


Event = Progress | Paused | Warned
Sink = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A sink for callers that do not care."""


class CancelToken:
    """Asked for by one thread, or a signal's handler, noticed by another.

    There is no lock in it, as an Event has: a handler that interrupts who has the lock waits for it for ever.
    """

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        """Ask the work to stop."""
        self.cancelled = True

    def wait(self, seconds: float) -> None:
        """Wait; soon after someone asks for it raise `Cancelled`."""
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))
            self.check()

    def check(self) -> None:
        """Raise `Cancelled` if someone asked for it."""
        if self.cancelled:
            raise Cancelled()
