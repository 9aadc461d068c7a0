"""How long work reports: plain frozen events to a sink, and a token that stops it.

The engine never prints. Whatever takes long is given a `Sink`, called with one of the events
below from any thread, and a `CancelToken` that it checks at least every 4 MiB.
A sink must return at once: while a target is stopped, a sink that waits prolongs the pause.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from snaptui.engine.errors import Cancelled


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
    """Asked for by one thread, noticed by another."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Wait; as soon as someone asks for it raise `Cancelled`."""
        if self._event.wait(seconds):
            raise Cancelled()

    def check(self) -> None:
        """Raise `Cancelled` if someone asked for it."""
        if self._event.is_set():
            raise Cancelled()
