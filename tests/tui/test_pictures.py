"""Each screen on made-up data and with a fixed clock, as a picture: what is drawn changes only on purpose.

SNAPTUI_PICTURES=new makes the pictures anew; look at them before they are committed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from snaptui.children.answers import Answers
from snaptui.engine.inspect.stacks.model import Frame, Local, ThreadStack
from snaptui.engine.inspect.waits.model import Edge, Report, Wait
from snaptui.engine.serve.registry import Entry
from snaptui.engine.snapfile import open_snapshot
from snaptui.engine.snapfile.library import Item
from snaptui.preferences import PreferencesFile
from snaptui.screens.snapshot import SnapshotScreen
from tests.helpers.desk import NOW, Machine, until, until_shown
from tests.helpers.inside import PLAN9

PICTURES = Path(__file__).parent / "pictures"
FOLDER = Path("/home/glenda/snapshots")
ITEMS = [
    Item(
        f"{FOLDER}/page+gs.snap",
        14 << 20,
        NOW,
        int(NOW) - 600,
        "glenda",
        "far",
        "Linux",
        False,
        ((1, "page"), (2, "gs")),
    ),
    Item(
        f"{FOLDER}/old.snap.zst",
        900 << 20,
        NOW - 86_400,
        int(NOW) - 86_400,
        "glenda",
        "far",
        "Linux",
        True,
        None,
    ),
    Item(
        f"{FOLDER}/broken.snap",
        77,
        NOW - 90_000,
        problem="is no snapshot: it does not begin with 'process snapshot'",
    ),
]
ENTRY = Entry(77, 5, (f"{FOLDER}/page+gs.snap",), "/mnt/page", "0:50", ("unix!/tmp/ns/page",), int(NOW))
SIZES = ((80, 24), (120, 40))
STEPS = {
    "processes": ((), ("pages-server", "5 of 7")),
    "marked": (("h", "space", "space"), ("● 2 marked", "hung first")),
    "tree": (("t", "a"), ("└ page", "all users")),
    "details": (("down", "enter"), ("Threads (2)", "render")),
    "capture": (("down", "s"), ("Snapshot of 1 process", "page-471-")),
    "help": (("question_mark",), ("Help: Processes",)),
    "snapshots": (("2",), ("page+gs.snap", "3 snapshots")),
    "mounts": (("3",), ("/mnt/page", "1 server running")),
    "mount": (("2", "m"), ("Mount a snapshot", "page+gs.snap")),
    "quit": (("2", "d"), ("There is no way back", "Keep it")),
}
"""A picture's name, the keys that lead there, and what is then on the screen."""


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def drawn(app: App[Any]) -> str:
    """The screen as SVG, without the id that the whole text of it has."""
    return re.sub(r"terminal-\d+", "terminal", app.export_screenshot(title="snaptui", simplify=True))


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", STEPS)
async def test_a_screen_looks_as_it_did(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    keys, words = STEPS[name]
    app = Machine(entries=[ENTRY]).app(
        FOLDER, library=lambda *_: ITEMS, interval=0.0, preferences=PreferencesFile(None)
    )
    async with app.run_test(size=size) as pilot:
        app.theme = "snaptui-dark"
        await until_shown(pilot, "pages-server")
        for key in keys:
            await pilot.press(key)
            if key in "23":
                await until_shown(pilot, "/mnt/page" if key == "3" else "3 snapshots")
        await until_shown(pilot, *words)
        for widget in app.screen.query("Input"):
            widget.cursor_blink = False  # type: ignore[attr-defined]
        await compare(pilot, f"{name}-{size[0]}x{size[1]}.svg")


FUTEX = Frame(0x200010, "__lll_lock_wait", module="/usr/lib/libc.so.6", offset=0x87DF0)
MAIN = Frame(0x2000C0, "main", source="/src/page.c", line=60, locals=(Local("argc", "1"), Local("n", "0")))
LAYOUT = Frame(
    0x200040, "layout", source="/src/page.c", line=26, locals=(Local("unused", "0x0"), Local("page", "3"))
)
PYTHON = Frame(0, "render_page", "python", "/src/render.py", 12, locals=(Local("page", "<Page 3>"),))
STACKS = [
    ThreadStack(1201, "page", (Frame(0x200020, "pthread_join", module="/usr/lib/libc.so.6"), MAIN)),
    *(ThreadStack(tid, "layout", (FUTEX, LAYOUT)) for tid in (1203, 1204)),
    ThreadStack(1205, "render", (FUTEX, PYTHON)),
    ThreadStack(1206, "reader", (), "its registers were not saved: it was in an uninterruptible sleep"),
]
REPORT = Report(
    "deadlock: thread 1203 (layout) and thread 1205 (render) wait for each other",
    "deadlock",
    (
        Wait(1201, 1201, "page", "thread", "waits for the end of thread 1203", "the address of its futex"),
        Wait(1201, 1203, "layout", "mutex", "waits for the mutex pages, held by thread 1205", "the futex"),
        Wait(1201, 1205, "render", "mutex", "waits for the mutex fonts, held by thread 1203", "the futex"),
        Wait(1202, 1202, "gs", "read", "reads from the terminal /dev/pts/3", "the system call", outside=True),
    ),
    (
        Edge(1201, 1201, 1201, 1203, "the end of it"),
        Edge(1201, 1203, 1201, 1205, "mutex pages"),
        Edge(1201, 1205, 1201, 1203, "mutex fonts", certain=False),
    ),
)


class Known(Answers):
    """What is said of the stacks and waits, whatever the snapshot."""

    async def stacks(self, path: str, pid: int) -> list[ThreadStack]:  # noqa: ARG002
        return STACKS

    async def why(self, path: str) -> Report:  # noqa: ARG002
        return REPORT


INSIDE = {
    "memory": (("down", "200010  Text+0x10"), ("right", "200011  Text+0x11")),
    "segments": (("2", "same as text"),),
    "strings": (("5", "143 texts"),),
    "stacks": (("6", "render_page"), ("enter", "libc.so.6+0x87df0"), ("down", "page = 3")),
    "why": (("7", "known from: the address"),),
    "graph": (("7", "known from: the address"), ("v", "1 thread more")),
}
"""A picture's name, and for a tab of an opened snapshot the keys, each with what is then on the screen."""


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", INSIDE)
async def test_the_inside_of_a_snapshot_looks_as_it_did(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    app = Machine().app(FOLDER, interval=0.0, preferences=PreferencesFile(None))
    with open_snapshot(str(PLAN9 / "two-procs.snap")) as plan9:
        async with app.run_test(size=size) as pilot:
            app.theme = "snaptui-dark"
            await app.push_screen(SnapshotScreen(plan9, 1201, Known()))
            await until_shown(pilot, "000000200000")
            for key, words in INSIDE[name]:
                await pilot.press(key)
                await until_shown(pilot, words)
            await compare(pilot, f"inside-{name}-{size[0]}x{size[1]}.svg")


async def compare(pilot: Pilot[None], name: str) -> None:
    """Fail if the screen does not come to look as in the picture that is kept."""
    app, expected = pilot.app, PICTURES / name
    await pilot.pause()
    if os.environ.get("SNAPTUI_PICTURES") == "new":
        PICTURES.mkdir(exist_ok=True)
        expected.write_text(drawn(app))
    kept = expected.read_text()
    try:
        await until(pilot, lambda: drawn(app) == kept, f"the picture {name}")
    except AssertionError:
        seen = Path(os.environ.get("TMPDIR", "/tmp")) / f"snaptui-{name}"
        seen.write_text(drawn(app))
        pytest.fail(f"{name} looks different: compare it with {seen}")
