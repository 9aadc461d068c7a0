"""Processes forked from one, which share most of their memory: saved once, and not made to copy it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.engine.compiled import PURE
from tests.helpers.commands import snap
from tests.helpers.live import differences
from tests.helpers.strict_reader import read_snapshot
from tests.helpers.victims import Victim, running_c, state_of, wait_until

MIB = 1 << 20
SHARED = 32
FAMILY = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void) {
    size_t size = 32 << 20;
    unsigned *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t at = 0; at < size / 4; at++) p[at] = at * 2654435761u;
    int pids[4];
    for (int child = 0; child < 4; child++)
        if ((pids[child] = fork()) == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            // A page of its own in each MiB; and in one place more, so that runs are cut.
            for (size_t at = 0; at < size / 4; at += 1 << 18) p[at + 1024 * child] = child + 1;
            memset((char *)p + (9 << 20) + 4096 * 7, child, 300 << 10);
            for (;;) pause();
        }
    printf("ready\n");
    for (int child = 0; child < 4; child++) printf("%d ", pids[child]);
    printf("\n");
    fflush(stdout);
    for (;;) pause();
}
"""


@pytest.fixture
def family() -> Iterator[tuple[Victim, list[int]]]:
    """A process, and its children; all stopped."""
    with running_c(FAMILY) as victim:
        children = list(map(int, victim.readline().split()))
        wait_until(lambda: all(state_of(pid) == "S" for pid in children), "all children sleep")
        pids = [victim.pid, *children]
        for pid in pids:
            os.kill(pid, 19)  # SIGSTOP
        wait_until(lambda: all(state_of(pid) == "T" for pid in pids), "all stop")
        yield victim, pids


def proportional(pids: list[int]) -> int:
    """KiB that the processes take together (proc_pid_smaps(5), Pss)."""
    total = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
        total += int(words[words.index("Pss:") + 1])
    return total


@pytest.mark.parametrize("pure", ["0", "1"], ids=["compiled", "numpy"])
def test_what_they_share_is_saved_once_and_stays_shared(
    family: tuple[Victim, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pure: str
) -> None:
    monkeypatch.setenv(PURE, pure)
    _, pids = family
    before = proportional(pids)
    snap("-o", tmp_path / "f.snap", *pids).expect(0)
    # A copy of what they share, made for but one of them, would be 32 MiB.
    assert proportional(pids) < before + 4096
    snapshot = read_snapshot(tmp_path / "f.snap", nine_front=True)
    for pid in pids:
        assert differences(snapshot.processes[pid], pid) == []
    assert (tmp_path / "f.snap").stat().st_size < (SHARED + 12) * MIB


def test_one_alone_stays_shared_too(family: tuple[Victim, list[int]], tmp_path: Path) -> None:
    _, pids = family
    before = proportional(pids)
    snap("-o", tmp_path / "one.snap", pids[2]).expect(0)
    assert proportional(pids) < before + 4096
    snapshot = read_snapshot(tmp_path / "one.snap", nine_front=True)
    assert differences(snapshot.processes[pids[2]], pids[2]) == []
