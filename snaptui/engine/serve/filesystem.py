"""What FUSE asks, answered from a tree and from the directory that was there before.

This is the only place that knows of errno: an error of the engine becomes the number that says most.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

from snaptui.engine.errors import AccessDenied, SnapError
from snaptui.engine.serve.nodes import Directory, File, Link, Node, Opened, Tree
from snaptui.engine.serve.tree import MemoryFile, qid_of
from snaptui.engine.serve.underlay import Underlay

_BLOCK: Final = 512  # bytes that st_blocks counts, inode(7)
_BEST_READ: Final = 1 << 20
"""st_blksize, for cp and cat: as much as FUSE asks for at once."""


class OpenFile(Protocol):
    """fuse_file_info of fuse_common.h, as far as it is used here."""

    fh: int
    keep_cache: int
    direct_io: int


@dataclass(frozen=True, slots=True)
class Old:
    """Something in the directory that was there before."""

    path: str


class Operations:
    """The methods that mfusepy calls, from many threads; all raise OSError."""

    use_ns = True  # times are in nanoseconds

    def __init__(self, tree: Tree, underlay: Underlay, *, after: bool) -> None:
        self._root = tree.root
        self._ahead = tree.ahead
        self._underlay = underlay
        self._after = after
        self._handles: dict[int, Opened | int] = {}
        self._numbers = itertools.count(1)

    def getattr(self, path: str, _info: OpenFile | None = None) -> dict[str, Any]:
        """The attributes of stat(2)."""
        found = self._find(path)
        if isinstance(found, Old):
            return self._underlay.attributes(found.path)
        return _attributes(found)

    def readlink(self, path: str) -> str:
        """Where a symbolic link points to."""
        found = self._find(path)
        if isinstance(found, Old):
            return self._underlay.readlink(found.path)
        if not isinstance(found, Link):
            raise _os_error(errno.EINVAL)
        return found.target

    def readdir(self, path: str, _handle: int) -> Iterator[tuple[str, dict[str, int], int]]:
        """Names, with kinds and inode numbers."""
        found = self._find(path)
        for name in (".", ".."):
            yield name, {"st_mode": stat.S_IFDIR, "st_ino": self._root.qid}, 0
        if path == "/":
            yield from self._top()
        elif isinstance(found, Old):
            for name in self._underlay.names(found.path):
                yield _old_entry(f"{found.path}/{name}")
        else:
            for node in self._entries(found):
                yield _entry(node)

    def open(self, path: str, info: OpenFile) -> int:
        """Have a file ready for reading."""
        found = self._find(path)
        number = next(self._numbers)
        if isinstance(found, Old):
            self._handles[number] = self._underlay.open(found.path)
        elif isinstance(found, File):
            self._handles[number] = found.opened(self._ahead, prepares=False)
            # What is served never changes. But `mem` ends, and begins anew, at any byte, where a cache of
            # whole pages would fail: there every read comes to us as it is.
            info.keep_cache = 1
            info.direct_io = int(isinstance(found, MemoryFile))
        else:
            raise _os_error(errno.EISDIR)
        info.fh = number
        return 0

    def read(self, _path: str, size: int, offset: int, info: OpenFile) -> Any:
        """Bytes of an open file: `bytes`, or an array of ctypes that shows a block and is copied nowhere."""
        file = self._handles[info.fh]
        if isinstance(file, int):
            return os.pread(file, size, offset)
        try:
            content = file.read(offset, size)
        except SnapError as error:
            raise _as_os_error(error) from error
        if isinstance(content, bytes):
            return content
        return (ctypes.c_char * len(content)).from_buffer(content)

    def release(self, _path: str, info: OpenFile) -> int:
        """Nobody has the file open any more."""
        file = self._handles.pop(info.fh)
        if isinstance(file, int):
            os.close(file)
        return 0

    def _top(self) -> Iterator[tuple[str, dict[str, int], int]]:
        """The entries of the topmost directory: both kinds, those first that win where names clash."""
        old = self._underlay.names()
        new = self._entries(self._root)
        hidden = set(old) if self._after else {node.name for node in new}
        ours = [_entry(node) for node in new if not (self._after and node.name in hidden)]
        theirs = [_old_entry(name) for name in old if self._after or name not in hidden]
        yield from theirs + ours if self._after else ours + theirs

    def _find(self, path: str) -> Node | Old:
        """What is at `path`, which begins with a `/`."""
        parts = path.split("/")[1:]
        if parts == [""]:
            return self._root
        if self._after and self._underlay.has(parts[0]):
            return Old(path[1:])
        try:
            node = self._walk(parts)
        except SnapError as error:
            raise _as_os_error(error) from error
        return node or Old(path[1:])

    def _walk(self, parts: list[str]) -> Node | None:
        """The node at a path; None if the first component is none of ours."""
        node: Node = self._root
        for depth, name in enumerate(parts):
            found = node.lookup(name) if isinstance(node, Directory) else None
            if found is None and depth:
                raise _os_error(errno.ENOENT if isinstance(node, Directory) else errno.ENOTDIR)
            if found is None:
                return None
            node = found
        return node

    def _entries(self, node: Node) -> tuple[Node, ...]:
        if not isinstance(node, Directory):
            raise _os_error(errno.ENOTDIR)
        try:
            return tuple(node.entries())
        except SnapError as error:
            raise _as_os_error(error) from error


def _entry(node: Node) -> tuple[str, dict[str, int], int]:
    return node.name, {"st_mode": _kind(node), "st_ino": node.qid}, 0


def _old_entry(path: str) -> tuple[str, dict[str, int], int]:
    # Of unknown kind: who wants to know asks. An entry with the number 0 would not be listed by libc.
    return path.rpartition("/")[2], {"st_mode": 0, "st_ino": qid_of(f"/{path}")}, 0


def _kind(node: Node) -> int:
    if isinstance(node, Directory):
        return stat.S_IFDIR
    return stat.S_IFLNK if isinstance(node, Link) else stat.S_IFREG


def _attributes(node: Node) -> dict[str, Any]:
    time = node.mtime * 10**9
    return {
        "st_ino": node.qid,
        "st_mode": _kind(node) | node.mode,
        "st_nlink": 2 if isinstance(node, Directory) else 1,
        "st_uid": _uid(node.user),
        "st_gid": _gid(node.user),
        "st_size": node.size,
        # `mem` is nearly all hole, and du should say so.
        "st_blocks": -(-(node.held if isinstance(node, MemoryFile) else node.size) // _BLOCK),
        "st_blksize": _BEST_READ,
        "st_atime": time,
        "st_mtime": time,
        "st_ctime": time,
    }


@cache
def _uid(user: str) -> int:
    """The user's number on this machine; our own where he is not known here."""
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        return os.geteuid()


@cache
def _gid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_gid
    except (KeyError, ValueError):
        return os.getegid()


def _as_os_error(error: SnapError) -> OSError:
    return _os_error(errno.EACCES if isinstance(error, AccessDenied) else errno.EIO)


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
