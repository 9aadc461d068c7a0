"""A search as it runs: a thread that finds, and words that say how far it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from textual.message import Message
from textual.widget import Widget

from snaptui.engine.inspect.finder import Finder
from snaptui.engine.inspect.search import Hit

_POLL: Final = 0.1
"""Seconds between two looks at the search: ten times a second, whatever it finds."""


class Searching(Widget):
    """Runs one search at a time, and says what came of it. Draws nothing."""

    DEFAULT_CSS = """
    Searching { display: none; }
    """

    @dataclass
    class Found(Message):
        """The hit that was waited for."""

        hit: Hit

    @dataclass
    class Missed(Message):
        """It will not come: there is no hit, or the search was stopped, or failed."""

        reason: str

    @dataclass
    class Changed(Message):
        """There is more to say: progress, hits, the end."""

    def __init__(self) -> None:
        super().__init__()
        self._finder: Finder | None = None
        self._ending: Finder | None = None
        self._wanted: int | None = None
        self._forward = True
        self._said: tuple[object, ...] = ()

    def on_mount(self) -> None:
        """Look at the search ten times a second."""
        self.set_interval(_POLL, self._poll)

    def on_unmount(self) -> None:
        """Nobody waits for it any more."""
        self.stop()

    @property
    def finder(self) -> Finder | None:
        """The last search, and what it has found so far."""
        return self._finder

    @property
    def is_running(self) -> bool:
        """Whether a search has not ended yet."""
        return self._finder is not None and not self._finder.is_finished

    def start(self, finder: Finder, here: int) -> None:
        """Run a search, and go to its first hit after `here`. The one before is stopped."""
        self.forget()
        self._finder = finder
        self._wanted, self._forward = here, True
        self.run_worker(finder.run, thread=True, exit_on_error=False, group="find")
        self._poll()

    def step(self, here: int, *, forward: bool) -> None:
        """Go to the next hit after an address, or before it; to wait for it if it may still be found."""
        self._wanted, self._forward = here, forward
        self._poll()

    def stop(self) -> bool:
        """Ask the search to stop; false if none runs that was not asked. What it has found stays."""
        return self._finder is not None and self._finder.cancel()

    def forget(self) -> bool:
        """Stop, and have found nothing; false if nothing was found."""
        self.stop()
        last = self._finder
        self._ending, self._finder, self._wanted = last or self._ending, None, None
        return last is not None and last.count > 0

    async def ended(self) -> None:
        """Stop, and wait until nothing is read any more."""
        self.stop()
        for finder in (self._finder, self._ending):
            if finder is not None:
                # Not by the worker: to Textual a cancelled thread has ended, though it still runs.
                await asyncio.to_thread(finder.wait)

    def _poll(self) -> None:
        finder = self._finder
        if finder is None:
            return
        said = (finder.count, finder.done, finder.is_finished)
        if said != self._said:
            self._said = said
            self.post_message(self.Changed())
        if self._wanted is None:
            return
        hit = finder.after(self._wanted) if self._forward else finder.before(self._wanted)
        if hit is not None:
            self._wanted = None
            self.post_message(self.Found(hit))
        elif finder.is_finished:
            self._wanted = None
            self.post_message(self.Missed(finder.error or "it is nowhere in this memory"))

    def words(self, here: int) -> str:
        """How far it is, and which of the hits is at the address `here`."""
        finder = self._finder
        if finder is None:
            return ""
        count = f"{finder.count:,} hit{'' if finder.count == 1 else 's'}"
        if not finder.is_finished:
            share = 100 * finder.done // finder.total if finder.total else 0
            return f"finding {share}%: {count} (esc stops)"
        index = finder.index_of(here)
        on_hit = index < finder.count and finder.hit(index).address == here
        text = f"hit {index + 1:,} of {finder.count:,}" if on_hit else count
        return f"{text}, {finder.error}" if finder.error else text
