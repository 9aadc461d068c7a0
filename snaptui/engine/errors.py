"""What can go wrong, in words that a user can act on.

Every error that leaves the engine is a `SnapError`: one line that says what happened, and
where there is a remedy, a `help` line that says what to do. Only the command line and the app show them.
"""

from __future__ import annotations


class SnapError(Exception):
    """The base of all errors of the engine.

    `str(error)` is one line fit for a user; `help`, when not empty, says what to do about it.
    """

    def __init__(self, message: str, *, help: str = "") -> None:
        super().__init__(message)
        self.help = help


class ArgumentError(SnapError):
    """What was asked for makes no sense (a bad address, a bad option value)."""


class FormatError(SnapError):
    """A snapshot is truncated or garbled, or is no snapshot at all."""


class NotCaptured(SnapError):
    """An address, register or file is not in the snapshot."""


class NoSuchProcess(SnapError):
    """A process does not exist (any more), or a snapshot does not hold it."""


class AccessDenied(SnapError):
    """The kernel refuses; `help` names what would be needed."""


class TargetError(SnapError):
    """A process that exists cannot be saved: a zombie, a kernel thread, snap itself."""


class NothingSaved(TargetError):
    """None of the processes can be saved; warnings have said why for each."""


class OutputError(SnapError):
    """The snapshot cannot be written: no space, no permission, a closed pipe."""


class Cancelled(SnapError):
    """The work was stopped on request; nothing was left behind."""

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)
