"""The app on made-up processes and a fixed clock, or on real ones in a directory of the test's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static

from snaptui.app import SnaptuiApp
from snaptui.engine.serve.registry import Entry
from snaptui.engine.take.details import Details, OpenFile
from snaptui.engine.take.hung import Wait
from snaptui.engine.take.processes import LiveProcess
from snaptui.engine.take.watch import Watched
from snaptui.preferences import PreferencesFile
from snaptui.sources import Sources, real_sources

NOW = 1_770_000_000.0
ME, OTHER = 1000, 0
PATIENCE = 20.0
"""Seconds to wait for something on the screen."""


def process(pid: int, name: str, **changed: Any) -> LiveProcess:
    """A running process of mine that sleeps."""
    values: dict[str, Any] = {
        "pid": pid, "ppid": 1, "uid": ME, "user": "glenda", "name": name, "comm": name[:15], "state": "S",
        "utime_ms": 1200, "stime_ms": 300, "rss": 12 << 20, "vsize": 100 << 20, "threads": 1,
        "start_ticks": pid * 10, "wchan": "do_poll", "syscall": "poll", "cmdline": (f"/usr/bin/{name}", "-x"),
        "exe": f"/usr/bin/{name}", "kernel_thread": False,
    }  # fmt: skip
    return LiveProcess(**{**values, **changed})


def watched(one: LiveProcess, *, cpu: float = 0.0, age: float = 4000.0, still: float = 0.0) -> Watched:
    return Watched(one, cpu, age, still)


SOME = (
    watched(process(1, "init", uid=OTHER, user="root", ppid=0)),
    watched(process(2, "kthreadd", uid=OTHER, user="root", ppid=0, kernel_thread=True, cmdline=())),
    watched(process(100, "shell", syscall="wait4")),
    watched(process(471, "page", ppid=100, syscall="futex", wchan="futex_wait_queue"), still=300.0),
    watched(process(472, "gs", ppid=471, state="D", wchan="nfs_wait"), still=250.0),
    watched(process(480, "busy", ppid=100, state="R", syscall="", wchan=""), cpu=99.0),
    watched(process(4711, "pages-server", rss=3 << 30, threads=12), still=20.0),
)
"""Some processes, kernel's and others' among them; `page` hangs, and `gs` in an uninterruptible sleep."""


@dataclass
class Machine:
    """What the app sees of the world; a test may change it while the app runs."""

    found: Sequence[Watched] = SOME
    entries: Sequence[Entry] = ()
    refused: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    details: Details = field(
        default_factory=lambda: Details(
            (
                Wait(471, "page", "S", "futex", "futex_wait_queue"),
                Wait(473, "render", "D", "read", "nfs_wait"),
            ),
            (OpenFile(0, "/dev/null"), OpenFile(3, "socket:[4242]")),
            (),
            "",
        )
    )

    def sources(self, folder: Path, **changed: Any) -> Sources:
        """This world as the app's sources; preferences are kept in `folder`."""
        values: dict[str, Any] = {
            "processes": lambda: self.found,
            "details": lambda _: self.details,
            "library": lambda *_: [],
            "servers": lambda: self.entries,
            "folder": folder,
            "preferences": PreferencesFile(folder / "settings.json"),
            "uid": ME,
            "now": lambda: NOW,
            "may_read": lambda pid: pid not in self.refused,
            "still_runs": lambda one: one.pid not in self.ended,
            "interval": 0.05,
        }
        return Sources(**{**values, **changed})

    def app(self, folder: Path, **changed: Any) -> SnaptuiApp:
        """The app in this world."""
        return SnaptuiApp(self.sources(folder, **changed))


def real_app(folder: Path, files: Sequence[Path] = ()) -> SnaptuiApp:
    """The app on this machine, with its files in `folder`."""
    import dataclasses

    sources = dataclasses.replace(
        real_sources(),
        folder=folder / "snapshots",
        preferences=PreferencesFile(folder / "settings.json"),
        interval=0.2,
    )
    return SnaptuiApp(sources, [str(file) for file in files])


def screen_text(app: SnaptuiApp) -> str:
    """What is on the screen, line by line."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).ljust(width) for strip in lines[:height])


async def until(pilot: Pilot[Any], condition: Callable[[], object], what: str = "") -> None:
    """Let the app run until the condition holds."""
    import asyncio
    import time

    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, (
            f"waited {PATIENCE} s in vain for {what}:\n{screen_text(pilot.app)}"
        )
        await pilot.pause()
        await asyncio.sleep(0.01)


async def until_shown(pilot: Pilot[Any], *words: str) -> None:
    """Let the app run until all the words are on the screen."""
    await until(pilot, lambda: all(word in screen_text(pilot.app) for word in words), repr(words))


async def until_gone(pilot: Pilot[Any], word: str) -> None:
    await until(pilot, lambda: word not in screen_text(pilot.app), f"{word!r} to vanish")


async def type_text(pilot: Pilot[Any], text: str) -> None:
    """Type, a key after the other."""
    from textual.keys import _character_to_key

    await pilot.press(*(_character_to_key(char) for char in text))


def notices(app: SnaptuiApp) -> list[str]:
    """What the app has told in notices."""
    return [notification.message for notification in app._notifications]


def texts(app: SnaptuiApp, selector: str) -> Iterable[str]:
    return [str(static.render()) for static in app.screen.query(selector).results(Static)]


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
