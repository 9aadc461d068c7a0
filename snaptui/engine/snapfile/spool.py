"""The plain form of a snapshot that is packed or goes to a pipe: a file without a name, until it is there."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from typing import Final

_PUNCH_HOLE: Final = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE of linux/falloc.h
_EXT4: Final = 0xEF53  # linux/magic.h, as the next one
_TMPFS: Final = 0x01021994
_EXT4_FREES: Final = (6, 14)
"""Before this version of Linux ext4 writes to the disk what is to be freed, as other file systems do."""
_STEP: Final = 16 << 20
"""Bytes freed at once: freeing each MiB by itself takes twice as long."""


def spool_directory() -> str:
    """Where the plain form of a piped snapshot is kept: where temporary files may be large."""
    for directory in (os.environ.get("TMPDIR", ""), "/var/tmp", "/tmp"):
        if directory and os.access(directory, os.W_OK | os.X_OK):
            return directory
    return "."


def open_spool(directory: str) -> int:
    """A file for it there. Raises OSError."""
    import tempfile  # 4 ms, not for who writes plain files

    with tempfile.TemporaryFile(dir=directory) as spool:
        return os.dup(spool.fileno())


class Freeing:
    """Frees the beginning of a file that nobody reads any more, piece by piece.

    At the end one thread would need 50 ms for a GiB, and meanwhile disks are given what is needed no longer.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._freed = 0

    def up_to(self, end: int) -> None:
        """What is before `end` is not needed."""
        end -= end % _STEP
        if end > self._freed and self._is_quick:
            # See fallocate(2). Where it fails, all is freed at the end.
            _libc().fallocate(self._fd, _PUNCH_HOLE, self._freed, end - self._freed)
            self._freed = end

    @functools.cached_property
    def _is_quick(self) -> bool:
        facts = ctypes.create_string_buffer(256)  # struct statfs, which begins with the type
        if _libc().fstatfs(self._fd, facts):
            return False
        kind = ctypes.c_long.from_buffer(facts).value
        version = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
        return kind == _TMPFS or (kind == _EXT4 and version >= _EXT4_FREES)


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return libc
