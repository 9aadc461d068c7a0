"""The hex view: scrolls a sparse address space of any size, and reads only what is on the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.machine import Machine
from snaptui.engine.inspect.space import Space
from snaptui.engine.snapfile import Area
from snaptui.widgets.hex import caret, look
from snaptui.widgets.hex.caret import Caret
from snaptui.widgets.hex.lines import LineMap
from snaptui.widgets.hex.painter import Hits, Painter, Scene, no_hits
from snaptui.widgets.hex.rows import RowReader
from snaptui.widgets.hex.strips import Format, Palette

_STEP: Final = 3
"""Lines that are no jump: a header, what is left out, and the one wanted."""


class _Nothing:
    """What there is before anything is shown."""

    def areas(self) -> tuple[Area, ...]:
        return ()

    def read_memory(self, address: int, length: int) -> bytes:
        raise NotCaptured(f"{length} bytes at {address:#x} of nothing")

    def read_memory_into(self, address: int, target: Sized) -> None:
        self.read_memory(address, len(target))


class HexView(ScrollView, can_focus=True):
    """Memory in hexadecimal, with a cursor and a selection."""

    DEFAULT_CSS = look.CSS
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"hex--{name}" for name in look.STYLES}
    BINDINGS: ClassVar[list[BindingType]] = look.BINDINGS
    ALLOW_SELECT = False

    @dataclass
    class Moved(Message):
        """The cursor is at another address, or something else is selected."""

        address: int

    def __init__(self, activate: Callable[[int], None] = lambda _: None, *, id: str | None = None) -> None:
        """`activate`: what Enter or a double click at an address does, before the next key does anything."""
        super().__init__(id=id)
        self._activate = activate
        self._addresses = AddressMap(())
        self._reader = RowReader(_Nothing(), self._addresses, Machine(""))
        self._unfolded: frozenset[int] = frozenset()
        self._fold = True
        self._map = LineMap(())
        self._form = Format()
        self._caret = Caret()
        self._hits: Hits = no_hits
        self._marks: frozenset[int] = frozenset()
        self._painter: Painter | None = None
        self._dragging = False

    # Values given.

    def show(self, space: Space, addresses: AddressMap, machine: Machine) -> None:
        """Show another address space, from its first address on."""
        self._reader = RowReader(space, addresses, machine)
        self._addresses = addresses
        self._form = Format(self._form.row, self._form.word, machine.endian)
        self._unfolded, self._caret, self._painter = frozenset(), Caret(), None
        self._lay_out()
        if self._map.height:
            self._caret.at = caret.far(self._map, 1, forward=False)
        self.scroll_to(y=0, animate=False, force=True)

    def show_form(self, form: Format) -> None:
        """Show bytes in another way; the cursor stays in sight."""
        self._form = form
        self._lay_out()
        self._keep_in_view()

    def show_hits(self, hits: Hits | None) -> None:
        """`hits(start, end)` gives the ranges found in a range."""
        self._hits = hits or no_hits
        self.refresh()

    def show_marks(self, marks: Iterable[int]) -> None:
        """Show which addresses are marked."""
        self._marks = frozenset(marks)
        self.refresh()

    def show_folds(self, *, fold: bool) -> None:
        """Show untouched memory as one line for each area, or as its zeros."""
        self._fold, self._unfolded = fold, frozenset()
        self._lay_out()
        self._keep_in_view()

    def go_to(self, address: int) -> None:
        """Move the cursor to a mapped address; what hides it is unfolded. Nothing is selected any more."""
        self._caret.clear()
        hidden = self._map.folded_at(address)
        if hidden is not None and address != hidden.start:
            self.unfold(address)
        self._move(address)

    def unfold(self, address: int) -> bool:
        """Show the zeros of a folded line; false if there is none at that address."""
        hidden = self._map.folded_at(address)
        if hidden is None:
            return False
        self._unfolded |= {hidden.start}
        self._lay_out()
        self._keep_in_view()
        return True

    def clear_selection(self) -> bool:
        """Select nothing; false if nothing was."""
        was = self._caret.clear()
        self.refresh()
        self.post_message(self.Moved(self._caret.at))  # the same place, but more was said of it
        return was

    # Values that events speak of.

    @property
    def cursor(self) -> int:
        """The address under the cursor."""
        return self._caret.at

    @property
    def form(self) -> Format:
        """How bytes are shown."""
        return self._form

    @property
    def is_folding(self) -> bool:
        """Whether untouched memory is one line for each area."""
        return self._fold

    @property
    def selection(self) -> tuple[int, int] | None:
        """The selected addresses, end not included."""
        return self._caret.selection(self._form.word) if self._caret.anchor is not None else None

    # Moving.

    def action_by(self, words: int, lines: int, select: bool = False) -> None:
        """Move the cursor by words, or by lines."""
        if self._map.height:
            at, word = self._caret.at, self._form.word
            target = self._map.down(at, lines) if lines else caret.sideways(self._map, at, words, word)
            self._move(target, select=select)

    def action_page(self, pages: int) -> None:
        """Move the cursor and what is seen by pages."""
        if self._map.height:
            lines = pages * max(1, self.size.height - 1)
            self.scroll_to(y=self.scroll_offset.y + lines, animate=False, force=True)
            self._move(self._map.down(self._caret.at, lines))

    def action_edge(self, forward: bool) -> None:
        """To the end of the line, or of all."""
        if self._map.height:
            self._move(caret.edge(self._map, self._caret.at, self._form.word, forward=forward))

    def action_far(self, forward: bool) -> None:
        """To the last address, or the first."""
        if self._map.height:
            self._move(caret.far(self._map, self._form.word, forward=forward))

    def action_block(self, forward: bool) -> None:
        """To another mapping, which then is at the top."""
        target = caret.to_block(self._addresses, self._caret.at, forward=forward)
        if target != self._caret.at:
            self.scroll_to(y=self._map.number_of(target) - 1, animate=False, force=True)
            self._move(target)

    def action_visual(self) -> None:
        """Begin to select, or stop."""
        self._caret.toggle_visual()
        self._move(self._caret.at)

    def action_activate(self) -> None:
        """Follow, or unfold."""
        self._activate(self._caret.at)

    def _move(self, address: int, *, select: bool = False) -> None:
        self._caret.move(address, select=select)
        self._keep_in_view()
        self.refresh()
        self.post_message(self.Moved(address))

    def _keep_in_view(self) -> None:
        if not self._map.height or not self.size.height:
            return
        number, top, height = self._map.number_of(self._caret.at), self.scroll_offset.y, self.size.height
        if not top <= number < top + height:
            self.scroll_to(y=_top_to_show(self._map, number, top, height), animate=False, force=True)

    def on_resize(self, event: events.Resize) -> None:
        """More or fewer lines, and maybe another width."""
        if event.size.width != self.virtual_size.width:
            self._resize()
        self._keep_in_view()

    # The mouse.

    def _address_at(self, x: int, y: int) -> int | None:
        number = self.scroll_offset.y + y
        if not 0 <= number < self._map.height:
            return None
        line = self._map.line(number)
        return None if line.kind == "header" else self._map.place(line, self._form.column_of(x) or 0)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """The cursor goes to the mouse, and dragging it selects."""
        address = self._address_at(event.x, event.y)
        if address is not None:
            self._dragging = True
            self.capture_mouse()
            self._move(address, select=event.shift)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Select to where the mouse is dragged."""
        address = self._address_at(event.x, event.y) if self._dragging else None
        if address is not None and address != self._caret.at:
            self._move(address, select=True)

    def on_mouse_up(self) -> None:
        """No more dragging."""
        self._dragging = False
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        """A double click is Enter."""
        if event.chain == 2:
            self.action_activate()

    # Drawing.

    def _lay_out(self) -> None:
        blocks = self._addresses.blocks
        self._map = LineMap(blocks, self._form.row, fold=self._fold, unfolded=self._unfolded)
        self._resize()

    def _resize(self) -> None:
        size = Size(self.scrollable_content_region.width, self._map.height)
        if size != self.virtual_size:
            self.virtual_size = size
        self.refresh()

    def notify_style_update(self) -> None:
        """Other colours: the theme, or the focus."""
        super().notify_style_update()
        self._painter = None

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of a part of the screen: one read of data for all of them."""
        if self._painter is None:
            self._painter = self._make_painter()
        width = self.size.width
        scene = Scene(self._caret.at, self.selection, self._marks, self._hits, self._form)
        first = self.scroll_offset.y + crop.y
        numbers = range(first, min(first + crop.height, self._map.height))
        strips = self._painter.paint([self._map.line(number) for number in numbers], scene, width)
        if not self._map.height and crop.height:
            strips.append(self._painter.words("There is no memory of this process in the snapshot", width))
        strips += [self._painter.blank(width)] * (crop.height - len(strips))
        if crop.column_span != (0, width):
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        return strips

    def _make_painter(self) -> Painter:
        return Painter(self._reader, self._addresses, _palette_of(self))


def _palette_of(view: HexView) -> Palette:
    cursor = "cursor" if view.has_focus else "cursor-blurred"

    def named(name: str) -> Style:
        return _own_style(view, f"hex--{cursor if name == 'cursor' else name}")

    filters, background = view.get_line_filters(), view.background_colors[1]

    def finish(style: Style) -> Style:
        """As Textual does with the lines of other widgets: NO_COLOR, and the colours of the terminal."""
        segments = [Segment("", style)]
        for line_filter in filters:
            segments = line_filter.apply(segments, background)
        return segments[0].style or style

    return Palette(named, view.rich_style, finish)


def _top_to_show(lines: LineMap, number: int, top: int, height: int) -> int:
    """The line to have at the top so that line `number`, which is not in view, is.

    A jump shows a third of a screen before its goal; a step, what it needs.
    """
    if top - _STEP <= number < top:
        return number - 1 if number and lines.line(number - 1).kind == "header" else number
    if top + height <= number < top + height + _STEP:
        return max(0, number - height + 1)
    return max(0, number - height // 3)


def _own_style(widget: Widget, name: str) -> Style:
    """What a component class says itself, its colours blended with what is behind them."""
    own = widget.get_component_rich_style(name, partial=True)
    blended = widget.get_component_rich_style(name)
    return Style(
        color=blended.color if own.color is not None else None,
        bgcolor=blended.bgcolor if own.bgcolor is not None else None,
        bold=own.bold,
        italic=own.italic,
        underline=own.underline,
        reverse=own.reverse,
    )
