"""A search that runs in one thread while another looks at what it has found so far."""

from __future__ import annotations

import bisect
import threading
from array import array
from typing import Final

from snaptui.engine.errors import Cancelled, SnapError
from snaptui.engine.inspect.patterns import Pattern
from snaptui.engine.inspect.search import Hit, search
from snaptui.engine.inspect.space import Space
from snaptui.engine.progress import CancelToken

LIMIT: Final = 100_000
"""Hits that are kept: more than anyone looks at, 1.2 MB."""


class Finder:
    """Searches from `origin` on, to the end, and then what is before it.

    `run` is for a thread of its own; all else may be asked meanwhile, from another one.
    """

    def __init__(self, space: Space, pattern: Pattern, origin: int = 0) -> None:
        self._space = space
        self._pattern = pattern
        self._origin = origin
        self._cancel = CancelToken()
        # Before the origin, and from it on: each by address.
        self._addresses = (array("Q"), array("Q"))
        self._sizes = (array("L"), array("L"))
        self.longest = pattern.reach
        self.done = 0
        self.total = 0
        """Bytes; of the part that is being searched."""
        self._ended = threading.Event()
        self.error = ""
        """Why it ended early; empty if it did not."""

    def run(self) -> None:
        """Search, until the end, `cancel`, or `LIMIT` hits."""
        try:
            self._search(1, self._origin, 1 << 64)
            self._search(0, 0, self._origin)
        except Cancelled:
            self.error = "stopped"
        except SnapError as error:
            self.error = str(error)
        finally:
            self._ended.set()

    def _search(self, part: int, start: int, stop: int) -> None:
        if start >= stop or self.error:
            return
        for batch in search(self._space, self._pattern, start, stop, cancel=self._cancel):
            for hit in batch.hits:
                # The size first: who finds the address finds the size too.
                self._sizes[part].append(hit.size)
                self._addresses[part].append(hit.address)
                if self.count >= LIMIT:
                    self.error = f"stopped at {LIMIT:,} hits"
                    return
            self.done, self.total = batch.done, batch.total

    def cancel(self) -> bool:
        """Ask it to stop; what was found stays. False if that was asked before, or it has ended."""
        if self.is_finished or self._cancel.cancelled:
            return False
        self._cancel.cancel()
        return True

    def wait(self) -> None:
        """Wait until `run` has ended; nothing is read after that."""
        self._ended.wait()

    @property
    def is_finished(self) -> bool:
        """Whether `run` has ended."""
        return self._ended.is_set()

    @property
    def count(self) -> int:
        """How many were found so far."""
        return len(self._addresses[0]) + len(self._addresses[1])

    def hit(self, index: int) -> Hit:
        """A hit, counted by address, as things stand."""
        before = len(self._addresses[0])
        part, at = (0, index) if index < before else (1, index - before)
        return Hit(self._addresses[part][at], self._sizes[part][at])

    def index_of(self, address: int) -> int:
        """How many hits begin before `address`."""
        return sum(bisect.bisect_left(part, address) for part in self._addresses)

    def after(self, address: int) -> Hit | None:
        """The next hit, or from the last one the first; None if it may still be found, or there is none."""
        index = self.index_of(address + 1)
        if index < self.count:
            return self.hit(index)
        return self.hit(0) if self.count and self.is_finished else None

    def before(self, address: int) -> Hit | None:
        """The hit before, or from the first one the last."""
        index = self.index_of(address) - 1
        if index >= 0:
            return self.hit(index)
        return self.hit(self.count - 1) if self.count and self.is_finished else None

    def ranges(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """The hits that have a byte in a range: start and end of each."""
        found = []
        for index in range(self.index_of(max(0, start - self.longest + 1)), self.index_of(end)):
            hit = self.hit(index)
            if hit.address + hit.size > start:
                found.append((hit.address, hit.address + hit.size))
        return tuple(found)
