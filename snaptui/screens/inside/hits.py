"""The list of what a search has found, with the place and the bytes of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.search import Hit
from snaptui.engine.inspect.space import Space, read_available
from snaptui.widgets.columns import Column
from snaptui.widgets.dialog import Dialog
from snaptui.widgets.hex.strips import glyph_of
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.units import counted

_SHOWN: Final = 64  # bytes of a hit and what follows it
_BEFORE: Final = 8  # bytes before it


class HitsScreen(Dialog[int]):
    """Hits by address; gives the address of one, or None. Bytes are read for what is on the screen alone."""

    DEFAULT_CSS = """
    HitsScreen {
        & > .dialog { width: 96%; height: 80%; }
    }
    """
    HELP: ClassVar[str] = "What was found so far, by address. Enter goes there."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Show", id="hits.show", tooltip="Go there"),
    ]

    def __init__(self, space: Space, hits: Sequence[Hit], addresses: AddressMap, here: int) -> None:
        super().__init__()
        self._space, self._hits, self._addresses, self._here = space, hits, addresses, here

    def compose(self) -> ComposeResult:
        """The list."""
        columns: tuple[Column[Hit], ...] = (
            Column("address", "ADDRESS", 12, lambda h: f"{h.address:x}", lambda h: h.address, right=True),
            Column(
                "where",
                "WHERE",
                24,
                lambda h: self._addresses.describe(h.address, brief=True),
                lambda h: h.address,
            ),
            Column("bytes", "BYTES", 24, self._digits, lambda h: h.address, from_width=120),
            Column("text", "AROUND IT", 0, self._text, lambda h: h.address),
        )
        with Vertical(classes="dialog") as box:
            box.border_title = counted(len(self._hits), "hit")
            box.border_subtitle = "enter: go there   escape: back"
            yield RowTable[Hit](columns, lambda hit: hit.address, id="hit-table")

    def on_mount(self) -> None:
        """Begin at the hit under the cursor."""
        table = self._table
        table.show(self._hits)
        table.go_to(self._here)
        self.set_focus(table)

    @property
    def _table(self) -> RowTable[Hit]:
        table: RowTable[Hit] = self.query_one("#hit-table", RowTable)
        return table

    def _place(self, hit: Hit) -> str:
        return self._addresses.describe(hit.address, brief=True)

    def _read(self, address: int, size: int) -> bytes:
        try:
            return read_available(self._space, address, size)
        except SnapError:
            return b""

    def _digits(self, hit: Hit) -> str:
        return self._read(hit.address, min(hit.size, 8)).hex(" ")

    def _text(self, hit: Hit) -> str:
        before = self._read(hit.address - _BEFORE, _BEFORE) if hit.address >= _BEFORE else b""
        after = self._read(hit.address, _SHOWN)
        return "".join(map(glyph_of, before)).rjust(_BEFORE) + "".join(map(glyph_of, after))

    def action_choose(self) -> None:
        """That one."""
        if (hit := self._table.current) is not None:
            self.dismiss(hit.address)

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """A double click is Enter."""
        event.stop()
        self.action_choose()
