"""Receiving, for a client that waits for each answer before it asks again.

Such a client is back within microseconds, and to be woken up costs a thread more than most answers: 25 us
on a virtual machine whose processor had gone to sleep, where a read of 64 bytes takes 10. So when the
last message came soon, the thread stays awake for as long, and looks.

Where there is compiled code, that does so, and it answers most reads of a plain snapshot at once, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
import time
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from snaptui.engine import compiled
from snaptui.engine.errors import SnapError

if TYPE_CHECKING:
    from snaptui.engine.serve.nodes import Opened
    from snaptui.engine.snapfile.direct import Extents

_RECEIVE: Final = 8192
"""Bytes asked for at a time: hundreds of requests; nearly all are a few dozen bytes."""
_LOOK: Final = 50e-6
"""Seconds that a thread looks for the next message before it sleeps. So much is lost once, when a client
pauses: it does not look again before a message has come soon."""
_SOON: Final = 100e-6
"""Seconds, being woken up included, within which looking would have found the message."""
_DO_NOT_WAIT: Final = int(socket.MSG_DONTWAIT)

_MOST_KNOWN: Final = 16
"""Files that compiled code answers for, of a connection: FILES of inbox.c."""

_looking = threading.Lock()
"""One thread of the process looks, the others sleep: each would keep the interpreter from the rest."""


class Inbox(Protocol):
    """What a socket receives: for one thread at a time."""

    def receive(self, may_look: bool, most: int) -> bytes:
        """Some bytes, all of them for the caller to answer; none at the end. Raises OSError.

        `may_look`: before it sleeps. It must not while another thread has work for the same interpreter.
        Reads may have been answered before, with `most` bytes each at most; with 0, none.
        """

    def know(self, files: Mapping[int, Opened]) -> None:
        """These are the files that may be read, by fid, and no others."""

    def close(self) -> None:
        """Receive no more. The socket stays open."""


def open_inbox(client: socket.socket) -> Inbox:
    """An inbox for a client that is connected. Raises MemoryError."""
    library = compiled.library()
    return PlainInbox(client) if library is None else AnsweringInbox(library, client)


class AnsweringInbox:
    """Receives, and answers, by compiled code (inbox.c), which needs no interpreter meanwhile."""

    def __init__(self, library: ctypes.CDLL, client: socket.socket) -> None:
        self._library = library
        self._handle = library.inbox_open(client.fileno())
        if not self._handle:
            raise MemoryError
        self._received = ctypes.create_string_buffer(_RECEIVE)
        self._known: list[Extents] = []

    def receive(self, may_look: bool, most: int) -> bytes:
        """As `Inbox.receive`."""
        size = self._library.inbox_receive(self._handle, self._received, _RECEIVE, most, may_look)
        if size < 0:
            raise OSError(-size, os.strerror(-size))
        return self._received.raw[:size]

    def know(self, files: Mapping[int, Opened]) -> None:
        """As `Inbox.know`; of many, the latest."""
        known = {}
        for number in list(files)[-_MOST_KNOWN:]:
            with contextlib.suppress(SnapError):
                known[number] = files[number].direct()
        found = {number: extents for number, extents in known.items() if extents is not None}
        numbers = array("I", found)
        pointers = array("Q", [ctypes.addressof(extents.struct) for extents in found.values()])
        self._library.inbox_know(
            self._handle, len(found), numbers.buffer_info()[0], pointers.buffer_info()[0]
        )
        self._known = [*found.values()]  # which keeps them in memory

    def close(self) -> None:
        """As `Inbox.close`."""
        self._library.inbox_close(self._handle)
        self._handle = None


class PlainInbox:
    """Receives without compiled code, and answers nothing."""

    def __init__(self, client: socket.socket) -> None:
        self._socket = client
        self._soon = False  # the last message came soon
        self._may_look = len(os.sched_getaffinity(0)) > 1  # else only the client would be kept from running

    def know(self, files: Mapping[int, Opened]) -> None:
        """Nothing to know."""

    def close(self) -> None:
        """Nothing to close."""

    def receive(self, may_look: bool, most: int) -> bytes:  # noqa: ARG002 - it answers nothing
        """As `Inbox.receive`."""
        if self._soon and may_look and _looking.acquire(blocking=False):
            try:
                data = self._look()
            finally:
                _looking.release()
            if data is not None:
                return data
        began = time.monotonic()
        data = self._socket.recv(_RECEIVE)
        self._soon = self._may_look and time.monotonic() - began < _SOON
        return data

    def _look(self) -> bytes | None:
        receive, now = self._socket.recv, time.monotonic
        end = now() + _LOOK
        while now() < end:
            try:
                return receive(_RECEIVE, _DO_NOT_WAIT)
            except BlockingIOError:
                os.sched_yield()  # the client may need this very processor
        return None
