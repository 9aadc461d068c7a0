"""Reading memory of a stopped process into buffers (process_vm_readv(2)), where no compiled code takes it."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from array import array
from collections.abc import Callable
from typing import Final, NamedTuple

from snaptui.engine.snapfile.encoder import Rows

CHUNK: Final = 8 << 20
"""Bytes of a buffer."""

_IOV_MAX: Final = 1024  # limits.h
_MACHINE_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.process_vm_readv.argtypes = (
    ctypes.c_int,
    *(ctypes.c_void_p, ctypes.c_ulong) * 2,
    ctypes.c_ulong,
)
_libc.process_vm_readv.restype = ctypes.c_ssize_t


class Pages(NamedTuple):
    """Pages as read, n x 1024 bytes, in a `buffer` to be given back."""

    content: memoryview
    buffer: mmap.mmap
    size_read: int
    """Bytes of it that were read, not made up."""


class MemoryReader:
    """Reads a process, by a living thread of it. `new_buffer` gives a buffer of CHUNK bytes, in its time."""

    def __init__(self, tid: int, new_buffer: Callable[[], mmap.mmap]) -> None:
        self._tid = tid
        self._new_buffer = new_buffer
        self.missed: list[tuple[int, int]] = []
        """(address, bytes) planned, but refused by the kernel: zeros came in their place."""
        self.has_ended = False
        """The process was killed while it was read."""

    def read(self, rows: Rows) -> Pages:
        """The contents of `rows`, at most CHUNK bytes."""
        buffer = self._new_buffer()
        base = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        direct: list[tuple[int, int, int]] = []
        at = 0
        for address, size, how in rows:
            if how == Rows.ZEROS:
                ctypes.memset(base + at, 0, size)
            elif how == Rows.FORCED:
                self._read_forced(memoryview(buffer)[at : at + size], address)
            else:
                direct.append((base + at, address, size))
            at += size
        for start in range(0, len(direct), _IOV_MAX):
            self._read_vectors(direct[start : start + _IOV_MAX])
        return Pages(memoryview(buffer)[:at], buffer, rows.size_read)

    def _read_vectors(self, wanted: list[tuple[int, int, int]]) -> None:
        """Read all (into, address, size), page by page past what is refused."""
        while wanted:
            local = array("Q", [value for into, _, size in wanted for value in (into, size)])
            remote = array("Q", [value for _, address, size in wanted for value in (address, size)])
            count = len(wanted)
            done = _libc.process_vm_readv(
                self._tid, local.buffer_info()[0], count, remote.buffer_info()[0], count, 0
            )
            if done < 0:
                self.has_ended = ctypes.get_errno() == errno.ESRCH
                done = 0
            # All before `done` is there; the page that it stopped at is not.
            wanted = _behind(wanted, done)
            if wanted:
                into, address, size = wanted[0]
                if not self.has_ended:
                    size = min(_MACHINE_PAGE - address % _MACHINE_PAGE, size)
                ctypes.memset(into, 0, size)
                self.missed.append((address, size))
                wanted = _behind(wanted, size)

    def _read_forced(self, view: memoryview, address: int) -> None:
        """Read memory that the process itself may not read."""
        try:
            fd = os.open(f"/proc/{self._tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.missed += read_file(fd, address, view)
            finally:
                os.close(fd)
        except (FileNotFoundError, ProcessLookupError):
            self.has_ended = True
            view[:] = bytes(len(view))
            self.missed.append((address, len(view)))


def read_memory(tid: int, fd: int, address: int, view: memoryview) -> list[tuple[int, int]]:
    """Fill `view` with memory from `address` on. Returns and raises what `read_file` does.

    `fd` is /proc/PID/mem, which takes half as long again: for what the process itself may not read.
    """
    here = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.c_char.from_buffer(view)), len(view))
    there = (ctypes.c_size_t * 2)(address, len(view))
    done = max(0, _libc.process_vm_readv(tid, here, 1, there, 1, 0))
    return read_file(fd, address + done, view[done:])


def read_file(fd: int, address: int, view: memoryview) -> list[tuple[int, int]]:
    """Fill `view` with memory from `address` on by /proc/PID/mem, which ignores the process's permissions.

    What cannot be read becomes zeros, and is told: (address, bytes). Raises ProcessLookupError when the
    process has no memory any more.
    """
    missed = []
    while view:
        try:
            done = os.preadv(fd, [view], address)
        except OSError:
            done = min(_MACHINE_PAGE, len(view))
            view[:done] = bytes(done)
            missed.append((address, done))
        if not done:
            raise ProcessLookupError(errno.ESRCH, "the process has ended")
        view, address = view[done:], address + done
    return missed


def _behind(wanted: list[tuple[int, int, int]], done: int) -> list[tuple[int, int, int]]:
    """What is left of (into, address, size) when the first `done` bytes are there."""
    for number, (into, address, size) in enumerate(wanted):
        if done < size:
            return [(into + done, address + done, size - done), *wanted[number + 1 :]]
        done -= size
    return []
