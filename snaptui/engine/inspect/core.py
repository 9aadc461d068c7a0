"""An ELF core of a saved process, made on the fly: read at random, and never as a whole in memory.

The layout is that of the kernel's own cores (fs/binfmt_elf.c, elf(5)): ELF header, a PT_NOTE, a PT_LOAD
for each mapping, and the pages. Only the headers and notes are kept; pages come from the snapshot.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.notes import MACHINES, build_notes
from snaptui.engine.snapfile import Area, Process
from snaptui.engine.snapfile.direct import ALL_ZEROS, Extent, Extents, cut
from snaptui.engine.snapfile.fieldarrays import U8
from snaptui.engine.snapfile.mappings import parse_maps

_ET_CORE: Final = 4
_PT_LOAD: Final = 1
_PT_NOTE: Final = 4
_PN_XNUM: Final = 0xFFFF
"""As e_phnum: the count is in sh_info of section header 0."""
_PAGE_SIZE: Final = 4096
_FLAGS: Final = {"r": 4, "w": 2, "x": 1}  # PF_R and so on

_LARGE: Final = 16 << 20
"""Bytes of untouched memory that are worth segments of their own; below (a stack has 8 MiB) it is a hole."""
_WINDOWS: Final = 4096
"""About how many segments untouched memory may cost; gdb opens a core of 65,000 segments in a second."""


RunKind = Literal["held", "untouched", "left out"]


@dataclass(slots=True)
class _Run:
    """Neighbouring areas of one mapping that the core treats alike."""

    start: int
    end: int
    flags: int
    kind: RunKind
    offset: int = 0
    """Where in the core its bytes are."""
    data: list[tuple[int, int]] = field(default_factory=list)
    """The addresses in it that are no hole."""

    @property
    def size(self) -> int:
        return self.end - self.start

    def cut(self, window: int) -> Iterator[tuple[_Run, int, int]]:
        """The segments that it makes: start and end of each."""
        if self.kind != "untouched":
            yield self, self.start, self.end
            return
        for start in range(self.start, self.end, window):
            yield self, start, min(start + window, self.end)


class CoreImage:
    """The core of a process. Raises `NotCaptured` if the snapshot has not what a core needs.

    What cannot be read back (left out) is a segment without bytes in the file, as the kernel writes what
    coredump_filter excludes: debuggers know that it was mapped, and that its contents are not here.

    Untouched memory reads as zeros, so its bytes must be in the file, as holes: what has no bytes there
    a debugger calls unreadable. But a terabyte of it would make a core that ext4 cannot hold and
    nobody dares to copy. So large untouched ranges are cut into segments that all show the *same*
    hole at the end of the file, the window. ELF allows it; gdb, lldb, elfutils, drgn and pystack read it.
    """

    def __init__(self, process: Process) -> None:
        linux = process.linux
        if linux is None:
            raise NotCaptured(
                f"process {process.pid} has no Linux record, which an ELF core is made from",
                help="`snaptui hexdump` and `snaptui regs` show its memory and registers",
            )
        arch = str(linux.info.get("arch", ""))
        if arch not in MACHINES:
            raise NotCaptured(
                f"process {process.pid} is of a machine without cores here: {arch or 'unknown'}"
            )
        self._process = process
        self._machine = MACHINES[arch]
        self._page = page_size(linux.info.get("page_size"))
        notes = build_notes(linux, self._machine, self._page)
        starts = {mapping.start for mapping in parse_maps(linux.read("maps"))}
        runs = _runs(process.areas(), starts, 1 << 8 * self._machine.width)
        window = _window_size(runs)
        segments = [segment for run in runs for segment in run.cut(window)]
        headers = self._headers_size(len(segments) + 1)
        end = self._place(runs, _up(headers + len(notes), self._page))
        self.size: int = end + window
        """Bytes of the whole core, holes included."""
        if self._machine.width == 4 and self.size > 1 << 32:
            raise NotCaptured(f"process {process.pid} is too large for a 32-bit core")
        self._head = self._headers(segments, headers, len(notes)) + notes
        self._held = [run for run in runs if run.kind == "held"]
        self._offsets = [run.offset for run in self._held]

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on; b"" at or past the end. May be called from any thread.

        Raises `NotCaptured` for pages that the snapshot should have and has not.
        """
        end = min(offset + count, self.size)
        return b"".join(
            part if isinstance(part, bytes) else self._process.read_memory(part, size)
            for part, size in self._parts(offset, end)
        )

    def read_into(self, offset: int, out: U8) -> None:
        """Fill `out` from `offset` on, all of it before the end. Raises as `read` does."""
        at = 0
        for part, size in self._parts(offset, offset + len(out)):
            here = out[at : at + size]
            if isinstance(part, bytes):
                here[:] = np.frombuffer(part, dtype=np.uint8)
            else:
                self._process.read_memory_into(part, here)
            at += size

    def direct(self) -> Extents | None:
        """What compiled code reads all by, but for the headers and notes; None where it cannot read."""
        return self._process.direct(self._extents())

    def _extents(self) -> Iterator[Extent]:
        memory = [*self._process.memory_extents()]
        at = len(self._head)
        for run in self._held:
            yield at, run.offset, ALL_ZEROS
            yield from cut(memory, run.start, run.end, run.offset - run.start)
            at = run.offset + run.size
        yield at, self.size, ALL_ZEROS

    def _parts(self, offset: int, end: int) -> Iterator[tuple[bytes | int, int]]:
        """Cut a range into pieces: the core's own bytes, or where in memory they are; and how many."""
        head = self._head[offset:end]
        if head:
            yield head, len(head)
        at = offset + len(head)
        first = max(0, bisect.bisect_right(self._offsets, at) - 1)
        # Not by islice: that walks from the first one on, and there may be 65,530.
        for run in map(self._held.__getitem__, range(first, len(self._held))):
            if run.offset >= end:
                break
            if at < run.offset:
                yield bytes(run.offset - at), run.offset - at
                at = run.offset
            size = min(end, run.offset + run.size) - at
            if size > 0:
                yield run.start + at - run.offset, size
                at += size
        if at < end:
            yield bytes(end - at), end - at

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Start and end of what is no hole, by offset. What lies between reads as zeros."""
        last = 0, len(self._head)
        for run in self._held:
            for start, end in run.data:
                here = run.offset + start - run.start, run.offset + end - run.start
                if here[0] != last[1]:
                    yield last
                    last = here
                last = last[0], here[1]
        yield last

    def _place(self, runs: Sequence[_Run], at: int) -> int:
        """Give every run its place in the file, from offset `at` on; returns where the window begins.

        Between two of them is a page of hole, so that none touches the next. elfutils would take the
        mappings of a library, where they touch, for the library's file: they are laid out otherwise, so that
        eu-stack would find no names, and not look for the file either.
        """
        for run in runs:
            run.offset = at
            if run.kind == "held":
                at += run.size + self._page
        for run in runs:
            if run.kind == "untouched":
                run.offset = at
        return at

    def _headers_size(self, count: int) -> int:
        """Bytes of the headers, for `count` segments."""
        wide = self._machine.width == 8
        section = (64 if wide else 40) if count >= _PN_XNUM else 0
        return (64 if wide else 52) + count * (56 if wide else 32) + section

    def _headers(self, segments: Sequence[tuple[_Run, int, int]], notes_at: int, notes_size: int) -> bytes:
        """The ELF header, the program headers and, where they are too many to count, a section header."""
        wide = self._machine.width == 8
        header, program, section = (64, 56, 64) if wide else (52, 32, 40)
        count = len(segments) + 1
        extended = count >= _PN_XNUM
        parts = [
            struct.pack("<4s5B7x", b"\x7fELF", 2 if wide else 1, 1, 1, 0, 0),
            struct.pack("<HHI", _ET_CORE, self._machine.number, 1),
            # No entry point; program headers follow at once; section headers are behind them, if any.
            struct.pack("<3QI" if wide else "<3II", 0, header, extended * (header + count * program), 0),
            struct.pack("<4H", header, program, min(count, _PN_XNUM), extended * section),
            struct.pack("<2H", extended, 0),
            self._program_header(_PT_NOTE, 0, notes_at, (0, 0), notes_size, 4),
        ]
        for run, start, end in segments:
            size = 0 if run.kind == "left out" else end - start
            parts.append(
                self._program_header(_PT_LOAD, run.flags, run.offset, (start, end), size, self._page)
            )
        if extended:
            # sh_size is the number of sections, sh_info that of segments (elf(5), PN_XNUM).
            parts.append(struct.pack("<2I4Q2I2Q" if wide else "<10I", 0, 0, 0, 0, 0, 1, 0, count, 0, 0))
        return b"".join(parts)

    def _program_header(
        self, kind: int, flags: int, offset: int, addresses: tuple[int, int], size: int, align: int
    ) -> bytes:
        start, end = addresses
        if self._machine.width == 8:
            return struct.pack("<2I6Q", kind, flags, offset, start, 0, size, end - start, align)
        return struct.pack("<8I", kind, offset, start, 0, size, end - start, flags, align)


def page_size(value: object) -> int:
    """The machine's page size as a snapshot gives it, or the usual one if that is no page size."""
    if isinstance(value, int) and 1024 <= value <= 1 << 20 and value & (value - 1) == 0:
        return value
    return _PAGE_SIZE


