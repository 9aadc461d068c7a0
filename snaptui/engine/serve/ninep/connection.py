"""One client's socket, served by blocking threads: one that leads, and others only when a read is slow.

The thread that receives a message also does what it asks for, which is the fastest there is for a client
that waits for each answer (no hand-over between threads). When that takes long and more messages are
waiting, `relieve` gives the lead to a new thread, and the old one ends after its answer.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final, Protocol

from snaptui.engine.serve.ninep import messages
from snaptui.engine.serve.ninep.errors import Malformed
from snaptui.engine.serve.ninep.inbox import open_inbox
from snaptui.engine.serve.ninep.messages import Buffers
from snaptui.engine.serve.ninep.session import Session
from snaptui.engine.serve.nodes import Tree

_SIZE: Final = struct.Struct("<I")
_NO_SIGNAL: Final = int(socket.MSG_NOSIGNAL)  # a client that is gone is no reason to die of SIGPIPE
_MOST_THREADS: Final = 16
_MOST_BYTES: Final = 4 << 20
"""Of answers that one client may have under way: with an msize of 1 MiB, that makes 4 threads."""


class Watch(Protocol):
    """Who calls `relieve` now and then, as long as jobs are under way."""

    asleep: bool

    def wake(self) -> None:
        """Start looking again."""


class Connection:
    """A client that is connected."""

    def __init__(
        self, client: socket.socket, tree: Tree, watch: Watch, ended: Callable[[Connection], None]
    ) -> None:
        self._socket = client
        self._inbox = open_inbox(client)
        self._ahead = tree.ahead
        self._session = Session(tree)
        self._lock = self._session.lock
        self._watch = watch
        self._ended = ended
        self._changes = 0  # of the files that the inbox knows
        self._rest = b""  # received, and not yet taken: the leader's
        self._turn = 0  # the leader's number
        self._threads = 0
        self._job = 0  # counts jobs
        self._working = False  # the leader is at one
        self._seen = 0  # the job that `relieve` saw last

    def start(self) -> None:
        """Serve, in a thread. Raises RuntimeError when there can be no more threads."""
        with self._lock:
            self._start_leader()

    def hang_up(self) -> None:
        """End the connection: whoever waits to receive or to send is told so."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def busy(self) -> bool:
        """The leader is at something that may take long."""
        return self._working

    def relieve(self) -> None:
        """If the leader is at the job it was at last time, and a message waits, let another thread lead."""
        job = self._job if self._working else 0
        stuck = job and job == self._seen
        self._seen = job
        if not stuck or self._threads >= self._most_threads() or not self._has_input():
            return
        # Not waited for: a client that does not read its answers holds this lock.
        if self._lock.acquire(blocking=False):
            try:
                if self._working and self._job == job:
                    with contextlib.suppress(RuntimeError):  # no thread to be had: it is tried again
                        self._start_leader()
                        self._working = False
            finally:
                self._lock.release()

    def _most_threads(self) -> int:
        return max(2, min(_MOST_THREADS, _MOST_BYTES // self._session.msize))

    def _has_input(self) -> bool:
        poll = select.poll()
        try:
            poll.register(self._socket, select.POLLIN)
        except ValueError:  # closed just now
            return False
        return bool(self._rest or poll.poll(0))

    def _start_leader(self) -> None:
        """Start a thread that leads from now on. The lock is held."""
        turn = self._turn + 1
        thread = threading.Thread(target=self._run, args=(turn,), name="9P client", daemon=True)
        self._threads += 1
        try:
            thread.start()
        except RuntimeError:
            self._threads -= 1
            raise
        self._turn = turn

    def _run(self, turn: int) -> None:
        """The life of a thread."""
        finished = False
        try:
            self._lead(turn)
            finished = True
        except (OSError, Malformed):
            pass  # the client is gone, or cannot be understood
        finally:
            if not finished:
                self.hang_up()
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._threads -= 1
            last = not self._threads
        if last:
            self._ended(self)  # first: from then on nobody calls `hang_up`, whose descriptor may be another's
            self._inbox.close()
            self._socket.close()

    def _lead(self, turn: int) -> None:
        """Serve until the client sends no more, or another thread leads. Raises OSError, Malformed."""
        session, lock, watch = self._session, self._lock, self._watch
        while (message := self._receive()) is not None:
            with lock:
                request = session.start(message)
                if request.job is None:
                    self._send(session.respond(request))
                    continue
                self._job += 1
                self._working = True
            if watch.asleep:
                watch.wake()
            request.perform()
            with lock:
                if self._turn == turn:
                    self._working = False
                self._send(session.respond(request))
                if self._turn != turn:
                    return
                prepare = request.preparation()
                self._working = prepare is not None
            if prepare is not None:
                prepare()
                with lock:
                    if self._turn != turn:
                        return
                    self._working = False

    def _receive(self) -> bytes | None:
        """The next message, whole; None when the client has sent its last. Raises OSError, Malformed."""
        data = self._rest or self._inbox.receive(not self._ahead.busy, self._answerable())
        # Nearly always this is one message and nothing else.
        if messages.HEADER_SIZE <= len(data) <= self._session.msize and _SIZE.unpack_from(data)[0] == len(
            data
        ):
            self._rest = b""
            return data
        return self._receive_on(data)

    def _answerable(self) -> int:
        """Bytes at most of the reads that the inbox may answer; 0 while other threads may answer, too."""
        session = self._session
        if self._threads > 1 or session.pending:
            return 0
        if self._changes != session.changes:
            self._changes = session.changes
            self._inbox.know(session.being_read)
        return session.largest_read

    def _receive_on(self, data: bytes) -> bytes | None:
        """The next message, which starts with `data` or lies in them."""
        while len(data) < _SIZE.size:
            more = self._inbox.receive(not self._ahead.busy, 0)
            if not more:
                return None
            data += more
        (size,) = _SIZE.unpack_from(data)
        if not messages.HEADER_SIZE <= size <= self._session.msize:
            raise Malformed
        if size <= len(data):
            self._rest = data[size:]
            return data[:size]
        self._rest = b""
        whole = bytearray(size)
        whole[: len(data)] = data
        view = memoryview(whole)[len(data) :]
        while view:
            count = self._socket.recv_into(view)
            if not count:
                return None
            view = view[count:]
        return bytes(whole)

    def _send(self, buffers: Buffers) -> None:
        """Send an answer, whole; the lock is held. Raises OSError."""
        if not buffers:
            return
        missing = -self._socket.sendmsg(buffers, (), _NO_SIGNAL)
        for buffer in buffers:
            missing += len(buffer)
        if missing:
            rest = memoryview(b"".join(buffers))[-missing:]
            while rest:
                rest = rest[self._socket.send(rest, _NO_SIGNAL) :]
