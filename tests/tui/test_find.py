"""Finding: what is typed, the hits, next and previous, and that it can be stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from snaptui.engine.snapfile import Snapshot
from snaptui.screens.find import FindScreen
from snaptui.screens.inside.finding import Searching
from tests.helpers.desk import notices, screen_text, type_text, until, until_shown
from tests.helpers.inside import InsideApp, Piece, opened, snapshot_of

BASE = 0x555500001000
OTHER = 0x7F0000000000
TEXT = "find [/] me"


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    heap = bytearray(8192)
    for at in (0x100, 0x500, 0x1FF0):
        heap[at : at + len(TEXT)] = TEXT.encode()
    heap[0x200:0x216] = TEXT.encode("utf-16-le")
    heap[0x300:0x308] = (OTHER + 0x10).to_bytes(8, "little")
    other = bytearray(4096)
    other[0x800:0x804] = b"\xde\xad\xbe\xef"
    return snapshot_of(
        tmp_path / "x.snap",
        [Piece(BASE, bytes(heap), name="[heap]"), Piece(OTHER, bytes(other), name="a[/]b")],
    )


async def find(pilot, text: str, kind: int = 0) -> None:  # type: ignore[no-untyped-def]
    await pilot.press("slash")
    await until(pilot, lambda: isinstance(pilot.app.screen, FindScreen) and pilot.app.focused is not None)
    await pilot.press(*["down"] * kind)
    await type_text(pilot, text)
    await pilot.press("enter")
    await pilot.pause()


@pytest.mark.parametrize(
    ("text", "kind", "address"),
    [
        (TEXT, 0, BASE + 0x100),
        (TEXT, 1, BASE + 0x200),
        ("de ad ?? ef", 2, OTHER + 0x800),
        (r"m[aeiou]\x00\x00", 3, BASE + 0x109),
        ("7f0000000010", 4, BASE + 0x300),
        (f"{OTHER:x}+10", 4, BASE + 0x300),
    ],
)
async def test_each_kind_of_thing_is_found(snapshot: Snapshot, text: str, kind: int, address: int) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await find(pilot, text, kind)
        await until(pilot, lambda: app.view.cursor == address, f"{address:#x}")


async def test_next_and_previous_go_round_and_say_which_it_is(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await find(pilot, TEXT)
        await until_shown(pilot, "hit 1 of 3")
        places = []
        for key in "nnnN":
            before = app.view.cursor
            await pilot.press(key)
            await until(pilot, lambda before=before: app.view.cursor != before)
            places.append(app.view.cursor - BASE)
        assert places == [0x500, 0x1FF0, 0x100, 0x1FF0]
        await until_shown(pilot, "hit 3 of 3")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: app.view.cursor - BASE == 0x100)


async def test_what_is_nowhere_is_said_to_be(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        await find(pilot, "[@click=x]absent[/]")
        await until(pilot, lambda: notices(app))  # type: ignore[arg-type]
        assert notices(app) == ["'[@click=x]absent[/]' was not found: it is nowhere in this memory"]  # type: ignore[arg-type]
        assert app.view.cursor == BASE


async def test_a_mistake_is_explained_and_can_be_mended(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await find(pilot, "dead be", 2)
        await until(pilot, lambda: app.view.cursor == OTHER + 0x800)
        await pilot.press("slash")
        await until_shown(pilot, "(•) hex", "dead be")  # as it was typed
        await until(pilot, lambda: app.focused is not None)
        await pilot.press("end")  # what was typed before is selected: typing replaces it
        await type_text(pilot, "x")
        await pilot.press("enter")
        await until_shown(pilot, "not bytes in hexadecimal: 'dead bex'")
        await pilot.press("backspace", "enter")
        await until(pilot, lambda: not isinstance(app.screen, FindScreen))


async def test_n_without_a_search_asks_what_to_find(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, FindScreen))


async def test_hits_are_listed_with_their_places_and_what_is_around_them(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("f")
        await until(pilot, lambda: notices(app))  # type: ignore[arg-type]
        await find(pilot, TEXT)
        await until_shown(pilot, "hit 1 of 3")
        await pilot.press("f")
        await until_shown(pilot, "3 hits", f"{BASE + 0x500:x} [heap]+0x500", f"········{TEXT}···")
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: app.view.cursor == BASE + 0x1FF0)


class SlowSpace:
    """A process that is read only when the test lets it."""

    def __init__(self, process) -> None:  # type: ignore[no-untyped-def]
        import threading

        self.process = process
        self.may_read = threading.Event()
        self.reads = 0

    def areas(self):  # type: ignore[no-untyped-def]
        return self.process.areas()

    def read_memory(self, address: int, length: int) -> bytes:
        assert self.may_read.wait(20)
        self.reads += 1
        return self.process.read_memory(address, length)

    def read_memory_into(self, address: int, target) -> None:  # type: ignore[no-untyped-def]
        assert self.may_read.wait(20)
        self.reads += 1
        self.process.read_memory_into(address, target)


async def test_escape_stops_a_search_first_and_then_leaves(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        slow = SlowSpace(app.pane.space)
        app.pane.space = slow
        await find(pilot, TEXT)
        bar = app.pane.query_one(Searching)
        await until_shown(pilot, "finding 0%", "esc stops")
        await pilot.press("down")
        await until(pilot, lambda: app.view.cursor == BASE + 16, "the screen lives")
        await pilot.press("escape")
        slow.may_read.set()
        await until(pilot, lambda: not bar.is_running)
        assert slow.reads <= 1
        await until_shown(pilot, "stopped")
        await pilot.press("escape")
        await until(pilot, lambda: app._exit)


async def test_escape_shows_no_hits_first_and_then_leaves_but_q_leaves_at_once(snapshot: Snapshot) -> None:
    for keys in (["escape", "escape"], ["q"]):
        app = InsideApp(snapshot)
        async with app.run_test(size=(80, 24)) as pilot:
            await opened(pilot)
            await find(pilot, TEXT)
            await until_shown(pilot, "hit 1 of 3")
            for key in keys[:-1]:
                await pilot.press(key)
                await until(pilot, lambda app=app: "of 3" not in screen_text(app))
            assert not app._exit
            await pilot.press(keys[-1])
            await until(pilot, lambda app=app: app._exit)


async def test_leaving_waits_until_nothing_is_read_any_more(snapshot: Snapshot) -> None:
    """Given a search that hangs in a read, the screen is left when that ends: the file is closed then."""
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        slow = SlowSpace(app.pane.space)
        app.pane.space = slow
        await find(pilot, TEXT)
        await until_shown(pilot, "finding")
        await pilot.press("escape", "escape")
        for _ in range(5):
            await pilot.pause()
        assert not app._exit
        slow.may_read.set()
        await until(pilot, lambda: app._exit)


async def test_hits_are_reversed_on_the_screen(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await find(pilot, TEXT)
        await until(pilot, lambda: app.view.cursor == BASE + 0x100)
        await pilot.press("down")

        def reversed_text() -> str:
            strips = app.screen._compositor.render_strips()
            line = next(strip for strip in strips if strip.text.startswith(f"{BASE + 0x100:x}"))
            return "".join(s.text for s in line.crop(62, 78) if s.style is not None and s.style.reverse)

        await until(pilot, lambda: reversed_text() == TEXT, "the hit is reversed")
        assert TEXT in screen_text(app)  # type: ignore[arg-type]
