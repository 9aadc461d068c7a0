"""`snap --fork`: the processes copy themselves and run on, and notice nothing of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.commands import snap, snaptui_command, start
from tests.helpers.live import differences, twins
from tests.helpers.strict_reader import StrictProcess, read_snapshot
from tests.helpers.victims import (
    Victim,
    program,
    running,
    running_program,
    running_python,
    tracer_of,
    wait_until,
)

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="copies are made on x86-64 alone")

PAGE = os.sysconf("SC_PAGESIZE")


def taken(path: Path, *arguments: str | int) -> list[StrictProcess]:
    """The processes as a snapshot with --fork has them: each from its copy."""
    result = snap("--fork", "-o", path, *arguments).expect(0)
    assert result.err == ""
    processes = list(read_snapshot(path).processes.values())
    assert [process.linux_json("snapshot.json")["read_from"] for process in processes] == ["copy"] * len(
        processes
    )
    return processes


def counts(victim: Victim) -> dict[str, int]:
    return {name: int(number) for name, number in victim.ask("report")}


@pytest.fixture(scope="module")
def watchful() -> Iterator[tuple[Victim, dict[str, tuple[int, int]]]]:
    with running_program("watchful.c") as victim:
        yield victim, {name: (int(address, 16), int(length)) for name, address, length in victim.table()}


@pytest.mark.parametrize("options", [[], ["--all"]], ids=["", "all"])
def test_every_address_of_every_mapping_equals_the_live_memory(tmp_path: Path, options: list[str]) -> None:
    # Given a program with a mapping of each kind, among them MADV_DONTFORK, MADV_WIPEONFORK, and shared ones
    with running_program("mappings.c", tmp_path, flags=["-lrt"]) as victim:
        victim.table()
        # On one processor: its number is what the kernel notes in a thread's memory when it runs (rseq(2)),
        # as the one thread does that makes the copy
        os.sched_setaffinity(victim.pid, {min(os.sched_getaffinity(victim.pid))})
        victim.stop()
        (process,) = taken(tmp_path / "x.snap", *options, victim.pid)
        assert differences(process, victim.pid) == []
        assert victim.state() == "T"


def test_memory_is_as_it_was_at_one_moment_shared_memory_too(
    watchful: tuple[Victim, dict[str, tuple[int, int]]], tmp_path: Path
) -> None:
    # Given one thread that writes a number to a private and then to a shared page, then to the next pair
    victim, places = watchful
    (process,) = taken(tmp_path / "x.snap", victim.pid)
    private, shared = (
        [int.from_bytes(process.read_memory(start + at, 8), "little") for at in range(0, length, PAGE)]
        for start, length in (places["pages"], places["shared"])
    )
    # Then they hold one number up to a place, and from there on the one before
    written = [number for pair in zip(private, shared, strict=True) for number in pair]
    assert written == sorted(written, reverse=True)
    assert written[0] - written[-1] in (0, 1)
    assert written[0] > 0


def test_the_process_sees_no_child_no_signal_and_no_interrupted_call(
    watchful: tuple[Victim, dict[str, tuple[int, int]]], tmp_path: Path
) -> None:
    victim, _ = watchful
    for number in range(5):
        taken(tmp_path / f"{number}.snap", victim.pid)
    before = counts(victim)["rounds"]
    wait_until(lambda: counts(victim)["rounds"] > before, "it counts on")
    after = counts(victim)
    assert (after["faults"], after["children"]) == (0, 0)
    assert tracer_of(victim.pid) == 0
    wait_until(lambda: twins(victim.pid) == [], "no copy is left")


def test_info_says_how_it_was_taken(
    watchful: tuple[Victim, dict[str, tuple[int, int]]], tmp_path: Path
) -> None:
    victim, _ = watchful
    taken(tmp_path / "x.snap", victim.pid)
    assert "--fork" in snaptui_command("info", tmp_path / "x.snap").expect(0).out.decode()


def test_interrupted_system_calls_go_on(tmp_path: Path) -> None:
    with running_program("calls.c") as victim:
        victim.wait_asleep()
        for number in range(3):
            taken(tmp_path / f"{number}.snap", victim.pid)
            victim.wait_asleep()
        assert victim.ask("report") == []


@pytest.mark.parametrize(
    "call",
    [
        "time.sleep(4)",
        "select.poll().poll(4000)",
        "select.select([], [], [], 4)",
        "threading.Event().wait(4)",
    ],
    ids=["sleep", "poll", "select", "futex"],
)
def test_the_thread_that_makes_the_copy_waits_no_longer_than_it_wanted(tmp_path: Path, call: str) -> None:
    # Given a process whose one thread waits, and so is the one that is made to copy
    code = f"""
import select, threading, time
print("ready")
began = time.monotonic()
{call}
print(time.monotonic() - began)
"""
    with running_python(code) as victim:
        victim.wait_asleep()
        taken(tmp_path / "x.snap", victim.pid)
        assert 4 <= float(victim.readline()) < 5


def test_several_processes_are_copied_together(tmp_path: Path) -> None:
    with running_program("family.c", "5") as victim:
        wait_until(lambda: len(children(victim.pid)) == 5, "its children are there")
        processes = taken(tmp_path / "x.snap", "--tree", victim.pid)
        assert {process.pid for process in processes} == {victim.pid, *children(victim.pid)}


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def running_kind(kind: str) -> Iterator[Victim]:
    if kind == "32-bit":
        with running([program("small32.s", "-m32", "-nostdlib", "-static")]) as victim:
            yield victim
    elif kind == "userfaultfd":
        with running_program("userfault.c") as victim:
            if victim.readline() == "none":
                pytest.skip("this kernel has no userfaultfd")
            yield victim
    else:
        with running_program("watchful.c", kind) as victim:
            yield victim


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("seccomp", "seccomp"),
        ("orphans", "orphans"),
        ("shares", "258 MiB of shared memory"),
        ("32-bit", "32-bit"),
        ("userfaultfd", "userfaultfd"),
    ],
)
def test_what_cannot_be_copied_is_read_while_it_stands_and_the_reason_is_named(
    tmp_path: Path, kind: str, reason: str
) -> None:
    with running_kind(kind) as victim:
        result = snap("--fork", "-o", tmp_path / "x.snap", victim.pid).expect(0)
        assert len(result.lines) == 1
        assert reason in result.lines[0]
        (process,) = read_snapshot(tmp_path / "x.snap").processes.values()
        assert process.linux_json("snapshot.json")["read_from"] == "process"
        assert process.memory
        if kind in ("seccomp", "orphans", "shares"):
            victim.table()
            assert (counts(victim)["faults"], counts(victim)["children"]) == (0, 0)


def test_a_snap_killed_at_any_moment_leaves_nothing_behind(
    watchful: tuple[Victim, dict[str, tuple[int, int]]], tmp_path: Path
) -> None:
    victim, _ = watchful
    chance = random.Random(6)
    for number in range(6):
        process = start("snap", "--fork", "-v", "-o", tmp_path / f"{number}.snap", victim.pid)
        assert process.stderr is not None
        assert b"stopped" in process.stderr.readline()
        time.sleep(chance.uniform(0, 0.01))  # any moment of the 10 ms in which it copies and begins to read
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert victim.popen.poll() is None
    wait_until(lambda: twins(victim.pid) == [], "no copy is left")
    wait_until(lambda: tracer_of(victim.pid) == 0, "nobody traces it")
    before = counts(victim)["rounds"]
    wait_until(lambda: counts(victim)["rounds"] > before, "it counts on")
    assert (counts(victim)["faults"], counts(victim)["children"]) == (0, 0)
