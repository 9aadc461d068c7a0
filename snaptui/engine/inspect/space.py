"""What can be looked at by address: a process's memory, or its text image. Read in small pieces."""

from __future__ import annotations

import bisect
import itertools
from typing import Protocol

import numpy as np

from snaptui.engine.errors import NotCaptured
from snaptui.engine.snapfile import Area, Process, Segment
from snaptui.engine.snapfile.fieldarrays import U8
from snaptui.engine.snapfile.model import PAGE


class Space(Protocol):
    """An address space with holes; `Process` is one."""

    def areas(self) -> tuple[Area, ...]:
        """Every range that is known of, by address."""

    def read_memory(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises `NotCaptured`, and `SnapError` where the file is at fault."""

    def read_memory_into(self, address: int, target: U8) -> None:
        """Fill `target` with as many bytes. Raises as `read_memory` does."""


class TextImage:
    """The text image of a process as a space of its own: addresses are offsets in it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        linux = process.linux
        files = sorted(linux.text_files if linux is not None else (), key=lambda file: file.offset)
        self._areas = tuple(
            Area(start, end, "stored", name=name)
            for segment in sorted(process.text, key=lambda segment: segment.offset)
            for start, end, name in _parts(segment, [(file.offset, file.path) for file in files])
        )

    def areas(self) -> tuple[Area, ...]:
        return self._areas

    def read_memory(self, address: int, length: int) -> bytes:
        content = self._process.read_text(address, length)
        if len(content) < length:
            raise NotCaptured(f"{address + len(content):#x} is past the end of the text image")
        return content

    def read_memory_into(self, address: int, target: U8) -> None:
        target[:] = np.frombuffer(self.read_memory(address, len(target)), dtype=np.uint8)


def _parts(segment: Segment, files: list[tuple[int, str]]) -> list[tuple[int, int, str]]:
    """A segment of the image cut where its files begin."""
    edges = [segment.offset, *(at for at, _ in files if segment.offset < at < segment.end), segment.end]
    parts = []
    for start, end in itertools.pairwise(edges):
        name = next((path for at, path in reversed(files) if at <= start), "text")
        if start < end:
            parts.append((start, end, name))
    return parts


def read_available(space: Space, address: int, length: int) -> bytes:
    """Up to `length` bytes: those before the first that is not captured."""
    try:
        return space.read_memory(address, length)
    except NotCaptured:
        pass
    length = min(length, _mapped_end(space.areas(), address) - address)
    try:
        return space.read_memory(address, max(0, length))
    except NotCaptured:
        pass
    # A damaged snapshot: it lacks a page that should be there.
    content = b""
    while len(content) < length:
        at = address + len(content)
        try:
            content += space.read_memory(at, min(length - len(content), PAGE - at % PAGE))
        except NotCaptured:
            break
    return content


def read_available_into(space: Space, address: int, target: U8) -> int:
    """Fill `target`, or its beginning, as `read_available` reads; how many bytes there were."""
    try:
        space.read_memory_into(address, target)
        return len(target)
    except NotCaptured:
        content = read_available(space, address, len(target))
        target[: len(content)] = np.frombuffer(content, dtype=np.uint8)
        return len(content)


def read_before(space: Space, address: int, length: int) -> bytes:
    """Up to `length` bytes that end before `address`: those after the last that is not captured."""
    start = max(0, address - length)
    # Where there is a hole it ends at a page of the machine's, or of the file's: then less is asked for.
    for size in (address - start, address % 4096, address % PAGE):
        content = read_available(space, address - size, size) if 0 < size <= address - start else b""
        if content and len(content) == size:
            return content
    return b""


def _mapped_end(areas: tuple[Area, ...], address: int) -> int:
    """Where the areas end that touch each other from `address` on, and can be read."""
    index = max(0, bisect.bisect_right(areas, address, key=lambda area: area.start) - 1)
    end = address
    for area in itertools.islice(areas, index, None):
        if area.start > end or area.kind == "left out":
            break
        end = max(end, area.end)
    return end
