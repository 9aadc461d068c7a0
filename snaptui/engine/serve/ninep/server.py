"""The 9P server: accepts clients, gives each its connection, and looks after those that are slow."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

from snaptui.engine.serve.ninep import errors, messages
from snaptui.engine.serve.ninep.address import Listener
from snaptui.engine.serve.ninep.connection import Connection
from snaptui.engine.serve.nodes import Tree

_MOST_CONNECTIONS: Final = 256
"""Each takes a descriptor, of which a process commonly has 1024, and a thread."""
_MOST_REFUSED: Final = 32
"""Connections refused, whose clients may still have to read why."""
_REFUSED_SECONDS: Final = 2.0
_DRAIN: Final = 4096
_TICK: Final = 0.01
"""Seconds: a read that takes longer, and at most twice that, does not hold up those that come after it."""
_IDLE_TICKS: Final = 50
"""After half a second without a job nobody looks any more, so that an idle server does not wake up."""
_RETRY: Final = 0.1
"""Seconds to wait when the system has no descriptor left for one more client."""
_STOP_SECONDS: Final = 2.0
"""For connections to end when the server does; a read that hangs in the kernel is not waited for."""


class Server:
    """Serves one tree at some addresses, each client in threads of its own.

    `start`, then `wait`; `stop` from any thread, or `interrupt` from a signal handler. All threads are
    made by `start` and after it, so a process may fork between making a server and starting it.
    """

    def __init__(self, tree: Tree, listeners: Sequence[Listener]) -> None:
        self._tree = tree
        self._listeners = tuple(listeners)
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._all_ended = threading.Condition(self._lock)
        self._refused: dict[socket.socket, float] = {}  # with the time when it is closed at the latest
        self._closed_until = 0.0  # no descriptor was left
        self._thread: threading.Thread | None = None
        self._selector: selectors.BaseSelector
        self._wake_up = -1
        self._stopping = False
        self.asleep = False
        """Nobody looks after slow connections, for there were none; `wake` changes that."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as a 9P client dials."""
        return tuple(listener.address for listener in self._listeners)

    def start(self) -> None:
        """Serve, in the background."""
        self._selector = selectors.DefaultSelector()
        self._wake_up = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._wake_up, selectors.EVENT_READ)
        self._open_doors()
        self._thread = threading.Thread(target=self._run, name="9P server", daemon=True)
        self._thread.start()

    def interrupt(self) -> None:
        """Ask the server to end, and return at once. Safe in a signal handler."""
        self._stopping = True
        self.wake()

    def stop(self) -> None:
        """End the server: all connections, and its sockets in the file system."""
        self.interrupt()
        self.wait()

    def wait(self) -> None:
        """Return when the server has ended."""
        if self._thread is not None:
            self._thread.join()
        elif self._stopping:  # it never was started
            self._remove_sockets()

    def wake(self) -> None:
        """Look after slow connections again."""
        self.asleep = False
        with contextlib.suppress(OSError, ValueError):  # -1: not started yet, or ended already
            os.eventfd_write(self._wake_up, 1)

    def _open_doors(self) -> None:
        self._closed_until = 0.0
        for listener in self._listeners:
            listener.sock.setblocking(False)
            self._selector.register(listener.sock, selectors.EVENT_READ, listener)

    def _close_doors(self) -> None:
        """Accept nobody for a moment. Those who wait keep a listener readable: the loop would spin."""
        self._closed_until = time.monotonic() + _RETRY
        for listener in self._listeners:
            self._selector.unregister(listener.sock)

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._end()

    def _serve(self) -> None:
        idle = 0
        self.asleep = True
        while not self._stopping:
            for key, _ in self._selector.select(self._timeout()):
                if isinstance(key.data, Listener):
                    self._accept(key.data)
                elif key.fileobj == self._wake_up:
                    os.eventfd_read(self._wake_up)
                    idle = 0
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._drain(key.fileobj)
            now = time.monotonic()
            self._close_refused(now)
            if self._closed_until and now >= self._closed_until:
                self._open_doors()
            if not self.asleep:
                idle = 0 if self._relieve() else idle + 1
                # First asleep, then looked at once more: who gets busy in between sees `asleep`, or is seen.
                self.asleep = idle > _IDLE_TICKS
                if self.asleep and self._relieve():
                    self.asleep = False

    def _timeout(self) -> float | None:
        """Seconds until something is to be done that no descriptor tells of."""
        if not self.asleep:
            return _TICK
        return _RETRY if self._refused or self._closed_until else None

    def _relieve(self) -> bool:
        """Let quick requests pass slow ones. True when any connection is busy."""
        with self._lock:
            connections = tuple(self._connections)
        for connection in connections:
            connection.relieve()
        return any(connection.busy for connection in connections)

    def _accept(self, listener: Listener) -> None:
        if self._closed_until:
            return
        try:
            client, _ = listener.sock.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._close_doors()
            return  # or the client has gone again
        try:
            client.setblocking(True)
            if client.family != socket.AF_UNIX:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            refusal = "" if listener.allows(client) else errors.PERMISSION
        except OSError:
            client.close()
            return
        if not refusal and len(self._connections) >= _MOST_CONNECTIONS:
            refusal = errors.MANY_CONNECTIONS
        if refusal:
            self._refuse(client, refusal)
            return
        try:
            connection = Connection(client, self._tree, self, self._ended)
        except MemoryError:
            self._refuse(client, errors.MANY_CONNECTIONS)
            return
        with self._lock:
            self._connections.add(connection)
        try:
            connection.start()
        except RuntimeError:  # no more threads
            self._ended(connection)
            self._refuse(client, errors.MANY_CONNECTIONS)

    def _ended(self, connection: Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
            if not self._connections:
                self._all_ended.notify_all()

    def _refuse(self, client: socket.socket, why: str) -> None:
        """Answer the Tversion that is to come. The client gets time to read that before the end."""
        client.setblocking(False)
        try:
            client.send(b"".join(messages.rerror(messages.NO_TAG, why)), socket.MSG_NOSIGNAL)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            client.close()
            return
        if len(self._refused) >= _MOST_REFUSED:
            self._close_refused(next(iter(self._refused.values())))
        self._refused[client] = time.monotonic() + _REFUSED_SECONDS
        self._selector.register(client, selectors.EVENT_READ)

    def _drain(self, client: socket.socket) -> None:
        """Closed with bytes unread, a socket would tell its client of an error in place of our answer."""
        try:
            ended = not client.recv(_DRAIN)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._forget(client)

    def _forget(self, client: socket.socket) -> None:
        del self._refused[client]
        self._selector.unregister(client)
        client.close()

    def _close_refused(self, now: float) -> None:
        """Close those refused connections whose time is over."""
        for client in [client for client, deadline in self._refused.items() if deadline <= now]:
            self._forget(client)

    def _remove_sockets(self) -> None:
        for listener in self._listeners:
            listener.remove()

    def _end(self) -> None:
        self._remove_sockets()
        for client in tuple(self._refused):
            self._forget(client)
        with self._lock:
            for connection in self._connections:
                connection.hang_up()
            self._all_ended.wait_for(lambda: not self._connections, _STOP_SECONDS)
        self._selector.close()
        wake_up, self._wake_up = self._wake_up, -1
        os.close(wake_up)
