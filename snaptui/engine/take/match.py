"""Which processes a user means by what they type: plain words, or a regular expression as `/page|gs/`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import ArgumentError
from snaptui.engine.take.processes import LiveProcess
from snaptui.engine.take.watch import place_of

_FIELDS: Final = ("state", "user", "pid", "ppid", "wait")


@dataclass(frozen=True, slots=True)
class Match:
    """A filter.

    A regular expression is looked for in a process's name, as `psu --match` does. Words must all be
    found, in any case, in its name, command line, pid, user or wait; `state:D`, `user:bob`,
    `wait:futex`, `pid:12` and `ppid:1` ask for one field.
    """

    words: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything matches."""
        return not self.words and self.pattern is None

    def accepts(self, process: LiveProcess) -> bool:
        """Whether the process is meant."""
        if self.pattern is not None:
            return self.pattern.search(process.name) is not None
        if not self.words:
            return True
        fields = (process.name, " ".join(process.cmdline), str(process.pid), process.user, place_of(process))
        text = "\0".join(fields).lower()
        return all(_has_word(process, text, word) for word in self.words)


def parse_match(text: str) -> Match:
    """What was typed: `/re/`, or after the key / only `re/`, or `a|b`; else words.

    Raises ArgumentError for a regular expression that is none (yet).
    """
    inner = text.strip()
    is_pattern = inner.startswith("/") or inner.endswith("/") or "|" in inner
    if not is_pattern:
        return Match(words=tuple(inner.lower().split()))
    inner = inner.removeprefix("/").removesuffix("/")
    if not inner:
        return Match()
    try:
        return Match(pattern=re.compile(inner))
    except re.error as error:
        raise ArgumentError(f"no regular expression: {error}") from error


def _has_word(process: LiveProcess, text: str, word: str) -> bool:
    field, colon, value = word.partition(":")
    if not colon or field not in _FIELDS or not value:
        return word in text
    match field:
        case "state":
            return process.state.lower() in value
        case "user":
            return process.user.lower() == value
        case "wait":
            return value in f"{process.syscall} {process.wchan}".lower()
        case "pid":
            return str(process.pid) == value
        case _:
            return str(process.ppid) == value
