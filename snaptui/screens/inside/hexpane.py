"""A hex view with all that stands around it: the inspector, the mappings, the line that says where one is."""

from __future__ import annotations

from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Static

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.addresses import AddressMap, Block
from snaptui.engine.inspect.opened import Opened
from snaptui.engine.inspect.space import Space, read_available
from snaptui.engine.inspect.values import LONGEST, inspect
from snaptui.screens.inside.copying import tell
from snaptui.screens.inside.finding import Searching
from snaptui.widgets.columns import Column, fit
from snaptui.widgets.hex.strips import Format
from snaptui.widgets.hex.trail import Trail
from snaptui.widgets.hex.view import HexView
from snaptui.widgets.inspector import Inspector
from snaptui.widgets.keyline import IF_ROOM
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.units import full_size, short_size

_WIDE: Final = 110  # cells from which on there is a side panel
_DOUBLE: Final = 190  # cells from which on a line has 32 bytes
_TALL: Final = 30  # lines from which on the inspector is there from the start
_WORDS: Final = (1, 2, 4, 8)
_SETTLED: Final = 0.03
"""Seconds after a move until the inspector follows: a held key need not wait for it."""

_BRIEF: Final = 2.5  # seconds that a notice of little weight stays

_BLOCKS: Final[tuple[Column[Block], ...]] = (
    Column("start", "MAPPING", 12, lambda b: f"{b.start:x}", lambda b: b.start, right=True),
    Column("size", "SIZE", 6, lambda b: short_size(b.size), lambda b: b.size, right=True, from_width=32),
    Column("perms", "PERM", 4, lambda b: b.perms, lambda b: b.perms, from_width=44),
    Column("name", "NAME", 0, lambda b: b.label, lambda b: b.name),
)


