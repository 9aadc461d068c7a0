"""Where a snapshot is written: whole, or not at all.

The plain snapshot always goes to a file that can be read back (pages equal to earlier ones are
found that way) and that has no name yet. A plain file is given its name when it is complete. For a
pipe or a compressed file other threads follow the growing file and pass its bytes on (`following`),
so that neither a slow reader nor the compressor prolongs the time that targets are stopped.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from typing import Final, Protocol, Self

from snaptui.engine.errors import OutputError, SnapError
from snaptui.engine.progress import CancelToken, Sink, ignore
from snaptui.engine.replacing import replace
from snaptui.engine.snapfile.following import Follower, Unchanged
from snaptui.engine.snapfile.packer import Packing
from snaptui.engine.snapfile.spool import open_spool, spool_directory

STDOUT: Final = "-"


class Output:
    """A snapshot being written. Leaving the `with` block without `commit` leaves nothing behind."""

    def __init__(self, destination: _Destination, *, compress: bool) -> None:
        self.name = destination.name
        self._destination = destination
        self._size = 0
        self._follower: Follower | None = None
        self._packing = Packing() if compress else None
        if isinstance(destination, _NamedFile) and not compress:
            self._fd = os.dup(destination.fd)
            return
        with _worded(f"{destination.spool}: no room for the plain form of the snapshot"):
            self._fd = open_spool(destination.spool)
        self._follower = Follower(self._fd, destination, self._packing or Unchanged())

    def write(self, data: bytes | memoryview) -> None:
        """Append to the plain snapshot. Raises `OutputError`: no space, or nobody reads the pipe any more."""
        view = memoryview(data).cast("B")
        with _worded(self._destination.spool if self._follower else self.name):
            while view:
                written = os.pwrite(self._fd, view, self._size)
                self._size += written
                view = view[written:]
        self._pass_on()

    def fileno(self) -> int:
        """The file of the plain snapshot: to read back what was written, or to write behind it."""
        return self._fd

    def written(self, size: int, marks: Sequence[int] = ()) -> None:
        """So many bytes were written behind the last ones, through `fileno`. Raises `OutputError`.

        `marks` are places in the plain snapshot where contents of one kind may begin: they pack better so.
        """
        self._size += size
        self._pass_on(marks)

    def _pass_on(self, marks: Sequence[int] = ()) -> None:
        if self._follower:
            with _worded(self.name):
                self._follower.check()
            self._follower.advance(self._size, marks)

    def hurry(self) -> None:
        """Somebody waits for it: some of it may take more room, to be packed sooner."""
        if self._packing is not None:
            self._packing.hurries = True

    def failed(self, error: OSError) -> SnapError:
        """What went wrong there, in words."""
        return _in_words(self._destination.spool if self._follower else self.name, error)

    def commit(self, sink: Sink = ignore, cancel: CancelToken | None = None) -> int:
        """The snapshot is complete: make it last. Returns the bytes that it takes at its destination."""
        with _worded(self.name):
            if self._follower:
                self._follower.finish(sink, cancel or CancelToken())
            return self._destination.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._follower:
            self._follower.stop()
        self._destination.close()
        os.close(self._fd)


def open_output(path: str | None, *, compress: bool = False, sync: bool = False) -> Output:
    """Where to write a snapshot: a file to be named `path`, or standard output for None or `-`.

    A regular file is replaced only when the new one is complete, and its mode is 0600. Anything
    else (a pipe, a device) is written to as it is. With `sync` it is also on the disk before it gets its
    name, and so survives a loss of power in the next half minute; that takes as long as the disk needs.
    Raises `OutputError`.
    """
    if path is None or path == STDOUT:
        return Output(_Stream(os.dup(1), "standard output"), compress=compress)
    target = os.path.realpath(path)
    with _worded(path or "the name of the output"):
        if not path:
            raise FileNotFoundError(errno.ENOENT, "is empty")
        if os.path.isdir(target) or path.endswith("/"):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        destination: _Destination
        if os.path.exists(target) and not os.path.isfile(target):
            destination = _Stream(os.open(target, os.O_WRONLY | os.O_CLOEXEC), path)
        else:
            destination = _NamedFile(target, path, sync=sync)
    return Output(destination, compress=compress)


class _Destination(Protocol):
    name: str
    spool: str
    """The directory in which the plain form is kept meanwhile, if it is not the file itself."""

    def write(self, data: bytes | memoryview) -> int: ...
    def commit(self) -> int: ...
    def close(self) -> None: ...


class _Stream:
    """A pipe or a device: what was written is written."""

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self.spool = spool_directory()
        self._fd = fd
        self._size = 0

    def write(self, data: bytes | memoryview) -> int:
        _write_all(self._fd, data)
        self._size += len(data)
        return len(data)

    def commit(self) -> int:
        return self._size

    def close(self) -> None:
        os.close(self._fd)


class _NamedFile:
    """A file that has no name until it is complete; so whatever kills us, nothing is left."""

    def __init__(self, target: str, name: str, *, sync: bool) -> None:
        self.name = name
        self.spool = os.path.dirname(target)
        self._sync = sync
        self._target = target
        self._draft = ""
        try:
            self.fd = os.open(self.spool, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # Some file systems (NFS, vfat, older overlayfs) have no nameless files.
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
            draft = self._draft_name()
            self.fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self._draft = draft

    def write(self, data: bytes | memoryview) -> int:
        _write_all(self.fd, data)
        return len(data)

    def commit(self) -> int:
        size = os.fstat(self.fd).st_size
        os.ftruncate(self.fd, size)  # gives blocks back that were set aside (take.c) and not needed
        if self._sync:
            os.fsync(self.fd)
        if not self._draft:
            self._draft = self._link()
        replace(self._draft, self._target)
        self._draft = ""
        return size

    def close(self) -> None:
        if self._draft:
            with contextlib.suppress(OSError):
                os.unlink(self._draft)
        os.close(self.fd)

    def _link(self) -> str:
        """Name the file: link(2) replaces no file, so it gets a draft name first, for `replace`."""
        draft = self._draft_name()
        # A directory descriptor makes Python call linkat(2), which alone follows the link in /proc.
        directory = os.open(self.spool, os.O_PATH | os.O_CLOEXEC)
        try:
            os.link(f"/proc/self/fd/{self.fd}", draft, src_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(directory)
        return draft

    def _draft_name(self) -> str:
        base = os.path.basename(self._target)
        return os.path.join(self.spool, f".{base[:200]}.{os.urandom(4).hex()}")


def _write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextlib.contextmanager
def _worded(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _in_words(what, error) from error


def _in_words(what: str, error: OSError) -> SnapError:
    """An error of writing as a line for the user, with what to do about it."""
    remedy = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = (
            "nothing was kept; write to another disk with -o, or through a pipe (TMPDIR says where it spools)"
        )
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "name a directory that you may write to with -o"
    elif error.errno == errno.EPIPE:
        remedy = "the program that reads the snapshot ended before it was whole"
    return OutputError(f"{what}: {error.strerror}", help=remedy)
