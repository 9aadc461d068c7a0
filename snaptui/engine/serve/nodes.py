"""What a served tree is made of: directories, files and links, read-only, whoever serves them.

9P and FUSE both work on these alone. Nothing here knows what a snapshot is.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from snaptui.engine.serve.ahead import Ahead, Reader
from snaptui.engine.snapfile.direct import Extents
from snaptui.engine.snapfile.fieldarrays import U8


class Opened(Protocol):
    """A file as one who has opened it reads it."""

    def read(self, offset: int, count: int) -> bytes | memoryview:
        """As `File.read`."""

    def preparation(self) -> Callable[[], None] | None:
        """What is to be done for the next read, after one was answered, and may take long."""

    def direct(self) -> Extents | None:
        """As `File.direct`."""


_WORTH_IT: Final = 64 << 10
"""Bytes of a file: to find out where they are takes as long as some reads of it."""

FILE_MODE: Final = 0o444
DIRECTORY_MODE: Final = 0o555


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose files these are, and since when: the saved process's owner, and the time of the snapshot."""

    user: str = ""
    group: str = ""
    mtime: int = 0
    """Seconds since 1970."""


class Node:
    """Something in the tree. All of it is read-only, and may be used from any thread."""

    def __init__(self, name: str, qid: int, origin: Origin, *, size: int = 0, mode: int = FILE_MODE) -> None:
        self.name = name
        """As the parent directory has it; empty for the root. Odd bytes are there by surrogateescape."""
        self.qid = qid
        """A number of 64 bits that no other node of the tree has; the same as long as the tree lives."""
        self.size = size
        """Bytes; 0 for a directory."""
        self.mode = mode
        """Permission bits."""
        self.user = origin.user
        self.group = origin.group
        self.mtime = origin.mtime
        """Seconds since 1970: when the snapshot was taken."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, qid={self.qid:#x}, size={self.size})"


class Directory(Node, abc.ABC):
    """A directory."""

    def __init__(self, name: str, qid: int, origin: Origin) -> None:
        super().__init__(name, qid, origin, mode=DIRECTORY_MODE)

    @abc.abstractmethod
    def entries(self) -> Sequence[Node]:
        """All that is in it, always in the same order."""

    def lookup(self, name: str) -> Node | None:
        """The entry of that name (never `.` or `..`), or None."""
        return next((entry for entry in self.entries() if entry.name == name), None)


class File(Node, abc.ABC):
    """A file."""

    @abc.abstractmethod
    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on: b"" at or past `size`, and fewer only before its end.

        Raises `SnapError` where there are bytes that cannot be had (`NotCaptured` in `mem`).
        """

    def preparation(self) -> Callable[[], None] | None:
        """Nothing is to be done for the next read."""
        return None

    def direct(self) -> Extents | None:
        """What compiled code reads some of it by, with the same result; None if it can read nothing."""
        return None

    def opened(self, ahead: Ahead, prepares: bool) -> Opened:  # noqa: ARG002 - for those that are worth it
        """What reads it for one who has opened it; `prepares`: and who sees to its `preparation`."""
        return self


class StoredFile(File, abc.ABC):
    """A file that may be large, and of which whole blocks cost little more than small pieces."""

    @abc.abstractmethod
    def read_into(self, offset: int, out: U8) -> int:
        """Fill `out` from `offset` on, as far as `read` would go; returns how far. Raises as it does."""

    @functools.cached_property
    def _direct(self) -> Extents | None:
        return self._find_direct()

    def direct(self) -> Extents | None:
        """Found out when it is asked for first; not for what is read in a few steps."""
        return self._direct if self.size >= _WORTH_IT else None

    def _find_direct(self) -> Extents | None:
        return None

    def opened(self, ahead: Ahead, prepares: bool) -> Opened:
        """What reads ahead of one who reads in sequence."""
        return Reader(self, ahead, prepares)


class Link(Node):
    """A symbolic link. 9P has none: there it is a file that holds the target."""

    def __init__(self, name: str, qid: int, origin: Origin, target: str) -> None:
        super().__init__(name, qid, origin, size=len(target.encode("utf-8", "surrogateescape")))
        self.target = target


class Tree:
    """A whole tree, served as long as it is not closed."""

    def __init__(self, root: Directory, close: Callable[[], None] = lambda: None) -> None:
        self.root = root
        self.ahead = Ahead()
        self._close = close

    def close(self) -> None:
        """Let go of what the tree is read from."""
        self.ahead.close()
        self._close()
