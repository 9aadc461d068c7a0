"""Which memory is saved, and how: for every address of every mapping one of four fates.

*stored*: read from the process. *text*: the page of a file in the text image, not even read.
*zero*: anonymous and never touched. *left out*: with the reason, and never read back as zeros.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from snaptui.engine.snapfile.linux import Area, AreaKind, DataFile
from snaptui.engine.snapfile.mappings import Mapping, parse_maps
from snaptui.engine.take.images import VDSO, TextImage
from snaptui.engine.take.pagemap import Pagemap, PageRun
from snaptui.engine.take.procstat import read_whole
from snaptui.engine.take.shared import SharedMemory

_MACHINE_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

_LARGE: Final = 32 << 20
"""Bytes of a mapping from which on its page table takes long to look at: 0.4 ms."""

_KERNELS_PAGE: Final = "[vsyscall]"
_DEVICE: Final = "device memory"
_DONTDUMP: Final = "marked MADV_DONTDUMP"
_NO_READ: Final = "no read permission"
_GUARD: Final = "guard pages"
_VSYSCALL: Final = "a page of the kernel's"
_USERFAULT: Final = "pages that the process fills in itself (userfaultfd)"
_NOT_MAPPED_IN: Final = "shared pages that this process has not touched, and that only root can find"
_DEVICE_FLAGS: Final = frozenset({"io", "pf"})
_USERFAULT_FLAGS: Final = frozenset({"um", "ui"})


class Piece(NamedTuple):
    """A range of addresses within one mapping, and its fate."""

    start: int
    end: int
    kind: AreaKind
    mapping: Mapping
    reason: str = ""
    text_offset: int = 0
    """For `text`: where in the text image it is."""
    forced: bool = False
    """To be read by /proc/PID/mem: the process itself must not, or it shares the pages with others, and for
    process_vm_readv(2), which pins pages, the kernel would first make it copies of its own."""
    twin: int = 0
    """For `stored`: the process saved before that has the same page frames at the same addresses."""
    entries: bytes = b""
    """For what other processes share: its page table's entries, if they were read."""
    unreadable: str = ""
    """For `stored`: why part of it may turn out to be unreadable, which is no loss then."""

    @property
    def size(self) -> int:
        return self.end - self.start

    def area(self) -> Area:
        return Area(self.start, self.end, self.kind, self.reason, self.mapping.perms, self.mapping.path)

    def part(self, start: int, end: int) -> Piece:
        """The piece from `start` to `end`."""
        offset = self.text_offset + start - self.start if self.kind == "text" else 0
        return self._replace(start=start, end=end, text_offset=offset, entries=b"")

    def left_out(self, reason: str) -> Piece:
        """The same addresses, left out."""
        return Piece(self.start, self.end, "left out", self.mapping, reason)


