"""The tab Why: the verdict, what each thread waits for, and the graph of who waits for whom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import ContentSwitcher, Static

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.waits.model import Report, Wait
from snaptui.explain import explain, visible
from snaptui.screens.inside.lists import FilteredList
from snaptui.screens.inside.requests import ShowStack
from snaptui.widgets.columns import Column
from snaptui.widgets.textview import TextView
from snaptui.widgets.waitgraph import draw

_KINDS: Final = {"deadlock": "bad", "blocked": "bad", "busy": "busy"}
"""Verdicts that stand out."""

_WAITS: Final[tuple[Column[Wait], ...]] = (
    Column("pid", "PID", 8, lambda w: str(w.pid), lambda w: w.pid, right=True, from_width=100),
    Column("tid", "THREAD", 8, lambda w: str(w.tid), lambda w: w.tid, right=True),
    Column("name", "NAME", 15, lambda w: w.name, lambda w: w.name),
    Column("sentence", "WAITS FOR", 0, lambda w: w.sentence, lambda w: w.sentence),
)


class WhyPane(Vertical):
    """Why it hangs."""

    DEFAULT_CSS = """
    WhyPane {
        & #verdict { height: auto; max-height: 30%; padding: 0 1; text-style: bold; background: $surface; }
        & #verdict.-bad { color: $text-error; }
        & #verdict.-busy { color: $text-accent; }
        & ContentSwitcher { height: 1fr; }
        & #wait-list { height: 1fr; }
        & #wait-detail { height: auto; max-height: 40%; padding: 0 1; background: $surface; }
        &:ansi #verdict, &:ansi #wait-detail { background: ansi_default; }
    }
    """
    HELP: ClassVar[str] = (
        "What each thread of the snapshot waits for, and from what that is known; above it what follows: a "
        "deadlock, one whom all wait for, a loop, or nothing that hangs. v draws who waits for whom. Enter "
        "shows the stack of the thread, of another process too."
    )
    SHELL: ClassVar[tuple[str, ...]] = ("snaptui why FILE",)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "graph", "Graph", id="why.graph", tooltip="Who waits for whom, drawn; and back"),
    ]

    def __init__(self, ask: Callable[[], Awaitable[Report]]) -> None:
        """`ask` finds out; it is called when somebody looks for the first time."""
        super().__init__(id="why-pane")
        self._ask = ask
        self._asked = False
        self._report: Report | None = None

    def compose(self) -> ComposeResult:
        """The verdict, the list or the graph, and more of the chosen thread."""
        yield Static("Finding out...", id="verdict", markup=False)
        with ContentSwitcher(initial="wait-list"):
            with Vertical(id="wait-list"):
                yield FilteredList[Wait](
                    _WAITS,
                    lambda wait: (wait.pid, wait.tid),
                    lambda wait: f"{wait.pid} {wait.tid} {wait.name} {wait.sentence}",
                    table_id="waits",
                    placeholder="thread, name, or what it waits for",
                    said=lambda wait: f"thread {wait.tid} ({wait.name}) of process {wait.pid}",
                )
                yield Static("", id="wait-detail", markup=False)
            yield TextView(id="wait-graph")

    def on_show(self) -> None:
        """Find out when somebody looks."""
        if not self._asked:
            self._asked = True
            self.run_worker(self._find_out(), exit_on_error=False)

    async def _find_out(self) -> None:
        verdict = self.query_one("#verdict", Static)
        try:
            self._report = report = await self._ask()
        except SnapError as error:
            words = explain(error)
            verdict.update(Text(f"{words.message}\n{words.help}".rstrip()))
            return
        verdict.update(Text(visible(report.verdict)))
        for kind in _KINDS.values():
            verdict.set_class(_KINDS.get(report.kind) == kind, f"-{kind}")
        self.query_one(FilteredList).show(report.waits)
        self.query_one(TextView).show(draw(report))

    def on_filtered_list_moved(self, event: FilteredList.Moved) -> None:
        """Say more of the chosen thread."""
        event.stop()
        wait = self.query_one(FilteredList).table.current
        text = Text()
        if isinstance(wait, Wait):
            text.append(visible(wait.sentence))
            if wait.known_from:
                text.append(f"\nknown from: {visible(wait.known_from)}", style="dim")
        self.query_one("#wait-detail", Static).update(text)

    def on_filtered_list_chosen(self, event: FilteredList.Chosen) -> None:
        """Show its stack."""
        event.stop()
        self.post_message(ShowStack(event.row.pid, event.row.tid))

    def action_graph(self) -> None:
        """The graph, or the list again."""
        switcher = self.query_one(ContentSwitcher)
        graph = switcher.current == "wait-list"
        switcher.current = "wait-graph" if graph else "wait-list"
        self.screen.set_focus(self.query_one(TextView) if graph else self.query_one(FilteredList).table)
