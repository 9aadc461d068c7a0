"""Where one has been, as in a browser: jumps go on the trail, back and forward walk it."""

from __future__ import annotations

from typing import Final

_KEPT: Final = 256


class Trail:
    """Addresses that jumps left; steps by line or page are no jumps."""

    def __init__(self) -> None:
        self._before: list[int] = []
        self._after: list[int] = []

    def jump(self, left: int) -> None:
        """A jump away from an address; what was forward is forgotten."""
        if not self._before or self._before[-1] != left:
            self._before = [*self._before[1 - _KEPT :], left]
        self._after.clear()

    def back(self, here: int) -> int | None:
        """Where to go back to; None at the start."""
        if not self._before:
            return None
        self._after.append(here)
        return self._before.pop()

    def forward(self, here: int) -> int | None:
        """Where `back` came from; None if it was not."""
        if not self._after:
            return None
        self._before.append(here)
        return self._after.pop()

    @property
    def has_forward(self) -> bool:
        return bool(self._after)
