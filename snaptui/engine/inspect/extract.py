"""Writing what debuggers need to disk: a core with its holes left as holes, and a sysroot."""

from __future__ import annotations

import contextlib
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator
from typing import Final

from snaptui.engine.errors import NotCaptured, OutputError
from snaptui.engine.inspect.core import CoreImage
from snaptui.engine.inspect.sysroot import sysroot_entries
from snaptui.engine.progress import CancelToken, Progress, Sink, Warned, ignore
from snaptui.engine.replacing import replace
from snaptui.engine.snapfile import Process, TextFile

_PIECE: Final = 1 << 20
"""Bytes read at a time: one frame of a compressed snapshot."""
_MODES: Final = 0o777
"""What is kept of a file's mode: no file of another machine shall run with other rights here."""


def write_core(
    process: Process, path: str, *, sink: Sink = ignore, cancel: CancelToken | None = None
) -> CoreImage:
    """Write the core of a process to the file `path`, which appears (or is replaced) when it is whole.

    Its mode is 0600. Raises `NotCaptured`, `OutputError` and `Cancelled`; then nothing is left behind.
    """
    image = CoreImage(process)
    ranges = list(image.data_ranges())
    with _replacing(path) as fd:
        os.ftruncate(fd, image.size)
        copy = _Copy("core", fd, sum(end - start for start, end in ranges), sink, cancel)
        for start, end in ranges:
            copy.range(image.read, start, end)
    return image


def extract_sysroot(
    process: Process, directory: str, *, sink: Sink = ignore, cancel: CancelToken | None = None
) -> int:
    """Write the sysroot of a process into `directory`, new or empty; returns how many files and links it has.

    A file whose contents are not all in the snapshot is cut short, and is a `Warned(missing=True)`.
    Raises `OutputError`, `FormatError` and `Cancelled`.
    """
    entries = sysroot_entries(process)
    with _worded(directory):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        if os.listdir(directory):
            raise OutputError(f"{directory}: is not empty", help="name a new directory, or an empty one")
    for entry in entries:
        target = f"{directory}{entry.path}"
        with _worded(target):
            os.makedirs(posixpath.dirname(target), exist_ok=True)
            if entry.file is None:
                os.symlink(entry.link, target)
            else:
                _extract(process, entry.file, target, sink, cancel)
    return len(entries)


def _extract(process: Process, file: TextFile, target: str, sink: Sink, cancel: CancelToken | None) -> None:
    # The owner can always read and remove it; the mode's other bits are for who looks.
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        copy = _Copy("sysroot", fd, file.size, sink, cancel)
        copy.range(lambda at, size: process.read_text(file.offset + at, size), 0, file.size)
        os.fchmod(fd, file.mode & _MODES | 0o600)
        with contextlib.suppress(OSError, OverflowError, TypeError):
            os.utime(fd, ns=(file.mtime_ns, file.mtime_ns))
    except NotCaptured as error:
        sink(Warned(f"{file.path}: {error}", pid=process.pid, missing=True))
        return
    finally:
        os.close(fd)
    if copy.done < file.size:
        sink(Warned(f"the end of {file.path} is not in the snapshot", pid=process.pid, missing=True))


class _Copy:
    """Copies pieces of one file."""

    def __init__(self, stage: str, fd: int, total: int, sink: Sink, cancel: CancelToken | None) -> None:
        self._stage, self._fd, self._total, self._sink = stage, fd, total, sink
        self._cancel = cancel or CancelToken()
        self.done = 0

    def range(self, read: Callable[[int, int], bytes], start: int, end: int) -> None:
        """Copy what `read` gives from `start` to `end`, to the same place."""
        for at in range(start, end, _PIECE):
            self._cancel.check()
            piece = read(at, min(_PIECE, end - at))
            if not piece:
                return
            _write_at(self._fd, piece, at)
            self.done += len(piece)
            self._sink(Progress(self._stage, self.done, self._total))


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[int]:
    """A descriptor of a new file that gets its name at the end of the block, if nothing goes wrong."""
    target = os.path.realpath(path)
    with _worded(path):
        if os.path.exists(target) and not os.path.isfile(target):
            raise OutputError(f"{path}: is no regular file")
        fd, draft = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=os.path.dirname(target))
        try:
            yield fd
            replace(draft, target)
        except BaseException:
            os.unlink(draft)
            raise
        finally:
            os.close(fd)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


@contextlib.contextmanager
def _worded(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{what}: {error.strerror}") from error
