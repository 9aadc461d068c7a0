"""What a live process's memory holds, from /proc alone: the expected values of the tests.

The process must stand still (SIGSTOP) while it is looked at.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.helpers.strict_reader import StrictProcess

_PIECE = 1 << 22
_LONGEST_LOOK = 1 << 28
"""Untouched areas larger than this are looked at through pagemap: reading a terabyte takes minutes."""


@dataclass(frozen=True)
class Mapping:
    """A line of proc_pid_maps(5) with the VmFlags of proc_pid_smaps(5)."""

    start: int
    end: int
    perms: str
    offset: int
    device: str
    inode: int
    path: str
    flags: frozenset[str]

    @property
    def is_file(self) -> bool:
        """Backed by a file that has a name on some file system, also a deleted one."""
        return self.inode != 0 and self.path.startswith("/")


def mappings(pid: int) -> list[Mapping]:
    """The mappings of a process, by address."""
    found: list[Mapping] = []
    head: list[str] = []
    for line in os.fsdecode(Path(f"/proc/{pid}/smaps").read_bytes()).split("\n")[:-1]:
        words = line.split(maxsplit=5)
        if "-" in words[0] and not words[0].endswith(":"):
            head = words
        elif words[0] == "VmFlags:":
            start, end = (int(text, 16) for text in head[0].split("-"))
            path = head[5] if len(head) > 5 else ""
            flags = frozenset(line.split()[1:])
            found.append(Mapping(start, end, head[1], int(head[2], 16), head[3], int(head[4]), path, flags))
    return found


def read_memory(pid: int, address: int, length: int) -> bytes:
    """Bytes of /proc/PID/mem; `OSError` where the kernel shows none."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        pieces = []
        while length:
            piece = os.pread(mem.fileno(), length, address)
            if not piece:
                raise OSError(f"nothing at {address:#x}")
            pieces.append(piece)
            address, length = address + len(piece), length - len(piece)
        return b"".join(pieces)


def mapped_file_bytes(pid: int, mapping: Mapping, address: int, length: int) -> bytes:
    """What the file behind a mapping holds for an address (short behind the file's end)."""
    exact = Path(f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}")  # root's alone
    path = exact if os.geteuid() == 0 else Path(f"/proc/{pid}/root{mapping.path}")
    with path.open("rb") as file:
        return os.pread(file.fileno(), length, mapping.offset + address - mapping.start)


def has_page(pid: int, start: int, end: int) -> bool:
    """Whether pagemap shows any page, present or swapped, between two addresses."""
    page = os.sysconf("SC_PAGESIZE")
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        at, last = start // page, end // page
        while at < last:
            entries = np.frombuffer(
                os.pread(pagemap.fileno(), min(1 << 22, last - at) * 8, at * 8), np.uint64
            )
            if (entries >> np.uint64(62)).any():
                return True
            if not len(entries):
                break
            at += len(entries)
    return False


@dataclass(frozen=True)
class Area:
    """What captured.json says of a range of addresses."""

    start: int
    end: int
    kind: str
    reason: str


def captured_areas(process: StrictProcess) -> list[Area]:
    """captured.json's ranges, by address."""
    captured = process.linux_json("captured.json")
    del captured["page_size"]
    areas = [
        Area(row[0], row[1], kind, row[2] if len(row) > 2 else "")
        for kind, rows in captured.items()
        for row in rows
    ]
    return sorted(areas, key=lambda area: area.start)


def kinds(process: StrictProcess, start: int, length: int) -> set[str]:
    """The kinds of the areas that some addresses lie in."""
    areas = captured_areas(process)
    return {area.kind for area in areas if area.start < start + length and start < area.end}


def reasons(process: StrictProcess, start: int, length: int) -> str:
    """Why some addresses are left out, one reason after the other."""
    areas = captured_areas(process)
    return "; ".join(area.reason for area in areas if area.start < start + length and start < area.end)


def restored(process: StrictProcess, start: int, length: int) -> bytes:
    """What a snapshot says that memory held: what is stored, and zeros where it says zero."""
    pieces = []
    for area in captured_areas(process):
        first, last = max(area.start, start), min(area.end, start + length)
        if first < last:
            assert area.kind != "left out", f"{first:#x}-{last:#x} is left out: {area.reason}"
            pieces.append(
                bytes(last - first) if area.kind == "zero" else process.read_memory(first, last - first)
            )
    return b"".join(pieces)


