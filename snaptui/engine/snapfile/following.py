"""Passing the bytes of a growing file on, piece by piece, in threads of their own.

Each thread reads a piece and makes of it what is to be passed on; whoever has the piece that is to be written
next writes it, and those behind it that are made. So all processors work where that takes long.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from snaptui.engine.progress import CancelToken, Progress, Sink
from snaptui.engine.snapfile.spool import Freeing

PIECE: Final = 1025 << 10
"""Bytes of a piece at most: a MiB of memory, with the flags of its pages."""

_AHEAD: Final = 4
"""Pieces that may be made before the one that is to be written next."""
_POLL: Final = 0.1  # seconds between looks at the cancel token and progress events

Make = Callable[[memoryview, "Piece"], bytes | memoryview]
"""What is passed on in the place of a piece, of which the content is given."""


class Piece(NamedTuple):
    """Some bytes of the file."""

    number: int
    start: int
    size: int
    """0: behind the last one, for what follows it."""
    backlog: int
    """Bytes that wait behind it already."""


class Passing(Protocol):
    """What becomes of the pieces."""

    threads: int
    whole: bool
    """Whether a piece waits until it is as large as it can be."""

    def maker(self) -> Make:
        """What makes of a piece what is passed on, for one thread."""

    def made(self, piece: Piece, size: int) -> None:
        """So many bytes were passed on in its place. Called in the order of the pieces."""

    def end(self) -> bytes:
        """What follows the last piece."""


class Target(Protocol):
    """Where the bytes go."""

    def write(self, data: bytes | memoryview) -> int: ...


class Unchanged:
    """Passes on what is there, at once."""

    threads = 1
    whole = False

    def maker(self) -> Make:
        return lambda content, _: content

    def made(self, piece: Piece, size: int) -> None:
        """There is nothing to remember."""

    def end(self) -> bytes:
        return b""


class Follower:
    """Follows the file `fd` as it grows, up to where `advance` says. `finish` it, or `stop` it."""

    def __init__(self, fd: int, target: Target, passing: Passing) -> None:
        self._fd, self._target, self._passing = fd, target, passing
        self._marks: deque[int] = deque()
        self._available = 0
        self._given = 0  # bytes in pieces given out, and so many pieces
        self._number = 0
        self._made: dict[int, tuple[Piece, bytes | memoryview]] = {}
        self._turn = 0  # the number of the piece to be written next
        self._is_writing = False
        self._passed = 0
        self._freeing = Freeing(fd)
        self._is_complete = self._has_ended = self._is_stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        # Daemons: a reader that never reads must not keep a cancelled snap from ending.
        self._threads = [
            threading.Thread(target=self._run, name="snap-follower", daemon=True)
            for _ in range(passing.threads)
        ]
        for thread in self._threads:
            thread.start()

    def advance(self, size: int, marks: Sequence[int] = ()) -> None:
        """The file now holds `size` bytes. `marks` are places in it, in order, where a piece should begin."""
        with self._changed:
            self._available = size
            self._marks += marks
            self._changed.notify_all()

    def check(self) -> None:
        """Raise what kept the bytes from being passed on."""
        if self._error is not None:
            raise self._error

    def finish(self, sink: Sink, cancel: CancelToken) -> None:
        """Wait until everything is passed on. Raises what went wrong, and `Cancelled`."""
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()
        for thread in self._threads:
            while thread.is_alive():
                cancel.check()
                sink(Progress("writing", self._passed, self._available))
                thread.join(_POLL)
        self.check()

    def stop(self) -> None:
        """Pass on no more."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_POLL)

    def _run(self) -> None:
        try:
            make = self._passing.maker()
            buffer = memoryview(bytearray(PIECE))
            while (piece := self._next()) is not None:
                self._pass_on(piece, make(self._read(piece, buffer), piece) if piece.size else b"")
        except BaseException as error:  # noqa: BLE001 (whatever it is, `check` raises it: nothing must be lost)
            self._error = error
            with self._changed:
                self._is_stopped = True
                self._changed.notify_all()

    def _next(self) -> Piece | None:
        """The next piece, as soon as it is there; None when there is none any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._is_complete or self._is_ready)
            if self._is_stopped or self._has_ended:
                return None
            size = self._next_size()
            piece = Piece(self._number, self._given, size, self._available - self._given - size)
            self._given, self._number = self._given + piece.size, self._number + 1
            self._has_ended = not piece.size
            return piece

    @property
    def _is_ready(self) -> bool:
        waiting = self._available - self._given
        return waiting >= PIECE or (waiting > 0 and not self._passing.whole)

    def _next_size(self) -> int:
        """Up to the last mark, unless that is too near."""
        mark = 0
        while self._marks and self._marks[0] <= self._given + PIECE:
            mark = self._marks.popleft()
        size = mark - self._given
        return size if size > PIECE // 2 else min(PIECE, self._available - self._given)

    def _read(self, piece: Piece, buffer: memoryview) -> memoryview:
        content = buffer[: piece.size]
        if os.preadv(self._fd, [content], piece.start) != piece.size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return content

    def _pass_on(self, piece: Piece, made: bytes | memoryview) -> None:
        """Write it and those that wait for it, or leave it to whoever writes the ones before it."""
        with self._changed:
            self._made[piece.number] = piece, made
            self._changed.wait_for(lambda: self._is_stopped or piece.number <= self._turn + _AHEAD)
            if self._is_writing:
                return
            self._is_writing = True
        while (next_one := self._next_made()) is not None:
            piece, made = next_one
            if piece.size:
                self._target.write(made)
                self._passing.made(piece, len(made))
            else:
                self._target.write(self._passing.end())
            with self._changed:
                self._turn, self._passed = self._turn + 1, self._passed + piece.size
                self._changed.notify_all()
            if self._is_complete:  # who wrote the file reads in it no more
                self._freeing.up_to(self._passed)

    def _next_made(self) -> tuple[Piece, bytes | memoryview] | None:
        with self._changed:
            next_one = None if self._is_stopped else self._made.pop(self._turn, None)
            self._is_writing = next_one is not None
            return next_one
