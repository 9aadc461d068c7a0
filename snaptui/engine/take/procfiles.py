"""The files of /proc/PID that go into the Linux record: proc(5).

What cannot be read is left out: some files need root, some are newer than the kernel.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from typing import Final

from snaptui.engine.errors import NoSuchProcess
from snaptui.engine.snapfile.linux import Link
from snaptui.engine.take.others import file_locks, others_ends
from snaptui.engine.take.procstat import open_directory
from snaptui.engine.take.smallfiles import ROOM, read_files

_STATE: Final = ("stat", "status", "wchan", "syscall", "stack")
"""What shows the stop itself once a process is stopped, and so is read before."""

_FILES: Final = ("maps", "auxv", "cmdline", "environ", "limits", "cgroup", "mountinfo", "io", "comm")
_LINKS: Final = ("exe", "cwd", "root")

_SMAPS: Final = 25
"""How much longer than maps smaps is, at most: it takes too long to be read again for want of room."""

_INODE_COLUMN: Final = {"net/tcp": 9, "net/tcp6": 9, "net/udp": 9, "net/udp6": 9, "net/unix": 6}
"""Where a line has the socket's inode, counted in words: net/ipv4/tcp_ipv4.c, net/unix/af_unix.c."""


def kernel_state(pid: int) -> dict[str, bytes]:
    """What the kernel does for each thread now; never raises, and empty when the process has gone.

    The keys are names within /proc/PID: `stat status wchan syscall stack` and the same below `task/TID/`.
    """
    files: dict[str, bytes] = {}
    with contextlib.suppress(OSError), open_directory(f"/proc/{pid}") as directory:
        places = ("", *(f"task/{tid}/" for tid in _list("task", directory)))
        files = read_files(directory, [place + name for place in places for name in _STATE])
    return files


def process_files(pid: int, locks: bytes | None = None) -> dict[str, bytes | Link]:
    """All else of the record's /proc files, by name within /proc/PID. Raises NoSuchProcess.

    The process should be stopped, so that its files fit together; `locks`: what `file_locks` said before.
    """
    files = quick_files(pid)
    with contextlib.suppress(OSError), open_directory(f"/proc/{pid}") as directory:
        maps = files.get("maps", b"")
        room = ROOM + _SMAPS * len(maps) if isinstance(maps, bytes) else ROOM
        files |= read_files(directory, ["smaps"], room)
    return files | socket_files(pid, files, file_locks() if locks is None else locks)


def quick_files(pid: int) -> dict[str, bytes | Link]:
    """Those of them that take no time that matters. Raises NoSuchProcess.

    smaps takes 4 ms for each GiB in memory, and `socket_files` 10 ms, since the kernel has no other
    way to the sockets of one process than through all.
    """
    files: dict[str, bytes | Link] = {}
    try:
        with open_directory(f"/proc/{pid}") as directory:
            numbers = sorted(_list("fd", directory), key=int)
            infos = (f"fdinfo/{number}" for number in numbers)
            names = (f"task/{tid}/comm" for tid in _list("task", directory))
            files |= read_files(directory, [*_FILES, *infos, *names])
            _read_links(files, directory, [*_LINKS, *(f"fd/{number}" for number in numbers)])
            os.stat(
                "stat", dir_fd=directory
            )  # this directory is of one process: it fails for good once that has gone
    except OSError as error:
        raise NoSuchProcess(f"there is no process {pid} any more") from error
    return files


def socket_files(pid: int, files: dict[str, bytes | Link], locks: bytes) -> dict[str, bytes | Link]:
    """What the kernel tells of a process's sockets and locks in the network namespace of process `pid`.

    `files`: what else was read of the process, with its descriptors; `locks`: what `file_locks` said.
    """
    found: dict[str, bytes | Link] = {}
    sockets = _socket_inodes(files)
    with contextlib.suppress(OSError), open_directory(f"/proc/{pid}") as directory:
        for name, column in _INODE_COLUMN.items() if sockets else ():
            with contextlib.suppress(OSError):
                found[name] = _own_sockets(name, column, sockets, directory)
    return found | others_ends(files | found, locks)


def _list(name: str, directory: int) -> list[str]:
    """The entries of a directory below /proc/PID, none if it can't be read."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return []
    try:
        return os.listdir(fd)
    except OSError:
        return []
    finally:
        os.close(fd)


def _read_links(files: dict[str, bytes | Link], directory: int, names: Collection[str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            files[name] = Link(os.readlink(name, dir_fd=directory))


def _socket_inodes(files: dict[str, bytes | Link]) -> set[bytes]:
    """The inodes of the sockets among the descriptors, whose links read `socket:[12345]`."""
    targets = (
        link.target for name, link in files.items() if name.startswith("fd/") and isinstance(link, Link)
    )
    return {target[8:-1].encode() for target in targets if target.startswith("socket:[")}


def _own_sockets(name: str, column: int, sockets: Collection[bytes], directory: int) -> bytes:
    """The header of a file of /proc/PID/net and its lines about `sockets`.

    A busy machine has 100,000 sockets in there, and the process stands still: without sockets of
    its own the first piece, which has the header, is enough.
    """
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(fd, "rb") as file:
        kept = [file.readline()]
        if sockets:
            for line in file:
                words = line.split(None, column + 1)
                if len(words) > column and words[column] in sockets:
                    kept.append(line)
    return b"".join(kept)
