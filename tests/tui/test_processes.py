"""The tab of processes: what is shown, in which order, and that it holds still under the cursor."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from snaptui.engine.errors import ArgumentError, NoSuchProcess
from snaptui.engine.take.match import parse_match
from snaptui.engine.take.processes import LiveProcess
from snaptui.engine.take.watch import Watched, Watcher
from snaptui.widgets.process_list import ProcessList
from snaptui.widgets.row_table import RowTable
from tests.helpers.desk import (
    ME,
    SOME,
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
from tests.helpers.victims import running_python, wait_until

HOSTILE = (
    "[heap]",
    "a[/]b",
    "[@click=app.quit]x[/]",
    "\x1b[31mred",
    "tab\there",
    "\udcff\udcfe",
    "页",
    "\u202eevil",
)
"""Names that processes may give themselves."""


# Which are meant.


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", {1, 2, 100, 471, 472, 480, 4711}),
        ("page", {471, 4711}),
        ("PAGE", {471, 4711}),
        ("page glenda", {471, 4711}),
        ("page nobody", set()),
        ("/page|gs/", {471, 472, 4711}),
        ("page|gs/", {471, 472, 4711}),
        ("page|gs", {471, 472, 4711}),
        ("/^page$/", {471}),
        ("/page", {471, 4711}),
        ("state:D", {472}),
        ("user:root", {1, 2}),
        ("wait:futex", {471}),
        ("pid:471", {471}),
        ("ppid:100 state:s", {471}),
        ("471", {471, 4711}),
        ("/", {1, 2, 100, 471, 472, 480, 4711}),
    ],
)
def test_words_and_regular_expressions_choose_processes(typed: str, expected: set[int]) -> None:
    match = parse_match(typed)
    assert {one.process.pid for one in SOME if match.accepts(one.process)} == expected


def test_an_unfinished_regular_expression_is_an_error_in_words() -> None:
    with pytest.raises(ArgumentError, match="no regular expression"):
        parse_match("/(page")


# What is seen of them over time.


def watcher_of(looks: list[list[LiveProcess]], times: list[float]) -> Watcher:
    """A watcher that finds these processes, and then those, at these times; the names are what marks them."""
    shown = iter(looks)
    clock = iter(times)
    now: dict[int, LiveProcess] = {}

    def pids() -> list[int]:
        now.clear()
        now.update({one.pid: one for one in next(shown)})
        return list(now)

    return Watcher(
        pids,
        lambda pid: now[pid],
        lambda: next(clock),
        lambda pids: {pid: f"{now[pid]}".encode() for pid in pids},
    )


def test_cpu_and_standing_still_are_told_from_one_look_to_the_next() -> None:
    busy, idle = process(7, "busy", start_ticks=500), process(8, "idle", start_ticks=500)
    used = dataclasses.replace(busy, utime_ms=busy.utime_ms + 1000)
    watcher = watcher_of([[busy, idle], [used, idle], [busy, idle]], [10.0, 10.0, 12.0, 12.0, 15.0, 15.0])

    assert [one.cpu for one in watcher.look()] == [0.0, 0.0]
    second = watcher.look()
    assert [one.cpu for one in second] == [50.0, 0.0], "1 s of processor in 2 s"
    assert [one.still for one in second] == [0.0, 2.0]
    assert [one.age for one in second] == [7.0, 7.0]
    assert watcher.look()[1].still == 5.0


def test_many_processes_are_all_looked_at_and_each_by_itself() -> None:
    before = [process(pid, "one", start_ticks=100) for pid in range(1, 1001)]
    after = [process(one.pid, "one" if one.pid % 3 else "moved", start_ticks=100) for one in before]
    watcher = watcher_of([before, after], [10.0] * 1000 + [12.0] * 1000)
    assert [one.process for one in watcher.look()] == before
    found = watcher.look()
    assert [one.process for one in found] == after
    assert [one.still for one in found] == [2.0 if one.pid % 3 else 0.0 for one in before]


def test_a_reused_pid_is_another_process() -> None:
    old, new = process(7, "old", start_ticks=100), process(7, "new", start_ticks=1900)
    watcher = watcher_of([[old], [new]], [10.0, 20.0])
    watcher.look()
    (found,) = watcher.look()
    assert (found.process.name, found.cpu, found.still) == ("new", 0.0, 0.0)


def test_a_process_that_ends_during_the_look_is_left_out() -> None:
    def read(pid: int) -> LiveProcess:
        raise NoSuchProcess(f"there is no process {pid}")

    assert Watcher(lambda: [7], read, lambda: 1.0, lambda _: {}).look() == []


def test_kernel_threads_and_zombies_never_stand_still() -> None:
    several = [process(2, "kthreadd", kernel_thread=True), process(3, "ended", state="Z")]
    watcher = watcher_of([several, several], [100.0, 100.0, 200.0, 200.0])
    watcher.look()
    assert [one.still for one in watcher.look()] == [0.0, 0.0]


def test_real_processes_that_sleep_stand_still_and_those_that_poll_do_not() -> None:
    sleeper = "print('ready'); import signal; signal.pause()"
    poller = "print('ready')\nimport time\nwhile True: time.sleep(0.01)"
    with running_python(sleeper) as one, running_python(poller) as other:
        one.wait_asleep()
        watcher = Watcher()
        watcher.look()

        def still() -> dict[int, float]:
            return {each.process.pid: each.still for each in watcher.look()}

        wait_until(lambda: still()[one.pid] > 0.2, "the sleeper is seen to stand still")
        wait_until(lambda: still()[other.pid] == 0.0, "the poller is seen to move")


# The list.


def pids(listed: ProcessList) -> list[int]:
    return [row.process.pid for row in listed.rows()]


def test_by_default_my_processes_are_listed_and_no_kernel_threads() -> None:
    listed = ProcessList(ME, found=SOME)
    assert pids(listed) == [100, 471, 472, 480, 4711]
    listed.only_mine = False
    assert pids(listed) == [1, 100, 471, 472, 480, 4711]
    listed.kernel = True
    assert pids(listed) == [1, 2, 100, 471, 472, 480, 4711]


def test_hung_processes_come_first_those_that_cannot_be_woken_before_all() -> None:
    listed = ProcessList(ME, found=SOME, hung=True)
    assert pids(listed) == [472, 471, 4711, 100, 480]


def test_the_tree_has_children_below_their_parents() -> None:
    rows = ProcessList(ME, found=SOME, tree=True).rows()
    assert [(row.process.pid, row.depth) for row in rows] == [
        (100, 0),
        (471, 1),
        (472, 2),
        (480, 1),
        (4711, 0),
    ]


def test_order_by_memory_puts_the_largest_first_and_turns_round() -> None:
    listed = ProcessList(ME, found=SOME)
    listed.sort_by("memory")
    assert pids(listed)[0] == 4711
    listed.sort_by("memory")
    assert pids(listed)[-1] == 4711


# On the screen.


async def test_the_manuals_filter_finds_the_two_and_both_are_marked(tmp_path: Path) -> None:
    app = Machine(SOME[:6]).app(tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "shell", "busy")
        await type_text(pilot, "//page|gs/")
        await until_gone(pilot, "busy")
        await pilot.press("enter", "space", "space")
        await until_shown(pilot, "● 2 marked", "2 of 6 processes", "page|gs")
        assert screen_text(app).count("●") == 3


async def test_the_cursor_stays_on_its_process_when_others_come_and_go(tmp_path: Path) -> None:
    machine = Machine()
    app = machine.app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press("down", "down")  # gs
        table = app.screen.query_one("#process-table", RowTable)
        assert table.current is not None
        assert table.current.process.name == "gs"
        machine.found = (*(one for one in SOME if one.process.pid != 100), watched(process(90, "early")))
        await until_shown(pilot, "early")
        assert table.current.process.name == "gs"


async def test_a_marked_process_that_ends_is_told_and_its_pid_is_not_marked_again(tmp_path: Path) -> None:
    machine = Machine()
    app = machine.app(tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press("down", "space")
        await until_shown(pilot, "● 1 marked")
        reused = watched(process(471, "page", start_ticks=999_999))
        machine.found = (*(one for one in SOME if one.process.pid != 471), reused)
        await until_gone(pilot, "● 1 marked")
        assert "page (471): ended" in " ".join(notices(app))


async def test_views_order_and_columns_by_keys(tmp_path: Path) -> None:
    machine = Machine()
    app = machine.app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "pages-server", "AGE")
        await pilot.press("h")
        await until_shown(pilot, "hung first", "STILL", "4:10")
        await pilot.press("h", "t")
        await until_shown(pilot, "└ page", "tree")
        await pilot.press("t", "a")
        await until_shown(pilot, "all users", "init")
        await pilot.press("z")
        await until_shown(pilot, "FROZEN")
        machine.found = SOME[:3]
        await asyncio.sleep(0.2)
        assert "pages-server" in screen_text(app)
        await pilot.press("z")
        await until_gone(pilot, "pages-server")
        await pilot.press("o", "down", "enter")
        await until_shown(pilot, "USER▲")
        await pilot.press("C", "down", "space", "escape")
        await until_gone(pilot, "USER")
    # Remembered the next time.
    again = machine.app(tmp_path)
    async with again.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "init", "COMMAND")
        assert "USER" not in screen_text(again)
        assert again.preferences.order == "user"


async def test_enter_shows_threads_and_files(tmp_path: Path) -> None:
    app = Machine().app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press("down", "enter")
        await until_shown(pilot, "page (471)", "Threads (2)", "render", "nfs_wait")
        await pilot.press("tab")
        await until_shown(pilot, "socket:[4242]")
        await pilot.press("escape")
        await until_gone(pilot, "socket:[4242]")


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_process_may_call_itself_anything(tmp_path: Path, name: str) -> None:
    odd = process(500, name, cmdline=(name, name), user=name, wchan=name, syscall=name, exe=name)
    machine = Machine([watched(odd)])
    app = machine.app(tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "500")
        await pilot.press("space", "enter")
        await until_shown(pilot, "Threads")
        await pilot.press("s")
        await until_shown(pilot, "Save as")
        await pilot.press("escape")
        machine.found = ()
        await until(pilot, lambda: notices(app), "the notice of its end")
        assert "\x1b" not in screen_text(app)
        await pilot.press("slash")
        await type_text(pilot, "[x(")
        await until_shown(pilot, "[x(")


def many(count: int) -> list[Watched]:
    return [watched(process(1000 + number, f"worker-{number}")) for number in range(count)]


async def test_five_thousand_processes_are_shown(tmp_path: Path) -> None:
    app = Machine(many(5000)).app(tmp_path, interval=0.0)
    async with app.run_test(size=(200, 50)) as pilot:
        await until_shown(pilot, "worker-10")
        await pilot.press("end")
        await until_shown(pilot, "worker-4999")


@pytest.mark.parametrize("text", ["/page|pages-server/", "a filter that finds nothing(|"])
async def test_a_filter_can_be_read_while_it_is_typed(tmp_path: Path, text: str) -> None:
    async with Machine().app(tmp_path).run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "pages-server")
        await pilot.press("h", "slash")
        await type_text(pilot, text)
        await until_shown(pilot, text)
