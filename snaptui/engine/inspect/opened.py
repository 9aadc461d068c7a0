"""One process of an opened snapshot, with all that is derived from it to look inside."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from snaptui.engine.errors import NotCaptured, SnapError
from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.expressions import Surroundings
from snaptui.engine.inspect.machine import Machine, machine_of
from snaptui.engine.inspect.space import Space, TextImage, read_available
from snaptui.engine.inspect.symbols import Symbols
from snaptui.engine.inspect.threads import SavedThread, saved_threads
from snaptui.engine.snapfile import Area, Process, Snapshot

_CHAIN: Final = 6
"""Pointers followed one after the other."""
_TEXT: Final = 32
"""Bytes of a string at the end of a chain."""


@dataclass(frozen=True, slots=True)
class Link:
    """A pointer in a chain: its value, where that leads, and the text that stands there, if any."""

    address: int
    place: str
    text: str = ""


def with_stacks(areas: Sequence[Area], threads: Iterable[SavedThread]) -> tuple[Area, ...]:
    """The areas, of which the nameless ones that are stacks of threads are called `[stack:TID]`.

    So Linux once did itself (proc_pid_maps(5)). A stack has a guard page below it: what has none
    may be anything, like the arena that Go takes its stacks from.
    """
    blocks = AddressMap(areas)
    names = {}
    for thread in threads:
        index = blocks.index_at(thread.stack_pointer) if thread.stack_pointer is not None else -1
        if index > 0 and not blocks.blocks[index].name:
            block, below = blocks.blocks[index], blocks.blocks[index - 1]
            if below.end == block.start and below.perms.startswith("---"):
                names[block] = f"[stack:{thread.tid}]"
    if not names:
        return tuple(areas)
    renamed = {area: name for block, name in names.items() for area in block.areas}
    return tuple(replace(area, name=renamed[area]) if area in renamed else area for area in areas)


class Opened:
    """A saved process, opened. Raises SnapError as reading does."""

    def __init__(self, snapshot: Snapshot, process: Process) -> None:
        self.snapshot = snapshot
        self.process = process
        self.machine: Machine = machine_of(snapshot, process)
        self.threads = saved_threads(process)
        """The main one first."""
        self.memory = AddressMap(with_stacks(process.areas(), self.threads))
        self.symbols = Symbols(process, self.memory)
        self.first_address = self._first_address()
        if self.first_address is not None:
            # Now, in whatever thread this is: the first read finds out where which segment is.
            read_available(process, self.first_address, 1)

    @functools.cached_property
    def text_image(self) -> TextImage:
        """Its executable and libraries as saved."""
        return TextImage(self.process)

    @functools.cached_property
    def text_addresses(self) -> AddressMap:
        """Where what is in the text image."""
        return AddressMap(self.text_image.areas())

    def _first_address(self) -> int | None:
        """Where to begin to look: the main thread's stack pointer, else the first memory that is there."""
        stack = self.threads[0].stack_pointer if self.threads else None
        if stack is not None and (area := self.memory.area_at(stack)) and area.kind != "left out":
            return stack
        kept = (area for block in self.memory.blocks for area in block.areas if area.kind != "left out")
        return next((area.start for area in kept), None)

    def describe(self, address: int) -> str:
        """Where that is: `malloc+0x12 (libc.so.6)`, `[heap]+0x40`; empty where nothing is mapped."""
        place = self.memory.describe(address)
        symbol = self.symbols.near(address) if place else ""
        return f"{symbol} ({place.rpartition('+')[0] or place})" if symbol else place

    def pointer_at(self, address: int, space: Space | None = None) -> int:
        """The pointer stored at an address. Raises SnapError."""
        content = (space or self.process).read_memory(address, self.machine.width)
        return int.from_bytes(content, self.machine.endian)

    def surroundings(self, here: int, registers: Mapping[str, int] | None = None) -> Surroundings:
        """What a goto may speak of, from an address; registers of the main thread unless others are given."""
        main = self.threads[0].registers if self.threads else {}
        return Surroundings(
            self.memory,
            here,
            registers if registers is not None else main,
            self.symbols.address_of,
            self.pointer_at,
        )

    def chain(self, address: int) -> Iterator[Link]:
        """The pointers from `address` on: what is there, what is there in turn, and the text at the end."""
        seen = {address}
        for _ in range(_CHAIN):
            try:
                value = self.pointer_at(address)
            except SnapError:
                return
            place = self.describe(value)
            if not place:
                return
            yield Link(value, place, self.text_at(value))
            if value in seen:
                return
            seen.add(value)
            address = value

    def text_at(self, address: int) -> str:
        """The text at an address, if four characters or more stand there."""
        try:
            content = read_available(self.process, address, _TEXT)
        except (NotCaptured, SnapError):
            return ""
        text = content.partition(b"\0")[0]
        try:
            found = text.decode("utf-8") if len(text) < _TEXT else text.decode("utf-8", "ignore")
        except UnicodeDecodeError:
            return ""
        return found if len(found) >= 4 and found.replace("\n", " ").replace("\t", " ").isprintable() else ""
