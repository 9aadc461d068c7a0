"""The plain form of a snapshot that goes on: what nobody reads any more is freed, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from snaptui.engine.snapfile import spool
from snaptui.engine.snapfile.spool import Freeing, open_spool

MIB = 1 << 20
SIZE = 48 * MIB


@pytest.fixture
def filled() -> Iterator[int]:
    """A file in memory, where freeing is quick with every version of Linux."""
    fd = open_spool("/dev/shm")
    for _ in range(48):
        os.write(fd, b"x" * MIB)
    yield fd
    os.close(fd)


def test_what_is_behind_is_freed_and_what_is_ahead_stays(filled: int) -> None:
    freeing = Freeing(filled)
    freeing.up_to(MIB)
    assert os.fstat(filled).st_blocks * 512 == SIZE, "a little is not worth a call"
    freeing.up_to(20 * MIB + 5)
    assert os.fstat(filled).st_blocks * 512 == SIZE - 16 * MIB
    assert os.fstat(filled).st_size == SIZE
    assert os.pread(filled, 10, 16 * MIB - 5) == bytes(5) + b"x" * 5
    freeing.up_to(SIZE)
    assert os.fstat(filled).st_blocks == 0


class System(NamedTuple):
    release: str


@pytest.mark.parametrize(
    ("kind", "release", "is_quick"),
    [
        (0xEF53, "6.14.0-rc1", True),
        (0xEF53, "7.0", True),
        (0xEF53, "6.8.0-101-generic", False),
        (0xEF53, "6", False),
        (0xEF53, "unheard-of", False),
        (0x58465342, "6.18.1", False),  # XFS writes out first
    ],
)
def test_nothing_is_freed_where_it_would_be_written_to_the_disk_first(
    filled: int, monkeypatch: pytest.MonkeyPatch, kind: int, release: str, is_quick: bool
) -> None:
    real = spool._TMPFS
    monkeypatch.setattr(spool, "_TMPFS", 0 if kind != real else real)
    monkeypatch.setattr(spool, "_EXT4", real if kind == 0xEF53 else 0)
    monkeypatch.setattr(spool.os, "uname", lambda: System(release))
    Freeing(filled).up_to(SIZE)
    assert os.fstat(filled).st_blocks * 512 == (0 if is_quick else SIZE)
