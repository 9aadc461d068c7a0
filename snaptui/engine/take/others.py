"""Who else has to do with the open files of a process: peers of UNIX sockets, holders of file locks.

/proc/PID tells neither. `net/peers` has a line for each connected UNIX socket, its inode and its
peer's (unix_diag(7) in sock_diag(7)); `locks` the lines of proc_locks(5) about files that are open,
with the name of who holds the lock behind each.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from snaptui.engine.snapfile.linux import Link
from snaptui.engine.take.procstat import read_if_possible

if TYPE_CHECKING:
    import socket

_NETLINK_SOCK_DIAG: Final = 4  # linux/netlink.h
_SOCK_DIAG_BY_FAMILY: Final = 20  # linux/sock_diag.h
_NLM_F_REQUEST: Final = 1
_UDIAG_SHOW_PEER: Final = 4  # linux/unix_diag.h
_UNIX_DIAG_PEER: Final = 2
_ANY: Final = 0xFFFFFFFF
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST: Final = struct.Struct("=BBHIIIII")  # struct unix_diag_req
_ANSWER: Final = 16  # bytes of struct unix_diag_msg
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr
_PATIENCE: Final = 0.1
"""Seconds. The kernel answers at once; the processes stand meanwhile."""

_LOCK: Final = re.compile(rb"^\d+: (?:->)?\s*\S+\s+\S+\s+\S+\s+(-?\d+)\s+\S+:(\d+) ")


def file_locks() -> bytes:
    """proc_locks(5). For before processes are stopped: a stop ends their waits for locks. It takes 8 ms."""
    return read_if_possible("/proc/locks")


def others_ends(files: Mapping[str, bytes | Link], locks: bytes) -> dict[str, bytes]:
    """`net/peers` and `locks`, where there is something to say; `files` are those of the process.

    `locks`: what `file_locks` said.
    """
    found = {}
    sockets = list(_words(files.get("net/unix", b""), 6))
    # To open and close the kernel's interface alone takes 8 ms, in which the process stands.
    if sockets and (peers := b"".join(_peers(sockets))):
        found["net/peers"] = peers
    infos = (content for name, content in files.items() if name.startswith("fdinfo/"))
    inodes = {inode for info in infos if isinstance(info, bytes) for inode in _inodes(info)}
    if about := b"".join(_locks(inodes, locks)):
        found["locks"] = about
    return found


def _words(table: bytes | Link, column: int) -> Iterator[int]:
    """A column of numbers."""
    for line in table.splitlines()[1:] if isinstance(table, bytes) else ():
        words = line.split()
        if len(words) > column and words[column].isdigit():
            yield int(words[column])


def _peers(inodes: Collection[int]) -> Iterator[bytes]:
    import socket  # 2 ms

    with contextlib.suppress(OSError), _diagnosis() as diagnosis:
        for inode in inodes:
            request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _ANY, inode, _UDIAG_SHOW_PEER, _ANY, _ANY)
            size = _HEADER.size + len(request)
            diagnosis.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0) + request)
            if (peer := _peer(diagnosis.recv(4096))) is not None:
                yield b"%d %d\n" % (inode, peer)


def _diagnosis() -> socket.socket:
    import socket

    diagnosis = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
    diagnosis.settimeout(_PATIENCE)
    return diagnosis


def _peer(answer: bytes) -> int | None:
    """The inode of the peer, in the attributes behind the message; None without one, or in an error."""
    _, kind, *_ = _HEADER.unpack_from(answer)
    at = _HEADER.size + _ANSWER
    while kind == _SOCK_DIAG_BY_FAMILY and at + _ATTRIBUTE.size <= len(answer):
        size, name = _ATTRIBUTE.unpack_from(answer, at)
        if name == _UNIX_DIAG_PEER:
            return int.from_bytes(answer[at + 4 : at + 8], "little")
        at += max(4, -(-size // 4) * 4)
    return None


def _inodes(info: bytes) -> Iterator[bytes]:
    yield from re.findall(rb"^ino:\s*(\d+)", info, re.MULTILINE)


def _locks(inodes: Collection[bytes], locks: bytes) -> Iterator[bytes]:
    for line in locks.splitlines():
        lock = _LOCK.match(line)
        if lock and lock[2] in inodes:
            name = read_if_possible(f"/proc/{int(lock[1])}/comm") if int(lock[1]) > 0 else b""
            yield line + b" " + name.rstrip(b"\n") + b"\n"
