"""A line of a hex view as a strip: pure functions from bytes and what is marked in them.

80 columns hold `12 address + 1 + 48 bytes + 1 + 16 ASCII` and a scrollbar of one cell.
"""

from __future__ import annotations

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


class Palette:
    """The styles, by name; combinations of them are made once."""

    def __init__(self, named: Callable[[str], Style], base: Style) -> None:
        self.named = named
        self.base = base
        self.address = base + named("address")
        self.header = base + named("header")
        self.note = base + named("note")
        self.error = base + named("error")
        self._combined: dict[Key, Style] = {}

    def byte(self, kind: int, flags: int) -> Style:
        """The style of a byte of a kind, with its flags."""
        key = (kind, flags)
        style = self._combined.get(key)
        if style is None:
            style = self.base + self.named(CLASSES[kind]) if kind != _BLANK else self.base
            for flag, name in _FLAGS.items():
                if flags & flag:
                    style += self.named(name)
            if flags & CURSOR and flags & HIT:
                style += _ON_HIT
            self._combined[key] = style
        return style


_BLANK: Final = len(CLASSES)  # the kind of a place where no byte is
_ACROSS: Final = POINTER | HIT | SELECTED
"""Flags that go on in the blank between two bytes which both have them."""

_ON_HIT: Final = Style(reverse=False, underline=True)
"""The cursor would look like the hit, which is reversed."""

Key = tuple[int, int]
"""What a cell looks like: the kind of its byte, and its flags."""


def row_strip(line: Line, data: bytes, flags: Sequence[int], form: Format, palette: Palette) -> Strip:
    """A row of bytes; `flags` has one entry for each of them."""
    before = line.start % form.row
    after = form.row - before - len(data)
    keys = (
        [(_BLANK, 0)] * before + list(zip(data.translate(_CLASS), flags, strict=True)) + [(_BLANK, 0)] * after
    )
    cells = bytes(before) + data + bytes(after)
    digits = _words(cells, keys, form) if form.word > 1 else _bytes(cells, keys, form)
    texts = [(" " if key[0] == _BLANK else _GLYPH[byte], key) for byte, key in zip(cells, keys, strict=True)]
    address = Segment(address_text(line.start - before) + " ", palette.address)
    gap = Segment(" ", palette.base)
    return Strip([address, *_runs(digits, palette), gap, *_runs(texts, palette)], form.width)


def _bytes(cells: bytes, keys: list[Key], form: Format) -> list[tuple[str, Key]]:
    """Two digits and a blank for each byte; the last blank is moved to the middle.

    Of a blank no colour is seen: it looks like the byte before it, unless that has flags which end there.
    """
    found: list[tuple[str, Key]] = []
    last, middle = form.row - 1, form.row // 2 - 1
    for at, (byte, key) in enumerate(zip(cells, keys, strict=True)):
        found.append(("  " if key[0] == _BLANK else _DIGITS[byte], key))
        if at < last:
            after = keys[at + 1]
            across = key[1] & after[1] & (_ACROSS & ~POINTER if at % 8 == 7 else _ACROSS)
            found.append(("  " if at == middle else " ", key if across == key[1] else (_BLANK, across)))
    return found


def _words(cells: bytes, keys: list[Key], form: Format) -> list[tuple[str, Key]]:
    """The digits of a word together, in its byte order, and as many blanks behind as they leave."""
    found: list[tuple[str, Key]] = []
    blanks = " " * form.word
    for at in range(0, form.row, form.word):
        order = range(at, at + form.word)
        for index in order[::-1] if form.endian == "little" else order:
            found.append(("  " if keys[index][0] == _BLANK else _DIGITS[cells[index]], keys[index]))
        found.append((blanks, (_BLANK, 0) if keys[index][1] else keys[index]))
    return found


def _runs(parts: Sequence[tuple[str, Key]], palette: Palette) -> Iterator[Segment]:
    """One segment for each run of cells that look alike: half of what single ones cost, over ssh too."""
    text, key = parts[0]
    for more, next_key in parts[1:]:
        if next_key == key:
            text += more
        else:
            yield Segment(text, palette.byte(*key))
            text, key = more, next_key
    yield Segment(text, palette.byte(*key))


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
    style = palette.note + palette.named("cursor") if cursor else palette.note
    return Strip([start, Segment(fit(text, max(1, width - ADDRESS - 1)), style)], width)


def error_strip(line: Line, text: str, palette: Palette, width: int) -> Strip:
    """The line for bytes that the file should have and has not."""
    start = Segment(address_text(line.start) + " ", palette.address)
    return Strip([start, Segment(fit(text, max(1, width - ADDRESS - 1)), palette.error)], width)
