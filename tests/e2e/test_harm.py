"""Snapshots do no harm: the target runs on exactly as before, whatever becomes of snap."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snaptui.engine.snapfile import open_snapshot
from tests.helpers.commands import Result, command, finish, snap, snaptui_command, start, take_one
from tests.helpers.strict_reader import read_snapshot
from tests.helpers.victims import Victim, running_program, state_of, tracer_of, wait_until


def untouched(victim: Victim) -> bool:
    """Whether nobody traces the program and no thread of it stands."""
    return tracer_of(victim.pid) == 0 and not {state_of(victim.pid, tid) for tid in victim.threads()} & {
        "t",
        "T",
        "Z",
    }


@pytest.fixture
def calls() -> Iterator[Victim]:
    """A program with a thread in each of many blocking calls."""
    with running_program("calls.c") as victim:
        victim.wait_asleep()
        yield victim


def test_interrupted_system_calls_go_on(calls: Victim, tmp_path: Path) -> None:
    for number in range(3):
        take_one(tmp_path / f"{number}.snap", calls.pid)
        calls.wait_asleep()
    # Then not one of them came back: those of signal(7) that any stop signal would end neither
    assert calls.ask("report") == []


def test_a_sleep_lasts_as_long_as_was_asked_for(calls: Victim, tmp_path: Path) -> None:
    calls.send("sleep")
    wait_until(
        lambda: "230 " in Path(f"/proc/{calls.pid}/syscall").read_text()[:4], "it sleeps (clock_nanosleep)"
    )
    result = snap("--json", "-o", tmp_path / "x.snap", calls.pid).expect(0)
    ((_, microseconds, outcome),) = calls.table()
    assert outcome == "0"
    assert 1_000_000 <= int(microseconds) < 1_300_000 + pause_of(result) * 1_000_000


def pause_of(result: Result) -> float:
    """How long the targets stood, in seconds, as the last event says."""
    return float(result.events()[-1]["pause"])


def queue_signal(pid: int, number: int, value: int) -> None:
    """sigqueue(3)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.sigqueue(pid, number, ctypes.c_void_p(value)):
        raise OSError(ctypes.get_errno(), "sigqueue")


def test_signals_sent_meanwhile_arrive_each_once_and_in_order(calls: Victim, tmp_path: Path) -> None:
    with start("snap", "-o", tmp_path / "x.snap", calls.pid) as process:
        sent = traced = 0
        while process.poll() is None:
            queue_signal(calls.pid, signal.SIGRTMIN, sent)
            sent += 1
            traced += tracer_of(calls.pid) != 0
            time.sleep(0.001)  # a rate, not a synchronisation: the queue is finite
        result = finish(process)
    result.expect(0)
    assert traced, "some must have been sent while it stood"
    wait_until(lambda: counts(calls)["queued"] == sent, "all queued signals arrive")
    assert counts(calls)["disorder"] == 0


def test_timers_go_on(calls: Victim, tmp_path: Path) -> None:
    take_one(tmp_path / "x.snap", calls.pid)
    before = counts(calls)["alarms"]
    wait_until(lambda: counts(calls)["alarms"] > before + 5, "the timer's signals go on", 5)


def counts(victim: Victim, command: str = "signals") -> dict[str, int]:
    return {name: int(number) for name, number in victim.ask(command)}


def test_the_parent_notices_nothing(calls: Victim, tmp_path: Path) -> None:
    # wait(2): a stop or continuation would be reported to us, the parent
    take_one(tmp_path / "x.snap", calls.pid)
    assert os.waitid(os.P_PID, calls.pid, os.WSTOPPED | os.WCONTINUED | os.WEXITED | os.WNOHANG) is None


def test_no_stopped_thread_and_no_child_is_left(tmp_path: Path) -> None:
    with running_program("threads.c", "50") as victim:
        victim.wait_asleep()
        threads = victim.threads()
        for number in range(3):
            take_one(tmp_path / f"{number}.snap", victim.pid)
            assert untouched(victim)
        assert victim.threads() == threads


def test_a_computation_goes_on_unharmed(tmp_path: Path) -> None:
    # Given a thread with all its state in registers, general, floating point and vector ones
    with running_program("compute.c", flags=["-O2", "-lm"]) as victim:
        for number in range(4):
            take_one(tmp_path / f"{number}.snap", victim.pid)
        before = counts(victim, "")["rounds"]
        wait_until(lambda: counts(victim, "")["rounds"] > before, "it computes on")
        assert counts(victim, "")["wrong"] == 0