def differences(process: StrictProcess, pid: int) -> list[str]:
    """Every way in which a snapshot differs from the memory of the same process, which stands still."""
    found = _uncovered(captured_areas(process), mappings(pid))
    for mapping in mappings(pid):
        for area in captured_areas(process):
            start, end = max(area.start, mapping.start), min(area.end, mapping.end)
            if start < end:
                part = Area(start, end, area.kind, area.reason)
                found += [
                    f"{mapping.path or 'anonymous'} {mapping.perms}: {text}"
                    for text in _compare(process, pid, mapping, part)
                ]
    return found


def _uncovered(areas: list[Area], present: list[Mapping]) -> list[str]:
    """Addresses of mappings of which captured.json says nothing, or two things."""
    found = [f"two areas at {b.start:#x}" for a, b in pairwise(areas) if a.end > b.start]
    for mapping in present:
        at = mapping.start
        for area in areas:
            if area.start <= at < area.end:
                at = area.end
        if at < mapping.end:
            found.append(f"nothing is said of {at:#x} in {mapping.path or 'anonymous'} {mapping.perms}")
    return found


def _compare(process: StrictProcess, pid: int, mapping: Mapping, area: Area) -> list[str]:
    if area.kind in ("stored", "text"):
        return _compare_bytes(process, pid, area)
    if area.kind == "zero":
        return _check_zero(process, pid, area)
    if area.kind == "left out":
        return _check_left_out(pid, mapping, area)
    return [f"an unknown kind of area {area.kind!r}"]


def _pieces(area: Area) -> list[tuple[int, int]]:
    return [(at, min(_PIECE, area.end - at)) for at in range(area.start, area.end, _PIECE)]


def _compare_bytes(process: StrictProcess, pid: int, area: Area) -> list[str]:
    for at, length in _pieces(area):
        try:
            got = process.read_memory(at, length)
        except KeyError as error:
            return [f"{area.kind} {area.start:#x}-{area.end:#x}: {error}"]
        want = read_memory(pid, at, length)
        if got != want:
            first = next(i for i in range(length) if got[i] != want[i])
            return [f"{area.kind} {area.start:#x}-{area.end:#x}: differs at {at + first:#x}"]
    return []


def _check_zero(process: StrictProcess, pid: int, area: Area) -> list[str]:
    if area.end - area.start > _LONGEST_LOOK:
        if has_page(pid, area.start, area.end):
            return [f"zero {area.start:#x}-{area.end:#x}: there are pages in it"]
        return []
    for at, length in _pieces(area):
        if read_memory(pid, at, length).count(0) != length:
            return [f"zero {area.start:#x}-{area.end:#x}: it is not all zeros at {at:#x} and on"]
        for segment in process.memory:
            start, end = max(segment.offset, at), min(segment.end, at + length)
            if start < end and segment.read(start, end - start).count(0) != end - start:
                return [f"zero {area.start:#x}-{area.end:#x}: a segment holds something else there"]
    return []


def _check_left_out(pid: int, mapping: Mapping, area: Area) -> list[str]:
    """What is left out must be for one of the reasons that there are."""
    where = f"left out {area.start:#x}-{area.end:#x} ({area.reason})"
    if not area.reason:
        return [f"{where}: no reason is given"]
    if mapping.flags & {"io", "pf", "dd"} or "r" not in mapping.perms or mapping.path == "[vsyscall]":
        return []
    for at, length in _pieces(area):
        try:
            want = read_memory(pid, at, length)
        except OSError:
            continue  # the kernel shows it to nobody
        if not mapping.is_file:
            return [f"{where}: it could have been read"]
        content = mapped_file_bytes(pid, mapping, at, length)
        if want != content + bytes(length - len(content)):
            return [f"{where}: it is not what the file holds"]
    return []


def twins(pid: int) -> list[int]:
    """The other processes with the auxiliary vector of `pid`, as its copies have: it has random addresses."""
    own = Path(f"/proc/{pid}/auxv").read_bytes()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int(entry.name) != pid and (entry / "auxv").read_bytes() == own:
                found.append(int(entry.name))
    return found
