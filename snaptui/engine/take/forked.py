"""The targets, copied while they stand and then read from their copies: snap's side of `forker`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, Self

from snaptui.engine.progress import CancelToken, Paused, Sink, Warned
from snaptui.engine.take.forker import STOPPING, Answer, Copied, Job
from snaptui.engine.take.images import TextImage

_POLL: Final = 0.1  # seconds between looks at the cancel token

# Our own path, not that of its environment: nothing in the working directory is to be imported.
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from snaptui.engine.take.forker import main; main(int(sys.argv[2]))"
)


class ForkedTargets:
    """The process that copies the targets, and the copies; a context manager that ends them all."""

    def __init__(self, images: Sequence[TextImage], *, all_memory: bool) -> None:
        """Start the process: it takes 0.2 s until it is ready, in which there is other work to do."""
        self._job = Job(tuple(images), all_memory)
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-P", "-c", _START, json.dumps(sys.path), str(theirs.fileno()))
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the copies and whoever made them; at the latest when this returns the targets run."""
        with contextlib.suppress(OSError):
            self._connection.close()
        self._process.wait()

    def copy(self, sink: Sink, cancel: CancelToken) -> Answer:
        """Stop the targets, have them copied, and let them run on. Raises Cancelled."""
        pids = tuple(image.pid for image in self._job.images)
        answer: object = Answer(0.0, why_not="the process that copies them failed")
        stopped = False
        with contextlib.suppress(EOFError, OSError):
            self._receive(cancel)
            self._connection.send(self._job)
            while (message := self._receive(cancel)) == STOPPING:
                stopped = True
                sink(Paused(pids))
            answer = message
        assert isinstance(answer, Answer), "what `forker` sends"
        if stopped:
            sink(Paused(pids, resumed=True, seconds=answer.pause))
        for pid in answer.ended:
            sink(Warned(f"process {pid} ended before it could be saved", pid=pid, missing=True))
        if answer.why_not:
            message = f"it was not copied, but stands while it is read: {answer.why_not}"
            sink(Warned(message, pid=answer.pid))
        return answer

    def _receive(self, cancel: CancelToken) -> object:
        cancel.check()
        while not self._connection.poll(_POLL):
            cancel.check()
        return self._connection.recv()


def image_of_copy(image: TextImage, copied: Copied) -> TextImage:
    """The text image as the copy shows it: its files stay there when the process itself has gone."""

    def access(path: str) -> str:
        return path.replace(f"/proc/{image.tid}/", f"/proc/{copied.copy}/", 1)

    files = {key: dataclasses.replace(file, access=access(file.access)) for key, file in image.files.items()}
    return dataclasses.replace(image, tid=copied.copy, files=files)