def test_threads_that_come_and_go_meanwhile_do_no_harm(tmp_path: Path) -> None:
    with running_program("churn.c") as victim:
        for number in range(5):
            process = take_one(tmp_path / f"{number}.snap", victim.pid)
            names = process.linux_names()
            # A thread that had ended before the stop is none of the snapshot's
            assert [tid for tid in process.threads() if f"task/{tid}/regs" not in names] == []
        before = int(victim.ask("count")[0][0])
        wait_until(lambda: int(victim.ask("count")[0][0]) > before + 100, "it goes on making threads")
        wait_until(lambda: tracer_of(victim.pid) == 0, "nobody traces it")


@pytest.mark.parametrize("options", [(), ("--fork",)])
@pytest.mark.parametrize("moment", range(0, 24, 2))
def test_a_target_that_ends_meanwhile_is_said_to_miss_what_it_misses(
    tmp_path: Path, moment: int, options: tuple[str, ...]
) -> None:
    """Killed so many ms after it was stopped: while it is looked at, while it is read, or later."""
    with running_program("large.c", "64") as victim:
        size = _resident(victim.pid)
        process = start("snap", *options, "-o", tmp_path / "x.snap", victim.pid)
        while tracer_of_or_none(victim.pid) == 0 and process.poll() is None:
            pass
        time.sleep(moment / 1000)
        victim.popen.kill()
        result = finish(process)
    assert len([line for line in result.lines if not line.startswith(" ")]) <= 3, result.err
    if result.status:
        result.expect(1)
        assert "ended before" in result.err or "was killed" in result.err, result.err
    else:
        with open_snapshot(str(tmp_path / "x.snap")) as snapshot:
            areas = snapshot.process(victim.pid).areas()
        stored = sum(area.end - area.start for area in areas if area.kind in ("stored", "text"))
        assert stored > size - (1 << 20), "what it says nothing of is there"


def _resident(pid: int) -> int:
    """The bytes of a process's own memory."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("RssAnon:")[2].split()[0]) << 10


def tracer_of_or_none(pid: int) -> int:
    """Who traces a process, -1 once it is gone."""
    try:
        return tracer_of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return -1


@contextmanager
def counting(mibs: int) -> Iterator[Victim]:
    """A program with much memory and a thread that counts; at the end it must still count."""
    with running_program("large.c", str(mibs)) as victim:
        yield victim
        wait_until(lambda: tracer_of(victim.pid) == 0, "nobody traces it any more")
        assert victim.popen.poll() is None
        assert untouched(victim)
        before = count_of(victim)
        wait_until(lambda: count_of(victim) > before, "it counts on")


def count_of(victim: Victim) -> int:
    victim.send("count")
    return int(victim.readline())


def when_it_stands(victim: Victim, process: subprocess.Popen[bytes]) -> None:
    """Wait until the target is stopped by snap."""
    wait_until(lambda: tracer_of(victim.pid) != 0 or process.poll() is not None, "snap stops it")


def test_killed_at_random_moments(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    output = tmp_path / "x.snap"
    with counting(256) as victim:
        seconds = full_run(victim, tmp_path / "full.snap")
        for _ in range(6):
            process = start("snap", "-o", output, victim.pid)
            try:
                process.wait(moments.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.kill()
            status = finish(process).status
            if output.exists():
                # Then it was done before the signal came, or it had all but its last words.
                read_snapshot(output)
                output.unlink()
            else:
                assert status == -signal.SIGKILL, f"seed {seed}"
            wait_until(lambda: untouched(victim), f"it runs on (seed {seed})")


def full_run(victim: Victim, output: Path) -> float:
    """How many seconds a snapshot takes that nothing disturbs."""
    begin = time.monotonic()
    snap("-o", output, victim.pid).expect(0)
    return time.monotonic() - begin


def test_killed_while_the_target_stands(tmp_path: Path) -> None:
    with counting(64) as victim:
        for _ in range(3):
            process = start("snap", "-o", tmp_path / "x.snap", victim.pid)
            when_it_stands(victim, process)
            process.kill()
            assert finish(process).status == -signal.SIGKILL
            assert not (tmp_path / "x.snap").exists()
            wait_until(lambda: untouched(victim), "it runs on")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("compressed", [[], ["-z"]], ids=["plain", "compressed"])
def test_interrupted_in_the_middle(tmp_path: Path, number: int, status: int, compressed: list[str]) -> None:
    with counting(64) as victim:
        process = start("snap", *compressed, "-o", tmp_path / "x.snap", victim.pid)
        when_it_stands(victim, process)
        process.send_signal(number)
        result = finish(process)
        wait_until(lambda: untouched(victim), "it runs on")
    result.expect(status)
    assert len(result.lines) <= 1
    assert list(tmp_path.iterdir()) == []


def test_interrupted_while_it_still_writes(tmp_path: Path) -> None:
    # Given a pipe that nobody reads from: the snapshot can't end
    with counting(16) as victim:
        process = start("snap", "--json", victim.pid)
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        finish(process)


def when_it_is_ours(process: subprocess.Popen[bytes]) -> None:
    """Our first module has set Python's handler for ^C aside, or more has happened."""

    def catches() -> bool:
        status = Path(f"/proc/{process.pid}/status").read_text()  # proc_pid_status(5)
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1)

    def is_further() -> bool:
        return "_ctypes" in Path(f"/proc/{process.pid}/maps").read_text() or process.poll() is not None

    wait_until(lambda: catches() or is_further(), "Python starts")
    wait_until(lambda: not catches() or is_further(), "we start")


