"""What the app gets from outside: the processes, the clock, the places of files. Tests give others."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from snaptui.engine.take.permission import may_read
from snaptui.engine.take.processes import LiveProcess, still_runs
from snaptui.engine.take.watch import Watched, Watcher, seconds_since_boot
from snaptui.preferences import PreferencesFile, default_file, default_folder

if TYPE_CHECKING:
    from snaptui.engine.serve.registry import Entry
    from snaptui.engine.snapfile.library import Item
    from snaptui.engine.take.details import Details


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that depends on the time, the machine or the user."""

    processes: Callable[[], Sequence[Watched]]
    details: Callable[[int], Details]
    library: Callable[[Path, Sequence[str]], list[Item]]
    """The snapshots in a folder, and others by their paths."""
    servers: Callable[[], Sequence[Entry]]
    folder: Path
    """Where snapshots are kept unless the preferences say otherwise."""
    preferences: PreferencesFile
    uid: int
    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    may_read: Callable[[int], bool] = may_read
    still_runs: Callable[[LiveProcess], bool] = still_runs
    interval: float = 1.0
    """Seconds between two looks at the processes; 0: only one look."""
    command: tuple[str, ...] = field(default=(sys.executable, "-m", "snaptui"))
    """The words that run snaptui as a child."""


def real_sources() -> Sources:
    """This machine, this user."""
    return Sources(
        processes=Watcher(clock=seconds_since_boot).look,
        details=_details,
        library=_library,
        servers=_servers,
        folder=default_folder(),
        preferences=default_file(),
        uid=os.getuid(),
    )


# Imported when they are needed: together they take 0.15 s, and the list of processes shall come at once.


def _details(pid: int) -> Details:
    from snaptui.engine.take.details import read_details

    return read_details(pid)


def _library(folder: Path, others: Sequence[str]) -> list[Item]:
    from snaptui.engine.snapfile.library import list_snapshots

    return list_snapshots(folder, others)


def _servers() -> Sequence[Entry]:
    from snaptui.engine.serve.registry import Registry

    registry = Registry()
    with registry.locked():
        registry.clean()
        return registry.entries()