class Planner:
    """Plans what becomes of the memory of one process, which should be stopped."""

    def __init__(self, image: TextImage, *, all_memory: bool) -> None:
        self._image = image
        self._all = all_memory
        self._pagemap = Pagemap(image.tid)
        self._shared = SharedMemory(image.tid)
        # A file that changed since it was saved is read from the process, page by page.
        self._saved = {key: file for key, file in image.files.items() if file.is_unchanged()}

        self.data_files: dict[str, DataFile] = {}
        """The files whose unmodified pages are left out, by path."""

    def close(self) -> None:
        self._pagemap.close()

    def look_ahead(self) -> None:
        """Look into the page table of large mappings, before it is known what else `plan` needs."""
        with contextlib.suppress(OSError):
            for mapping in parse_maps(read_whole(f"/proc/{self._image.tid}/maps")):
                if mapping.end - mapping.start >= _LARGE and mapping.is_anonymous:
                    self._pagemap.look_ahead(mapping.start, mapping.end)

    def reads_files(self, mapping: Mapping) -> bool:
        """Whether what is stored of the mapping can be its file's, or memory that others share.

        If not, it is the process's own pages alone.
        """
        if not mapping.is_file or mapping.is_anonymous or (mapping.device, mapping.inode) in self._saved:
            return False
        return self._shared.holds(mapping) or self._is_stored_whole(mapping)

    def plan(self, mappings: Sequence[Mapping]) -> list[Piece]:
        """The fate of every address of `mappings`, by address.

        Raises ProcessLookupError if the process has been killed: its page table, and what was read of its
        mappings before, may then have looked empty, without an error.
        """
        for neighbours in _small_neighbours(mappings):
            self._pagemap.look_at_neighbours(neighbours)
        pieces = (piece for mapping in mappings for piece in self._mapping(mapping))
        planned = [part for piece in pieces for part in self._by_sharing(piece)]
        with open(f"/proc/{self._image.tid}/maps", "rb", buffering=0) as file:
            if not file.read(1):
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return planned

    def _by_sharing(self, piece: Piece) -> Iterator[Piece]:
        """The piece, cut where pages that fork(2) left to several processes begin and end."""
        shares = piece.mapping.shared and not piece.mapping.is_shared
        if piece.kind != "stored" or piece.forced or not shares:
            yield piece
            return
        for start, end, entries in self._pagemap.sharing(piece.start, piece.end):
            yield piece.part(start, end)._replace(forced=bool(entries), entries=entries)

    def _mapping(self, mapping: Mapping) -> Iterator[Piece]:
        whole = Piece(mapping.start, mapping.end, "left out", mapping)
        if mapping.path == _KERNELS_PAGE:
            yield whole.left_out(_VSYSCALL)
        elif mapping.path == VDSO and self._image.vdso:
            yield Piece(mapping.start, mapping.end, "text", mapping, text_offset=self._image.vdso_offset)
        elif mapping.flags & _DEVICE_FLAGS:
            yield whole.left_out(_DEVICE)
        elif "dd" in mapping.flags and not self._all:
            yield whole.left_out(_DONTDUMP)
        elif not mapping.is_readable and not self._all:
            yield whole.left_out(_NO_READ)
        else:
            yield from self._readable(mapping)

    def _readable(self, mapping: Mapping) -> Iterator[Piece]:
        saved = self._saved.get((mapping.device, mapping.inode)) if mapping.is_file else None
        runs = self._pagemap.runs(mapping.start, mapping.end)
        if saved is not None:
            limit = mapping.start + max(0, _whole(saved.size) - mapping.offset)
            rest = Piece(
                mapping.start, mapping.end, "text", mapping, text_offset=saved.text_offset + mapping.offset
            )
            yield from self._around(self._private(runs), mapping, rest, limit)
        elif self._shared.holds(mapping):
            yield from self._shared_memory(mapping, runs)
        elif not mapping.is_anonymous:
            yield from self._data_file(mapping, runs)
        else:
            userfault = bool(mapping.flags & _USERFAULT_FLAGS)
            kind: AreaKind = "left out" if userfault or not mapping.is_readable else "zero"
            reason = (_USERFAULT if userfault else _NO_READ) if kind == "left out" else ""
            rest = Piece(mapping.start, mapping.end, kind, mapping, reason)
            yield from self._around(self._touched(runs), mapping, rest, mapping.end)

    def _shared_memory(self, mapping: Mapping, runs: Iterator[PageRun]) -> Iterator[Piece]:
        """Memory that has no file on disk: what it holds is saved, holes read as zeros."""
        held = self._shared.data_ranges(mapping)
        if held is None:
            rest = Piece(mapping.start, mapping.end, "left out", mapping, _NOT_MAPPED_IN)
            yield from self._around(self._touched(runs), mapping, rest, mapping.end)
            return
        size, ranges = held
        limit = mapping.start + max(0, _whole(size) - mapping.offset)
        touched = [(start, end, "") for start, end in ranges] + list(self._private(runs))
        rest = Piece(mapping.start, mapping.end, "zero", mapping)
        yield from self._around(iter(_merged(touched)), mapping, rest, limit)

    def _data_file(self, mapping: Mapping, runs: Iterator[PageRun]) -> Iterator[Piece]:
        """A file that is no part of the text image: its changed pages; all if it can't be found later."""
        if self._is_stored_whole(mapping):
            yield Piece(
                mapping.start,
                mapping.end,
                "stored",
                mapping,
                forced=not mapping.is_readable,
                unreadable="beyond the end of the file",
            )
            return
        self._note_data_file(mapping)
        rest = Piece(mapping.start, mapping.end, "left out", mapping, f"unmodified pages of {mapping.path}")
        yield from self._around(self._private(runs), mapping, rest, mapping.end)

    def _note_data_file(self, mapping: Mapping) -> None:
        with contextlib.suppress(OSError):
            found = os.stat(f"/proc/{self._image.tid}/root{mapping.path}")
            self.data_files[mapping.path] = DataFile(mapping.path, found.st_size, found.st_mtime_ns)

    def _is_stored_whole(self, mapping: Mapping) -> bool:
        return mapping.deleted or self._all or not self._is_on_disk(mapping)

    def _is_on_disk(self, mapping: Mapping) -> bool:
        return mapping.path.startswith("/") and (mapping.device, mapping.inode) not in self._image.files

    def _private(self, runs: Iterator[PageRun]) -> Iterator[tuple[int, int, str]]:
        """The pages that are the process's own, not the file's."""
        return ((start, end, reason) for start, end, reason, is_file in self._runs(runs) if not is_file)

    def _touched(self, runs: Iterator[PageRun]) -> Iterator[tuple[int, int, str]]:
        """The pages that hold anything."""
        return ((start, end, reason) for start, end, reason, _ in self._runs(runs))

    def _runs(self, runs: Iterator[PageRun]) -> Iterator[tuple[int, int, str, bool]]:
        for run in runs:
            if not run.is_zero:
                yield run.start, run.end, _GUARD if run.is_guard else "", run.is_file

    def _around(
        self, held: Iterator[tuple[int, int, str]], mapping: Mapping, rest: Piece, limit: int
    ) -> Iterator[Piece]:
        """The ranges `held` as stored (or left out, for their reason), `rest` between them, up to `limit`.

        Behind `limit` there is no file any more: the process itself would get SIGBUS there.
        """
        at = mapping.start
        for start, end, reason in held:
            yield from self._limited(rest, at, start, limit)
            whole = Piece(start, end, "stored", mapping, forced=not mapping.is_readable)
            yield whole.left_out(reason) if reason else whole
            at = end
        yield from self._limited(rest, at, mapping.end, limit)

    def _limited(self, rest: Piece, start: int, end: int, limit: int) -> Iterator[Piece]:
        middle = min(max(limit, start), end)
        if start < middle:
            yield rest.part(start, middle)
        if middle < end:
            yield rest.part(middle, end).left_out("beyond the end of the file")


def _small_neighbours(mappings: Sequence[Mapping]) -> Iterator[list[tuple[int, int]]]:
    """Runs of mappings that are not large, nor the kernel's: most processes have dozens."""
    groups = itertools.groupby(mappings, lambda m: m.size < _LARGE and m.path != _KERNELS_PAGE)
    return ([(m.start, m.end) for m in group] for is_small, group in groups if is_small)


def _merged(ranges: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Overlapping or touching ranges of one reason, made one."""
    merged: list[tuple[int, int, str]] = []
    for start, end, reason in sorted(ranges):
        if merged and start <= merged[-1][1] and reason == merged[-1][2]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), reason)
        elif merged and start < merged[-1][1]:
            merged.append((merged[-1][1], max(end, merged[-1][1]), reason))
        else:
            merged.append((start, end, reason))
    return [piece for piece in merged if piece[0] < piece[1]]


def _whole(size: int) -> int:
    return -(-size // _MACHINE_PAGE) * _MACHINE_PAGE
