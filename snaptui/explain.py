"""One function turns an error into words; only the entry points and `--json` show them."""

from __future__ import annotations

import os
import signal
from typing import Final, NamedTuple

from snaptui.engine.errors import ArgumentError, Cancelled, SnapError

EXIT_MISSING: Final = 1
"""Something that was asked for is missing, or the work failed."""
EXIT_USAGE: Final = 2
"""The command line makes no sense."""
_BY_SIGNAL: Final = 128
"""A shell reports 128 + its number for a program that a signal ended."""


class Interrupted(Cancelled):
    """A signal ended the work; nothing was left behind."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.status = _BY_SIGNAL + number


class Explanation(NamedTuple):
    """An error in words: one line (empty: say nothing), what to do about it, the exit status."""

    message: str
    help: str
    status: int


def visible(text: str) -> str:
    """`text` with everything that a terminal could obey, or hide, written as an escape.

    Names, paths and messages come from other processes and from files of others: an ESC in them
    must not reach the terminal, nor must a character that turns the direction of writing.
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    match ord(char):
        case code if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (PEP 383): \xff
            return f"\\x{code - 0xDC00:02x}"
        case code if 0x80 <= code <= 0xFF:  # and so that this is not taken for one: \u009b
            return f"\\u{code:04x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def explain(error: BaseException) -> Explanation:
    """What went wrong, what to do about it, and the exit status."""
    match error:
        case ArgumentError():
            return Explanation(visible(str(error)), visible(error.help), EXIT_USAGE)
        case Interrupted():
            return Explanation(str(error), "", error.status)
        case SnapError():
            return Explanation(visible(str(error)), visible(error.help), EXIT_MISSING)
        case KeyboardInterrupt():
            return Explanation("interrupted", "", _BY_SIGNAL + signal.SIGINT)
        case BrokenPipeError():
            # The reader of our output, a pager or head(1), has seen enough.
            return Explanation("", "", _BY_SIGNAL + signal.SIGPIPE)
        case OSError(errno=int(number)):
            name = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
            return Explanation(visible(f"{name}{os.strerror(number)}"), "", EXIT_MISSING)
        case MemoryError():
            return Explanation("out of memory", "", EXIT_MISSING)
        case _:
            what = visible(f"{type(error).__name__}: {error}".rstrip(": "))
            return Explanation(
                f"internal error: {what}",
                "this is a bug in snaptui; SNAPTUI_DEBUG=1 shows where it happened",
                EXIT_MISSING,
            )
