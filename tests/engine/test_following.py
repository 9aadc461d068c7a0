"""Passing on the bytes of a growing file."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.engine.errors import Cancelled
from snaptui.engine.progress import CancelToken, ignore
from snaptui.engine.snapfile.following import PIECE, Follower, Make, Piece
from snaptui.engine.snapfile.spool import open_spool
from tests.helpers.victims import wait_until

CONTENT = random.Random(1).randbytes(20 * PIECE + 12345)


class Target:
    def __init__(self) -> None:
        self.content = bytearray()
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, data: bytes | memoryview) -> int:
        self.may_write.wait()
        self.content += data
        return len(data)


class Reversing:
    """Turns each piece round, in a time that differs from piece to piece."""

    threads = 3
    whole = True

    def __init__(self, failure: BaseException | None = None) -> None:
        self.pieces: list[Piece] = []
        self.failure = failure

    def maker(self) -> Make:
        def make(content: memoryview, piece: Piece) -> bytes:
            time.sleep(random.random() / 200)
            if piece.number == 7 and self.failure is not None:
                raise self.failure
            return bytes(content[::-1])

        return make

    def made(self, piece: Piece, size: int) -> None:
        assert size == piece.size
        self.pieces.append(piece)

    def end(self) -> bytes:
        return f"{len(self.pieces)} pieces".encode()


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    yield fd
    os.close(fd)


def grow(follower: Follower, fd: int, marks: tuple[int, ...] = ()) -> None:
    """Let the file grow in steps of all sizes."""
    at = 0
    while at < len(CONTENT):
        step = random.randrange(3 * PIECE)
        os.pwrite(fd, CONTENT[at : at + step], at)
        end = min(len(CONTENT), at + step)
        follower.advance(end, [mark for mark in marks if at < mark <= end])
        at = end


def test_pieces_come_in_order_whichever_thread_is_first(fd: int) -> None:
    target, passing = Target(), Reversing()
    follower = Follower(fd, target, passing)
    grow(follower, fd)
    follower.finish(ignore, CancelToken())
    pieces = [CONTENT[piece.start : piece.start + piece.size] for piece in passing.pieces]
    assert b"".join(pieces) == CONTENT
    assert [piece.size for piece in passing.pieces[:-1]] == [PIECE] * 20
    assert bytes(target.content) == b"".join(piece[::-1] for piece in pieces) + b"21 pieces"


def test_a_piece_begins_at_a_mark_that_is_not_too_near(fd: int) -> None:
    near, last, beyond = PIECE + 100, 2 * PIECE - 10, 3 * PIECE + 5
    passing = Reversing()
    follower = Follower(fd, Target(), passing)
    grow(follower, fd, (PIECE // 4, near, PIECE + PIECE // 2 + 1000, last, beyond, 9 * PIECE - 500))
    follower.finish(ignore, CancelToken())
    starts = [piece.start for piece in passing.pieces]
    assert starts[:5] == [0, PIECE, last, 3 * PIECE - 10, 4 * PIECE - 10]
    assert 9 * PIECE - 500 in starts
    assert sum(piece.size for piece in passing.pieces) == len(CONTENT)


def test_the_file_is_freed_once_it_is_complete_and_not_before() -> None:
    """While it grows, who writes it reads in it whether pages are equal."""
    fd = open_spool("/dev/shm")
    target = Target()
    follower = Follower(fd, target, Reversing())
    grow(follower, fd)
    wait_until(lambda: len(target.content) >= 20 * PIECE, "all but the last piece")
    assert os.fstat(fd).st_blocks * 512 >= len(CONTENT)
    follower.finish(ignore, CancelToken())
    assert os.fstat(fd).st_blocks * 512 < len(CONTENT) - (15 << 20)
    os.close(fd)


def test_a_piece_tells_how_much_waits_behind_it(fd: int) -> None:
    passing = Reversing()
    os.pwrite(fd, CONTENT, 0)
    follower = Follower(fd, Target(), passing)
    follower.advance(len(CONTENT))
    follower.finish(ignore, CancelToken())
    for piece in passing.pieces:
        assert piece.backlog == len(CONTENT) - piece.start - piece.size


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), MemoryError(), SystemExit()])
def test_whatever_fails_is_raised_and_nothing_more_is_written(fd: int, failure: BaseException) -> None:
    target = Target()
    follower = Follower(fd, target, Reversing(failure))
    grow(follower, fd)
    with pytest.raises(type(failure)):
        follower.finish(ignore, CancelToken())
    assert len(target.content) <= 7 * PIECE
    with pytest.raises(type(failure)):
        follower.check()


def test_a_file_cut_short_meanwhile_is_an_error(fd: int) -> None:
    follower = Follower(fd, Target(), Reversing())
    follower.advance(10 * PIECE)
    with pytest.raises(OSError, match="Input/output error"):
        follower.finish(ignore, CancelToken())


def test_it_can_be_called_off_while_nobody_takes_what_it_writes(fd: int) -> None:
    target, cancel = Target(), CancelToken()
    target.may_write.clear()
    follower = Follower(fd, target, Reversing())
    grow(follower, fd)
    threading.Timer(0.2, cancel.cancel).start()
    with pytest.raises(Cancelled):
        follower.finish(ignore, cancel)
    follower.stop()
    target.may_write.set()
    for thread in follower._threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(target.content) <= PIECE, "what was being written, and no more"
