"""What a mount point's directory held before, read-only and live, by a descriptor opened before mounting."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any, Final

from snaptui.engine.errors import SnapError
from snaptui.engine.serve.tree import qid_of

_ATTRIBUTES: Final = (
    "st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_blksize", "st_rdev",
)  # fmt: skip

# A server below us may have died: what it showed is then no longer there.
_GONE: Final = (errno.ENOTCONN, errno.ECONNABORTED, errno.ESTALE)


class Underlay:
    """The old directory. Paths are relative to it, without a `/` in front; all raise OSError."""

    def __init__(self, path: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SnapError(f"cannot mount at {path}: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._fd)

    def names(self, path: str = ".") -> list[str]:
        """The names in a directory, sorted; none in the topmost one if its server has died."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError as error:
            if path == "." and error.errno in _GONE:
                return []
            raise
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def has(self, name: str) -> bool:
        """Whether the topmost directory has an entry of that name."""
        with contextlib.suppress(OSError):
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            return True
        return False

    def attributes(self, path: str) -> dict[str, Any]:
        """What stat(2) says, times in nanoseconds; inode numbers do not collide with those of our tree."""
        try:
            found = os.stat(path, dir_fd=self._fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in _GONE:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
            raise
        attributes = {name: getattr(found, name) for name in _ATTRIBUTES}
        times = {"st_atime": found.st_atime_ns, "st_mtime": found.st_mtime_ns, "st_ctime": found.st_ctime_ns}
        return attributes | times | {"st_ino": qid_of(f"/{path}")}

    def readlink(self, path: str) -> str:
        return os.readlink(path, dir_fd=self._fd)

    def open(self, path: str) -> int:
        """A descriptor for reading."""
        # A FIFO's other end is not ours to wait for (the kernel opens those itself, and asks us for none).
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(path, flags, dir_fd=self._fd)
