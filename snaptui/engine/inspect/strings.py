"""The texts in a saved process's memory, like strings(1), as they are found."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from snaptui.engine.errors import Cancelled, SnapError
from snaptui.engine.inspect.patterns import REGEX_REACH, Pattern, literal_pattern
from snaptui.engine.inspect.search import Hit, search
from snaptui.engine.inspect.space import Space, read_available
from snaptui.engine.progress import CancelToken

Encoding = Literal["utf-8", "utf-16"]

LIMIT: Final = 20_000
"""Texts that are kept at a time: more than anyone reads; a filter finds those that are not among them."""
_SHOWN: Final = 256
"""Characters of a text that are kept."""
_CHARACTERS: Final[dict[Encoding, bytes]] = {
    # Measured: 22 MB/s; ASCII alone 57 MB/s.
    "utf-8": rb"(?:[\t\x20-\x7e]|[\xc3-\xf4][\x80-\xbf]{1,3})",
    "utf-16": rb"(?:[\t\x20-\x7e]\0)",
}
_WINDOW: Final = 1024
"""Bytes around a word in which the text that it is in begins and ends."""


@dataclass(frozen=True, slots=True)
class FoundText:
    """A text at an address, of `size` bytes; `text` is the beginning of a long one."""

    address: int
    size: int
    text: str


def text_pattern(minimum: int, encoding: Encoding = "utf-8") -> Pattern:
    """Texts of at least `minimum` characters; in UTF-16 those of ASCII alone."""
    return Pattern(b"", re.compile(_CHARACTERS[encoding] + b"{%d,}" % minimum), REGEX_REACH, False)


class TextScan:
    """Collects texts. `run` is for a thread of its own; what is public may be looked at from another."""

    def __init__(
        self, space: Space, *, minimum: int = 6, encoding: Encoding = "utf-8", word: str = ""
    ) -> None:
        """With `word`, only the texts that contain it, of any length."""
        self._space, self._minimum, self._encoding, self._word = space, minimum, encoding, word
        self._cancel = CancelToken()
        self._ended = threading.Event()
        self.found: list[FoundText] = []
        self.done = 0
        self.total = 0
        self.error = ""

    def run(self) -> None:
        """Collect, until the end, `cancel`, or `LIMIT` texts."""
        try:
            for found in self._texts():
                self.found.append(found)
                if len(self.found) >= LIMIT:
                    self.error = f"the first {LIMIT:,}"
                    break
        except Cancelled:
            self.error = "stopped"
        except SnapError as error:
            self.error = str(error)
        finally:
            self._ended.set()

    def cancel(self) -> None:
        """Ask it to stop; what was found stays."""
        self._cancel.cancel()

    def wait(self) -> None:
        """Wait until `run` has ended; nothing is read after that."""
        self._ended.wait()

    @property
    def is_finished(self) -> bool:
        """Whether `run` has ended."""
        return self._ended.is_set()

    def _texts(self) -> Iterator[FoundText]:
        end = 0
        for hit in self._hits():
            if self._word:
                hit = self._around(hit)
            if hit.address >= end:
                end = hit.address + hit.size
                yield self._text(hit)

    def _hits(self) -> Iterator[Hit]:
        codec = "utf-16-le" if self._encoding == "utf-16" else "utf-8"
        pattern = (
            literal_pattern(self._word.encode(codec, "surrogateescape"))
            if self._word
            else text_pattern(self._minimum, self._encoding)
        )
        for batch in search(self._space, pattern, cancel=self._cancel):
            self.done, self.total = batch.done, batch.total
            yield from batch.hits

    def _around(self, hit: Hit) -> Hit:
        """The text that a word is in."""
        start = max(0, hit.address - _WINDOW)
        before = b""
        # What is before may begin with a hole: then less of it is asked for.
        for size in (hit.address - start, hit.address % 4096, 0):
            before = read_available(self._space, hit.address - size, size) if size else b""
            if len(before) == size:
                break
        after = read_available(self._space, hit.address, hit.size + _WINDOW)
        data, at = before + after, len(before)
        for match in re.finditer(_CHARACTERS[self._encoding] + b"+", data):
            if match.start() <= at < match.end():
                return Hit(hit.address - at + match.start(), match.end() - match.start())
        return hit

    def _text(self, hit: Hit) -> FoundText:
        data = read_available(self._space, hit.address, min(hit.size, 2 * _SHOWN))
        text = data.decode("utf-16-le" if self._encoding == "utf-16" else "utf-8", "replace")
        return FoundText(hit.address, hit.size, text[:_SHOWN])
