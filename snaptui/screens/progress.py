"""Work under way: its stage, bytes, rate, time left, and how to stop it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import ProgressBar, Static

from snaptui.engine.progress import CancelToken, Event, Progress, Warned
from snaptui.explain import visible
from snaptui.widgets.dialog import Dialog
from snaptui.widgets.units import counted, full_size, pause_text, short_time

_LOOKS: Final = 0.1  # seconds: ten times a second looks smooth


class Report(Protocol):
    """What work says of itself; plain values that another thread writes."""

    stage: str
    done: int
    total: int
    stage_began: float
    paused_since: float | None
    pause: float
    warnings: list[Warned]

    @property
    def pause_so_far(self) -> float:
        """Seconds that processes have stood."""


class Work(Protocol):
    """Something that runs and can be asked to stop."""

    @property
    def report(self) -> Report:
        """How far it is."""

    @property
    def status(self) -> int | None:
        """None while it runs."""

    def cancel(self) -> None:
        """Ask it to stop."""


@dataclass(slots=True)
class ThreadReport:
    """A sink for work in a thread of our own."""

    stage: str = ""
    done: int = 0
    total: int = 0
    stage_began: float = field(default_factory=time.monotonic)
    paused_since: float | None = None
    pause: float = 0.0
    warnings: list[Warned] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take an event, from any thread."""
        if isinstance(event, Progress):
            if event.stage != self.stage:
                self.stage_began = time.monotonic()
            self.stage, self.done, self.total = event.stage, event.done, event.total
        elif isinstance(event, Warned):
            self.warnings.append(event)

    @property
    def pause_so_far(self) -> float:
        """Nothing stands here."""
        return self.pause


@dataclass(slots=True)
class ThreadWork:
    """Work in a thread of our own; who runs it sets `status` at its end."""

    report: ThreadReport = field(default_factory=ThreadReport)
    token: CancelToken = field(default_factory=CancelToken)
    status: int | None = None

    def cancel(self) -> None:
        """Ask it to stop."""
        self.token.cancel()


def progress_line(report: Report, now: float) -> str:
    """Bytes, rate and time left of the stage, as far as they are known."""
    if not report.done:
        return ""
    elapsed = now - report.stage_began
    words = [full_size(report.done)]
    if report.total:
        words[0] += f" of {full_size(report.total)}"
    if elapsed > 0.5:
        rate = report.done / elapsed
        words.append(f"{full_size(int(rate))}/s")
        if report.total > report.done and rate > 0:
            words.append(f"{short_time((report.total - report.done) / rate)} left")
    return "  ·  ".join(words)


class ProgressScreen(Dialog[bool]):
    """Shows work until it has ended; gives True at its end, False when it was only hidden."""

    DEFAULT_CSS = """
    ProgressScreen {
        & ProgressBar { width: 1fr; height: 1; }
        & Bar { width: 1fr; }
        & #progress-line { height: 1; }
        & #pause-line { height: auto; }
    }
    """
    HELP: ClassVar[str] = (
        "Stopping leaves everything as it was: processes run on, and no file stays behind. Hidden, "
        "the work goes on."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,c,x,ctrl+c", "stop", "Stop", id="progress.stop", tooltip="Stop it; nothing stays behind"
        ),
        Binding("b", "hide", "Background", id="progress.hide", tooltip="Go on in the background"),
        # The app's own keys do not reach a dialog, but this one may stand there for long.
        Binding("f10,ctrl+q", "app.quit", "Quit", show=False, id="progress.quit", tooltip="End the app"),
    ]

    def __init__(self, title: str, work: Work, *, can_hide: bool = False) -> None:
        super().__init__()
        self._title, self._work, self._can_hide = title, work, can_hide
        self._stopping = False

    def compose(self) -> ComposeResult:
        """A bar and two lines."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(visible(self._title))
            keys = "escape stops" + ("  b goes on in the background" if self._can_hide else "")
            box.border_subtitle = keys
            yield Static("Starting...", id="stage", markup=False)
            yield ProgressBar(show_eta=False)
            yield Static("", id="progress-line", classes="label", markup=False)
            yield Static("", id="pause-line", markup=False)

    def on_mount(self) -> None:
        """Look at it ten times a second."""
        self._look()
        self.set_interval(_LOOKS, self._look)

    def _look(self) -> None:
        if self._work.status is not None:
            if self.is_current:
                self.dismiss(True)
            return
        report = self._work.report
        stage = "Stopping..." if self._stopping else visible(report.stage).capitalize() or "Starting..."
        self.query_one("#stage", Static).update(stage, layout=False)
        total = report.total or None
        self.query_one(ProgressBar).update(total=total, progress=min(report.done, report.total))
        line = progress_line(report, time.monotonic())
        self.query_one("#progress-line", Static).update(line, layout=False)
        self.query_one("#pause-line", Static).update(self._state(report))

    def _state(self, report: Report) -> Text:
        text = Text()
        if report.paused_since is not None:
            text.append(f"Processes stopped for {pause_text(report.pause_so_far)}", "bold")
        elif report.pause:
            text.append(f"Processes run again; they were stopped for {pause_text(report.pause)}")
        if report.warnings:
            text.append(("\n" if text else "") + counted(len(report.warnings), "warning"))
        return text

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Only some work can be hidden."""
        return action != "hide" or self._can_hide

    def action_stop(self) -> None:
        """Ask it to stop; it ends by itself then."""
        self._stopping = True
        self._work.cancel()

    def action_hide(self) -> None:
        """Leave it alone."""
        self.dismiss(False)
