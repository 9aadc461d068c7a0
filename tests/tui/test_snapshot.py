"""Inside a snapshot: tabs, threads and registers, mappings, files, texts; names that try to be markup."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.widgets import ContentSwitcher

from snaptui.engine.snapfile import Snapshot, open_snapshot
from snaptui.engine.snapfile.linux import Link
from snaptui.screens.messages import OpenMount, RunDebugger
from tests.helpers.desk import notices, screen_text, type_text, until, until_gone, until_shown
from tests.helpers.inside import PLAN9, InsideApp, Piece, opened, snapshot_of
from tests.helpers.synthetic import PID

HEAP, STACK = 0x555500001000, 0x7FFC00001000
HOSTILE = ("[heap]", "a[/]b", "[@click=app.quit]x[/]", "\x1b[31mred", "\u202eevil", "[bold")
SIZES = [(80, 24), (200, 50)]


def registers(**values: int) -> bytes:
    """A register set of x86-64 with some registers set; by struct user_regs_struct of <sys/user.h>."""
    names = (
        *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi"),
        *("rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss"),
    )
    return b"".join(values.get(name, 0).to_bytes(8, "little") for name in names).ljust(27 * 8, b"\0")


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Two threads; a heap with texts, a mapping that was left out, a stack."""
    heap = bytearray(8192)
    heap[0x20:0x33] = b"hello [/] from heap"
    heap[0x100:0x112] = "wide text".encode("utf-16-le")
    return snapshot_of(
        tmp_path / "x.snap",
        [
            Piece(HEAP, bytes(heap), name="[heap]"),
            Piece(0x7F0000000000, None, 4096, name="[anon:a[/]b]", perms="rw-s", reason="device memory"),
            Piece(STACK, bytes(range(256)) * 16, name="[stack]"),
        ],
        {
            f"task/{PID}/regs": registers(rsp=STACK + 0x80, rip=HEAP + 0x20, rdi=HEAP + 0x20),
            f"task/{PID + 1}/regs": registers(rsp=STACK + 0x10, rax=7),
            f"task/{PID + 1}/comm": b"helper\n",
            f"task/{PID + 1}/stat": f"{PID + 1} (helper) D 1".encode(),
            f"task/{PID + 1}/wchan": b"nfs_wait_bit",
            f"task/{PID + 2}/comm": b"lost\n",
            "cmdline": b"victim\0--with\0[/]\0",
            "exe": Link("/bin/victim"),
        },
        registers={str(PID + 2): "is in uninterruptible sleep"},
    )


def text(app: InsideApp) -> str:
    return screen_text(app)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", SIZES)
async def test_every_tab_shows_its_contents_and_enter_leads_to_the_memory(
    snapshot: Snapshot, size: tuple[int, int]
) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await until_shown(pilot, "4242 victim", "7ffc00001080")
        await pilot.press("2")
        await until_shown(pilot, "[heap]", "8.0K", "rw-s", "a[/]b", "××××××××××××")
        await pilot.press("down")
        await until_shown(
            pilot, "7f0000000000-7f0000001000 rw-s [anon:a[/]b]", "4.0 KiB left out: device memory"
        )
        await pilot.press("home", "enter")
        await until(pilot, lambda: app.view.cursor == HEAP)
        assert app.screen.query_one(ContentSwitcher).current == "memory-pane"
        await pilot.press("4")
        await until_shown(pilot, "linux/cmdline", "glenda")
        await pilot.press("5")
        await until_shown(pilot, "hello [/] from heap", f"{HEAP + 0x20:x}")
        await pilot.press("enter")
        await until(pilot, lambda: app.view.cursor == HEAP + 0x20)
        await until_shown(pilot, "68 65 6c 6c 6f")


