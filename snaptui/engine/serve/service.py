"""A running server: one tree, mounted or at sockets or both, known to the registry as long as it lives."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from snaptui.engine.errors import SnapError
from snaptui.engine.serve.mount import Mount
from snaptui.engine.serve.nodes import Tree
from snaptui.engine.serve.registry import Entry, Registry, start_ticks

if TYPE_CHECKING:
    from snaptui.engine.serve.ninep import Listener, Server

_STOP: Final = "stop"
_UNMOUNTED: Final = "unmounted"


class Service:
    """What `snapfs` does once it is set up: `start`, `wait`, `stop`.

    The process may fork between making a service and starting it.
    """

    def __init__(
        self,
        tree: Tree,
        files: Sequence[str],
        *,
        mountpoint: str | None = None,
        after: bool = False,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._tree = tree
        self._files = tuple(os.path.abspath(file) for file in files)
        self._mountpoint = None if mountpoint is None else os.path.realpath(mountpoint)
        self._after = after
        self._listeners = tuple(listeners)
        self._registry = Registry()
        self._mount: Mount | None = None
        self._server: Server | None = None
        # Of all queues only this one may be put into by a signal handler (its put is reentrant).
        self._events: SimpleQueue[str] = SimpleQueue()

    def start(self) -> None:
        """Serve. Raises SnapError; then nothing is left behind."""
        try:
            with self._registry.locked():
                with contextlib.suppress(SnapError):  # what cannot be cleaned up is in nobody's way
                    self._registry.clean()
                if self._mountpoint is not None:
                    self._start_mount(self._mountpoint)
                if self._listeners:
                    self._start_server()
                self._registry.add(self._entry())
        except BaseException:
            self._undo()
            raise

    def wait(self) -> None:
        """Return when somebody asked for the end, or everything that was served has ended."""
        while self._events.get() == _UNMOUNTED:
            if self._server is None:
                return
            # Unmounted by hand; the socket is still served.
            self._mount = None
            self._registry.add(self._entry())

    def request_stop(self) -> None:
        """Have `wait` return. Safe in a signal handler."""
        self._events.put(_STOP)

    def stop(self) -> None:
        """Unmount, hang up, be forgotten. Raises SnapError when it cannot be unmounted.

        The tree stays open: who still has a file of the mount open may be reading.
        """
        if self._server is not None:
            self._server.stop()
        with self._registry.locked():
            try:
                if self._mount is not None:
                    self._mount.stop()
            finally:
                self._registry.remove(os.getpid())
            # A server whose mount lay under this one may have died in the meantime.
            self._registry.clean()

    def _start_mount(self, mountpoint: str) -> None:
        mount = Mount(self._tree, mountpoint, after=self._after, ended=lambda: self._events.put(_UNMOUNTED))
        mount.start()
        self._mount = mount

    def _start_server(self) -> None:
        from snaptui.engine.serve.ninep import Server

        server = Server(self._tree, self._listeners)
        server.start()
        self._server = server

    def _undo(self) -> None:
        with contextlib.suppress(SnapError):
            if self._mount is not None:
                self._mount.stop()
        if self._server is not None:
            self._server.stop()
        for listener in self._listeners:
            listener.remove()
        self._registry.remove(os.getpid())

    def _entry(self) -> Entry:
        return Entry(
            pid=os.getpid(),
            start_ticks=start_ticks(os.getpid()),
            files=self._files,
            mountpoint=self._mount.path if self._mount is not None else "",
            device=self._mount.device if self._mount is not None else "",
            services=tuple(listener.address for listener in self._listeners),
            started=int(time.time()),
        )
