"""What the tabs of a snapshot ask of their screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual.message import Message


@dataclass
class GoTo(Message):
    """Show this address in the memory."""

    address: int


@dataclass
class ChooseThread(Message):
    """Names of registers mean these now."""

    tid: int
    registers: Mapping[str, int]


@dataclass
class ShowThread(Message):
    """Show this thread in the list of threads."""

    tid: int


@dataclass
class ShowFile(Message):
    """Show this file in the list of files: one of Plan 9's, or `linux/fd/3` and the like."""

    name: str


@dataclass
class ShowStack(Message):
    """Show the stack of a thread, of this process or another one of the snapshot."""

    pid: int
    tid: int
