"""What of the processes is shown, in which order, which are marked: the table's state without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from snaptui.engine.take.match import Match
from snaptui.engine.take.processes import LiveProcess
from snaptui.engine.take.watch import Key, Watched
from snaptui.preferences import Preferences
from snaptui.widgets.process_columns import ProcessRow, as_tree, column_named, hung_first, in_order
from snaptui.widgets.units import counted


@dataclass(slots=True)
class ProcessList:
    """The choices of the user, and the processes that were found last."""

    uid: int
    order: str = "pid"
    descending: bool = False
    only_mine: bool = True
    kernel: bool = False
    hung: bool = False
    tree: bool = False
    frozen: bool = False
    match: Match = field(default_factory=Match)
    filter_text: str = ""
    found: Sequence[Watched] = ()
    marked: dict[Key, LiveProcess] = field(default_factory=dict)

    @classmethod
    def remembered(cls, uid: int, preferences: Preferences) -> ProcessList:
        """As it was left the last time."""
        order = column_named(preferences.order).id
        return cls(uid, order, preferences.descending, preferences.only_mine)

    def take(self, found: Sequence[Watched]) -> list[LiveProcess]:
        """Have new processes; returns those that were marked and have ended."""
        self.found = found
        if not self.marked:
            return []
        alive = {one.key for one in found}
        return [self.marked.pop(key) for key in list(self.marked) if key not in alive]

    def rows(self) -> list[ProcessRow]:
        """The rows to show, in their order."""
        rows = in_order(self._wanted(), self.order, descending=self.descending)
        if self.hung:
            return hung_first(rows)
        return as_tree(rows) if self.tree else rows

    def _wanted(self) -> list[Watched]:
        kernel = self.kernel and not self.only_mine
        return [
            one
            for one in self.found
            if (not self.only_mine or one.process.uid == self.uid)
            and (kernel or not one.process.kernel_thread)
            and self.match.accepts(one.process)
        ]

    def mark(self, row: ProcessRow) -> None:
        """Mark a process, or take its mark away."""
        if self.marked.pop(row.key, None) is None:
            self.marked[row.key] = row.process

    def sort_by(self, column: str) -> None:
        """Order by a column; the other way round if it is that one already."""
        same = column == self.order
        self.descending = not self.descending if same else column_named(column).descending
        self.order = column
        self.hung = False

    def words_for_nothing(self) -> str:
        """Why no process is shown, and what would show some."""
        if not self.found:
            return "Looking..."
        remedy = "escape takes the filter away"
        return (
            f"None of yours matches; a shows everybody's, {remedy}"
            if self.only_mine
            else f"None matches; {remedy}"
        )

    def words(self, shown: int) -> list[str]:
        """What is shown, for the line below the table."""
        words = [f"{shown:,} of {counted(len(self.found), 'process', 'processes')}"]
        if self.hung:
            words.append("hung first")
        elif self.tree:
            words.append("tree")
        words.append("mine" if self.only_mine else "all users")
        if not self.match.is_empty:
            words.append(f"{'name matches' if self.match.pattern else 'with'} {self.filter_text}")
        return words
