"""Which memory is saved: the page table as both kernel interfaces tell it, and the joining of segments."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

import pytest

from snaptui.engine.progress import Event, Warned
from snaptui.engine.snapfile import PAGE, open_snapshot
from snaptui.engine.snapfile.joining import join
from snaptui.engine.snapfile.mappings import parse_maps
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.take.capture import capture
from snaptui.engine.take.options import CaptureOptions
from snaptui.engine.take.pagemap import Pagemap
from tests.helpers.victims import running_c, wait_until

MIB = 1 << 20

SPARSE = r"""
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
    size_t size = 64 << 20;
    char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile char sum = 0;
    for (size_t at = 0; at < size; at += 3 * 4096) p[at] = 1;
    for (size_t at = 4096; at < size; at += 9 * 4096) sum += p[at];
    printf("ready\n");
    printf("%p\n", (void *)p);
    fflush(stdout);
    pause();
}
"""


def coalesced(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in runs:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def test_old_and_new_kernels_tell_the_same_pages() -> None:
    with running_c(SPARSE) as victim:
        start = int(victim.readline(), 16)
        victim.stop()
        new, old = Pagemap(victim.pid), Pagemap(victim.pid, scan=False)
        try:
            found = list(new.runs(start, start + 64 * MIB))
            written = coalesced([(run.start, run.end) for run in found if not run.is_zero])
            assert written == [(at, at + 4096) for at in range(start, start + 64 * MIB, 3 * 4096)]
            everything = coalesced([(run.start, run.end) for run in found])
            assert (
                coalesced([(run.start, run.end) for run in old.runs(start, start + 64 * MIB)]) == everything
            )
            whole = [m for m in parse_maps(Path(f"/proc/{victim.pid}/maps").read_bytes()) if m.end < 1 << 47]
            for mapping in whole:
                one, other = (list(m.runs(mapping.start, mapping.end)) for m in (new, old))
                private = [
                    coalesced([(r.start, r.end) for r in runs if not r.is_file]) for runs in (one, other)
                ]
                assert private[0] == private[1], mapping
        finally:
            new.close()
            old.close()


@pytest.mark.parametrize("scan", [True, False], ids=["PAGEMAP_SCAN", "entries"])
def test_what_is_looked_at_ahead_is_what_would_be_told_when_asked(scan: bool) -> None:
    with running_c(SPARSE) as victim:
        start = int(victim.readline(), 16)
        victim.stop()
        pagemap = Pagemap(victim.pid, scan=scan)
        try:
            asked = list(pagemap.runs(start, start + 64 * MIB))
            pagemap.look_ahead(start, start + 64 * MIB)
            victim.popen.kill()
            victim.popen.wait()
            # What is told now was found then: the process has no page table any more.
            assert list(pagemap.runs(start, start + 64 * MIB)) == asked
            assert len(asked) > 1
        finally:
            pagemap.close()


def test_neighbours_are_told_together_what_each_is_told_alone() -> None:
    # Written pages on both sides of the border of two mappings are one region to the kernel.
    source = r"""
    #include <stdio.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <unistd.h>
    int main(void) {
        char *p = mmap(0, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(p + 4 * 4096, 1, 40 * 4096);
        mprotect(p + 8 * 4096, 8 * 4096, PROT_READ);
        mprotect(p + 20 * 4096, 4096, PROT_NONE);
        printf("ready\n%p\n", (void *)p);
        fflush(stdout);
        pause();
    }
    """
    with running_c(source) as victim:
        start = int(victim.readline(), 16)
        victim.stop()
        together, alone = Pagemap(victim.pid), Pagemap(victim.pid)
        try:
            maps = parse_maps(Path(f"/proc/{victim.pid}/maps").read_bytes())
            ranges = [(m.start, m.end) for m in maps if m.end < 1 << 47]
            together.look_at_neighbours(ranges)
            page = os.sysconf("SC_PAGE_SIZE")
            assert {start + k * page for k in (8, 16, 20, 21)} <= {at for at, _ in ranges}
            for place in ranges:
                assert list(together.runs(*place)) == list(alone.runs(*place))
        finally:
            together.close()
            alone.close()


def test_many_pieces_of_memory_are_not_looked_at_together() -> None:
    with running_c(SPARSE) as victim:
        start = int(victim.readline(), 16)
        victim.stop()
        with contextlib.closing(Pagemap(victim.pid)) as pages:
            pages.look_at_neighbours([(start, start + 32 * MIB), (start + 32 * MIB, start + 64 * MIB)])
            found = [
                run for half in (0, 32) for run in pages.runs(start + half * MIB, start + (half + 32) * MIB)
            ]
            assert sum(run.end - run.start for run in found if not run.is_zero) == -(-16384 // 3) * 4096


def test_sixteen_segments_or_fewer_stay_as_they_are() -> None:
    ranges = [(k << 30, (k << 30) + 4096) for k in range(16)]
    assert join(ranges, 0) == (ranges, 0)


def test_neighbours_are_joined_across_the_smallest_gaps() -> None:
    wide = [(k << 30, (k << 30) + 4096) for k in range(16)]
    near = [(start + 40960, start + 49152) for start, _ in wide]
    joined, too_costly = join(sorted(wide + near), 0)
    assert joined == [(start, start + 49152) for start, _ in wide]
    assert too_costly == 0


def test_gaps_that_would_cost_too_much_are_kept() -> None:
    ranges = [(k << 33, (k << 33) + 4096) for k in range(20)]
    ranges.append((ranges[-1][1] + 4096, ranges[-1][1] + 8192))
    joined, too_costly = join(ranges, 100 * MIB)
    # Nineteen gaps of 8 GiB; a gap of one page costs less than the header of a segment.
    assert joined == [*ranges[:19], (ranges[19][0], ranges[20][1])]
    assert too_costly == pytest.approx(4 * (8 << 30) / PAGE + 4, rel=1e-3)


def test_a_larger_file_may_spend_more_on_gaps() -> None:
    ranges = [(k * 600 * MIB, k * 600 * MIB + 4096) for k in range(26)]
    assert join(ranges, 100 * MIB)[1] > 0
    assert len(join(ranges, 1000 * MIB)[0]) == 16


def test_a_process_whose_main_thread_has_ended_is_saved(tmp_path: Path) -> None:
    program = r"""
    #include <stdio.h>
    #include <stdlib.h>
    #include <pthread.h>
    #include <unistd.h>
    static pthread_t leader;
    static char needle[] = "kept though the leader is gone";
    static void *other(void *unused) {
        pthread_join(leader, 0);
        printf("ready\n%p\n", (void *)needle);
        fflush(stdout);
        pause();
        return unused;
    }
    int main(void) {
        pthread_t thread;
        leader = pthread_self();
        pthread_create(&thread, 0, other, 0);
        pthread_exit(0);
    }
    """
    events: list[Event] = []
    with running_c(program, "-pthread") as victim:
        address = int(victim.readline(), 16)
        with open_output(str(tmp_path / "a.snap")) as output:
            result = capture([victim.pid], output, CaptureOptions(), sink=events.append)
    assert not [event for event in events if isinstance(event, Warned)]
    assert result.missing == ()
    with open_snapshot(str(tmp_path / "a.snap")) as snapshot:
        process = snapshot.process(victim.pid)
        assert process.read_memory(address, 30) == b"kept though the leader is gone"
        assert process.linux is not None
        assert len(process.linux.threads()) == 2
        assert process.read("regs")


def test_all_areas_together_are_all_mappings(tmp_path: Path) -> None:
    with running_c(SPARSE) as victim:
        victim.stop()
        maps = parse_maps(Path(f"/proc/{victim.pid}/maps").read_bytes())
        with open_output(str(tmp_path / "a.snap")) as output:
            capture([victim.pid], output, CaptureOptions())
    with open_snapshot(str(tmp_path / "a.snap")) as snapshot:
        areas = snapshot.process(victim.pid).areas()
    assert all(one.end <= other.start for one, other in itertools.pairwise(areas))
    assert sum(area.size for area in areas) == sum(mapping.size for mapping in maps)
    assert coalesced([(a.start, a.end) for a in areas]) == coalesced([(m.start, m.end) for m in maps])


def test_unread_buffers_do_not_hold_the_target_when_the_writer_fails(tmp_path: Path) -> None:
    def full(data: object) -> None:
        raise OSError(28, "full")

    with running_c(SPARSE) as victim, open_output(str(tmp_path / "a.snap")) as output:
        output.write = full  # type: ignore[method-assign]
        with pytest.raises(OSError, match="full"):
            capture([victim.pid], output, CaptureOptions())
        wait_until(lambda: victim.state() == "S", "it sleeps again")
        assert os.listdir(tmp_path) == []
