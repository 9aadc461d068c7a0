"""Where an address lies: the mapped blocks of an address space, in words for people."""

from __future__ import annotations

import bisect
import itertools
import posixpath
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.snapfile import Area

_ADDRESS_END: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring areas with one name and the same permissions: a mapping, as far as one can tell."""

    start: int
    end: int
    name: str
    perms: str
    areas: tuple[Area, ...]

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def label(self) -> str:
        """The name without its directories; a word for what has no name."""
        return short_name(self.name)

    def sizes(self) -> dict[str, int]:
        """Bytes by kind of area."""
        found: dict[str, int] = {}
        for area in self.areas:
            found[area.kind] = found.get(area.kind, 0) + area.size
        return found

    def contains(self, address: int) -> bool:
        return self.start <= address < self.end

    def __repr__(self) -> str:
        return f"Block({self.start:#x}-{self.end:#x} {self.perms} {self.name})"


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a goto ends: `hole` is the size in bytes of the hole it was aimed into, 0: none."""

    address: int
    hole: int = 0


def short_name(name: str) -> str:
    """What to call a mapping in few letters."""
    if not name:
        return "anonymous"
    return posixpath.basename(name) or name if name.startswith("/") else name


def blocks_of(areas: Iterable[Area]) -> tuple[Block, ...]:
    """The blocks that areas (by address) make.

    A garbled record may have areas that are none, or lie on others: they are left away.
    """
    blocks: list[Block] = []
    held: list[Area] = []
    at = 0
    for area in areas:
        if not at <= area.start < area.end <= _ADDRESS_END:
            continue
        at = area.end
        if held and (area.start, area.name, area.perms) != (held[-1].end, held[0].name, held[0].perms):
            blocks.append(_block(held))
            held = []
        held.append(area)
    if held:
        blocks.append(_block(held))
    return tuple(blocks)


def _block(areas: list[Area]) -> Block:
    return Block(areas[0].start, areas[-1].end, areas[0].name, areas[0].perms, tuple(areas))


class AddressMap:
    """The blocks of an address space, found by address or by name.

    65,530 mappings (vm.max_map_count) are made in a tenth of a second, and looked up in a microsecond.
    """

    def __init__(self, areas: Sequence[Area]) -> None:
        self.blocks = blocks_of(areas)
        self._starts = array("Q", (block.start for block in self.blocks))
        self._bases: dict[str, int] = {}
        for block in self.blocks:
            self._bases.setdefault(block.name, block.start)

    def index_at(self, address: int) -> int:
        """The index of the block that holds `address`; -1 for none."""
        index = bisect.bisect_right(self._starts, address) - 1
        return index if index >= 0 and address < self.blocks[index].end else -1

    def block_at(self, address: int) -> Block | None:
        """The block that holds `address`."""
        index = self.index_at(address)
        return self.blocks[index] if index >= 0 else None

    def area_at(self, address: int) -> Area | None:
        """The area that holds `address`."""
        block = self.block_at(address)
        if block is None:
            return None
        index = bisect.bisect_right(block.areas, address, key=lambda area: area.start) - 1
        return block.areas[index]

    def is_mapped(self, address: int) -> bool:
        return self.index_at(address) >= 0

    def land(self, address: int) -> Landing:
        """The address itself, or out of a hole the next that is mapped, or the last one.

        Raises `NotCaptured` where nothing is mapped at all.
        """
        if not self.blocks:
            raise NotCaptured("there is no memory of this process in the snapshot")
        if self.is_mapped(address):
            return Landing(address)
        following = bisect.bisect_right(self._starts, address)
        before = self.blocks[following - 1].end if following else 0
        if following == len(self.blocks):
            return Landing(self.blocks[-1].end - 1, _ADDRESS_END - before)
        return Landing(self.blocks[following].start, self.blocks[following].start - before)

    def step(self, address: int, forward: bool) -> int | None:
        """The start of the next block; backwards that of this one, or of the one before when there."""
        if forward:
            index = bisect.bisect_right(self._starts, address)
        else:
            index = bisect.bisect_left(self._starts, address) - 1
        return self.blocks[index].start if 0 <= index < len(self.blocks) else None

    def base_of(self, block: Block) -> int:
        """Where offsets count from: the lowest block of that name, or the block if it has none."""
        return self._bases[block.name] if block.name else block.start

    def describe(self, address: int, *, brief: bool = False) -> str:
        """`libc.so.6+0x1234`, `[heap]+0x10`; empty where nothing is mapped.

        What has no name has its address, unless it is to be `brief`.
        """
        block = self.block_at(address)
        if block is None:
            return ""
        offset = address - self.base_of(block)
        name = block.label if block.name or brief else f"{block.label} {block.start:x}"
        return f"{name}+{offset:#x}" if offset else name

    def named(self, name: str) -> Block | None:
        """The lowest block of that name: whole, without directories or brackets, or how it begins."""
        wanted = name.strip("[]").lower()
        if not wanted:
            return None
        keys = [(block.label.strip("[]").lower(), block) for block in self.blocks if block.name]
        whole = (block for block in self.blocks if name == block.name)
        same = (block for key, block in keys if key == wanted)
        begins = (block for key, block in keys if key.startswith(wanted))
        return next(itertools.chain(whole, same, begins), None)
