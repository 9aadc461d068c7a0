"""Receiving, for a client that waits for each answer before it asks again.

Such a client is back within microseconds, and to be woken up costs a thread more than most answers: 25 us
on a virtual machine whose processor had gone to sleep, where a read of 64 bytes takes 10. So when the
last message came soon, the thread stays awake for as long, and looks.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Final

_RECEIVE: Final = 8192
"""Bytes asked for at a time: hundreds of requests; nearly all are a few dozen bytes."""
_LOOK: Final = 50e-6
"""Seconds that a thread looks for the next message before it sleeps. So much is lost once, when a client
pauses: it does not look again before a message has come soon."""
_SOON: Final = 100e-6
"""Seconds, being woken up included, within which looking would have found the message."""
_DO_NOT_WAIT: Final = int(socket.MSG_DONTWAIT)

_looking = threading.Lock()
"""One thread of the process looks, the others sleep: each would keep the interpreter from the rest."""


class Inbox:
    """What a socket receives: for one thread at a time."""

    def __init__(self, client: socket.socket) -> None:
        self._socket = client
        self._soon = False  # the last message came soon
        self._may_look = len(os.sched_getaffinity(0)) > 1  # else only the client would be kept from running

    def receive(self, may_look: bool) -> bytes:
        """Some bytes; none at the end. Raises OSError.

        `may_look`: before it sleeps. It must not while another thread has work for the same interpreter.
        """
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
