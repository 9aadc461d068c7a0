"""Each screen on made-up data and with a fixed clock, as a picture: what is drawn changes only on purpose.

SNAPTUI_PICTURES=new makes the pictures anew; look at them before they are committed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.app import SnaptuiApp
from snaptui.engine.serve.registry import Entry
from snaptui.engine.snapfile.library import Item
from snaptui.preferences import PreferencesFile
from tests.helpers.desk import NOW, Machine, until_shown

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


def drawn(app: SnaptuiApp) -> str:
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
        await pilot.pause()
        found = drawn(app)
    expected = PICTURES / f"{name}-{size[0]}x{size[1]}.svg"
    if os.environ.get("SNAPTUI_PICTURES") == "new":
        PICTURES.mkdir(exist_ok=True)
        expected.write_text(found)
    seen = Path(os.environ.get("TMPDIR", "/tmp")) / f"snaptui-{expected.name}"
    if found != expected.read_text():
        seen.write_text(found)
        pytest.fail(f"{expected.name} looks different: compare it with {seen}")