class HexPane(Vertical):
    """Shows an address space of a saved process, and jumps in it."""

    DEFAULT_CSS = """
    HexPane {
        & > #memory-body { height: 1fr; }
        & HexView { width: 1fr; }
        & #memory-side { width: 1fr; display: none; border-left: solid $panel; }
        & #memory-status { height: 1; background: $panel; }
        & > Inspector { display: none; }
        &.-inspect > Inspector { display: block; }
        &.-wide > Inspector { display: none; }
        &.-wide.-inspect HexView { width: 80; }
        &.-wide.-inspect.-double HexView { width: 143; }
        &.-wide.-inspect #memory-side { display: block; }
        &:ansi #memory-status { background: ansi_default; text-style: reverse; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+o,less_than_sign,backspace",
            "back",
            "Back",
            id="memory.back",
            tooltip="Back to where the last jump came from",
        ),
        Binding(
            "ctrl+i,tab,greater_than_sign",
            "forward",
            "Forward",
            group=IF_ROOM,
            id="memory.forward",
            tooltip="Forward again; where there is no forward, tab is what it always is",
        ),
        Binding("enter", "choose", "Show", show=False, id="memory.show", tooltip="To the mapping"),
        Binding("w", "word", "Word", id="memory.word", tooltip="Show words of 1, 2, 4 or 8 bytes"),
        Binding(
            "e", "endian", "Endian", group=IF_ROOM, id="memory.endian", tooltip="The order of bytes in a word"
        ),
        Binding(
            "i",
            "inspector",
            "Inspector",
            group=IF_ROOM,
            id="memory.inspector",
            tooltip="Show or hide what the bytes could mean",
        ),
        Binding(
            "z",
            "fold",
            "Fold",
            group=IF_ROOM,
            id="memory.fold",
            tooltip="Untouched memory as one line, or as its zeros",
        ),
    ]

    def __init__(self, opened: Opened, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.opened = opened
        self.space: Space = opened.process
        self.addresses = opened.memory
        self._trail = Trail()
        self._settled: Timer | None = None
        self._wants_inspector: bool | None = None

    def compose(self) -> ComposeResult:
        """The view, beside or below it the inspector, and a line that says where one is."""
        with Horizontal(id="memory-body"):
            yield HexView(self._activate, id="hex")
            with Vertical(id="memory-side"):
                yield Inspector(is_wide=True)
                yield RowTable[Block](_BLOCKS, lambda block: block.start, id="memory-blocks")
        yield Inspector()
        yield Static("", id="memory-status", markup=False)
        yield Searching()

    @property
    def view(self) -> HexView:
        """The hex view."""
        return self.query_one(HexView)

    @property
    def is_memory(self) -> bool:
        """Whether this is the process's memory, not its text image."""
        return self.space is self.opened.process

    def describe(self, address: int) -> str:
        """Where that is, in words; empty for a hole."""
        return self.opened.describe(address) if self.is_memory else self.addresses.describe(address)

    # Values given.

    def show_space(self, space: Space, addresses: AddressMap) -> None:
        """Show an address space, from its start."""
        self.space, self.addresses = space, addresses
        self._trail = Trail()
        self.view.show(space, addresses, self.opened.machine)
        table: RowTable[Block] = self.query_one(RowTable)
        table.show(addresses.blocks)
        self._settle()

    def jump(self, address: int) -> None:
        """Go to an address; out of a hole to what comes next, and say so."""
        try:
            landing = self.addresses.land(address)
        except SnapError as error:
            tell(self.app, error)
            return
        self._trail.jump(self.view.cursor)
        self.view.go_to(landing.address)
        if landing.hole:
            self.app.notify(
                f"{address:#x} is in a hole of {full_size(landing.hole)}: here is what is mapped next to it",
                markup=False,
            )

    # The screen.

    def on_resize(self, event: events.Resize) -> None:
        """A side panel where there is room for it, and longer lines where there is more."""
        width, height = event.size
        self.set_class(width >= _WIDE, "-wide")
        self.set_class(width >= _DOUBLE, "-double")
        wanted = self._wants_inspector
        self.set_class(width >= _WIDE or height >= _TALL if wanted is None else wanted, "-inspect")
        row = 32 if width >= _DOUBLE else 16
        form = self.view.form
        if row != form.row:
            self.view.show_form(Format(row, form.word, form.endian))
        self.call_after_refresh(self._settle)

    def on_hex_view_moved(self, event: HexView.Moved) -> None:
        """Say where that is, once the cursor rests."""
        event.stop()
        if self._settled is None:
            self._settled = self.set_timer(_SETTLED, self._settle)

    def _settle(self) -> None:
        self._settled = None
        if not self.is_attached:
            return
        at = self.view.cursor
        self.show_status()
        if not self.has_class("-inspect"):
            return
        block = self.addresses.block_at(at)
        if block is not None and self.has_class("-wide"):
            self.query_one(RowTable).go_to(block.start)
        self._inspect(at)

    def show_status(self) -> None:
        """Say where one is, and how far a search is."""
        at = self.view.cursor
        right = f" {self.query_one(Searching).words(at)} "
        left = fit(f" {self._place(at)}", max(1, self.size.width - len(right)))
        self.query_one("#memory-status", Static).update(Text(left + right), layout=False)

    def _place(self, at: int) -> str:
        words = [f"{at:x}", self.describe(at)]
        form, selection = self.view.form, self.view.selection
        if selection is not None:
            size = selection[1] - selection[0]
            words.append("1 byte selected" if size == 1 else f"{size:,} bytes selected")
        if form.word > 1:
            words.append(f"{form.word}-byte words, {form.endian}")
        if not self.is_memory:
            words.append("text image (t: memory)")
        return "  ".join(filter(None, words))

    def _inspect(self, at: int) -> None:
        try:
            data = read_available(self.space, at, LONGEST)
        except SnapError:
            data = b""
        values = inspect(data, self.view.form.endian, self.opened.machine.width, self.opened.describe)
        chain = tuple(self.opened.chain(at)) if self.is_memory else ()
        for inspector in self.query(Inspector):
            inspector.show(values, chain)

    # What is asked for.

    def _activate(self, address: int) -> None:
        """Unfold what is folded; follow what is a pointer."""
        if self.view.unfold(address):
            return
        width = self.opened.machine.width
        try:
            target = self.opened.pointer_at(address - address % width, self.space)
        except SnapError as error:
            tell(self.app, error)
            return
        if self.opened.memory.is_mapped(target):
            if not self.is_memory:
                self.show_space(self.opened.process, self.opened.memory)
            self.jump(target)
        else:
            self.app.notify(f"{target:#x} points to nothing that is mapped", timeout=_BRIEF, markup=False)

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """A double click on a mapping is Enter."""
        event.stop()
        self.action_choose()

    def action_choose(self) -> None:
        """To the mapping beside the view. (In the view, Enter is its own.)"""
        block = self.query_one(RowTable).current
        if isinstance(block, Block):
            self.jump(block.start)
            self.screen.set_focus(self.view)

    def action_back(self) -> None:
        """To where the last jump came from."""
        address = self._trail.back(self.view.cursor)
        if address is not None:
            self.view.go_to(address)

    def action_forward(self) -> None:
        """Forward again. In a terminal ctrl+i is tab: with nothing to go forward to, it is that."""
        address = self._trail.forward(self.view.cursor)
        if address is not None:
            self.view.go_to(address)
        else:
            self.screen.focus_next()

    def action_word(self) -> None:
        """The next size of words."""
        form = self.view.form
        word = _WORDS[(_WORDS.index(form.word) + 1) % len(_WORDS)]
        self.view.show_form(Format(form.row, word, form.endian))
        self._settle()

    def action_endian(self) -> None:
        """The other order of bytes."""
        form = self.view.form
        self.view.show_form(Format(form.row, form.word, "big" if form.endian == "little" else "little"))
        self._settle()

    def action_inspector(self) -> None:
        """Show or hide the inspector."""
        self._wants_inspector = not self.has_class("-inspect")
        self.set_class(self._wants_inspector, "-inspect")
        self.call_after_refresh(self._settle)

    def action_fold(self) -> None:
        """Fold untouched memory, or unfold all."""
        self.view.show_folds(fold=not self.view.is_folding)
        state = "one line each" if self.view.is_folding else "shown as its zeros"
        self.app.notify(f"Untouched memory is {state}", timeout=_BRIEF, markup=False)
