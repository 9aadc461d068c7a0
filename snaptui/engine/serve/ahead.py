"""Reading ahead: who reads a file from one end to the other gets it out of blocks that are there already.

Making 8 KiB of a process's memory costs 15 us, 256 KiB 60 us, 1 MiB 250 us, and a slice of a block that was
made before 1 us. So when reads follow each other, whole blocks are made. Who serves small reads makes the
next block when an answer is sent and the client is still waking up (`preparation`): another thread would
contend for the interpreter. Large reads are worth the thread.
Reads here and there make exactly what they ask for.

What is in a block was read, and seen to be unchanged, before any of it is given away: as good as when
each read had asked for itself.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

import numpy as np

from snaptui.engine.errors import SnapError

if TYPE_CHECKING:
    from snaptui.engine.serve.nodes import StoredFile
    from snaptui.engine.snapfile.direct import Extents

_FIRST: Final = 64 << 10
"""Bytes of the first block, should it be the only one. Each further one is larger, so that what was made
and is not asked for is never more than a few times what was."""
_GROWTH: Final = 4
_LARGEST: Final = 1 << 20
"""Bytes of a block; twice as much is no faster."""
_WORTH_IT: Final = 256 << 10
"""Bytes of a read from which on the thread makes the blocks."""
_MOST_HOLDERS: Final = 16
"""Open files that have blocks (three each): 48 MiB. Who asks next takes those of who asked first."""


class _Block:
    """Bytes of a file, from `start` on."""

    __slots__ = ("size", "start", "view")

    def __init__(self, start: int, view: memoryview) -> None:
        self.start = start
        self.view = view
        self.size = len(view)


_NONE: Final = _Block(0, memoryview(b""))


class _Making:
    """A block that is to be made, by whoever comes first: the thread for it, or who needs it now."""

    def __init__(self, file: StoredFile, start: int, size: int) -> None:
        self.start = start
        self.size = size
        self._file = file
        self._taken = threading.Lock()
        self._made = threading.Event()
        self._block = _NONE

    def make(self) -> None:
        """Make it, if nobody does so yet."""
        if not self._taken.acquire(blocking=False):
            return
        try:
            content = np.empty(self.size, dtype=np.uint8)
            count = self._file.read_into(self.start, content)
            self._block = _Block(self.start, content.data[:count])
        except SnapError:
            pass  # who asks for these very bytes gets the error, or what there is before it
        finally:
            self._made.set()

    def result(self) -> _Block:
        """The block; an empty one at the end of the file, and where it could not be made."""
        self.make()
        self._made.wait()
        return self._block


class Ahead:
    """The thread that makes blocks, and who has any. One serves all open files of a tree."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Making | None] = SimpleQueue()  # None: there will be no more
        self._thread: threading.Thread | None = None
        self._holders: deque[weakref.ref[Reader]] = deque()
        self.busy = False
        """The thread has something to do."""

    def begin(self, making: _Making) -> None:
        """Have a block made soon."""
        if self._thread is None:
            self._start()
        self.busy = True
        self._jobs.put(making)

    def close(self) -> None:
        """Make no more, and return when nothing of any file is being read by the thread.

        What it reads is closed next: a descriptor's number may be another file's by then.
        """
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._jobs.put(None)
            thread.join()

    def hold(self, reader: Reader) -> None:
        """Note that a reader has blocks from now on; another may lose its own."""
        with self._lock:
            self._holders.append(weakref.ref(reader))
            oldest = self._holders.popleft()() if len(self._holders) > _MOST_HOLDERS else None
        if oldest is not None:
            oldest.drop()

    def _start(self) -> None:
        # Not before it is needed: a process that serves may fork between making the tree and serving it.
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (making := self._jobs.get()) is not None:
            making.make()
            self.busy = not self._jobs.empty()


class Reader:
    """One open file; may be asked from any thread."""

    def __init__(self, file: StoredFile, ahead: Ahead, prepares: bool) -> None:
        """`prepares`: whoever reads sees to the `preparation`, too."""
        self._file = file
        self._ahead = ahead
        self._prepares = prepares
        self._lock = threading.Lock()
        self._next = -1  # where the last read ended
        self._block = _NONE
        self._before = _NONE  # the kernel asks for two pieces at once, and the later may come first
        self._coming: _Making | None = None
        self._holds = False

    def read(self, offset: int, count: int) -> bytes | memoryview:
        """Up to `count` bytes, as `File.read` gives them."""
        block = self._block
        at = offset - block.start
        if at >= 0 and at + count <= block.size:
            self._next = offset + count
            return block.view[at : at + count]
        coming = self._coming
        if count > 0 and (offset == self._next or (coming is not None and coming.start == offset)):
            return self._read_on(offset, count)
        before = self._before
        at = offset - before.start
        if at >= 0 and at + count <= before.size:
            return before.view[at : at + count]
        self._next = offset + count
        return self._file.read(offset, count)

    def preparation(self) -> Callable[[], None] | None:
        """What makes the block that is likely to be asked for next, if that is to be made now."""
        coming = self._coming
        return coming.make if coming is not None and coming.start == self._next else None

    def direct(self) -> Extents | None:
        """The file's own."""
        return self._file.direct()

    def _read_on(self, offset: int, count: int) -> bytes | memoryview:
        """Read where the last read, or the last block, has ended."""
        in_thread = not self._prepares or count >= _WORTH_IT
        with self._lock:
            making, self._coming = self._coming, None
            # One for smaller reads will not do: a short answer is the end of the file to FUSE.
            if making is None or making.start != offset or making.size < count:
                making = self._making(offset, _FIRST, count)
            block = making.result()
            follows = offset == self._block.start + self._block.size
            if block.size:
                self._before, self._block = self._block, block
                if not self._holds:
                    self._holds = True
                    self._ahead.hold(self)
            self._next = offset + min(count, block.size)
            # If it is not full, there is the end, or a gap, and nothing to be made behind it.
            if block.size == making.size and (follows or count >= _FIRST):
                size = min(making.size * _GROWTH, _LARGEST)
                self._coming = self._making(offset + block.size, size, count)
                if in_thread:
                    self._ahead.begin(self._coming)
        return block.view[:count] if block.size else self._file.read(offset, count)

    def _making(self, start: int, size: int, count: int) -> _Making:
        """A block that reads of `count` bytes use up: none of them lies in two blocks."""
        return _Making(self._file, start, max(1, size // count) * count)

    def drop(self) -> None:
        """Give the blocks up, for others to have some."""
        self._block = self._before = _NONE
        self._coming = None
        self._holds = False
