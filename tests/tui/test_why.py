"""The tabs Stacks and Why on the snapshot of a real deadlock: verdict, graph, and the way to the memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import ContentSwitcher

from snaptui.children.answers import Answers
from snaptui.engine.errors import SnapError
from snaptui.engine.snapfile import Snapshot, open_snapshot
from tests.helpers.commands import snap
from tests.helpers.desk import screen_text, until, until_shown
from tests.helpers.inside import PLAN9, InsideApp, opened
from tests.helpers.victims import program, running

pytest.importorskip("drgn")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    """Two threads that wait for each other, and a main thread that waits for one of them."""
    path = tmp_path_factory.mktemp("why") / "hung.snap"
    with running([program("hangs.c"), "abba"]) as victim:
        victim.wait_asleep()
        snap("-o", path, victim.pid).expect(0)
    with open_snapshot(str(path)) as found:
        yield found


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_the_verdict_the_graph_and_the_stack_of_a_thread(
    snapshot: Snapshot, size: tuple[int, int]
) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("7")
        await until_shown(pilot, "deadlock: thread", "waits for mutex")
        main, first, second = snapshot.process(next(iter(snapshot.processes))).linux.threads()  # type: ignore[union-attr]
        await pilot.press("v")
        await until_shown(pilot, f"● {main} ", f"─▶ {first} ", f"─▶ {second} ", "↺ a ring")
        await pilot.press("v")
        await until_shown(pilot, "WAITS FOR")
        await pilot.press("down", "enter")
        await until_shown(pilot, "wants_second", "locks_two")
        switcher = app.screen.query_one("#panes", ContentSwitcher)
        assert switcher.current == "stacks-pane"
        await pilot.press("enter")
        await until(pilot, lambda: app.focused is not None and app.focused.id == "stack-frames")
        while "hangs" not in screen_text(app).splitlines()[-3] and "mutex = " not in screen_text(app):
            await pilot.press("down")
            await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: switcher.current == "memory-pane")
        await pilot.press("6", "t")
        await until(pilot, lambda: switcher.current == "threads-pane")
        assert str(first) in screen_text(app)


async def test_what_a_snapshot_from_plan9_cannot_tell_is_said() -> None:
    with open_snapshot(str(PLAN9 / "two-procs.snap")) as plan9:
        app = InsideApp(plan9)
        async with app.run_test(size=(80, 24)) as pilot:
            await opened(pilot)
            await pilot.press("6")
            await until_shown(pilot, "cannot be unwound")
            await pilot.press("7")
            await until_shown(pilot, "nothing is known")


def test_an_answer_that_fails_says_why_and_a_child_that_is_not_wanted_any_more_ends(tmp_path: Path) -> None:
    async def ask() -> None:
        answers = Answers()
        with pytest.raises(SnapError, match=r"(?i)no such file"):
            await answers.why(str(tmp_path / "nothing.snap"))
        asking = asyncio.ensure_future(answers.why(str(PLAN9 / "two-procs.snap")))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(ask())
