"""`snap --every`: several snapshots of the same processes, at fixed times."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.commands.series import duration
from snaptui.engine.snapfile import open_snapshot
from tests.helpers.commands import finish, snap, snaptui_command, start
from tests.helpers.victims import Victim, program, running, wait_until


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with running([program("hangs.c"), "sleep"]) as one:
        yield one


def clock(path: Path, pid: int) -> float:
    """When the processes were stopped, in seconds."""
    with open_snapshot(str(path)) as snapshot:
        linux = snapshot.process(pid).linux
        assert linux is not None
        return float(linux.info["clocks"]["boottime"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("1.5s", 1.5), ("2m", 120), ("1h", 3600)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["5", "", "s", "-5s", "0s", "5 s", "5d", "1e3s", "٣s", "99999999h"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="500ms, 5s, 2m, 1h"):
        duration(text)


def test_the_times_are_fixed_and_the_names_sort(victim: Victim, tmp_path: Path) -> None:
    """Given ten snapshots, the tenth comes nine times the interval after the first, whatever each took."""
    done = snap("--every", "200ms", "--count", 10, "-o", tmp_path / "%%-%n.snap", victim.pid).expect(0)
    assert not [line for line in done.lines if not line.endswith(" left out")]
    assert names(tmp_path) == [f"%-{number:02}.snap" for number in range(1, 11)]
    times = [clock(tmp_path / name, victim.pid) for name in names(tmp_path)]
    assert times == sorted(times)
    # Those that were late are so by themselves: the others stand at multiples of the interval.
    late = [(at - times[-1]) / 0.2 for at in times[1:]]
    assert all(abs(turn - round(turn)) < 0.45 for turn in late)
    assert times[-1] - times[1] >= 8 * 0.2 - 0.1


def test_json_has_the_events_of_each_file(victim: Victim, tmp_path: Path) -> None:
    options = ("--every", "100ms", "--count", 2, "--json", "--progress", "none")
    events = snap(*options, "-o", tmp_path / "%n.snap.zst", victim.pid).expect(0).events()
    done = [event for event in events if event["event"] == "done"]
    assert [(event["file"], event["number"]) for event in done] == [
        (f"{tmp_path}/{number}.snap.zst", number) for number in (1, 2)
    ]
    assert all(event["pids"] == [victim.pid] for event in done)
    kinds = [event["event"] for event in events]
    # On a busy machine one is left out, and that is said.
    assert [kind for kind in kinds if kind != "warning"] == ["paused", "resumed", "done"] * 2


@pytest.mark.parametrize("count", [[], ["--count", "9999"]])
def test_it_ends_when_the_processes_have_and_says_so(tmp_path: Path, count: list[str]) -> None:
    """Without a count that is the end that was asked for; with one, snapshots are missing."""
    with running([program("hangs.c"), "sleep"]) as victim:
        series = start("snap", "--every", "1h", *count, "-o", tmp_path / "%n.snap", victim.pid)
        wait_until(lambda: names(tmp_path), "the first one")
        os.kill(victim.pid, signal.SIGKILL)
        began = time.monotonic()
        done = finish(series).expect(1 if count else 0)
        assert time.monotonic() - began < 20, "nobody waits an hour for what has ended"
    assert done.lines == [f"snap: process {victim.pid} has ended"]
    assert names(tmp_path) == ["0001.snap"]


def test_the_others_go_on_when_one_has_ended(tmp_path: Path) -> None:
    with running([program("hangs.c"), "sleep"]) as stays, running([program("hangs.c"), "sleep"]) as goes:
        words = ("--every", "300ms", "--count", 4, "-o", tmp_path / "%n.snap")
        series = start("snap", *words, stays.pid, goes.pid)
        wait_until(lambda: names(tmp_path), "the first one")
        os.kill(goes.pid, signal.SIGKILL)
        done = finish(series).expect(1)
    assert f"snap: process {goes.pid} has ended" in done.lines
    assert names(tmp_path) == [f"{number}.snap" for number in (1, 2, 3, 4)]
    with open_snapshot(str(tmp_path / "1.snap")) as first, open_snapshot(str(tmp_path / "4.snap")) as last:
        assert (set(first.processes), set(last.processes)) == ({stays.pid, goes.pid}, {stays.pid})


def test_names_are_looked_up_once(tmp_path: Path) -> None:
    """Given a name, a process that gets it later is none of those that were meant."""
    naming = "ctypes.CDLL(None).prctl(15, b'seriesnamed', 0, 0, 0)"
    code = f"import ctypes, signal; {naming}; print('ready', flush=True); signal.pause()"
    with running([sys.executable, "-c", code]) as first:
        words = ("--every", "400ms", "--count", 3, "-o", tmp_path / "%n.snap")
        series = start("snap", *words, "seriesnamed")
        wait_until(lambda: names(tmp_path), "the first one")
        with running([sys.executable, "-c", code]):
            finish(series).expect(0)
    for name in names(tmp_path):
        with open_snapshot(str(tmp_path / name)) as snapshot:
            assert list(snapshot.processes) == [first.pid]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_at_once_and_what_is_complete_stays(
    victim: Victim, tmp_path: Path, number: signal.Signals
) -> None:
    series = start("snap", "--every", "1h", "-o", tmp_path / "%n.snap", victim.pid)
    wait_until(lambda: names(tmp_path), "the first one")
    began = time.monotonic()
    series.send_signal(number)
    done = finish(series).expect(128 + number)
    assert time.monotonic() - began < 5
    assert done.lines == [f"snaptui: interrupted by {number.name}"]
    assert names(tmp_path) == ["0001.snap"]
    with open_snapshot(str(tmp_path / "0001.snap")) as snapshot:
        assert list(snapshot.processes) == [victim.pid]


def test_a_signal_while_one_is_taken_leaves_no_part_of_it(tmp_path: Path) -> None:
    with running([program("large.c"), "256"]) as large:
        words = ("--every", "1ms", "--json", "--progress", "none", "-o", tmp_path / "%n.snap")
        series = start("snap", *words, large.pid)
        assert series.stdout is not None
        paused = 0
        while paused < 2:
            paused += b'"paused"' in series.stdout.readline()
        series.send_signal(signal.SIGINT)
        finish(series).expect(130)
    # The signal may come when the second one is just complete, or even the third begun.
    taken = names(tmp_path)
    assert taken == [f"{number:04}.snap" for number in range(1, len(taken) + 1)]
    assert taken
    for name in taken:
        snaptui_command("verify", tmp_path / name).expect(0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--every", "5s"], "several snapshots cannot all go to standard output"),
        (["--every", "5s", "-o", "-"], "several snapshots cannot all go to standard output"),
        (["--count", "2", "-o", "x-%n"], "--count needs --every"),
        (["--every", "5s", "--count", "2", "-o", "x"], "each snapshot would replace the one before"),
        (["--every", "5s", "-o", "x%%n"], "each snapshot would replace the one before"),
        (["--every", "5s", "-o", "x-%d-%n"], "%d in the name of the files means nothing"),
        (["--every", "5s", "-o", "x-%n%"], "% in the name of the files means nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(
    victim: Victim, tmp_path: Path, options: list[str], said: str
) -> None:
    done = snap(*options, victim.pid, cwd=tmp_path).expect(2)
    assert done.expect_clear_failure() == f"snaptui: {said}"
    assert names(tmp_path) == []


def test_one_alone_needs_no_number(victim: Victim, tmp_path: Path) -> None:
    snap("--every", "1h", "--count", 1, "-o", tmp_path / "one.snap", victim.pid).expect(0)
    assert names(tmp_path) == ["one.snap"]


def test_without_every_a_percent_sign_is_one(victim: Victim, tmp_path: Path) -> None:
    snap("-o", tmp_path / "100%n%%.snap", victim.pid).expect(0)
    assert names(tmp_path) == ["100%n%%.snap"]
