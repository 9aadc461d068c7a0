"""The tab Memory: what one asks of the memory of a saved process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual.binding import Binding, BindingType

from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.expressions import Surroundings, parse_address
from snaptui.engine.inspect.finder import Finder
from snaptui.engine.inspect.opened import Opened
from snaptui.engine.inspect.patterns import Pattern, PatternKind, parse_pattern, pointer_pattern
from snaptui.engine.inspect.space import Space
from snaptui.screens.choose import Choose
from snaptui.screens.find import FindRequest, FindScreen
from snaptui.screens.goto import GotoScreen
from snaptui.screens.inside.copying import copy, copy_as
from snaptui.screens.inside.finding import Searching
from snaptui.screens.inside.hexpane import HexPane
from snaptui.screens.inside.hits import HitsScreen
from snaptui.widgets.keyline import IF_ROOM


class MemoryPane(HexPane):
    """Goto, find, marks and copies in the memory of a saved process."""

    HELP: ClassVar[str] = (
        "The memory as it was, without the holes between its mappings. Underlined words point to mapped "
        "memory: Enter follows one, ctrl+o comes back. Memory that was never touched is one line; Enter "
        "unfolds it. What was not captured says why: it is never shown as zeros."
    )
    SHELL: ClassVar[tuple[str, ...]] = (
        "snaptui hexdump FILE PID ADDR+LEN",
        "snaptui search FILE PID --text PATTERN",
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash",
            "find",
            "Find",
            id="memory.find",
            tooltip="Text, bytes, a regular expression, pointers",
            priority=True,
        ),
        Binding("n", "next(True)", "Next", id="memory.next", tooltip="To the next hit"),
        Binding(
            "N", "next(False)", "Previous", group=IF_ROOM, id="memory.previous", tooltip="To the hit before"
        ),
        Binding("f", "hits", "Hits", group=IF_ROOM, id="memory.hits", tooltip="The list of what was found"),
        Binding("m", "mark", "Mark", id="memory.mark", tooltip="Mark this address, or take its mark away"),
        Binding("apostrophe", "marks", "Marks", group=IF_ROOM, id="memory.marks", tooltip="Go to a mark"),
        Binding(
            "y",
            "copy",
            "Copy",
            id="memory.copy",
            tooltip="Copy what is selected, or the word at the cursor, as hex",
        ),
        Binding(
            "Y",
            "copy_as",
            "Copy as",
            group=IF_ROOM,
            id="memory.copy-as",
            tooltip="Copy as text, C, Python, hexdump; save to a file",
        ),
        Binding(
            "t",
            "image",
            "Text image",
            group=IF_ROOM,
            id="memory.image",
            tooltip="The saved executable and libraries instead of the memory, and back",
        ),
    ]

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened, id="memory-pane")
        self._registers: Mapping[str, int] | None = None
        self._marks: set[int] = set()
        self._asked: FindRequest | None = None

    def on_mount(self) -> None:
        """Begin at the stack pointer, or where there is something."""
        self.show_space(self.opened.process, self.opened.memory)
        if (first := self.opened.first_address) is not None:
            self.view.go_to(first)
        elif self.opened.text_image.areas():
            self.action_image()

    def show_registers(self, registers: Mapping[str, int]) -> None:
        """What names of registers mean in goto: those of the chosen thread."""
        self._registers = registers

    # Goto.

    def ask_where(self, then: Callable[[int | None], None]) -> None:
        """Ask for an address, from whatever tab, and say it."""
        around = self._surroundings()
        self.app.push_screen(GotoScreen(lambda text: parse_address(text, around), self.describe), then)

    def _surroundings(self) -> Surroundings:
        if self.is_memory:
            return self.opened.surroundings(self.view.cursor, self._registers)
        return Surroundings(self.addresses, self.view.cursor)

    def _go(self, address: int | None) -> None:
        if address is not None:
            self.jump(address)

    def action_image(self) -> None:
        """The text image, or the memory again."""
        image = self.opened.text_image
        if not self.is_memory:
            self.show_memory()
        elif image.areas():
            self.show_space(image, self.opened.text_addresses)
        else:
            self.app.notify("This process has no text image in the snapshot", markup=False)

    def show_memory(self) -> None:
        """The memory, if it is not that which is shown."""
        if not self.is_memory:
            self.show_space(self.opened.process, self.opened.memory)

    def show_space(self, space: Space, addresses: AddressMap) -> None:
        """Marks and hits are of one address space alone."""
        super().show_space(space, addresses)
        self._marks.clear()
        self.view.show_marks(self._marks)
        self._forget_hits()

    # Marks.

    def action_mark(self) -> None:
        """Mark, or no more."""
        self._marks ^= {self.view.cursor}
        self.view.show_marks(self._marks)

    def action_marks(self) -> None:
        """Choose one of the marks."""
        if not self._marks:
            self.app.notify("There are no marks: m makes one", markup=False)
            return
        options = [(str(at), f"{at:x}  {self.describe(at)}") for at in sorted(self._marks)]
        self.app.push_screen(Choose("Marks", options), lambda name: self._go(int(name) if name else None))

    # Copies.

    def action_copy(self) -> None:
        """Copy as hexadecimal."""
        copy(self.app, self.space, *self._range())
        self.view.clear_selection()

    def action_copy_as(self) -> None:
        """Ask in which form."""
        self.run_worker(copy_as(self.app, self.space, *self._range()))

    def _range(self) -> tuple[int, int]:
        at = self.view.cursor
        return self.view.selection or (at, at + self.view.form.word)

    # Finding.

    def action_find(self) -> None:
        """Ask what to find."""
        last = self._asked
        kind, text = (last.kind, last.text) if last is not None else ("text", "")
        self.app.push_screen(FindScreen(self._pattern, kind, text), self._find)

    def _pattern(self, kind: PatternKind, text: str) -> Pattern:
        machine = self.opened.machine
        if kind == "pointer":
            return pointer_pattern(parse_address(text, self._surroundings()), machine.width, machine.endian)
        return parse_pattern(kind, text, machine.endian)

    def _find(self, request: FindRequest | None) -> None:
        if request is None:
            return
        self._asked = request
        here = self.view.cursor
        finder = Finder(self.space, request.pattern, here + 1)
        self.query_one(Searching).start(finder, here)
        self.view.show_hits(finder.ranges)

    def action_next(self, forward: bool) -> None:
        """To another hit; the first time, ask what to find."""
        bar = self.query_one(Searching)
        if bar.finder is None:
            self.action_find()
        else:
            bar.step(self.view.cursor, forward=forward)

    def action_hits(self) -> None:
        """The list of what was found so far."""
        finder = self.query_one(Searching).finder
        if finder is None or not finder.count:
            self.app.notify("Nothing is found yet: / finds", timeout=2.5, markup=False)
            return
        hits = [finder.hit(index) for index in range(finder.count)]
        self.app.push_screen(HitsScreen(self.space, hits, self.addresses, self.view.cursor), self._go)

    def on_searching_found(self, event: Searching.Found) -> None:
        """Go to the hit."""
        event.stop()
        self.jump(event.hit.address)

    def on_searching_missed(self, event: Searching.Missed) -> None:
        """Say that there is none."""
        event.stop()
        what = self._asked.text if self._asked is not None else ""
        self.app.notify(f"{what!r} was not found: {event.reason}", severity="warning", markup=False)

    def on_searching_changed(self, event: Searching.Changed) -> None:
        """More hits to show, more to say."""
        event.stop()
        self.view.refresh()
        self.show_status()

    def step_back(self) -> bool:
        """Take back the least thing: a search that runs, a selection, hits. False if there is none."""
        return self.query_one(Searching).stop() or self.view.clear_selection() or self._forget_hits()

    def _forget_hits(self) -> bool:
        found = self.query_one(Searching).forget()
        self.view.show_hits(None)
        self.show_status()
        return found

    async def ended(self) -> None:
        """Wait until nothing is read any more."""
        await self.query_one(Searching).ended()
