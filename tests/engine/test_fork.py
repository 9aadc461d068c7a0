"""Copies of processes: what they are, and that they end with whoever wanted them."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.engine.errors import Cancelled
from snaptui.engine.progress import CancelToken, Event, Paused, Warned, ignore
from snaptui.engine.snapfile.encoder import Rows
from snaptui.engine.snapfile.mappings import parse_maps
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.snapfile.writer import SnapshotWriter
from snaptui.engine.take.forked import ForkedTargets
from snaptui.engine.take.forker import Copied
from snaptui.engine.take.images import TextImage, find_images
from snaptui.engine.take.layout import layout
from snaptui.engine.take.memory import CHUNK, MemoryReader
from tests.helpers.live import read_memory, twins
from tests.helpers.victims import Victim, running_program, running_python, state_of, tracer_of, wait_until

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="copies are made on x86-64 alone")


def image_of(pid: int) -> TextImage:
    return find_images(pid, pid, parse_maps(Path(f"/proc/{pid}/maps").read_bytes()), ignore, {})


@contextlib.contextmanager
def copied(*victims: Victim) -> Iterator[tuple[ForkedTargets, list[Copied]]]:
    """The programs' copies, which stand as long as this lasts."""
    events: list[Event] = []
    with ForkedTargets([image_of(victim.pid) for victim in victims], all_memory=False) as targets:
        answer = targets.copy(events.append, CancelToken())
        assert not [event for event in events if isinstance(event, Warned)]
        assert [event.resumed for event in events if isinstance(event, Paused)] == [False, True]
        assert answer.pause > 0
        yield targets, list(answer.copied)


def has_ended(pid: int) -> bool:
    # What is left until its parent, which is not of ours, looks, is no process any more
    return state_of(pid) in ("", "Z")


def runs(victim: Victim) -> bool:
    """Whether the program's thread counts on."""

    def number() -> int:
        victim.send("")
        return int(victim.readline())

    first = number()
    wait_until(lambda: number() > first, "it counts on")
    return True


@pytest.fixture
def victim() -> Iterator[Victim]:
    with running_program("large.c", "16") as victim:
        yield victim


def test_a_copy_is_no_child_has_no_file_and_stands(victim: Victim) -> None:
    with copied(victim) as (_, (copy,)):
        assert copy.pid == victim.pid
        assert twins(victim.pid) == [copy.copy]
        assert Path(f"/proc/{victim.pid}/task/{victim.pid}/children").read_text() == ""
        assert list(Path(f"/proc/{copy.copy}/fd").iterdir()) == []
        assert state_of(copy.copy) == "t"
        # While the program itself runs, and nobody traces it
        assert tracer_of(victim.pid) == 0
        assert runs(victim)
    assert has_ended(copy.copy)


def test_a_copy_outlives_its_process(victim: Victim) -> None:
    # On one processor: its number is what the kernel notes in a thread's memory when it runs (rseq(2)).
    os.sched_setaffinity(victim.pid, {min(os.sched_getaffinity(victim.pid))})
    victim.send("")
    victim.readline()
    heap = next(m for m in parse_maps(Path(f"/proc/{victim.pid}/maps").read_bytes()) if m.size >= 16 << 20)
    before = read_memory(victim.pid, heap.start, heap.size)
    with copied(victim) as (_, (copy,)):
        victim.popen.kill()
        victim.popen.wait()
        assert read_memory(copy.copy, heap.start, heap.size) == before
    assert has_ended(copy.copy)


@pytest.mark.parametrize("encoder", ["native", "pure"])
def test_reading_a_copy_makes_it_no_larger(victim: Victim, tmp_path: Path, encoder: str) -> None:
    def unshared() -> int:
        lines = Path(f"/proc/{copy.copy}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) << 10

    with copied(victim) as (_, (copy,)):
        before = unshared()
        pieces, _files = copy.kept.plan(image_of(copy.copy), all_memory=False)
        stored = [piece for piece in pieces if piece.kind == "stored"]
        ranges = [(piece.start, piece.end) for piece in stored]
        for rows in layout(ranges, stored, CHUNK):
            assert isinstance(rows, Rows)
            if encoder == "pure":
                MemoryReader(copy.copy, lambda: mmap.mmap(-1, CHUNK)).read(rows)
        if encoder == "native":
            with open_output(str(tmp_path / "x.snap")) as output:
                writer = SnapshotWriter(output, "", expected_pages=1 << 16)
                if not writer.takes:
                    pytest.skip("there is no compiled code")
                writer.memory(copy.pid, [(start, end - start) for start, end in ranges])
                for rows in layout(ranges, stored, CHUNK):
                    assert isinstance(rows, Rows)
                    assert writer.take(copy.copy, rows).missed == []
        assert unshared() < before + (1 << 20)


def test_the_program_can_close_its_files_while_its_copy_lives() -> None:
    code = "import os, sys; print('ready'); sys.stdin.readline(); os.close(1); sys.stdin.readline()"
    with running_python(code) as victim, copied(victim) as (_, (copy,)):
        victim.send("close")
        # Then the end of its output is seen at once, which a descriptor of the copy would prevent
        assert victim.readline() == ""
        assert state_of(copy.copy) == "t"


def test_the_kernel_ends_a_copy_with_the_process_that_made_it(victim: Victim) -> None:
    with copied(victim) as (_, (copy,)):
        os.kill(tracer_of(copy.copy), signal.SIGKILL)
        wait_until(lambda: has_ended(copy.copy), "the copy dies")
        assert runs(victim)


def test_the_maker_does_not_heed_signals_that_are_for_snap(victim: Victim) -> None:
    with copied(victim) as (_, (copy,)):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(tracer_of(copy.copy), number)
        assert state_of(copy.copy) == "t"
        assert tracer_of(copy.copy) != os.getpid()


def test_cancelling_leaves_no_copy(victim: Victim) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with ForkedTargets([image_of(victim.pid)], all_memory=False) as targets, pytest.raises(Cancelled):
        targets.copy(ignore, cancel)
    assert twins(victim.pid) == []
    assert tracer_of(victim.pid) == 0


def test_a_process_that_has_ended_is_named(victim: Victim) -> None:
    events: list[Event] = []
    image = image_of(victim.pid)
    with ForkedTargets([image], all_memory=False) as targets:
        victim.popen.kill()
        victim.popen.wait()
        assert targets.copy(events.append, CancelToken()).copied == ()
    (warning,) = [event for event in events if isinstance(event, Warned)]
    assert warning.pid == victim.pid
    assert "ended" in warning.message
