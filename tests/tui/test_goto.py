"""Going somewhere: by expression, by pointer, by mapping, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from snaptui.engine.snapfile import Snapshot
from snaptui.screens.goto import GotoScreen
from snaptui.widgets.hex.lines import FOLD
from tests.helpers.desk import notices, screen_text, type_text, until, until_gone, until_shown
from tests.helpers.inside import InsideApp, Piece, opened, snapshot_of
from tests.helpers.synthetic import PID

HEAP, STACK, ZERO = 0x555500001000, 0x7FFC00001000, 0x7F0000000000


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """A heap that points into the stack, untouched memory, and the stack; rsp is in the stack."""
    heap = bytearray(4096)
    heap[0x40:0x48] = (STACK + 0x123).to_bytes(8, "little")
    heap[0x48:0x50] = (0x1234).to_bytes(8, "little")
    regs = [0] * 27
    regs[19], regs[16] = STACK + 0x80, HEAP + 0x20  # rsp and rip of struct user_regs_struct
    return snapshot_of(
        tmp_path / "x.snap",
        [
            Piece(HEAP, bytes(heap), name="[heap]"),
            Piece(ZERO, bytes(16 * FOLD), kind="zero", name="[anon:a[/]b]"),
            Piece(STACK, bytes(range(256)) * 16, name="[stack]"),
        ],
        {f"task/{PID}/regs": b"".join(word.to_bytes(8, "little") for word in regs)},
    )


async def goto(pilot: Pilot[Any], text: str) -> None:
    """Type where to go, once one is asked."""
    await pilot.press("g")
    await until(pilot, lambda: isinstance(pilot.app.screen, GotoScreen) and pilot.app.focused is not None)
    await type_text(pilot, text)


async def test_it_opens_at_the_stack_pointer_of_the_main_thread(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: app.view.cursor == STACK + 0x80)
        await until_shown(pilot, "7ffc00001080 80 81 82", "[stack]+0x80")


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("heap+40", HEAP + 0x40),
        ("rip", HEAP + 0x20),
        ("0x7ffc00001010", STACK + 0x10),
        ("-8", STACK + 0x78),
        ("*heap+40", STACK + 0x80),
    ],
)
async def test_goto_goes_where_the_expression_leads(snapshot: Snapshot, typed: str, address: int) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await goto(pilot, typed)
        if typed.startswith("*"):  # the pointer at heap+40: `*` binds what follows it whole
            address = STACK + 0x123
        await until_shown(pilot, f"{address:#x}")
        await pilot.press("enter")
        await until(pilot, lambda: app.view.cursor == address)


@pytest.mark.parametrize(
    ("typed", "address"),
    [("gheap+48\r", HEAP + 0x48), ("/0123\r", STACK + 0x130)],
    ids=["goto", "find"],
)
async def test_what_is_typed_ahead_is_not_lost(snapshot: Snapshot, typed: str, address: int) -> None:
    """Given keys that come all at once, as those that are pasted, the dialog takes what is meant for it."""
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for character in typed:
            key = "enter" if character == "\r" else _character_to_key(character)
            app.post_message(events.Key(key, character))
        await until(pilot, lambda: app.view.cursor == address)


async def test_goto_says_what_is_wrong_and_stays_open(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await goto(pilot, "nowhere")
        await pilot.press("enter")
        await until_shown(pilot, "nothing here is called 'nowhere'", "type an address in hex")
        assert isinstance(app.screen, GotoScreen)
        await pilot.press("escape")
        await until_gone(pilot, "nothing here is called")
        assert app.view.cursor == STACK + 0x80


async def test_goto_into_a_hole_lands_behind_it_and_says_how_large_it_is(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot, None)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        await goto(pilot, "600000000000")
        await pilot.press("enter")
        await until(pilot, lambda: app.view.cursor == ZERO and notices(app))  # type: ignore[arg-type]
        size = (ZERO - HEAP - 4096) / (1 << 40)
        assert f"in a hole of {size:.1f} TiB" in notices(app)[0]  # type: ignore[arg-type]


async def test_goto_into_untouched_memory_unfolds_it(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await goto(pilot, f"{ZERO + 0x8000:x}")
        await pilot.press("enter")
        await until_shown(pilot, f"{ZERO + 0x8000:x} 00 00 00")
        assert app.view.cursor == ZERO + 0x8000


async def test_enter_follows_a_pointer_and_ctrl_o_comes_back(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        app.pane.jump(HEAP + 0x43)  # in the middle of the pointer
        await pilot.press("enter")
        await until(pilot, lambda: app.view.cursor == STACK + 0x123)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: app.view.cursor == HEAP + 0x43)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: app.view.cursor == STACK + 0x80)
        await pilot.press("tab", "greater_than_sign")
        await until(pilot, lambda: app.view.cursor == STACK + 0x123)
        await pilot.press("tab")  # nothing is forward: tab is what it always is
        assert app.view.cursor == STACK + 0x123


async def test_follow_and_back_typed_at_once_end_where_they_began(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        app.pane.jump(HEAP + 0x40)
        # The last one leads away, so that there is an end to wait for.
        for key in ("enter", "ctrl+o", "enter", "ctrl+o", "enter"):
            app.post_message(events.Key(key, None))
        await until(pilot, lambda: app.view.cursor == STACK + 0x123)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: app.view.cursor == HEAP + 0x40)


async def test_a_selection_that_is_ended_is_spoken_of_no_more(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("v")
        await until_shown(pilot, "1 byte selected")
        await pilot.press("right")
        await until_shown(pilot, "2 bytes selected")
        app.view.clear_selection()
        await until_gone(pilot, "selected")


async def test_what_is_no_pointer_is_not_followed(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        app.pane.jump(HEAP + 0x48)
        await pilot.press("enter")
        await until(pilot, lambda: notices(app))  # type: ignore[arg-type]
        assert notices(app) == ["0x1234 points to nothing that is mapped"]  # type: ignore[arg-type]
        assert app.view.cursor == HEAP + 0x48


async def test_brackets_go_from_mapping_to_mapping_and_enter_unfolds(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for key, at in (("[", STACK), ("[", ZERO), ("[", HEAP), ("[", HEAP), ("]", ZERO)):
            await pilot.press({"[": "left_square_bracket", "]": "right_square_bracket"}[key])
            await until(pilot, lambda at=at: app.view.cursor == at)
        await until_shown(pilot, "1.0 MiB never touched", "[anon:a[/]b]")
        await pilot.press("enter")
        await until_shown(pilot, f"{ZERO:x} 00 00")
        await pilot.press("z", "z")
        await until_shown(pilot, "1.0 MiB never touched")


async def test_marks_are_listed_and_gone_to(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("apostrophe")
        await until(pilot, lambda: notices(app))  # type: ignore[arg-type]
        assert "m makes one" in notices(app)[0]  # type: ignore[arg-type]
        await pilot.press("m")
        app.pane.jump(HEAP + 8)
        await pilot.press("m", "G", "apostrophe")
        await until_shown(pilot, "Marks", f"{HEAP + 8:x}  [heap]+0x8", f"{STACK + 0x80:x}  [stack]+0x80")
        await pilot.press("enter")
        await until(pilot, lambda: app.view.cursor == HEAP + 8)
        await pilot.press("m", "apostrophe")
        await until_shown(pilot, "[stack]+0x80")
        assert screen_text(app).count("[heap]+0x8") == 1  # type: ignore[arg-type]  # in the line below alone


async def test_goto_works_from_every_tab(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for tab in "2345":
            await pilot.press(tab)
            await goto(pilot, f"heap+{tab}")
            await pilot.press("enter")
            await until(pilot, lambda tab=tab: app.view.cursor == HEAP + int(tab))
            await until_shown(pilot, "00 00 00 00")