async def test_registers_change_with_the_thread_and_goto_knows_them(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("3")
        await until_shown(pilot, "rsp       00007ffc00001080  [stack]+0x80", 'hello [/] from heap"')
        await pilot.press("down")
        await until_shown(pilot, "nfs_wait_bit", "rsp       00007ffc00001010  [stack]+0x10")
        await pilot.press("enter", "down", "enter")  # to the registers, from rip to rsp, to where it points
        await until(pilot, lambda: app.view.cursor == STACK + 0x10)
        await pilot.press("g")
        await type_text(pilot, "rsp+4")
        await pilot.press("enter")
        await until(pilot, lambda: app.view.cursor == STACK + 0x14)
        await pilot.press("3", "tab", "home", "enter")
        await until(pilot, lambda: notices(app))  # type: ignore[arg-type]
        assert notices(app) == ["rip points to nothing that is mapped"]  # type: ignore[arg-type]


async def test_registers_that_are_missing_say_why(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("3", "end")
        await until_shown(pilot, "lost", "not saved: the thread is in uninterruptible sleep")


async def test_files_are_shown_as_text_links_as_targets_and_bytes_in_hex(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("4", "slash")
        await type_text(pilot, "cmdline")
        await until_shown(pilot, "1 of ", "--with", "[/]")
        await pilot.press("enter", "escape")  # keep the filter; take it away
        await until_gone(pilot, "1 of ")
        await pilot.press("slash")
        await type_text(pilot, "exe")
        await until_shown(pilot, "/bin/victim")
        await pilot.press("escape", "slash")
        await type_text(pilot, f"{PID + 1}/regs")
        await until_shown(pilot, "00000000  00 00 00 00 00 00 00 00")
        await pilot.press("enter", "enter", "pagedown")
        await until_shown(pilot, "000000d0")


async def test_keys_of_the_same_moment_are_for_what_they_open(
    snapshot: Snapshot,
) -> None:
    """Given keys that arrive at once (pasted, over a slow line), none goes where the first one was typed."""
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for keys in ("2/stack", "324/12", "5/from"):
            for char in keys:
                app.post_message(events.Key(_character_to_key(char), char))
            await until_shown(pilot, keys[keys.index("/") :])
            await pilot.press("escape")


async def test_texts_are_searched_for_in_all_of_the_memory(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("5", "slash")
        await type_text(pilot, "from h")
        await until_shown(pilot, "1 text", "hello [/] from heap")
        await pilot.press("enter")
        await until_shown(pilot, "with 'from h'")
        await pilot.press("escape", "u")
        await until_shown(pilot, "wide text", "in UTF-16")
        await pilot.press("l")
        await until_shown(pilot, "of 8 characters or more")


async def test_mount_and_debugger_are_asked_of_the_app(snapshot: Snapshot) -> None:
    app = InsideApp(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("M", "D")
        await until(pilot, lambda: len(app.requests) == 2)
    assert app.requests[0] == OpenMount(snapshot.path)
    assert app.requests[1] == RunDebugger(snapshot.path, PID)


async def test_it_is_left_by_q_and_by_escape_from_every_tab(snapshot: Snapshot) -> None:
    for key in ("q", "escape"):
        for tab in "135":
            app = InsideApp(snapshot)
            async with app.run_test(size=(80, 24)) as pilot:
                await opened(pilot)
                await pilot.press(tab, key)
                await until(pilot, lambda app=app: app._exit)


# Plan 9.


@pytest.mark.parametrize("size", SIZES)
async def test_a_snapshot_from_plan9_browses_as_well(size: tuple[int, int]) -> None:
    with open_snapshot(str(PLAN9 / "two-procs.snap")) as plan9:
        app = InsideApp(plan9, 1202)
        async with app.run_test(size=size, notifications=True) as pilot:
            await opened(pilot)
            first = plan9.process(1202).read_memory(0x200000, 8).hex(" ")
            await until_shown(pilot, "2/2 1202 gs", f"000000200000 {first}")
            await pilot.press("g")
            await type_text(pilot, "Stack+3ff0")
            await pilot.press("enter")
            await until(pilot, lambda: app.view.cursor == 0x7FFFFEFFFFF0)
            await pilot.press("2")
            await until_shown(pilot, "Text", "Data", "Bss", "Stack")
            await pilot.press("3")
            raw = plan9.process(1202).read("regs")
            await until_shown(pilot, raw[:8].hex(" "))
            await pilot.press("4", "slash")
            await type_text(pilot, "ns")
            await until_shown(pilot, "mount -a #s/boot / ")
            await pilot.press("escape", "p")
            await until_shown(pilot, "Processes", "1201", "page")
            await pilot.press("up", "enter")
            await until_shown(pilot, "1/2 1201 page")
            await opened(pilot)
            first = plan9.process(1201).read_memory(0x200000, 8).hex(" ")
            await until_shown(pilot, f"000000200000 {first}")


async def test_a_process_without_memory_shows_its_text_image() -> None:
    with open_snapshot(str(PLAN9 / "partial.snap")) as plan9:
        app = InsideApp(plan9)
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await opened(pilot)
            await until_shown(pilot, "text image (t: memory)", plan9.process(77).read_text(0, 8).hex(" "))
            await pilot.press("t")
            await until_shown(pilot, "There is no memory of this process in the snapshot")
            for key in (
                "down",
                "enter",
                "y",
                "m",
                "n",
                "escape",
                "v",
                "w",
                "pagedown",
                "right_square_bracket",
            ):
                await pilot.press(key)
            await pilot.press("escape", "t")
            await until_shown(pilot, "text image")


# Names.


@pytest.mark.parametrize("size", SIZES)
async def test_names_of_others_are_shown_as_they_are_in_every_view(
    size: tuple[int, int], tmp_path: Path
) -> None:
    """Given such names in mappings, threads, files and memory, every tab shows them and obeys nothing."""
    pieces, members = [], {"cmdline": "\n".join(HOSTILE).encode()}
    for number, name in enumerate(HOSTILE):
        data = (b"\0" * 0x20 + b"text: " + name.encode()).ljust(4096, b"\0")
        label = f"[anon:{name}]".replace("\x1b", "")
        pieces.append(Piece(HEAP + 0x2000 * number, data, name=label))
        pieces.append(Piece(HEAP + 0x2000 * number + 4096, None, 4096, name=label, reason=name))
        members[f"task/{PID + number}/comm"] = name.encode() + b"\n"
        members[f"task/{PID + number}/regs"] = registers(rsp=HEAP + 0x2000 * number + 0x20)
    plain = [name if name.isprintable() else name.encode("unicode_escape").decode() for name in HOSTILE]
    app = InsideApp(snapshot_of(tmp_path / "x.snap", pieces, members))
    async with app.run_test(size=size, notifications=True) as pilot:
        await opened(pilot)
        for tab in "12345":
            await pilot.press(tab, *["down"] * len(HOSTILE), "up")
            await pilot.pause()
            assert not {"\x1b", "\u202e"} & set(text(app))
        await until_shown(pilot, *(f"text: {name.partition(chr(0x1B))[0]}" for name in HOSTILE[:3]))
        await pilot.press("3")
        await until_shown(pilot, *plain[:4])
        await pilot.press("4", "slash")
        await type_text(pilot, "cmdline")
        await until_shown(pilot, *plain)
        await pilot.press("escape", "1", "i", "i")
        for number, name in enumerate(plain):
            app.pane.jump(HEAP + 0x2000 * number + 4096)
            await until_shown(pilot, f"not captured: {name}")
            await pilot.press("m")
        await pilot.press("apostrophe")
        await until_shown(pilot, *(f"[anon:{name}]" for name in plain[:3]))
