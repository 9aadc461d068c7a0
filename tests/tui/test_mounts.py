"""The tab of mounts: real servers, started, used and ended from the app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.engine.serve.registry import Entry
from tests.helpers.commands import snap
from tests.helpers.desk import Machine, notices, real_app, type_text, until, until_shown
from tests.helpers.mounts import Servers, is_mounted, servers, why_no_fuse
from tests.helpers.victims import running_python

HANGS = "print('ready'); import signal; signal.pause()"
FUSE = pytest.mark.skipif(bool(why_no_fuse()), reason=why_no_fuse() or "FUSE is there")


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Servers known in a directory of the test's own, and ended at its end."""
    (tmp_path / "run").mkdir()
    with servers(tmp_path / "run") as found:
        for name, value in found.environment.items():
            if name.startswith("XDG_"):
                monkeypatch.setenv(name, value)
        yield found


@FUSE
async def test_mount_read_and_unmount(tmp_path: Path, running: Servers) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    place = tmp_path / "mnt"
    with running_python(HANGS) as victim:
        snap("-o", folder / "one.snap", victim.pid).expect(0)
    app = real_app(tmp_path)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "one.snap", "1 snapshot")
        await pilot.press("m")
        await until_shown(pilot, "Mount a snapshot", "test_mount_read", "Mount point")
        await type_text(pilot, str(place))
        await pilot.press("enter")
        await until_shown(pilot, "1 server running")
        assert is_mounted(place)
        assert (place / str(victim.pid) / "status").read_bytes()

        await pilot.press("q")
        await until_shown(pilot, "still run", "Don't quit")
        await pilot.press("escape")
        await pilot.press("u")
        await until_shown(pilot, "0 servers running", "Nothing is served")
        assert not is_mounted(place)


async def test_what_becomes_of_servers_at_the_end_can_be_set_and_is_remembered(tmp_path: Path) -> None:
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "e")
        await until_shown(pilot, "when the app ends", "ask each time", "end them")
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: app.preferences.servers == "stop")
    again = Machine().app(tmp_path)
    async with again.run_test(size=(80, 24)) as pilot:
        assert again.preferences.servers == "stop"


@FUSE
async def test_quitting_ends_servers_when_told_so(tmp_path: Path, running: Servers) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    with running_python(HANGS) as victim:
        snap("-o", folder / "one.snap", victim.pid).expect(0)
    app = real_app(tmp_path)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "one.snap", "1 snapshot")
        await pilot.press("m")
        await until_shown(pilot, "Mount a snapshot")
        await type_text(pilot, str(tmp_path / "mnt"))
        await pilot.press("enter")
        await until_shown(pilot, "1 server running")
        await pilot.press("q")
        await until_shown(pilot, "End them")
        await pilot.press("right", "enter")
        await until(pilot, lambda: app._exit, "the end")
    assert not is_mounted(tmp_path / "mnt")
    assert running.listed() == []


async def test_what_cannot_be_mounted_is_a_notice(tmp_path: Path, running: Servers) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    (folder / "bad.snap").write_text("no snapshot")
    app = real_app(tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "bad.snap")
        await pilot.press("m")
        await until_shown(pilot, "Mount a snapshot")
        await pilot.press("enter")
        await until(pilot, lambda: notices(app), "the notice")
        assert "is no snapshot" in notices(app)[0]


async def test_servers_are_listed_with_all_their_places(tmp_path: Path) -> None:
    entry = Entry(
        77, 5, ("/tmp/a.snap", "/tmp/b.snap"), "/mnt/[b]", "0:50", ("unix!/tmp/ns/p",), 1_770_000_000
    )
    app = Machine(entries=[entry]).app(tmp_path)
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.press("3")
        await until_shown(
            pilot, "/mnt/[b]", "unix!/tmp/ns/p", "a.snap, b.snap", "77", "1 server running", "/tmp/b.snap"
        )
