"""The file around a snapshot: where its bytes come from, plain or in seekable zstd.

A compressed snapshot is the same bytes in zstd's seekable format. `zstd -d` unpacks it; we read it at random.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from snaptui.engine.errors import AccessDenied, FormatError, SnapError
from snaptui.engine.progress import CancelToken, Progress, Sink, ignore
from snaptui.engine.snapfile.model import MAGIC
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.snapfile.seekable import Frames

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1
_PIECE: Final = 4 << 20


class Source(Protocol):
    """The bytes of a snapshot in plain form, at random. Reads may come from any thread."""

    size: int
    stored_size: int
    compressed: bool
    identity: tuple[int, ...]
    """What tells this file, as it is now, from all others: device, inode, size, and time of change (ns)."""

    def pread(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; fewer only at the end."""

    def pread_into(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer with the bytes from `offset` on; how many there were, fewer only at the end."""

    def close(self) -> None: ...


class _Unchanged:
    """Tells whether a file still holds what it held when it was opened.

    Asked *after* a read: write(2) sets the time of modification before it changes a byte. A file
    that is unlinked or replaced stays what it is behind our descriptor, and so do its bytes.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        found = os.fstat(fd)
        self._size, self._modified = found.st_size, found.st_mtime_ns

    def check(self) -> None:
        """Raise SnapError if the file was written to since."""
        found = os.fstat(self._fd)
        if found.st_mtime_ns != self._modified or found.st_size != self._size:
            raise SnapError(
                "the snapshot has changed since it was opened", help="end what writes to it, and open it anew"
            )


def _identity(fd: int) -> tuple[int, ...]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class PlainSource:
    """A plain snapshot file."""

    compressed = False

    def __init__(self, fd: int) -> None:
        self.descriptor = fd
        self._unchanged = _Unchanged(fd)
        self.size = self.stored_size = os.fstat(fd).st_size
        self.identity = _identity(fd)

    def pread(self, offset: int, size: int) -> bytes:
        try:
            content = os.pread(self.descriptor, size, offset)
        except OSError as error:
            raise SnapError(f"cannot read the snapshot: {error.strerror}") from error
        self.check()
        return content

    def pread_into(self, offset: int, buffer: memoryview) -> int:
        try:
            size = os.preadv(self.descriptor, [buffer], offset)
        except OSError as error:
            raise SnapError(f"cannot read the snapshot: {error.strerror}") from error
        self.check()
        return size

    def check(self) -> None:
        """Raise SnapError if the file was written to since; to be asked after `descriptor` was read."""
        self._unchanged.check()

    def close(self) -> None:
        os.close(self.descriptor)


class ZstdSource:
    """A compressed snapshot, unpacked where it is read."""

    compressed = True

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.stored_size = os.fstat(fd).st_size
        self._unchanged = _Unchanged(fd)
        self.identity = _identity(fd)
        self._frames = Frames(fd)
        self.size = self._frames.size

    def pread(self, offset: int, size: int) -> bytes:
        try:
            content = self._frames.pread(offset, size)
        except FormatError:
            self._unchanged.check()
            raise
        except OSError as error:
            raise SnapError(f"cannot read the snapshot: {error.strerror}") from error
        self._unchanged.check()
        return content

    def pread_into(self, offset: int, buffer: memoryview) -> int:
        content = self.pread(offset, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        os.close(self._fd)


def open_source(path: str) -> Source:
    """The snapshot file at `path`, plain or compressed, as its content says.

    Raises `AccessDenied`, `FormatError` or `SnapError`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise AccessDenied(
            f"{path}: permission denied", help="snapshots are readable by their owner alone"
        ) from error
    except OSError as error:
        raise SnapError(f"{path}: {error.strerror}") from error
    try:
        start = os.pread(fd, len(MAGIC), 0)
    except OSError as error:
        os.close(fd)
        raise SnapError(f"{path}: {error.strerror}, a snapshot is a regular file") from error
    if start.startswith(ZSTD_MAGIC):
        return _compressed(path, fd)
    if start.startswith(MAGIC):
        return PlainSource(fd)
    os.close(fd)
    raise FormatError(f"{path}: is no snapshot: it does not begin with '{MAGIC.decode()}'")


def _compressed(path: str, fd: int) -> ZstdSource:
    try:
        source = ZstdSource(fd)
        if source.pread(0, len(MAGIC)) != MAGIC:
            raise FormatError(f"does not hold a snapshot: it does not begin with '{MAGIC.decode()}'")
    except FormatError as error:
        os.close(fd)
        raise FormatError(f"{path}: {error}", help=error.help) from error
    except (SnapError, OSError) as error:
        os.close(fd)
        words = error.strerror if isinstance(error, OSError) else error
        raise SnapError(f"{path}: {words}") from error
    return source


def convert(
    path: str, target: str, *, compress: bool, sink: Sink = ignore, cancel: CancelToken | None = None
) -> int:
    """Write the snapshot at `path` to `target`, packed or unpacked; returns the size of the result.

    The plain bytes stay what they are. Raises what `open_source` and `open_output` raise.
    """
    source = open_source(path)
    try:
        with open_output(target, compress=compress) as output:
            for offset in range(0, source.size, _PIECE):
                if cancel is not None:
                    cancel.check()
                output.write(source.pread(offset, _PIECE))
                sink(Progress("compressing" if compress else "unpacking", offset, source.size))
            return output.commit()
    finally:
        source.close()
