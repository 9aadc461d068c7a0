"""Comparing two snapshots in the app: from the list or from an opened one, to what changed, and back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher

from snaptui.screens.diff import DiffScreen
from snaptui.screens.inside.memory import MemoryPane
from snaptui.screens.snapshot import SnapshotScreen
from tests.helpers.commands import snap
from tests.helpers.desk import notices, real_app, screen_text, until, until_shown
from tests.helpers.victims import program, running


@dataclass(frozen=True)
class Saved:
    """Two snapshots of a program that named what it did in between: words of a line each."""

    folder: Path
    pid: int
    waiting: int
    did: list[list[str]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    folder = tmp_path_factory.mktemp("compared")
    with running([program("changes.c"), "/dev/null"]) as victim:
        victim.wait_asleep()
        waiting = victim.threads()[1]
        snap("-o", folder / "first.snap", victim.pid).expect(0)
        did = [line for word in ("write", "map", "threads") for line in victim.ask(word)]
        victim.wait_asleep()
        snap("-o", folder / "second.snap", victim.pid).expect(0)
    # The list shows the one that was taken last first.
    yield Saved(folder, victim.pid, waiting, did)


@pytest.fixture
def home(tmp_path: Path, saved: Saved) -> Path:
    (tmp_path / "snapshots").mkdir()
    for name in ("first.snap", "second.snap"):
        os.link(saved.folder / name, tmp_path / "snapshots" / name)
    return tmp_path


def shown(app: App[None]) -> str | None:
    """The tab of the snapshot that is looked into."""
    return app.screen.query_one("#panes", ContentSwitcher).current if app.screen.query("#panes") else None


async def move_to(pilot: Pilot[Any], screen: DiffScreen, field: str, value: int) -> None:
    """Move the cursor, a key at a time, to the row whose field is that."""
    await pilot.press("home")
    while getattr(screen._current, field) != value:
        await pilot.press("down")
        await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_from_the_list_to_what_changed_to_the_memory_and_back(
    home: Path, saved: Saved, size: tuple[int, int]
) -> None:
    app = real_app(home)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "first.snap", "second.snap")
        # In the wrong order: the earlier one is compared with the later.
        while "first.snap" not in str(getattr(app.screen.pane._table.current, "path", "")):  # type: ignore[attr-defined]
            await pilot.press("down")
            await pilot.pause()
        await pilot.press("equals_sign")
        await until_shown(pilot, "Compare first.snap with", "second.snap", "Another file...")
        await pilot.press("enter")
        await until_shown(pilot, "first.snap > second.snap", "slow, not hung: thread", "has not moved")
        assert f"{saved.waiting}" in screen_text(app)
        await pilot.press("2")
        await until_shown(pilot, "had the permissions rw-s")
        await pilot.press("3")
        await until_shown(pilot, "/dev/zero", "was /dev/null")
        await pilot.press("enter")
        await until(pilot, lambda: shown(app) == "files-pane", "the files")
        await until_shown(pilot, "linux/fd/3", "/dev/zero")
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, DiffScreen), "back")
        await pilot.press("4")
        start = next(words[1] for words in saved.did if words[0] == "wrote")
        await until_shown(pilot, start)
        screen = app.screen
        assert isinstance(screen, DiffScreen)
        await move_to(pilot, screen, "start", int(start, 16))
        for key, name in (("enter", "second.snap"), ("e", "first.snap")):
            await pilot.press(key)
            await until(pilot, lambda: shown(app) == "memory-pane", "the memory")
            inside = app.screen
            assert isinstance(inside, SnapshotScreen)
            await until(
                pilot, lambda: app.screen.query_one(MemoryPane).view.cursor == int(start, 16), "the address"
            )
            assert inside._snapshot.path.endswith(name)
            await pilot.press("q")
            await until(pilot, lambda: app.screen is screen, "back at the comparison")
            assert getattr(screen._current, "start", 0) == int(start, 16)
        await pilot.press("q")
        await until_shown(pilot, "1 Processes", "first.snap")


async def test_from_an_opened_snapshot_to_a_thread_its_stack_and_its_registers(
    home: Path, saved: Saved
) -> None:
    app = real_app(home, [home / "snapshots" / "second.snap"])
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: shown(app) == "memory-pane", "the snapshot")
        await pilot.press("equals_sign")
        await until_shown(pilot, "Compare second.snap with", "first.snap")
        await pilot.press("enter")
        await until_shown(pilot, "first.snap > second.snap", "has been started")
        screen = app.screen
        assert isinstance(screen, DiffScreen)
        await move_to(pilot, screen, "tid", saved.waiting)
        await pilot.press("r")
        await until(pilot, lambda: shown(app) == "threads-pane", "the registers")
        await until_shown(pilot, "rip")
        tid = app.screen.query_one("#saved-threads").current.tid  # type: ignore[attr-defined]
        assert tid == saved.waiting
        await pilot.press("q")
        await until(pilot, lambda: app.screen is screen, "back")
        await pilot.press("enter")
        await until(pilot, lambda: shown(app) == "stacks-pane", "the stack")
        await until_shown(pilot, "waits")
        await pilot.press("q")
        await until(pilot, lambda: app.screen is screen, "back")
        await move_to(
            pilot, screen, "tid", next(int(words[1]) for words in saved.did if words[0] == "started")
        )
        await pilot.press("e")
        await until(pilot, lambda: bool(notices(app)), "why it cannot be shown")
        assert notices(app)[-1] == "It was not there yet in the earlier snapshot"
        await pilot.press("question_mark")
        await until_shown(pilot, "snaptui diff BEFORE AFTER", "Show it in the earlier snapshot")


async def test_a_file_that_cannot_be_compared_is_said_to_be_none(home: Path, saved: Saved) -> None:
    (home / "snapshots" / "none.snap").write_bytes(b"process snapshot 1999999999 a@b c\n1 text")
    app = real_app(home, [home / "snapshots" / "second.snap"])
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: shown(app) == "memory-pane", "the snapshot")
        await pilot.press("equals_sign")
        await until_shown(pilot, "Another file...", "first.snap")
        assert "none.snap" not in screen_text(app)
        await pilot.press("end", "enter")
        await until_shown(pilot, "Open a snapshot")
        for key in "none.snap":
            await pilot.press("full_stop" if key == "." else key)
        await pilot.press("enter")
        await until(pilot, lambda: bool(notices(app)), "a notice")
        assert "none.snap" in notices(app)[-1]
        assert isinstance(app.screen, SnapshotScreen)
