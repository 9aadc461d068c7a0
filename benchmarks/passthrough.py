"""A bare mfusepy file system: one file as `core`, read with pread. What a mount by mfusepy costs at least.

python benchmarks/passthrough.py FILE MOUNTPOINT
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Any

from snaptui.engine.serve.mount import load_library

fuse = load_library()


class Passthrough(fuse.Operations):  # type: ignore[misc, name-defined]  # mfusepy has no types
    """One file."""

    use_ns = True

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, Any]:
        """The root, or the file."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o555, "st_nlink": 2}
        if path == "/core":
            size = os.fstat(self._descriptor).st_size
            return {"st_mode": stat.S_IFREG | 0o444, "st_nlink": 1, "st_size": size}
        raise fuse.FuseOSError(errno.ENOENT)

    def open(self, _path: str, _flags: int) -> int:
        """The file, which is open already."""
        return self._descriptor

    def read(self, _path: str, size: int, offset: int, descriptor: int) -> bytes:
        """What the file holds there."""
        return os.pread(descriptor, size, offset)

    def release(self, _path: str, _descriptor: int) -> int:
        """It stays open."""
        return 0


if __name__ == "__main__":
    fuse.FUSE(Passthrough(sys.argv[1]), sys.argv[2], foreground=True, ro=True)
