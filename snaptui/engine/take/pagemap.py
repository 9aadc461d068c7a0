"""Which pages of a mapping hold something: PAGEMAP_SCAN, or pagemap entries on kernels before 6.7.

Source: Linux Documentation/admin-guide/mm/pagemap.rst and include/uapi/linux/fs.h.
"""

from __future__ import annotations

import bisect
import ctypes
import errno
import fcntl
import itertools
import mmap
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

# struct pm_scan_arg: size flags start end walk_end vec vec_len max_pages
#                     category_inverted category_mask category_anyof_mask return_mask
_SCAN_ARG: Final = struct.Struct("=12Q")
_PAGEMAP_SCAN: Final = (
    3 << 30 | _SCAN_ARG.size << 16 | ord("f") << 8 | 16
)  # _IOWR('f', 16, struct pm_scan_arg)
_REGION: Final = struct.Struct("=3Q")  # struct page_region: start end categories
_REGIONS: Final = 4096  # regions that one call returns

_IS_FILE: Final = 1 << 2
_IS_PRESENT: Final = 1 << 3
_IS_SWAPPED: Final = 1 << 4
_IS_PFNZERO: Final = 1 << 5
_IS_GUARD: Final = 1 << 8  # Linux 6.15

# Of the high 16 bits of an entry.
_ENTRY_PRESENT: Final = 1 << 63 - 48
_ENTRY_SWAPPED: Final = 1 << 62 - 48
_ENTRY_FILE: Final = 1 << 61 - 48
_ENTRY_GUARD: Final = 1 << 58 - 48  # Linux 6.15
_ENTRY_EXCLUSIVE: Final = 1 << 56 - 48  # no other process has it
_IS_SHARED: Final = bytes(
    (high << 8) & (_ENTRY_PRESENT | _ENTRY_FILE | _ENTRY_EXCLUSIVE) == _ENTRY_PRESENT for high in range(256)
)
"""By the highest byte of an entry: whether it is of a private page that other processes have, too."""
_SHARED_OR_NOT: Final = re.compile(rb"\x01+|\x00+")
_ENTRY_FLAGS: Final = _ENTRY_PRESENT | _ENTRY_SWAPPED | _ENTRY_FILE | _ENTRY_GUARD
_ENTRIES: Final = 1 << 17  # read at a time: 1 MiB of pagemap, 512 MiB of memory


@dataclass(frozen=True, slots=True)
class PageRun:
    """Neighbouring pages of a kind that the process's page table knows of; all others are untouched."""

    start: int
    end: int
    is_file: bool
    """The page is the file's (or shared memory's) own; false: private to the process."""
    is_zero: bool
    """The kernel's shared page of zeros: read, never written."""
    is_guard: bool
    is_swapped: bool

    def within(self, start: int, end: int) -> PageRun:
        """What of it is between these addresses."""
        if start <= self.start and self.end <= end:
            return self
        return replace(self, start=max(start, self.start), end=min(end, self.end))


