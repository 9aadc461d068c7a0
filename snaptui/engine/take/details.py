"""One running process more closely: its threads, open files and mappings."""

from __future__ import annotations

import os
from dataclasses import dataclass

from snaptui.engine.snapfile.mappings import Mapping, parse_maps
from snaptui.engine.take.hung import Wait
from snaptui.engine.take.procstat import open_directory, parse_stat, read_if_possible, read_whole, text_of
from snaptui.engine.take.syscalls import parse_syscall


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file descriptor and what it stands for."""

    number: int
    target: str


@dataclass(frozen=True, slots=True)
class Details:
    """What /proc tells of a process now; empty where the kernel does not tell us."""

    threads: tuple[Wait, ...]
    files: tuple[OpenFile, ...]
    mappings: tuple[Mapping, ...]
    why_not: str
    """Why files and mappings are missing; empty when they are not."""


def read_details(pid: int) -> Details:
    """Look at process `pid`; all is empty if it has gone."""
    why_not = ""
    files: list[OpenFile] = []
    mappings: tuple[Mapping, ...] = ()
    try:
        with open_directory(f"/proc/{pid}") as directory:
            mappings = tuple(parse_maps(read_whole("maps", directory)))
        files = _files(pid)
    except PermissionError:
        why_not = "only its owner and root may see its files and mappings"
    except (FileNotFoundError, ProcessLookupError):
        why_not = "it has ended"
    return Details(_threads(pid), tuple(files), mappings, why_not)


def _threads(pid: int) -> tuple[Wait, ...]:
    try:
        tids = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return ()
    threads = []
    for tid in sorted(tids, key=lambda tid: (tid != pid, tid)):
        try:
            with open_directory(f"/proc/{pid}/task/{tid}") as directory:
                stat = parse_stat(read_whole("stat", directory))
                wchan = text_of(read_if_possible("wchan", directory))
                call = parse_syscall(read_if_possible("syscall", directory))
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        name = call.name() if call else ""
        threads.append(Wait(tid, stat.comm, stat.state, name, "" if wchan == "0" else wchan))
    return tuple(threads)


def _files(pid: int) -> list[OpenFile]:
    files = []
    for number in sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd")):
        try:
            files.append(OpenFile(number, os.readlink(f"/proc/{pid}/fd/{number}")))
        except FileNotFoundError:
            continue  # closed meanwhile
    return files
