"""Memory that several processes can share and that no disk holds: tmpfs, memfd, System V, shared anonymous.

A process's page table only tells which of its pages it has touched; what the memory holds, its file tells
(lseek(2), SEEK_DATA), which reads as zeros elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from typing import Final

from snaptui.engine.snapfile.mappings import Mapping
from snaptui.engine.take.procstat import read_if_possible

_MEMORY_FILE_SYSTEMS: Final = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})
_MEMORY_NAMES: Final = ("/memfd:", "/SYSV", "/dev/zero", "/anon_hugepage", "/drm mm object", "/i915")
"""How /proc/PID/maps names memory of the kernel's own tmpfs, which no mount table lists."""

_SMALL: Final = 64 << 20
"""Shared memory up to this many bytes is read whole when its file can't be opened: a read of
a page never touched makes the kernel provide one."""


class SharedMemory:
    """Tells which mappings of a process are such memory, and where they hold something."""

    def __init__(self, tid: int) -> None:
        """`tid`: a living thread of the process."""
        self._tid = tid
        self._devices = _memory_devices(read_if_possible(f"/proc/{tid}/mountinfo"))

    def holds(self, mapping: Mapping) -> bool:
        """Whether the mapping is of memory without a disk behind."""
        if mapping.is_anonymous:
            return False
        return mapping.device in self._devices or mapping.path.startswith(_MEMORY_NAMES)

    def data_ranges(self, mapping: Mapping) -> tuple[int, list[tuple[int, int]]] | None:
        """The size of what is mapped, and the address ranges within it that hold something.

        None when it cannot be found out: only root may open what has no name, and large pages know no holes.
        """
        fd = self._open(mapping)
        if fd is None or "ht" in mapping.flags:
            if fd is not None:
                os.close(fd)
            if "ht" in mapping.flags or mapping.size > _SMALL:
                return None
            return mapping.offset + mapping.size, [(mapping.start, mapping.end)]
        try:
            return os.fstat(fd).st_size, _data_ranges(fd, mapping)
        finally:
            os.close(fd)

    def _open(self, mapping: Mapping) -> int | None:
        exact = f"/proc/{self._tid}/map_files/{mapping.start:x}-{mapping.end:x}"
        by_name = [] if mapping.deleted else [f"/proc/{self._tid}/root{mapping.path}"]
        descriptors = f"/proc/{self._tid}/fd"
        by_number: list[str] = []
        with contextlib.suppress(OSError):
            by_number = [f"{descriptors}/{number}" for number in os.listdir(descriptors)]
        for path in [exact, *by_name, *by_number]:
            with contextlib.suppress(OSError):
                if path != exact and os.stat(path).st_ino != mapping.inode:
                    continue
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        return None


def _data_ranges(fd: int, mapping: Mapping) -> list[tuple[int, int]]:
    page = os.sysconf("SC_PAGE_SIZE")
    ranges = []
    at, end = mapping.offset, mapping.offset + mapping.size
    while at < end:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            hole = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data behind
                break
            raise
        # A tmpfs file may end within a page.
        stop = min(-(-hole // page) * page, end)
        if start < stop:
            ranges.append((start - mapping.offset + mapping.start, stop - mapping.offset + mapping.start))
        at = max(stop, at + page)
    return ranges


@functools.lru_cache(maxsize=4)
def _memory_devices(mountinfo: bytes) -> frozenset[str]:
    """The mounted file systems that are memory, by device as maps writes it (proc_pid_mountinfo(5))."""
    devices = set()
    for line in mountinfo.splitlines():
        words = line.split()
        kind = words[words.index(b"-") + 1].decode() if b"-" in words else ""
        if kind in _MEMORY_FILE_SYSTEMS:
            major, _, minor = words[2].decode().partition(":")
            devices.add(f"{int(major):02x}:{int(minor):02x}")
    return frozenset(devices)