class Pagemap:
    """The page table of a process (by a living thread), to be closed. Raises OSError where /proc does."""

    def __init__(self, tid: int, *, scan: bool = True) -> None:
        """`scan` false: do as kernels do that have no PAGEMAP_SCAN."""
        self._fd = os.open(f"/proc/{tid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._scan = scan
        self.knows_guards = False
        """Whether guard pages are told from swapped ones."""
        self._categories = _IS_FILE | _IS_PRESENT | _IS_SWAPPED | _IS_PFNZERO | _IS_GUARD
        self._regions = mmap.mmap(-1, _REGIONS * _REGION.size)
        self._regions_at = ctypes.addressof(ctypes.c_char.from_buffer(self._regions))
        self._ahead: dict[tuple[int, int], list[PageRun]] = {}
        if scan:
            self._probe()

    def close(self) -> None:
        os.close(self._fd)

    def runs(self, start: int, end: int) -> Iterator[PageRun]:
        """The pages between two addresses (multiples of the page size) that hold something, by address."""
        ahead = self._ahead.pop((start, end), None)
        if ahead is not None:
            return iter(ahead)
        return self._scanned(start, end, self._categories) if self._scan else self._entries(start, end)

    def look_ahead(self, start: int, end: int) -> None:
        """Find the runs of a range that is no file's now, for when they are asked for.

        Whether a page is a file's stands in what the kernel knows of the page, not in the table: to look
        there takes four times as long.
        """
        categories = self._categories & ~_IS_FILE
        runs = self._scanned(start, end, categories) if self._scan else self._entries(start, end)
        self._ahead[start, end] = list(runs)

    def look_at_neighbours(self, ranges: Sequence[tuple[int, int]]) -> None:
        """The same for several ranges, by address, and all of them in one call; not if they hold too much."""
        if not self._scan or not ranges:
            return
        try:
            count, _ = self._call(ranges[0][0], ranges[-1][1], self._categories)
        except OSError:
            return  # who asks for each will see
        if count == _REGIONS:
            return
        found = self._found(count)
        for start, end in ranges:
            first = bisect.bisect_right(found, start, key=lambda run: run.end)
            last = bisect.bisect_left(found, end, key=lambda run: run.start)
            self._ahead[start, end] = [run.within(start, end) for run in found[first:last]]

    def sharing(self, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
        """The range, cut by whether private pages are shared with other processes (copy-on-write).

        With each part that is come its entries, with the others none.
        """
        page = os.sysconf("SC_PAGE_SIZE")
        entries = os.pread(self._fd, (end - start) // page * 8, start // page * 8)
        for run in _SHARED_OR_NOT.finditer(entries[7::8].translate(_IS_SHARED)):
            shared = entries[run.start() * 8 : run.end() * 8] if run[0][0] else b""
            yield start + run.start() * page, start + run.end() * page, shared

    def _probe(self) -> None:
        """Find out what this kernel knows."""
        for categories in (self._categories, self._categories & ~_IS_GUARD):
            try:
                self._call(0, 0, categories)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTTY):
                    raise
            else:
                self._categories = categories
                self.knows_guards = bool(categories & _IS_GUARD)
                return
        self._scan = False

    def _call(self, start: int, end: int, categories: int) -> tuple[int, int]:
        """One PAGEMAP_SCAN: how many regions it found, and the address where it stopped."""
        wanted = _IS_PRESENT | _IS_SWAPPED
        where = (start, end, 0, self._regions_at, _REGIONS)
        argument = bytearray(_SCAN_ARG.pack(_SCAN_ARG.size, 0, *where, 0, 0, 0, wanted, categories))
        count = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, argument, True)
        return count, _SCAN_ARG.unpack(argument)[4]

    def _scanned(self, start: int, end: int, categories: int) -> Iterator[PageRun]:
        count = _REGIONS
        while start < end and count == _REGIONS:
            count, walked = self._call(start, end, categories)
            found = self._found(count)
            if found:
                # walk_end can be before what was returned already (seen on Linux 6.18).
                start = max(walked, found[-1].end)
            yield from found

    def _found(self, count: int) -> list[PageRun]:
        """What the last call found."""
        return [
            PageRun(
                first,
                last,
                is_file=bool(found & _IS_FILE),
                is_zero=bool(found & _IS_PFNZERO),
                is_guard=bool(found & _IS_GUARD),
                is_swapped=bool(found & _IS_SWAPPED),
            )
            for first, last, found in _REGION.iter_unpack(self._regions[: count * _REGION.size])
        ]

    def _entries(self, start: int, end: int) -> Iterator[PageRun]:
        page = os.sysconf("SC_PAGE_SIZE")
        for first in range(start, end, _ENTRIES * page):
            count = min(_ENTRIES, (end - first) // page)
            entries = os.pread(self._fd, count * 8, first // page * 8)
            if entries == entries[:8] * count:  # a terabyte never touched takes no longer than to read this
                yield from _runs_of_equal(_flags(entries[:8]), first, page * count)
            else:
                yield from _runs_of_equal(_flags(entries), first, page)


def _flags(entries: bytes) -> list[int]:
    """The high 16 bits of each entry: all flags, without the number of the page's frame."""
    return memoryview(entries).cast("H")[3::4].tolist()


def _runs_of_equal(flags: list[int], address: int, page: int) -> Iterator[PageRun]:
    for flag, run in itertools.groupby(flags, key=_ENTRY_FLAGS.__and__):
        end = address + sum(1 for _ in run) * page
        if flag & (_ENTRY_PRESENT | _ENTRY_SWAPPED):
            yield PageRun(
                address,
                end,
                is_file=bool(flag & _ENTRY_FILE),
                is_zero=False,
                is_guard=bool(flag & _ENTRY_GUARD),
                is_swapped=bool(flag & _ENTRY_SWAPPED),
            )
        address = end
