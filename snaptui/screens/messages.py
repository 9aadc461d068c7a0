"""What the screens ask of the app: each request is a message, and all of them are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from textual.message import Message

from snaptui.engine.serve.registry import Entry
from snaptui.engine.take.processes import LiveProcess


@dataclass
class TakeSnapshot(Message):
    """Save these processes."""

    processes: Sequence[LiveProcess]


@dataclass
class ShowProcess(Message):
    """Show a running process more closely; its age in seconds."""

    process: LiveProcess
    age: float


@dataclass
class OpenSnapshot(Message):
    """Look inside the snapshot at `path`."""

    path: str
    pid: int | None = None


@dataclass
class CompareSnapshot(Message):
    """Compare the snapshot at `path` with another one, which the user chooses."""

    path: str


@dataclass
class OpenOther(Message):
    """Ask for the path of a snapshot, and open it."""


@dataclass
class OpenMount(Message):
    """Serve the snapshot at `path` (empty: ask for it too)."""

    path: str = ""


@dataclass
class EndServer(Message):
    """End a running server."""

    entry: Entry


@dataclass
class RunShell(Message):
    """Suspend the app for a shell where a server has its mount."""

    entry: Entry


@dataclass
class RunDebugger(Message):
    """Suspend the app for gdb on a saved process (0: ask which, if there are several)."""

    path: str
    pid: int = 0


@dataclass
class WorkOnFile(Message):
    """Do something with a snapshot file."""

    path: str
    what: Literal["verify", "compress", "unpack", "rename", "delete"]


@dataclass
class ChooseFolder(Message):
    """Ask where snapshots are kept."""


@dataclass
class Remember(Message):
    """Change some of the preferences."""

    changes: dict[str, Any]
