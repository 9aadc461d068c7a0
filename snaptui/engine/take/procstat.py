"""Reading single files of /proc/PID, and the two that describe it: proc_pid_stat(5), proc_pid_status(5)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

USER_HZ: Final = 100
"""Clock ticks in a second in /proc: a constant of the kernel's interface, whatever CONFIG_HZ is."""

COMM_LENGTH: Final = 15
"""The longest comm, in bytes: TASK_COMM_LEN of linux/sched.h less its NUL."""

_PF_KTHREAD: Final = 0x00200000  # include/linux/sched.h
_CHUNK: Final = 1 << 16  # bytes in a read: all but maps, smaps and net/* then come in one


@contextlib.contextmanager
def open_directory(path: str) -> Iterator[int]:
    """A directory of /proc, as a descriptor: it is of that one process, and fails once that has gone.

    Raises OSError.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield directory
    finally:
        os.close(directory)


def read_whole(path: str, directory: int | None = None) -> bytes:
    """The bytes of a /proc file up to its end (its size is 0); relative to the open `directory` if given.

    Raises OSError: FileNotFoundError or ProcessLookupError when the process has gone.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        data = os.read(fd, _CHUNK)
        if not data:
            return b""
        pieces = [data]
        while data := os.read(fd, _CHUNK):
            pieces.append(data)
        return b"".join(pieces)
    finally:
        os.close(fd)


def read_if_possible(path: str, directory: int | None = None) -> bytes:
    """As `read_whole`, but empty where the kernel refuses or the process has gone."""
    try:
        return read_whole(path, directory)
    except OSError:
        return b""


def text_of(data: bytes) -> str:
    """Bytes of /proc as text, as Python decodes file names: what is no text becomes surrogates."""
    return os.fsdecode(data)


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat (or task/TID/stat) says; times in ticks of 1/`USER_HZ` s, `vsize` in bytes."""

    pid: int
    comm: str
    state: str
    ppid: int
    pgrp: int
    flags: int
    utime: int
    stime: int
    children_utime: int
    children_stime: int
    nice: int
    threads: int
    start_ticks: int
    vsize: int

    @property
    def is_kernel_thread(self) -> bool:
        return bool(self.flags & _PF_KTHREAD)

    @property
    def has_ended(self) -> bool:
        """A zombie, or one about to vanish: it has no memory any more."""
        return self.state in "ZXx"


def parse_stat(data: bytes) -> Stat:
    """Read proc_pid_stat(5). The name may hold anything, `)` and newlines too: it ends at the last `)`."""
    head, _, tail = data.rpartition(b")")
    number, _, comm = head.partition(b" (")
    fields = tail.split()
    numbers = [int(field) for field in fields[1:21]]  # proc_pid_stat(5)'s fields 4 to 23
    return Stat(
        pid=int(number),
        comm=text_of(comm),
        state=fields[0].decode("ascii"),
        ppid=numbers[0],
        pgrp=numbers[1],
        flags=numbers[5],
        utime=numbers[10],
        stime=numbers[11],
        children_utime=numbers[12],
        children_stime=numbers[13],
        nice=numbers[15],
        threads=numbers[16],
        start_ticks=numbers[18],
        vsize=numbers[19],
    )


def status_field(status: bytes, name: str) -> str:
    """The value of a line `name: value` of proc_pid_status(5), "" if there is none.

    The kernel escapes newlines in the Name line there, so a process cannot forge a line.
    """
    mark = b"\n" + name.encode() + b":"
    start = status.find(mark)
    if start < 0:
        return ""
    start += len(mark)
    end = status.find(b"\n", start)
    return text_of(status[start : end if end >= 0 else len(status)]).strip()


def resident_size(status: bytes) -> int:
    """The resident memory in bytes, 0 where there is none; in stat there is but an estimate of it."""
    return int(status_field(status, "VmRSS").removesuffix(" kB") or 0) * 1024


def state_name(letter: str, syscall: str, wchan: str) -> str:
    """Linux's state letter (proc_pid_stat(5)) as Plan 9 names them: a system call's name is one there too."""
    match letter:
        case "S":
            return syscall or "Wakeme"
        case "D":
            return wchan or "Wakeme"
        case "R":
            return "Running"
        case "T" | "t":
            return "Stopped"
        case "Z" | "X" | "x":
            return "Moribund"
        case "I":
            return "Idle"
    return "Wakeme"


def full_name(comm: str, argv0: str, executable: str) -> str:
    """The name of a process: its comm, or where that was cut to 15 bytes, the longer name it was cut from."""
    if len(os.fsencode(comm)) == COMM_LENGTH:
        for path in (argv0, executable):
            name = base_name(path)
            if name.startswith(comm):
                return name
    return comm


def base_name(path: str) -> str:
    """The last part of a path as /proc shows it, without the ` (deleted)` of a removed executable."""
    return path.removesuffix(" (deleted)").rpartition("/")[2]
