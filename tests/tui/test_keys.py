"""The line of keys: what is most needed always, the rest where there is room, and nothing that is untrue."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.binding import Binding

from snaptui.app import SnaptuiApp
from snaptui.engine.serve.registry import Entry
from snaptui.widgets.keyline import IF_ROOM, KeyLine, ShownKey, fitting
from snaptui.widgets.process_columns import names_text
from tests.helpers.desk import Machine, notices, process, screen_text, type_text, until, until_shown

KEYS = [
    ShownKey(Binding("a", "a", "Always"), "a"),  # 9 cells
    ShownKey(Binding("m", "m", "More", group=IF_ROOM), "m"),  # 7
    ShownKey(Binding("b", "a", "Again"), "b"),
    ShownKey(Binding("h", "h", "Hidden", show=False), "h"),
    ShownKey(Binding("n", "n", "Next", group=IF_ROOM), "n"),  # 7
    ShownKey(Binding("q", "q", "Quit"), "q"),  # 7
]
ROOMS = [(10, "aq"), (16, "aq"), (22, "aq"), (23, "amq"), (29, "amq"), (30, "amnq"), (200, "amnq")]


@pytest.mark.parametrize(("room", "shown"), ROOMS)
def test_keys_that_matter_less_are_there_when_there_is_room(room: int, shown: str) -> None:
    assert "".join(key.display for key in fitting(KEYS, room)) == shown


def line_of_keys(app: SnaptuiApp) -> str:
    return screen_text(app).splitlines()[-1]


async def test_a_wider_terminal_shows_more_keys_and_a_click_is_the_key(tmp_path: Path) -> None:
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "q Quit")
        assert "Freeze" not in line_of_keys(app)
        await pilot.resize_terminal(160, 40)
        await until_shown(pilot, "z Freeze", "K Kernel", "q Quit")
        line = app.screen.query_one(KeyLine)
        at = (line_of_keys(app).index("z Freeze") + 3, 0)
        await pilot.hover(line, offset=at)
        assert line.tooltip == "Hold the list still, or go on"
        await pilot.click(line, offset=at)
        await until_shown(pilot, "FROZEN")


async def test_while_a_filter_is_typed_the_key_for_help_is_one_that_is_not_typed(tmp_path: Path) -> None:
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "pages-server", "? Help")
        await pilot.press("slash")
        await until_shown(pilot, "⏎ Keep", "f1 Help")
        assert "? Help" not in line_of_keys(app)
        await type_text(pilot, "x?")
        await pilot.press("f1")
        await until_shown(pilot, "Help: Processes", "↓ ⏎  Keep", "f1  Help")


async def test_what_needs_a_server_is_dim_while_there_is_none(tmp_path: Path) -> None:
    entry = Entry(77, 5, ("/tmp/a.snap",), "/mnt/a", "0:50", (), 1_770_000_000)
    machine = Machine(entries=[entry])
    app = machine.app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        line = app.screen.query_one(KeyLine)
        await pilot.press("3")
        await until_shown(pilot, "/mnt/a", "u Unmount")
        assert all(key.enabled for key in line.keys)
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        line = app.screen.query_one(KeyLine)
        await pilot.press("3")
        await until_shown(pilot, "Nothing is served")
        enabled = {key.binding.description: key.enabled for key in line.keys}
        assert enabled["Mount..."]
        assert not enabled["Unmount"]
        assert not enabled["gdb"]
        await pilot.press("question_mark")
        await until_shown(pilot, "Help: Mounts", "Unmount")


async def test_of_a_server_with_several_snapshots_one_is_asked_for(tmp_path: Path) -> None:
    entry = Entry(77, 5, ("/tmp/no/a.snap", "/tmp/no/b.snap"), "/mnt/a", "0:50", (), 1_770_000_000)
    app = Machine(entries=[entry]).app(tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "a.snap, b.snap")
        await pilot.press("enter")
        await until_shown(pilot, "Which snapshot?", "/tmp/no/a.snap", "/tmp/no/b.snap")
        await pilot.press("down", "enter")
        await until(pilot, lambda: notices(app), "the notice that there is no such file")
        assert "/tmp/no/b.snap" in notices(app)[0]


async def test_in_the_colours_of_a_terminal_what_is_chosen_in_a_list_is_underlined(tmp_path: Path) -> None:
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.theme = "ansi-dark"
        await until_shown(pilot, "pages-server")
        await pilot.press("o")
        await until_shown(pilot, "Order by", "R runs, S sleeps")
        await until(pilot, lambda: "pid" in underlined(app), "the first column is underlined")
        assert "user" not in underlined(app)
        await pilot.press("escape", "ctrl+p")
        await until_shown(pilot, "Search for commands", "Take the filter away")
        await until(pilot, lambda: "Clear" in underlined(app), "the first command is underlined")
        assert "Columns" not in underlined(app)


def underlined(app: SnaptuiApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join(
        "".join(one.text for one in strip if one.style is not None and one.style.underline)
        for strip in strips
    )


def test_of_many_processes_some_are_named_and_the_others_counted() -> None:
    many = [process(number, "page") for number in range(1, 3009)]
    assert names_text(many[:2]) == "page (1), page (2)"
    assert names_text(many).endswith("page (5) and 3,003 others")
