"""The texts in a saved process's memory, like strings(1), as they are found."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import Cancelled, SnapError
from snaptui.engine.inspect.patterns import literal_pattern, text_pattern
from snaptui.engine.inspect.search import Hit, search
from snaptui.engine.inspect.space import Space, read_available, read_before
from snaptui.engine.inspect.textruns import Encoding
from snaptui.engine.progress import CancelToken

LIMIT: Final = 20_000
"""Texts that are kept at a time: more than anyone reads; a filter finds those that are not among them."""
_SHOWN: Final = 256
"""Characters of a text that are kept."""
_CHARACTERS: Final[dict[Encoding, bytes]] = {
    "utf-8": rb"(?:[\t\x20-\x7e]|[\xc3-\xf4][\x80-\xbf]{1,3})",
    "utf-16": rb"(?:[\t\x20-\x7e]\0)",
}
_CODECS: Final[dict[Encoding, str]] = {"utf-8": "utf-8", "utf-16": "utf-16-le"}
_TOGETHER: Final = 16 << 10
"""Bytes of which the texts are read at once: where they are many, reading each takes most of the time."""
_WINDOW: Final = 1024
"""Bytes around a word in which the text that it is in begins and ends."""


@dataclass(frozen=True, slots=True)
class FoundText:
    """A text at an address, of `size` bytes; `text` is the beginning of a long one."""

    address: int
    size: int
    text: str

    @property
    def is_whole(self) -> bool:
        """Whether `text` is sure to be all of it."""
        return self.size <= _SHOWN


class TextScan:
    """Collects texts. `run` is for a thread of its own; what is public may be looked at from another."""

    def __init__(
        self,
        space: Space,
        *,
        minimum: int = 6,
        encoding: Encoding = "utf-8",
        word: str = "",
        cancel: CancelToken | None = None,
    ) -> None:
        """With `word`, only the texts that contain it, of any length."""
        self._space, self._minimum, self._encoding, self._word = space, minimum, encoding, word
        self._cancel = cancel or CancelToken()
        self._ended = threading.Event()
        self._end = 0  # of the last text with the word
        self.found: list[FoundText] = []
        self.done = 0
        self.total = 0
        self.missing = 0
        """Bytes that should be in the snapshot and are not."""
        self.error = ""

    def run(self) -> None:
        """Collect, until the end, `cancel`, or `LIMIT` texts."""
        try:
            for found in itertools.chain.from_iterable(self.batches()):
                self.found.append(found)
                if len(self.found) >= LIMIT:
                    self.error = "and there are more"
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

    def batches(self) -> Iterator[list[FoundText]]:
        """The texts by address, as they are found, without a limit. Raises Cancelled, and SnapError."""
        for hits in self._hits():
            yield list(self._texts(self._around_words(hits) if self._word else hits))

    def _hits(self) -> Iterator[tuple[Hit, ...]]:
        pattern = (
            literal_pattern(self._word.encode(_CODECS[self._encoding], "surrogateescape"))
            if self._word
            else text_pattern(self._minimum, self._encoding)
        )
        for batch in search(self._space, pattern, cancel=self._cancel):
            self.done, self.total, self.missing = batch.done, batch.total, batch.missing
            yield batch.hits

    def _around_words(self, words: Iterable[Hit]) -> Iterator[Hit]:
        """The texts that words are in, each once."""
        for text in map(self._around, words):
            if text.address >= self._end:
                self._end = text.address + text.size
                yield text

    def _around(self, hit: Hit) -> Hit:
        """The text that a word is in."""
        before = read_before(self._space, hit.address, _WINDOW)
        after = read_available(self._space, hit.address, hit.size + _WINDOW)
        data, at = before + after, len(before)
        for match in re.finditer(_CHARACTERS[self._encoding] + b"+", data):
            if match.start() <= at < match.end():
                return Hit(hit.address - at + match.start(), match.end() - match.start())
        return hit

    def _texts(self, hits: Iterable[Hit]) -> Iterator[FoundText]:
        begin, content = 0, b""
        for hit in hits:
            size = min(hit.size, 2 * _SHOWN)
            if not begin <= hit.address <= begin + len(content) - size:
                begin = hit.address
                content = read_available(self._space, begin, max(size, _TOGETHER))
            at = hit.address - begin
            text = _decoded(content[at : at + size], self._encoding)
            yield FoundText(hit.address, hit.size, text[:_SHOWN])


def read_text(space: Space, address: int, size: int, encoding: Encoding) -> str:
    """The text in `size` bytes; what is none of that encoding is U+FFFD."""
    return _decoded(read_available(space, address, size), encoding)


def _decoded(content: bytes, encoding: Encoding) -> str:
    return content.decode(_CODECS[encoding], "replace")
