"""What holds everywhere: help, palette, themes, notices, and the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.binding import Binding

from snaptui.app import SnaptuiApp
from snaptui.engine.errors import SnapError
from snaptui.preferences import Preferences, PreferencesFile
from snaptui.screens.details import DetailsScreen
from snaptui.screens.main import MainScreen
from snaptui.screens.mounts import MountsPane
from snaptui.screens.processes import ProcessesPane
from snaptui.screens.snapshots import SnapshotsPane
from snaptui.widgets.columns import fit
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.themes import default_theme
from snaptui.widgets.units import counted, full_size, pause_text, short_size, short_time
from tests.helpers.desk import (
    Machine,
    notices,
    process,
    screen_text,
    type_text,
    until,
    until_gone,
    until_shown,
    watched,
)

SIZES = ((80, 24), (200, 50))


@pytest.mark.parametrize(
    "place", [SnaptuiApp, MainScreen, ProcessesPane, SnapshotsPane, MountsPane, DetailsScreen, RowTable]
)
def test_every_key_has_an_id_a_name_and_says_what_it_does(place: type) -> None:
    bindings = [binding for binding in vars(place)["BINDINGS"] if isinstance(binding, Binding)]
    assert bindings
    for binding in bindings:
        assert binding.id, binding
        assert binding.description, binding
        assert binding.tooltip, binding
    assert len({binding.id for binding in bindings}) == len(bindings)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("1", ("Help: Processes", "Mark", "snap -o FILE PID...")),
        ("2", ("Help: Snapshots", "Verify", "snaptui verify FILE")),
        ("3", ("Help: Mounts", "Unmount", "snaptui umount MTPT")),
    ],
)
async def test_help_tells_the_keys_of_the_screen_and_its_commands(
    tmp_path: Path, size: tuple[int, int], key: str, words: tuple[str, ...]
) -> None:
    app = Machine().app(tmp_path)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press(key, "question_mark")
        await until_shown(pilot, words[0])
        seen = screen_text(app)
        for _ in range(6):
            await pilot.press("pagedown")
            await pilot.pause()
            seen += screen_text(app)
        assert all(word in seen for word in words)
        await pilot.press("escape")
        await until_gone(pilot, words[0])


async def test_the_palette_offers_what_keys_do_each_once(tmp_path: Path) -> None:
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "pages-server")
        offered = [(command.title, command.help) for command in app.get_system_commands(app.screen)]
        assert len(set(offered)) == len(offered)
        await pilot.press("ctrl+p")
        await type_text(pilot, "mine")
        await until_shown(pilot, "Only your processes")
        await pilot.press("enter")
        await until_shown(pilot, "all users", "init")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"COLORTERM": "truecolor"}, "snaptui-dark"),
        ({"COLORTERM": "24bit"}, "snaptui-dark"),
        ({}, "ansi-dark"),
        ({"TERM": "xterm-256color"}, "ansi-dark"),
    ],
)
def test_the_theme_is_one_that_the_terminal_can_show(environment: dict[str, str], expected: str) -> None:
    assert default_theme(environment) == expected


async def test_a_chosen_theme_is_remembered(tmp_path: Path) -> None:
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press("ctrl+t")
        await type_text(pilot, "snaptui-light")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "snaptui-light", "the theme")
    assert Machine().app(tmp_path).preferences.theme == "snaptui-light"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"order": 7, "servers": "burn", "recent": "x", "unknown": 1}', "\x00"]
)
def test_settings_that_make_no_sense_are_as_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(content)
    assert PreferencesFile(file).load() == Preferences()


def test_settings_are_kept_and_the_last_opened_come_first(tmp_path: Path) -> None:
    file = PreferencesFile(tmp_path / "a" / "settings.json")
    wanted = Preferences(order="cpu").with_recent("/a").with_recent("/b").with_recent("/a")
    file.save(wanted)
    assert file.load() == wanted
    assert wanted.recent == ("/a", "/b")
    assert json.loads((tmp_path / "a" / "settings.json").read_text())["order"] == "cpu"


async def test_an_error_is_a_notice_with_what_helps_and_the_app_goes_on(tmp_path: Path) -> None:
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "pages-server")
        app.show_error(SnapError("the [disk] is full", help="make [b]room[/]"))
        await until_shown(pilot, "the [disk] is full", "make [b]room[/]")

        def burn() -> None:
            raise RuntimeError("[/] a bug")

        async def work() -> None:
            burn()

        app._answer(work())
        await until_shown(pilot, "internal error", "[/] a bug")
        assert app.is_running
        assert len(notices(app)) == 2


async def test_processes_that_cannot_be_listed_are_a_notice(tmp_path: Path) -> None:
    def refuse() -> list[object]:
        raise PermissionError(13, "no /proc")

    app = Machine().app(tmp_path, processes=refuse)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "cannot be listed")


@pytest.mark.parametrize(
    ("number", "short", "full"),
    [
        (0, "0B", "0 B"),
        (999, "999B", "999 B"),
        (1023, "1.0K", "1023 B"),
        (1536, "1.5K", "1.5 KiB"),
        (150 << 20, "150M", "150.0 MiB"),
        (3 << 30, "3.0G", "3.0 GiB"),
        (1 << 63, "8.0E", "8.0 EiB"),
    ],
)
def test_sizes_in_few_cells_and_in_words(number: int, short: str, full: str) -> None:
    assert (short_size(number), full_size(number)) == (short, full)


def test_times_and_counts() -> None:
    seconds = (0, 7.9, 754, 3600, 18_180, 3 * 86_400 + 4 * 3600, 400 * 86_400)
    expected = ["0:00", "0:07", "12:34", "1h00", "5h03", "3d04", "400d"]
    assert [short_time(value) for value in seconds] == expected
    assert (pause_text(0.0032), pause_text(1.44)) == ("3.2 ms", "1.4 s")
    assert (counted(1, "process", "processes"), counted(12_345, "thing")) == ("1 process", "12,345 things")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("page", "page  "),
        ("pages", "pages "),
        ("a-long-name", "a-lon…"),
        ("页页页页", "页页 …"),
        ("a\x1b", "a\\x1b "),
        ("a\n" * 1000, "a\\na\\…"),
        ("e\u0301" * 3, "e\u0301" * 3 + "   "),
        ("e\u0301" * 1000, "e\u0301" * 5 + "…"),
    ],
)
def test_a_cell_is_as_wide_as_told_whatever_is_in_it(text: str, shown: str) -> None:
    assert fit(text, 6) == shown


async def test_the_screens_fit_into_80_columns(tmp_path: Path) -> None:
    app = Machine([watched(process(4_194_304, "a-process-of-a-long-name", user="a-long-user-name"))]).app(
        tmp_path
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "4194304", "a-process-of-a-", "Help")
        for line in screen_text(app).splitlines():
            assert len(line) <= 80
