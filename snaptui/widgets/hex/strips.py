"""A line of a hex view as a strip: pure functions from bytes and what is marked in them.

80 columns hold `12 address + 1 + 48 bytes + 1 + 16 ASCII` and a scrollbar of one cell.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from snaptui.engine.inspect.values import Endian
from snaptui.widgets.columns import fit
from snaptui.widgets.hex.lines import Line
from snaptui.widgets.units import full_size

ADDRESS: Final = 12
"""Cells: 48 bits, all that x86-64 and arm64 processes have; of longer ones the last digits."""

CLASSES: Final = ("nul", "space", "printable", "ascii", "high", "ff")
"""Kinds of bytes, each with a colour, and a glyph where it is no character of its own."""
_GLYPHS: Final = ("·", "_", "", "•", "×", "■")


def _class_of(byte: int) -> int:
    if byte == 0:
        return 0
    if byte in b" \t\n\v\f\r":
        return 1
    if 0x20 < byte < 0x7F:
        return 2
    if byte < 0x80:
        return 3
    return 5 if byte == 0xFF else 4


_DIGITS: Final = tuple(f"{byte:02x}" for byte in range(256))
_CLASS: Final = bytes(_class_of(byte) for byte in range(256))
_GLYPH: Final = tuple(
    chr(byte) if _class_of(byte) == 2 else " " if byte == 0x20 else _GLYPHS[_class_of(byte)]
    for byte in range(256)
)

POINTER: Final = 1
HIT: Final = 2
SELECTED: Final = 4
CURSOR: Final = 8
MARK: Final = 16
"""What can be said of a byte besides its kind; flags."""
_FLAGS: Final = {POINTER: "pointer", HIT: "hit", SELECTED: "selected", MARK: "mark", CURSOR: "cursor"}
"""In the order in which their styles are laid over each other."""


def class_of(byte: int) -> str:
    """The name of the kind of byte."""
    return CLASSES[_CLASS[byte]]


def glyph_of(byte: int) -> str:
    """The character that stands for a byte in the text column."""
    return _GLYPH[byte]


@dataclass(frozen=True, slots=True)
class Format:
    """How bytes are shown: `row` of them in a line, in words of `word` bytes."""

    row: int = 16
    word: int = 1
    endian: Endian = "little"

    @property
    def bytes_at(self) -> int:
        """The column of the first byte, in cells."""
        return ADDRESS + 1

    @property
    def text_at(self) -> int:
        """The column of the first character."""
        return self.bytes_at + 3 * self.row + 1

    @property
    def width(self) -> int:
        """Cells of a whole line."""
        return self.text_at + self.row

    def column_of(self, x: int) -> int | None:
        """Which byte of a line is at the cell `x`."""
        if self.text_at <= x < self.width:
            return x - self.text_at
        if not self.bytes_at <= x < self.text_at - 1:
            return None
        at = x - self.bytes_at
        if self.word == 1 and at >= 3 * (self.row // 2):
            at -= 1  # the wider gap in the middle
        return min(at // (3 * self.word) * self.word, self.row - 1)


@dataclass(frozen=True, slots=True)
class Flags:
    """What is to be shown of the bytes of one line: ranges of addresses, end not included."""

    cursor: tuple[int, int] = (0, 0)
    selected: tuple[int, int] = (0, 0)
    hits: tuple[tuple[int, int], ...] = ()
    marks: tuple[int, ...] = ()
    pointers: tuple[int, ...] = ()
    """Where words begin that point to mapped memory, and how long pointers are."""
    pointer_width: int = 8

    def of_line(self, line: Line) -> list[int]:
        """The flags of each byte of a line."""
        found = [0] * (line.end - line.start)
        for at in self.pointers:
            _set(found, line.start, at, at + self.pointer_width, POINTER)
        for start, end in self.hits:
            _set(found, line.start, start, end, HIT)
        _set(found, line.start, *self.selected, SELECTED)
        for at in self.marks:
            _set(found, line.start, at, at + 1, MARK)
        _set(found, line.start, *self.cursor, CURSOR)
        return found


def _set(flags: list[int], base: int, start: int, end: int, flag: int) -> None:
    for at in range(max(start - base, 0), min(end - base, len(flags))):
        flags[at] |= flag


def _same(style: Style) -> Style:
    return style


class Palette:
    """The styles, by name; combinations of them are made once."""

    def __init__(
        self, named: Callable[[str], Style], base: Style, finish: Callable[[Style], Style] = _same
    ) -> None:
        """`finish` is what is done with each before it is shown."""
        self._named, self._unfinished, self._finish = named, base, finish
        self.base = finish(base)
        self.address = finish(base + named("address"))
        self.header = finish(base + named("header"))
        self.note = finish(base + named("note"))
        self.note_with_cursor = finish(base + named("note") + named("cursor"))
        self.error = finish(base + named("error"))
        self._looks: dict[int, Style] = {}

    def look(self, look: int) -> Style:
        """The style of a cell that looks so."""
        style = self._looks.get(look)
        if style is None:
            style = self._looks[look] = self._finish(self._combined(look & _KINDS, look >> _KIND_BITS))
        return style

    def _combined(self, kind: int, flags: int) -> Style:
        style = self._unfinished + self._named(CLASSES[kind]) if kind != _BLANK else self._unfinished
        for flag, name in _FLAGS.items():
            if flags & flag:
                style += self._named(name)
        return style + _ON_HIT if flags & CURSOR and flags & HIT else style


_BLANK: Final = len(CLASSES)  # the kind of a place where no byte is
_KIND_BITS: Final = 3
_KINDS: Final = (1 << _KIND_BITS) - 1
# What a cell looks like, a *look*, is the kind of its byte and, above those bits, its flags: a byte in all.
_ALIKE: Final = re.compile(rb"(.)\1*", re.DOTALL)
_ACROSS: Final = POINTER | HIT | SELECTED
"""Flags that go on in the blank between two bytes which both have them; a pointer ends with its word."""

_ON_HIT: Final = Style(reverse=False, underline=True)
"""The cursor would look like the hit, which is reversed."""


def row_strip(
    line: Line, data: bytes, flags: Sequence[int], form: Format, palette: Palette, width: int = 0
) -> Strip:
    """A row of bytes, at least `width` cells; `flags` has one entry for each byte."""
    before = line.start % form.row
    after = form.row - before - len(data)
    here = bytes(kind | flag << _KIND_BITS for kind, flag in zip(data.translate(_CLASS), flags, strict=True))
    looks = bytes([_BLANK]) * before + here + bytes([_BLANK]) * after
    cells = bytes(before) + data + bytes(after)
    digits = _words(cells, looks, form.word, form.endian) if form.word > 1 else _bytes(cells, looks)
    texts = "".join([" " * before, *map(_GLYPH.__getitem__, data), " " * after])
    address = Segment(address_text(line.start - before) + " ", palette.address)
    gap = Segment(" ", palette.base)
    characters = _runs(texts, looks, range(1, form.row + 1), palette)
    segments = [address, *_runs(*digits, palette), gap, *characters]
    if width > form.width:  # here, for a strip has seven caches, and to extend it makes another
        segments.append(Segment(" " * (width - form.width), palette.base))
    return Strip(segments, max(width, form.width))


Parts = tuple[str, bytes, Sequence[int]]
"""A text in parts: all of it, the look of each part, and where each ends."""


def _bytes(cells: bytes, looks: bytes) -> Parts:
    """Two digits and a blank for each byte; the last blank is moved to the middle.

    Of a blank no colour is seen: it looks like the byte before it, unless that has flags which end there.
    """
    ends, across = _places(len(cells))
    middle = len(cells) // 2
    text = f"{cells[:middle].hex(' ')}  {cells[middle:].hex(' ')}"
    parts = bytearray(2 * len(cells) - 1)
    parts[0::2] = looks
    parts[1::2] = looks[:-1] if max(looks) <= _KINDS else bytes(map(_between, looks, looks[1:], across))
    if _BLANK in looks:
        text = "".join(
            " " * (end - start) if look == _BLANK else text[start:end]
            for start, end, look in zip((0, *ends), ends, parts, strict=False)
        )
    return text, bytes(parts), ends


def _between(before: int, after: int, across: int) -> int:
    """The look of the blank between two bytes, over which the flags in `across` go on."""
    flags = before >> _KIND_BITS
    both = flags & after >> _KIND_BITS & across
    return before if both == flags else _BLANK | both << _KIND_BITS


@functools.cache
def _places(row: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where digits and blanks of a row of bytes end, in turn; and which flags go on over each blank."""
    ends = []
    for at in range(row):
        start = 3 * at + (at >= row // 2)
        ends += [start + 2, start + 3 + (at == row // 2 - 1)]
    return tuple(ends[:-1]), tuple(_ACROSS & ~POINTER if at % 8 == 7 else _ACROSS for at in range(row - 1))


def _words(cells: bytes, looks: bytes, word: int, endian: Endian) -> Parts:
    """The digits of a word together, in its byte order, and as many blanks behind as they leave."""
    texts: list[str] = []
    parts = bytearray()
    for at in range(0, len(cells), word):
        order = range(at, at + word)
        for index in order[::-1] if endian == "little" else order:
            texts.append("  " if looks[index] == _BLANK else _DIGITS[cells[index]])
            parts.append(looks[index])
        texts.append(" " * word)
        parts.append(_BLANK if parts[-1] > _KINDS else parts[-1])
    return "".join(texts), bytes(parts), tuple(itertools.accumulate(map(len, texts)))


def _runs(text: str, looks: bytes, ends: Sequence[int], palette: Palette) -> Iterator[Segment]:
    """One segment for each run of parts that look alike: half of what single ones cost, over ssh too."""
    start = 0
    for run in _ALIKE.finditer(looks):
        end = ends[run.end() - 1]
        yield Segment(text[start:end], palette.look(looks[run.start()]))
        start = end


def address_text(address: int) -> str:
    """An address in exactly `ADDRESS` cells."""
    digits = f"{address:0{ADDRESS}x}"
    return digits if len(digits) <= ADDRESS else "…" + digits[1 - ADDRESS :]


def header_strip(line: Line, palette: Palette, width: int) -> Strip:
    """The line above a block: where it is, what it is, how large."""
    block = line.block
    where = f"{block.start:x}-{block.end:x}"
    text = " ".join(filter(None, (where, block.perms, full_size(block.size), block.name or "anonymous")))
    return Strip([Segment(fit(text, width), palette.header)], width)


def note_strip(line: Line, reason: str, palette: Palette, width: int, *, cursor: bool) -> Strip:
    """The line for what is left out, or folded."""
    size = full_size(line.end - line.start)
    if line.kind == "folded":
        text = f"{size} never touched: zeros (Enter unfolds)"
    else:
        text = f"{size} not captured: {reason}"
    start = Segment(address_text(line.start) + " ", palette.address)
    style = palette.note_with_cursor if cursor else palette.note
    return Strip([start, Segment(fit(text, max(1, width - ADDRESS - 1)), style)], width)


def error_strip(line: Line, text: str, palette: Palette, width: int) -> Strip:
    """The line for bytes that the file should have and has not."""
    start = Segment(address_text(line.start) + " ", palette.address)
    return Strip([start, Segment(fit(text, max(1, width - ADDRESS - 1)), palette.error)], width)
