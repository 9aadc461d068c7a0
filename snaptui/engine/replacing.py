"""Giving a complete file the name of an older one, which goes: at any moment one of them has the name.

rename(2) does that too, but ext4 then begins to write the new file to the disk (its option
auto_da_alloc): with 280 MB, 0.2 to 0.3 s more than the 0.4 s of the capture. Two names that are
exchanged have no such price. What it buys, a file that more often survives a loss of power, is what
`--sync` is for.
"""

from __future__ import annotations

import os
from typing import Final

_AT_FDCWD: Final = -100  # linux/fcntl.h
_RENAME_EXCHANGE: Final = 2  # linux/fs.h


def replace(draft: str, target: str) -> None:
    """Give the file `draft` the name `target`. Raises OSError."""
    if os.path.isfile(target) and _exchange(draft, target):
        os.unlink(draft)  # that is the older one now
    else:
        os.rename(draft, target)


def _exchange(one: str, other: str) -> bool:
    """Exchange two names (rename(2)); False where the file system cannot, or one of them has gone."""
    import ctypes  # 2 ms, and most files are new

    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)  # glibc 2.28
    names = os.fsencode(one), os.fsencode(other)
    return renameat2 is not None and not renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
