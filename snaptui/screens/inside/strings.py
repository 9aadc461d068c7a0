"""The tab Strings: the texts in a saved process's memory."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType

from snaptui.engine.inspect.opened import Opened
from snaptui.engine.inspect.strings import FoundText, TextScan
from snaptui.engine.inspect.textruns import Encoding
from snaptui.screens.inside.lists import FilteredList
from snaptui.screens.inside.requests import GoTo
from snaptui.widgets.columns import Column
from snaptui.widgets.filter_bar import FilterBar
from snaptui.widgets.units import counted

_POLL: Final = 0.25  # seconds between two looks at what was found
_TYPED: Final = 0.3  # seconds after the last key until the memory is searched for what was typed
_LENGTHS: Final = (4, 6, 8, 12, 20)


class StringsPane(FilteredList[FoundText]):
    """The texts, found when somebody looks; the filter is a search of its own."""

    HELP: ClassVar[str] = (
        "Texts in the memory, like strings(1): those of six characters and more. The filter searches all of "
        "the memory for what is typed, and shows the texts that it is in. Enter shows one in the memory."
    )
    SHELL: ClassVar[tuple[str, ...]] = ("snaptui strings FILE PID",)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "length", "Length", id="strings.length", tooltip="Only texts of that many characters"),
        Binding(
            "u", "encoding", "UTF-16", id="strings.encoding", tooltip="Texts in UTF-16, or again in UTF-8"
        ),
    ]

    def __init__(self, opened: Opened) -> None:
        columns: tuple[Column[FoundText], ...] = (
            Column("address", "ADDRESS", 12, lambda f: f"{f.address:x}", lambda f: f.address, right=True),
            Column("where", "WHERE", 26, self._place, lambda f: f.address, from_width=100),
            Column("text", "TEXT", 0, lambda f: f.text, lambda f: f.text),
        )
        super().__init__(
            columns,
            lambda found: found.address,
            lambda found: found.text,
            table_id="found-texts",
            placeholder="a part of the text",
        )
        self.id = "strings-pane"
        self._opened = opened
        self._scan: TextScan | None = None
        self._scans: list[TextScan] = []
        self._minimum = 6
        self._is_wide = False
        self._word = ""
        self._said = (-1, False)

    def _place(self, found: FoundText) -> str:
        return self._opened.memory.describe(found.address, brief=True)

    def on_mount(self) -> None:
        """Look at what was found four times a second."""
        self.set_interval(_POLL, self._poll)

    def on_show(self) -> None:
        """Search when somebody looks."""
        if self._scan is None:
            self._start()

    def on_unmount(self) -> None:
        """Nobody looks any more."""
        self.stop()

    def stop(self) -> bool:
        """Stop the search; false if none runs."""
        if self._scan is None or self._scan.is_finished:
            return False
        self._scan.cancel()
        return True

    async def ended(self) -> None:
        """Wait until nothing is read any more."""
        self.stop()
        for scan in self._scans:
            await asyncio.to_thread(scan.wait)

    def _start(self) -> None:
        self.stop()
        encoding: Encoding = "utf-16" if self._is_wide else "utf-8"
        self._scan = TextScan(self._opened.process, minimum=self._minimum, encoding=encoding, word=self._word)
        self._scans = [*(scan for scan in self._scans if not scan.is_finished), self._scan]
        self.run_worker(self._scan.run, thread=True, exit_on_error=False)
        self.table.show([])
        self._poll()

    def _poll(self) -> None:
        scan = self._scan
        if scan is None:
            return
        said = (len(scan.found), scan.is_finished)
        if said != self._said:
            self._said = said
            self.table.show_empty("There are none" if scan.is_finished else "Looking...")
            self.table.show(scan.found[: said[0]])
        self.say()

    def say(self) -> None:
        """Say how many there are, and how far the search is."""
        scan = self._scan
        if scan is None:
            return
        words = [counted(len(scan.found), "text")]
        if not scan.is_finished:
            words.append(f"looking, {100 * scan.done // scan.total if scan.total else 0}%")
        elif scan.error:
            words.append(scan.error)
        if not self.is_typing:
            said = f"with {self._word!r}" if self._word else f"of {self._minimum} characters or more"
            words.append(said + (" in UTF-16" if self._is_wide else ""))
        self.query_one(FilterBar).show(Text(", ".join(words)))

    def filtered(self, text: str) -> None:
        """Search for it, when no more is typed."""
        self._word = text
        self.set_timer(_TYPED, lambda: self._start() if self._word == text else None)

    def action_length(self) -> None:
        """The next length."""
        self._minimum = _LENGTHS[(_LENGTHS.index(self._minimum) + 1) % len(_LENGTHS)]
        self._start()

    def action_encoding(self) -> None:
        """The other encoding."""
        self._is_wide = not self._is_wide
        self._start()

    def chosen(self, row: FoundText) -> None:
        """Show it in the memory."""
        self.post_message(GoTo(row.address))
