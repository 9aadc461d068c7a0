"""Which pages of a mapping hold something: PAGEMAP_SCAN, or pagemap entries on kernels before 6.7.

Source: Linux Documentation/admin-guide/mm/pagemap.rst and include/uapi/linux/fs.h.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

# struct pm_scan_arg: size flags start end walk_end vec vec_len max_pages
#                     category_inverted category_mask category_anyof_mask return_mask
_SCAN_ARG: Final = struct.Struct("=12Q")
_PAGEMAP_SCAN: Final = (
    3 << 30 | _SCAN_ARG.size << 16 | ord("f") << 8 | 16
)  # _IOWR('f', 16, struct pm_scan_arg)
_REGION: Final = np.dtype([("start", "<u8"), ("end", "<u8"), ("categories", "<u8")])  # struct page_region
_REGIONS: Final = 4096  # regions that one call returns

_IS_FILE: Final = 1 << 2
_IS_PRESENT: Final = 1 << 3
_IS_SWAPPED: Final = 1 << 4
_IS_PFNZERO: Final = 1 << 5
_IS_GUARD: Final = 1 << 8  # Linux 6.15

_ENTRY_PRESENT: Final = np.uint64(1 << 63)
_ENTRY_SWAPPED: Final = np.uint64(1 << 62)
_ENTRY_FILE: Final = np.uint64(1 << 61)
_ENTRY_GUARD: Final = np.uint64(1 << 58)  # Linux 6.15
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


class Pagemap:
    """The page table of a process (by a living thread), to be closed. Raises OSError where /proc does."""

    def __init__(self, tid: int, *, scan: bool = True) -> None:
        """`scan` false: do as kernels do that have no PAGEMAP_SCAN."""
        self._fd = os.open(f"/proc/{tid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._scan = scan
        self.knows_guards = False
        """Whether guard pages are told from swapped ones."""
        self._categories = _IS_FILE | _IS_PRESENT | _IS_SWAPPED | _IS_PFNZERO | _IS_GUARD
        self._regions = np.empty(_REGIONS, dtype=_REGION)
        if scan:
            self._probe()

    def close(self) -> None:
        os.close(self._fd)

    def runs(self, start: int, end: int) -> Iterator[PageRun]:
        """The pages between two addresses (multiples of the page size) that hold something, by address."""
        return self._scanned(start, end) if self._scan else self._entries(start, end)

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
        where = (start, end, 0, self._regions.ctypes.data, len(self._regions))
        argument = bytearray(_SCAN_ARG.pack(_SCAN_ARG.size, 0, *where, 0, 0, 0, wanted, categories))
        count = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, argument, True)
        return count, _SCAN_ARG.unpack(argument)[4]

    def _scanned(self, start: int, end: int) -> Iterator[PageRun]:
        count = len(self._regions)
        while start < end and count == len(self._regions):
            count, walked = self._call(start, end, self._categories)
            if count:
                # walk_end can be before what was returned already (seen on Linux 6.18).
                start = max(walked, int(self._regions["end"][count - 1]))
            for first, last, found in self._regions[:count].tolist():
                yield PageRun(
                    first,
                    last,
                    is_file=bool(found & _IS_FILE),
                    is_zero=bool(found & _IS_PFNZERO),
                    is_guard=bool(found & _IS_GUARD),
                    is_swapped=bool(found & _IS_SWAPPED),
                )

    def _entries(self, start: int, end: int) -> Iterator[PageRun]:
        page = os.sysconf("SC_PAGE_SIZE")
        for first in range(start, end, _ENTRIES * page):
            count = min(_ENTRIES, (end - first) // page)
            entries = np.frombuffer(os.pread(self._fd, count * 8, first // page * 8), dtype="<u8")
            flags = entries & (_ENTRY_PRESENT | _ENTRY_SWAPPED | _ENTRY_FILE | _ENTRY_GUARD)
            yield from _runs_of_equal(flags, first, page)


def _runs_of_equal(flags: npt.NDArray[np.uint64], address: int, page: int) -> Iterator[PageRun]:
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(flags)) + 1, [len(flags)]]).tolist()
    for start, end in itertools.pairwise(bounds):
        if start < end and flags[start] & (_ENTRY_PRESENT | _ENTRY_SWAPPED):
            yield PageRun(
                address + start * page,
                address + end * page,
                is_file=bool(flags[start] & _ENTRY_FILE),
                is_zero=False,
                is_guard=bool(flags[start] & _ENTRY_GUARD),
                is_swapped=bool(flags[start] & _ENTRY_SWAPPED),
            )
