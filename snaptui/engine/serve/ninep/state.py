"""What a session remembers between messages: its fids, and the requests that are under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import py9p.messages as p9

from snaptui.engine.errors import SnapError
from snaptui.engine.serve.ninep import errors, messages
from snaptui.engine.serve.ninep.errors import RequestError
from snaptui.engine.serve.ninep.messages import Buffers
from snaptui.engine.serve.nodes import Node, Opened, Tree

FIRST_MSIZE: Final = 8192
"""Bytes: the limit before a Tversion was answered, so for that message itself."""

MAX_FIDS: Final = 65536
"""Of one connection: some 20 MB. `find` over a mount of a large snapshot holds a few thousand."""


class Fid:
    """A client's handle on a node, and on how it got there: 9P's `..` goes back by that way."""

    __slots__ = ("file", "index", "listing", "node", "offset", "opened", "path")

    def __init__(self, path: tuple[Node, ...]) -> None:
        self.path = path
        """From the root to the node."""
        self.node = path[-1]
        self.opened = False
        self.file: Opened | None = None
        """What reads an open file; None unless it is one."""
        self.listing: Sequence[Node] = ()
        """An open directory's entries."""
        self.index = 0
        """The first entry that is not read yet."""
        self.offset = 0
        """Where the next read of the directory has to start."""


class Request:
    """A request from its start to its answer."""

    # Defaults of the class and no slots: made twice as fast, and one is made for each message.
    message: p9.Message | None = None
    job: Callable[[], Any] | None = None
    """What may take long, and is done without the session's lock."""
    result: Any = None
    """What the job returned."""
    answer: Callable[[], Buffers] | None = None
    """Applies the request and makes its answer; it has the lock."""
    error: str | None = None
    tracked = False
    """Its tag is taken until it is answered."""
    flushed = False

    def __init__(self, kind: int, tag: int) -> None:
        self.kind = kind
        self.tag = tag

    def preparation(self) -> Callable[[], None] | None:
        """What may take long, and is to be done for the next request, when this one is answered."""
        return None

    def perform(self) -> None:
        """Do the job, if there is one; whatever goes wrong becomes the answer."""
        if self.job is None:
            return
        try:
            self.result = self.job()
        except (RequestError, SnapError) as error:
            self.error = str(error)
        except OSError as error:
            self.error = f"{errors.IO}: {error.strerror or error}"


class FileRead(Request):
    """A read of an open file: the hot one, so it is made without closures."""

    def __init__(self, tag: int, file: Opened, offset: int, count: int) -> None:
        self.kind = messages.TREAD
        self.tag = tag
        self.tracked = True
        self._file = file
        self._offset = offset
        self._count = count

    def job(self) -> bytes | memoryview:
        """The bytes; no more than were asked for, or the message would break."""
        return self._file.read(self._offset, self._count)[: self._count]

    def preparation(self) -> Callable[[], None] | None:
        """What the file has to do for the next one."""
        return self._file.preparation()

    def answer(self) -> Buffers:
        """Rread."""
        return messages.rread(self.tag, self.result)


class State:
    """One session. Whoever reads or changes it holds the session's lock."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.negotiated = False
        self.msize = FIRST_MSIZE
        """Bytes: the size of the largest message, in either direction."""
        self.fids: dict[int, Fid] = {}
        self.pending: dict[int, Request] = {}
        """By tag: what has no answer yet."""
        self.being_read: dict[int, Opened] = {}
        """By fid, those files of which something has been read."""
        self.changes = 0
        """Of `being_read`: how many there were."""

    @property
    def largest_read(self) -> int:
        """Bytes of data that fit an answer."""
        return self.msize - messages.READ_OVERHEAD

    def fid(self, number: int) -> Fid:
        """The client's fid of that number. Raises RequestError."""
        fid = self.fids.get(number)
        if fid is None:
            raise RequestError(errors.UNKNOWN_FID)
        return fid

    def check_free(self, number: int) -> None:
        """Raise RequestError unless a fid of that number can be made."""
        if number == messages.NO_FID:
            raise RequestError(errors.UNKNOWN_FID)
        if number in self.fids:
            raise RequestError(errors.DUPLICATE_FID)
        if len(self.fids) >= MAX_FIDS:
            raise RequestError(errors.MANY_FIDS)

    def note_read(self, number: int, file: Opened) -> None:
        """Something of a file is being read for the first time."""
        self.being_read[number] = file
        self.changes += 1

    def forget(self, number: int) -> None:
        """Free a fid, which there is."""
        del self.fids[number]
        if self.being_read.pop(number, None) is not None:
            self.changes += 1

    def flush(self, tag: int) -> None:
        """Take care that no answer is sent to the request of that tag, if it is under way."""
        request = self.pending.pop(tag, None)
        if request is not None:
            request.flushed = True

    def reset(self, request: Request) -> None:
        """Forget all fids and all requests under way but this one, as version(5) has it."""
        self.negotiated = False
        self.msize = FIRST_MSIZE
        self.fids.clear()
        self.being_read.clear()
        self.changes += 1
        del self.pending[request.tag]
        for tag in tuple(self.pending):
            self.flush(tag)
        self.pending[request.tag] = request
