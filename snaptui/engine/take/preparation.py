"""What has to be waited for before processes are stopped, seen to by a thread while other work is done."""

from __future__ import annotations

import contextlib
import threading

from snaptui.engine.take import ptracing
from snaptui.engine.take.others import file_locks


class Preparation:
    """The table of file locks, for which the kernel waits 8 ms; then python-ptrace, which runs ldconfig."""

    def __init__(self) -> None:
        self._locks = b""
        self._thread = threading.Thread(target=self._run, name="snap-preparation", daemon=True)
        self._thread.start()

    def locks(self) -> bytes:
        """`file_locks`, when all is there."""
        self._thread.join()
        return self._locks

    def _run(self) -> None:
        self._locks = file_locks()
        with contextlib.suppress(Exception):  # who needs it gets the error
            ptracing.load()
