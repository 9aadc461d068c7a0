"""Memory that a copy of a process does not keep, and that is read before the process runs on.

A copy made by fork(2) lacks what is marked MADV_DONTFORK, has zeros for what is marked MADV_WIPEONFORK, and
of memory that others share, and of files, it has what they hold now, not then (madvise(2), mmap(2)).
All this is read while the process stands, and then put into the copy, in place of what it has there.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from typing import Final

from snaptui.engine.snapfile.joining import Range
from snaptui.engine.snapfile.linux import DataFile, Link
from snaptui.engine.snapfile.mappings import Mapping, parse_maps
from snaptui.engine.take.images import TextImage
from snaptui.engine.take.injection import Borrowed, InjectionRefused
from snaptui.engine.take.memory import read_memory
from snaptui.engine.take.plan import Piece, Planner
from snaptui.engine.take.procstat import read_whole

MOST: Final = 256 << 20
"""Bytes that are read in the pause at most: they take 0.1 s, and stay in memory until they are written."""

_PIECE: Final = 8 << 20  # bytes read at a time
_NOT_COPIED: Final = frozenset({"dc", "wf"})
"""VmFlags of MADV_DONTFORK and MADV_WIPEONFORK: proc_pid_smaps(5)."""
_USERFAULT_FLAGS: Final = frozenset({"um", "uw", "ui"})
_USERFAULT: Final = "it fills in memory by itself (userfaultfd)"
_USERFAULT_FILE: Final = "anon_inode:[userfaultfd]"

_MMAP: Final = 9  # asm/unistd_64.h
_READ_WRITE: Final = 1 | 2  # PROT_READ, PROT_WRITE
_IN_ITS_PLACE: Final = 0x2 | 0x10 | 0x20 | 0x4000  # MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE
_NO_FILE: Final = -1


@dataclass(slots=True)
class Kept:
    """What was read of a process while it stood, for its copy."""

    mappings: tuple[Mapping, ...]
    """All of the process, with flags as far as they are known."""
    pieces: list[Piece]
    """The fate of the mappings that the copy does not keep."""
    data_files: tuple[DataFile, ...] = ()
    contents: list[tuple[int, mmap.mmap]] = field(default_factory=list)
    """Address and bytes of what is stored of those."""
    missed: list[tuple[int, int]] = field(default_factory=list)
    """(address, bytes) of it that could not be read."""

    def plan(self, seen: TextImage, all_memory: bool) -> tuple[list[Piece], tuple[DataFile, ...]]:
        """The fate of all mappings, and the files whose pages are left out; `seen`: the copy's image.

        All is read by /proc/PID/mem. process_vm_readv(2) pins the pages that it reads, and of one that is
        shared since fork(2) the kernel makes a copy first (FAULT_FLAG_UNSHARE of linux/mm_types.h):
        768 MiB took 0.58 s, not 0.32, and as much memory again.
        """
        with contextlib.closing(Planner(seen, all_memory=all_memory)) as planner:
            pieces = self.pieces + planner.plan(self.others())
            files = (*self.data_files, *planner.data_files.values())
        by_address = sorted(pieces, key=lambda piece: piece.start)
        # What was kept has other frames in the copy.
        return [piece._replace(forced=True, entries=b"") for piece in by_address], files

    def others(self) -> list[Mapping]:
        """The mappings that the copy keeps."""
        kept = {piece.mapping.start for piece in self.pieces}
        return [mapping for mapping in self.mappings if mapping.start not in kept]


def keep(image: TextImage, maps: bytes, before: Sequence[Mapping], *, all_memory: bool) -> Kept:
    """Read what a copy of this process, which stands, will not keep.

    `maps`: its mappings now; `before`: as smaps had them just before the stop, with flags, which take 4 ms
    a GiB to read. Raises InjectionRefused when it is too much, and OSError when the process was killed.
    """
    now = parse_maps(maps)
    with contextlib.closing(Planner(image, all_memory=all_memory)) as planner:
        files = {mapping.start for mapping in now if planner.reads_files(mapping)}
        known = {_key(mapping): mapping for mapping in before}
        if any(mapping.start in files and _key(mapping) not in known for mapping in now):
            fresh = parse_maps(read_whole(f"/proc/{image.tid}/smaps"))
            known = {_key(mapping): mapping for mapping in fresh}
        flagged = tuple(known.get(_key(mapping), mapping) for mapping in now)
        refuse_userfaults(flagged)
        lost = [m for m in flagged if m.start in files or m.flags & _NOT_COPIED]
        kept = Kept(flagged, planner.plan(lost), tuple(planner.data_files.values()))
    stored = [piece for piece in kept.pieces if piece.kind == "stored"]
    size = sum(piece.size for piece in stored)
    if size > MOST:
        raise InjectionRefused(f"it has {size >> 20} MiB of shared memory and the like, which no copy keeps")
    fd = os.open(f"/proc/{image.tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for piece in stored:
            for address, end in _parts(piece):
                # Begins with a page, as what is read: copied faster so (take.c)
                content = mmap.mmap(-1, end - address, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                kept.missed += read_memory(image.tid, fd, address, memoryview(content))
                kept.contents.append((address, content))
    finally:
        os.close(fd)
    return kept


def refuse_userfaults(mappings: Sequence[Mapping]) -> None:
    """Raise InjectionRefused if fork(2) could wait for the process itself: UFFD_FEATURE_EVENT_FORK."""
    if any(mapping.flags & _USERFAULT_FLAGS for mapping in mappings):
        raise InjectionRefused(_USERFAULT)


def check_files(files: Table[str, bytes | Link]) -> None:
    """Raise InjectionRefused if an open file says the same."""
    if any(isinstance(link, Link) and link.target == _USERFAULT_FILE for link in files.values()):
        raise InjectionRefused(_USERFAULT)


def restore(copy: Borrowed, kept: Kept) -> None:
    """Put into the copy, which stands, what it did not keep, and forget it here.

    Raises InjectionRefused if the copy lacks more than was known when it was made, or has no room.
    """
    has = {(m.start, m.end): m for m in parse_maps(read_whole(f"/proc/{copy.tid}/smaps"))}
    for mapping in kept.others():
        copied = has.get((mapping.start, mapping.end))
        if copied is None or copied.flags & _NOT_COPIED:
            raise InjectionRefused("it marked memory MADV_DONTFORK or MADV_WIPEONFORK just when it stopped")
    kept.mappings = tuple(has.get((m.start, m.end), m) for m in kept.mappings)
    filled = {piece.mapping.start: piece.mapping for piece in kept.pieces if piece.kind == "stored"}
    for mapping in filled.values():
        place = (mapping.start, mapping.size)
        if copy.call(_MMAP, *place, _READ_WRITE, _IN_ITS_PLACE, _NO_FILE, 0) != mapping.start:
            raise InjectionRefused("there is no room in its copy for its shared memory")
    fd = os.open(f"/proc/{copy.tid}/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        while kept.contents:
            address, content = kept.contents.pop()
            if os.pwrite(fd, content, address) != len(content):
                raise InjectionRefused("there is no memory for the copy of its shared memory")
    except OSError as error:
        raise InjectionRefused("there is no memory for the copy of its shared memory") from error
    finally:
        os.close(fd)


def _key(mapping: Mapping) -> tuple[object, ...]:
    """What maps says of it."""
    place = (mapping.start, mapping.end, mapping.perms, mapping.offset)
    return (*place, mapping.device, mapping.inode, mapping.path, mapping.deleted)


def _parts(piece: Piece) -> Iterator[Range]:
    for start in range(piece.start, piece.end, _PIECE):
        yield start, min(start + _PIECE, piece.end)
