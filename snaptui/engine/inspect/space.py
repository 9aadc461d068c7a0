"""What can be looked at by address: a process's memory, or its text image. Read in small pieces."""

from __future__ import annotations

from typing import Final, Protocol

from snaptui.engine.errors import NotCaptured
from snaptui.engine.snapfile import Area, Process, Segment


class Space(Protocol):
    """An address space with holes; `Process` is one."""

    def areas(self) -> tuple[Area, ...]:
        """Every range that is known of, by address."""

    def read_memory(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises `NotCaptured`, and `SnapError` where the file is at fault."""


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


def _parts(segment: Segment, files: list[tuple[int, str]]) -> list[tuple[int, int, str]]:
    """A segment of the image cut where its files begin."""
    edges = [segment.offset, *(at for at, _ in files if segment.offset < at < segment.end), segment.end]
    parts = []
    for start, end in zip(edges, edges[1:], strict=False):
        name = next((path for at, path in reversed(files) if at <= start), "text")
        if start < end:
            parts.append((start, end, name))
    return parts


_STEP: Final = 1024
"""Bytes that are either all there or all missing, short of an area's end: a page of snap(6)."""


def read_available(space: Space, address: int, length: int) -> bytes:
    """Up to `length` bytes: those before the first that is not captured."""
    try:
        return space.read_memory(address, length)
    except NotCaptured:
        pass
    content = b""
    while len(content) < length:
        at = address + len(content)
        size = min(length - len(content), _STEP - at % _STEP)
        try:
            content += space.read_memory(at, size)
        except NotCaptured:
            break
    if len(content) < length:
        content += _tail(space, address + len(content), min(length - len(content), _STEP))
    return content


def _tail(space: Space, address: int, length: int) -> bytes:
    """The bytes before an area's end that is in the middle of a step."""
    end = next((area.end for area in space.areas() if area.start <= address < area.end), address)
    try:
        return space.read_memory(address, max(0, min(length, end - address)))
    except NotCaptured:
        return b""