def test_interrupted_while_it_still_loads(tmp_path: Path) -> None:
    with counting(1024) as victim:  # much to do, so that it has not ended when a busy machine wakes us late
        for number in range(24):
            process = start("snap", "-o", tmp_path / "x.snap", victim.pid)
            when_it_is_ours(process)
            # One moment after the other of loading, which takes a tenth of a second
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(number * 0.005)
            process.send_signal(signal.SIGINT)
            result = finish(process)
            result.expect_no_crash()
            # A shell reports 130 for the one as for the other.
            assert result.status in (130, -signal.SIGINT), result.err
            assert list(tmp_path.iterdir()) == []


def test_interrupted_at_any_moment_up_to_its_end() -> None:
    began = time.monotonic()
    snaptui_command("psu", "--all").expect(0)
    whole = time.monotonic() - began
    statuses = set()
    for number in range(24):
        process = start("psu", "--all")
        when_it_is_ours(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(number / 20 * whole)
        process.send_signal(signal.SIGINT)
        result = finish(process)
        result.expect_no_crash()
        statuses.add(result.status)
    assert statuses <= {0, 130, -signal.SIGINT}
    assert len(statuses) > 1


def test_interrupts_that_are_ignored_stay_so(tmp_path: Path) -> None:
    """As those of a shell's background job, or under nohup(1)."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with counting(64) as victim:
            process = start("snap", "-o", tmp_path / "x.snap", victim.pid)
            while process.poll() is None:
                process.send_signal(signal.SIGINT)
                time.sleep(0.005)
            finish(process).expect(0)
    finally:
        signal.signal(signal.SIGINT, before)


def test_interrupted_before_anything_was_taken_keeps_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "x.snap"
    old.write_bytes(b"what was there")
    with counting(64) as victim:
        process = start("snap", "-o", old, victim.pid)
        when_it_stands(victim, process)
        process.send_signal(signal.SIGINT)
        finish(process).expect(130)
    assert old.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [old]


def test_the_file_is_private_and_has_no_name_before_it_is_complete(tmp_path: Path) -> None:
    with counting(64) as victim:
        process = start("snap", "-o", tmp_path / "x.snap", victim.pid)
        when_it_stands(victim, process)
        seen = (tmp_path / "x.snap").exists()
        finish(process).expect(0)
    assert not seen
    assert (tmp_path / "x.snap").stat().st_mode & 0o7777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["x.snap"]


def test_control_z_does_not_leave_the_target_standing(tmp_path: Path) -> None:
    with counting(256) as victim:
        with start("snap", "-o", tmp_path / "x.snap", victim.pid) as process:
            wait_until(lambda: tracer_of(victim.pid), "the victim is traced")
            process.send_signal(signal.SIGTSTP)
            assert finish(process).status == 0
        assert (tmp_path / "x.snap").exists()


def test_snap_needs_little_memory_itself(tmp_path: Path) -> None:
    # DESIGN: under 300 MB and 24 bytes for each distinct page
    with counting(256) as victim:
        # Measured by a small process in between: until it calls execve, a child has its parent's memory.
        measure = (
            "import resource, subprocess, sys\n"
            "subprocess.run(sys.argv[1:], check=True)\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        )
        argv = [sys.executable, "-c", measure, *command("snap", "-o", tmp_path / "x.snap", victim.pid)]
        kibibytes = int(subprocess.run(argv, check=True, capture_output=True).stdout)
    pages = read_snapshot(tmp_path / "x.snap").pages["r"]
    assert kibibytes * 1024 < 300_000_000 + 24 * pages
