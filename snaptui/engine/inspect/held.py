"""How much of a mapping is held, and how: what the bars of a list of mappings show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from snaptui.engine.inspect.addresses import Block
from snaptui.engine.snapfile import Process, Segment
from snaptui.engine.snapfile.linux import KINDS
from snaptui.engine.snapfile.model import PAGE

GLYPHS: Final[Mapping[str, str]] = {
    "stored": "█",
    "raw": "█",
    "shared": "▚",
    "text": "▒",
    "zero": "·",
    "left out": "×",
}
"""`raw` and `shared` (the same as another page of memory) are the two kinds of `stored`, where known."""


@dataclass(frozen=True, slots=True)
class PageCounts:
    """Pages (1 KiB) of a segment of the file: raw, zero, the same as one of memory or of text."""

    segment: Segment
    raw: int
    zero: int
    memory: int
    text: int

    def __str__(self) -> str:
        parts = ((self.raw, "raw"), (self.memory, "shared"), (self.text, "text"), (self.zero, "zero"))
        return ", ".join(f"{count:,} {name}" for count, name in parts if count) or "no pages"


def page_counts(process: Process, segment: Segment) -> PageCounts:
    """How the pages of a segment stand in the file. Raises FormatError."""
    counts = process.page_counts(segment)
    return PageCounts(segment, counts["r"], counts["z"], counts["m"], counts["t"])


def shares(block: Block, counts: Iterable[PageCounts] = ()) -> dict[str, int]:
    """Bytes of a block by kind; counted in pages where segments of the file lie in it whole."""
    sizes = block.sizes()
    inside = [one for one in counts if block.start <= one.segment.offset and one.segment.end <= block.end]
    pages = sum(one.segment.length for one in inside)
    if set(sizes) == {"stored"} and inside and pages == block.size:
        return _nonzero(
            {
                "raw": PAGE * sum(one.raw for one in inside),
                "shared": PAGE * sum(one.memory for one in inside),
                "text": PAGE * sum(one.text for one in inside),
                "zero": PAGE * sum(one.zero for one in inside),
            }
        )
    return _nonzero({kind: sizes.get(kind, 0) for kind in KINDS})


def _nonzero(sizes: dict[str, int]) -> dict[str, int]:
    return {kind: size for kind, size in sizes.items() if size}


def bar(sizes: Mapping[str, int], width: int) -> str:
    """`width` glyphs in proportion to sizes; what there is has one at least."""
    total = sum(sizes.values())
    if not total:
        return " " * width
    cells = {kind: max(1, round(width * size / total)) for kind, size in sizes.items()}
    while (excess := sum(cells.values()) - width) != 0:
        largest = max(cells, key=lambda kind: cells[kind])
        cells[largest] -= 1 if excess > 0 else -1
    return "".join(GLYPHS[kind] * count for kind, count in cells.items())
