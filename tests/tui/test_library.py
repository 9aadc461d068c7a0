"""The tab of snapshots: real files, and what is done with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.engine.errors import ArgumentError, OutputError
from snaptui.engine.snapfile import library
from tests.helpers.commands import snap
from tests.helpers.desk import notices, real_app, screen_text, type_text, until, until_gone, until_shown
from tests.helpers.victims import running_python

HANGS = "import ctypes, signal; ctypes.CDLL(None).prctl(15, b'page', 0, 0, 0); print('ready'); signal.pause()"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("saved") / "one.snap"
    with running_python(HANGS) as victim:
        snap("-o", file, victim.pid).expect(0)
    yield file


@pytest.fixture
def folder(tmp_path: Path, saved: Path) -> Path:
    """The library's folder, with one snapshot in it."""
    folder = tmp_path / "snapshots"
    folder.mkdir()
    os.link(saved, folder / "one.snap")
    return folder


def test_a_list_of_files_tells_what_is_known_of_each(folder: Path) -> None:
    (folder / "broken.snap").write_bytes(b"process snapshot 1 a@b c\n1 text")
    (folder / "other.snap").write_text("no snapshot")
    (folder / "notes.txt").write_text("not looked at")
    items = {item.name: item for item in library.list_snapshots(folder, [str(folder / "gone.snap")])}
    assert set(items) == {"one.snap", "broken.snap", "other.snap"}
    assert items["broken.snap"].problem
    assert "no snapshot" in items["other.snap"].problem
    one = items["one.snap"]
    assert one.host == os.uname().nodename
    assert one.taken > 1_700_000_000
    assert one.processes is not None
    assert [name for _, name in one.processes] == ["page"]


def test_a_new_name_never_replaces_a_file(folder: Path) -> None:
    (folder / "two.snap").write_text("precious")
    with pytest.raises(OutputError, match="is there already"):
        library.rename(str(folder / "one.snap"), "two.snap")
    for bad in ("", "..", "a/b"):
        with pytest.raises(ArgumentError):
            library.rename(str(folder / "one.snap"), bad)
    assert library.rename(str(folder / "one.snap"), "three.snap") == str(folder / "three.snap")
    assert sorted(os.listdir(folder)) == ["three.snap", "two.snap"]


async def test_the_order_is_remembered(tmp_path: Path, folder: Path) -> None:
    for keys, before in ((["greater_than_sign"], "TAKEN▼"), ([], "▼SIZE")):
        async with real_app(tmp_path).run_test(size=(80, 24)) as pilot:
            await pilot.press("2")
            await until_shown(pilot, "1 snapshot", before)
            await pilot.press(*keys)
            await until_shown(pilot, "▼SIZE")


async def test_rename_compress_verify_and_delete(tmp_path: Path, folder: Path) -> None:
    app = real_app(tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "one.snap", "page", "1 snapshot")

        await pilot.press("v")
        await until_shown(pilot, "Verified one.snap", "intact", "memory segments")
        await pilot.press("enter")

        await pilot.press("r")
        await until_shown(pilot, "The new name")
        await pilot.press("ctrl+u")
        await type_text(pilot, "page-hangs.snap")
        await pilot.press("enter")
        await until_shown(pilot, "page-hangs.snap", "1 snapshot")

        await pilot.press("c")
        await until_shown(pilot, "Keep both", "Delete the first")
        await pilot.press("right", "enter")
        await until_gone(pilot, "Keep both")
        await until_shown(pilot, "page-hangs.snap.zst", "1 snapshot")
        assert os.listdir(folder) == ["page-hangs.snap.zst"]

        await pilot.press("d")
        await until_shown(pilot, "There is no way back")
        await pilot.press("enter")  # Keep it
        await until_gone(pilot, "There is no way back")
        assert os.listdir(folder) == ["page-hangs.snap.zst"]
        await pilot.press("d")
        await until_shown(pilot, "There is no way back")
        await pilot.press("right", "enter")
        await until_shown(pilot, "No snapshots yet")
        assert os.listdir(folder) == []


async def test_a_file_that_is_no_snapshot_is_a_notice(tmp_path: Path, folder: Path) -> None:
    (folder / "other.snap").write_text("no snapshot")
    app = real_app(tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "other.snap", "is no snapshot")
        app.screen.query_one("#snapshot-table").go_to(str(folder / "other.snap"))  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: notices(app), "the notice")
        assert "is no snapshot" in notices(app)[0]


async def test_a_snapshot_elsewhere_is_opened_by_its_path_and_remembered(tmp_path: Path, saved: Path) -> None:
    app = real_app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "No snapshots yet")
        await pilot.press("o")
        await until_shown(pilot, "Its path")
        await type_text(pilot, str(saved))
        await pilot.press("enter")
        await until_shown(pilot, "Memory", "Segments")
        await pilot.press("escape")
        await until_shown(pilot, "2 Snapshots", "one.snap")
        assert app.preferences.recent == (str(saved),)


async def test_files_named_on_the_command_line_are_opened(tmp_path: Path, saved: Path) -> None:
    app = real_app(tmp_path, [saved])
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "Memory", "Segments")
        await pilot.press("escape")
        await until_shown(pilot, "2 Snapshots")
        assert "Memory" not in screen_text(app)
