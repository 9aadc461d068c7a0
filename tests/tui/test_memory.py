"""The tab Memory: selecting, copying and saving, words, the inspector, what is beside it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from textual.widgets import Input

from snaptui.engine.inspect.copying import FORMS, as_text
from snaptui.engine.inspect.hexdump import HexDump
from snaptui.engine.snapfile import Snapshot
from tests.helpers.desk import notices, until, until_gone, until_shown
from tests.helpers.inside import InsideApp, Piece, opened, snapshot_of
from tests.helpers.synthetic import PID

HEAP, STACK = 0x555500001000, 0x7FFC00001000


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """A heap with a text, a mapping that was left out, a stack in which rsp is."""
    heap = bytearray(8192)
    heap[0x20:0x33] = b"hello [/] from heap"
    return snapshot_of(
        tmp_path / "x.snap",
        [
            Piece(HEAP, bytes(heap), name="[heap]"),
            Piece(0x7F0000000000, None, 4096, name="/dev/x", perms="rw-s", reason="device memory"),
            Piece(STACK, bytes(range(256)) * 16, name="[stack]"),
        ],
        {f"task/{PID}/regs": bytes(19 * 8) + (STACK + 0x80).to_bytes(8, "little") + bytes(7 * 8)},
    )


async def test_selecting_and_copying(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        app.pane.jump(HEAP + 0x20)
        await pilot.press("y")
        assert app.copied == ["68"]
        await pilot.press(*["shift+right"] * 4, "y")
        assert app.copied[-1] == "68 65 6c 6c 6f"
        assert app.view.selection is None
        await pilot.press("v", "right", "right", "Y")
        await until_shown(pilot, "Copy 3 bytes", "bytes of Python")
        await pilot.press("down", "down", "down", "enter")
        await until(pilot, lambda: len(app.copied) == 3)
        assert app.copied[-1] == repr(b"o [")
        assert "Copied 3 bytes as python" in notices(app)  # type: ignore[arg-type]


async def test_what_cannot_be_copied_says_why(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        app.pane.jump(0x7F0000000000)
        await pilot.press("y")
        assert app.copied == []
        assert "0x7f0000000000 is not captured: device memory" in notices(app)[0]  # type: ignore[arg-type]


async def test_a_range_is_saved_to_a_file_and_none_is_overwritten(snapshot: Snapshot, tmp_path: Path) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        app.pane.jump(HEAP + 0x20)
        for answer in ("Saved 5 B", "exists"):
            await pilot.press("v", *["right"] * 4, "Y", "end", "enter")
            await until_shown(pilot, "Save bytes")
            app.screen.query_one(Input).value = str(tmp_path / "saved.bin")
            await pilot.press("enter")
            await until(pilot, lambda answer=answer: any(answer in notice for notice in notices(app)))  # type: ignore[arg-type]
            await pilot.press("escape")
            app.pane.jump(HEAP + 0x25)
        assert (tmp_path / "saved.bin").read_bytes() == b"hello"
        assert (tmp_path / "saved.bin").stat().st_mode & 0o777 == 0o600


async def test_words_and_byte_order_and_inspector(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("w", "w", "w")
        await until_shown(pilot, "8786858483828180        8f8e8d8c8b8a8988", "8-byte words, little")
        await pilot.press("e")
        await until_shown(pilot, "8081828384858687        88898a8b8c8d8e8f", "8-byte words, big")
        await pilot.press("w", "i")
        await until_shown(
            pilot, f"u64 {int.from_bytes(bytes(range(0x80, 0x88)), 'big')}", "u8 128", "i8 -128"
        )
        await pilot.press("i")
        await until_gone(pilot, "u64")


async def test_a_wide_screen_has_the_mappings_and_the_inspector_beside_the_bytes(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await until_shown(pilot, "MAPPING", "[heap]", "u64", "pointer")
        await pilot.resize_terminal(200, 50)
        await until_shown(pilot, "7ffc00001080 80 81 82 83 84 85 86 87 88 89 8a 8b 8c 8d 8e 8f  90 91")
        await pilot.resize_terminal(80, 24)
        await until_gone(pilot, "MAPPING")
        await until_shown(pilot, "7ffc00001080 80 81 82 83 84 85 86 87  88 89")
        assert app.view.cursor == STACK + 0x80


# The forms of a copy.


def test_copies_read_back_as_the_same_bytes() -> None:
    data = bytes(range(256)) + "üñ☃".encode()
    assert bytes.fromhex(as_text("hex", 0, data)) == data
    assert ast.literal_eval(as_text("python", 0, data)) == data
    assert ast.literal_eval("b" + as_text("c", 0, data)) == data
    assert as_text("address", 0x1234, b"") == "0x1234"
    assert as_text("dump", 0x10, data).splitlines() == [*(dump := HexDump(0x10)).feed(data), *dump.finish()]
    assert as_text("text", 0, b"a\xff\0" + "ü".encode()) == "a\\xff\\x00ü"
    assert all(as_text(form, 0, data) for form in FORMS)
