"""Several snapshots of the same processes, at fixed times: when, and into which files."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snaptui.engine.errors import ArgumentError
from snaptui.engine.progress import CancelToken, Sink, Warned

if TYPE_CHECKING:
    from snaptui.engine.take.followed import Followed

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_LONGEST: Final = 366 * 24 * 3600.0
_DIGITS: Final = 4
"""Of the number in a file's name where nobody said how many there will be: names sort up to 9999."""
_LOOK: Final = 1.0
"""Seconds between two looks whether the processes still run: nobody waits an hour for what has ended."""


def duration(text: str) -> float:
    """Seconds, for argparse: `500ms`, `5s`, `2m`, `1h`."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"not a length of time: {text!r} (500ms, 5s, 2m, 1h)")
    return seconds


def positive(text: str) -> int:
    """A number from 1 on, for argparse."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"not a number from 1 on: {text!r}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Series:
    """What `--every`, `--count` and `-o` ask for; no count: until the processes have ended, or ^C."""

    every: float
    count: int | None
    pattern: str

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Series | None:
        """The series that is asked for, None for one snapshot alone. Raises ArgumentError."""
        if arguments.every is None:
            if arguments.count is None:
                return None
            raise ArgumentError("--count needs --every", help="say how long to wait: --every 5s")
        if arguments.output is None:
            raise ArgumentError(
                "several snapshots cannot all go to standard output", help="name the files: -o page-%n.snap"
            )
        series = cls(arguments.every, arguments.count, arguments.output)
        _names(series.pattern, "1")  # complains, if there is anything to complain about
        if arguments.count != 1 and _names(series.pattern, "1") == _names(series.pattern, "2"):
            raise ArgumentError(
                "each snapshot would replace the one before",
                help="put %n where the number goes: -o page-%n.snap",
            )
        return series

    def file(self, number: int) -> str:
        """The name of that snapshot's file: its number has as many digits as the last one's."""
        digits = len(str(self.count)) if self.count is not None else _DIGITS
        return _names(self.pattern, f"{number:0{digits}}")

    def numbers(self, followed: Followed, sink: Sink, cancel: CancelToken) -> Iterator[int]:
        """Each snapshot's number, when it is due; ends when there are enough, or nobody is left.

        The times are those of the first one plus multiples of `every`: what a snapshot takes does not
        move the next. What is due while another is taken is left out, and that is said. Raises Cancelled.
        """
        began = time.monotonic()
        number, turn = 1, 0
        while followed.pids:
            yield number
            if number == self.count:
                return
            number += 1
            following = math.floor((time.monotonic() - began) / self.every) + 1
            if left_out := following - turn - 1:
                sink(Warned(f"saving took longer than the time between two: {left_out} left out"))
            turn = following
            while followed.look() and (left := began + turn * self.every - time.monotonic()) > 0:
                cancel.wait(min(left, _LOOK))


def _names(pattern: str, number: str) -> str:
    """The pattern with the number for each %n, and % for %%. Raises ArgumentError."""

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in ("n", "%"):
            raise ArgumentError(
                f"{match[0]} in the name of the files means nothing",
                help="%n is the number of the snapshot, %% a percent sign",
            )
        return number if match[1] == "n" else "%"

    return re.sub(r"%(.?)", replaced, pattern, flags=re.DOTALL)