def _runs(areas: Sequence[Area], mapping_starts: Collection[int], limit: int) -> list[_Run]:
    """The areas as runs; what a broken record has out of order or beyond `limit` is passed over."""
    runs: list[_Run] = []
    for area in areas:
        if not (runs[-1].end if runs else 0) <= area.start < area.end <= limit:
            continue
        kind = _kind(area)
        flags = sum(flag for letter, flag in _FLAGS.items() if letter in area.perms)
        last = runs[-1] if runs else None
        if (
            last is None
            or (last.end, last.kind, last.flags) != (area.start, kind, flags)
            or area.start in mapping_starts
        ):
            last = _Run(area.start, area.end, flags, kind)
            runs.append(last)
        last.end = area.end
        if area.kind in ("stored", "text"):
            if last.data and last.data[-1][1] == area.start:
                last.data[-1] = last.data[-1][0], area.end
            else:
                last.data.append((area.start, area.end))
    return runs


def _kind(area: Area) -> RunKind:
    if area.kind == "left out":
        return "left out"
    return "untouched" if area.kind == "zero" and area.size >= _LARGE else "held"


def _window_size(runs: Sequence[_Run]) -> int:
    """Bytes of the window: a power of two, so large that untouched memory makes some thousand segments."""
    sizes = [run.size for run in runs if run.kind == "untouched"]
    if not sizes:
        return 0
    return max(_LARGE, 1 << (sum(sizes) // _WINDOWS).bit_length())


def _up(value: int, to: int) -> int:
    return -(-value // to) * to
