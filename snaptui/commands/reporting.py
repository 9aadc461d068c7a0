"""What the engine reports, shown by a thread of its own.

The engine's sink must return at once: what draws may be stopped at that moment itself (tmux or the
terminal, when they are the target). So the sink only stores, a thread looks ten times a second and
draws, and nobody waits for that thread before the targets run again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import threading
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, Self, TextIO

from snaptui.engine.progress import Event, Paused, Progress, Warned
from snaptui.explain import explain, visible

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_INTERVAL: Final = 0.1  # seconds: ten times a second looks smooth, and costs nothing beside the work

Verbosity = Literal["quiet", "normal", "verbose"]


class View(Protocol):
    """Shows events to someone; called by the reporter's thread alone."""

    def show(self, event: Event) -> None:
        """Show a warning or a pause."""

    def progress(self, progress: Progress) -> None:
        """Show how far the work is: the newest value, at most ten times a second."""

    def close(self) -> None:
        """The work has ended."""


class Reporter:
    """A sink that never waits, and the thread that shows what came."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._events: deque[Event] = deque()
        self._progress: Progress | None = None
        self._shown: Progress | None = None
        self._ended = threading.Event()
        # A daemon: a terminal that takes no more output must not keep us from ending.
        self._thread = threading.Thread(target=self._run, name="snap-report", daemon=True)
        self.missing = False
        """Whether anything that was asked for is missing."""

    def sink(self, event: Event) -> None:
        """Take an event, from any thread."""
        if isinstance(event, Progress):
            self._progress = event
            return
        if isinstance(event, Warned) and event.missing:
            self.missing = True
        self._events.append(event)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Show what is left. The engine has let all targets run on by now, whatever happened."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        # Whoever reads what we show, or the whole terminal, may go away; the work goes on without.
        with contextlib.suppress(OSError):
            while not self._ended.wait(_INTERVAL):
                self._show()
            self._show()
            self._view.close()

    def _show(self) -> None:
        while self._events:
            self._view.show(self._events.popleft())
        progress = self._progress
        if progress is not None and progress is not self._shown:
            self._shown = progress
            self._view.progress(progress)


class LineView:
    """Warnings as lines on standard error, `snap: PID: message`."""

    def __init__(self, prog: str, verbosity: Verbosity) -> None:
        self._prog = prog
        self._verbosity = verbosity

    def show(self, event: Event) -> None:
        for line in event_lines(event, self._prog, self._verbosity):
            print(line, file=sys.stderr, flush=True)

    def progress(self, progress: Progress) -> None:
        """Lines show no progress."""

    def close(self) -> None:
        """Nothing is open."""


class BarView:
    """A bar with bytes, rate and time left on standard error, which is a terminal; warnings above it."""

    def __init__(self, prog: str, verbosity: Verbosity) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as RichProgress

        self._prog = prog
        self._verbosity = verbosity
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._bar: RichProgress = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
            # Standard output may be the snapshot itself.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._started = False
        self._stage = ""
        self._task = self._bar.add_task("", total=None)

    def show(self, event: Event) -> None:
        for line in event_lines(event, self._prog, self._verbosity):
            self._console.print(line, soft_wrap=True)

    def progress(self, progress: Progress) -> None:
        if not self._started:
            self._bar.start()
            self._started = True
        if progress.stage != self._stage:
            # Each stage has its own rate.
            self._bar.reset(self._task)
            self._stage = progress.stage
        self._bar.update(
            self._task,
            description=visible(progress.stage),
            completed=progress.done,
            total=progress.total or None,
            refresh=True,
        )

    def close(self) -> None:
        if self._started:
            self._bar.stop()


class JsonView:
    """Every event as one line of JSON."""

    def __init__(self, stream: TextIO, *, with_progress: bool) -> None:
        self._stream = stream
        self._with_progress = with_progress

    def show(self, event: Event) -> None:
        self.emit(event_record(event))

    def progress(self, progress: Progress) -> None:
        if self._with_progress:
            self.emit(event_record(progress))

    def emit(self, record: dict[str, Any]) -> None:
        """Write one line."""
        print(json.dumps(record), file=self._stream, flush=True)

    def close(self) -> None:
        """The stream stays open."""


class Both(NamedTuple):
    """Two views of the same: JSON lines of the events and a bar of the progress."""

    events: View
    bar: View

    def show(self, event: Event) -> None:
        """Show a warning or a pause."""
        self.events.show(event)

    def progress(self, progress: Progress) -> None:
        """Show the bar."""
        self.bar.progress(progress)

    def close(self) -> None:
        """Close both."""
        self.bar.close()
        self.events.close()


def event_lines(event: Event, prog: str, verbosity: Verbosity) -> list[str]:
    """An event in lines for a person; none if that person does not want to know."""
    match event:
        case Warned():
            if verbosity == "quiet" and not event.missing:
                return []
            # Many messages name the process themselves.
            named = not event.pid or re.search(rf"\b{event.pid}\b", event.message)
            lines = [f"{prog}: {'' if named else f'{event.pid}: '}{visible(event.message)}"]
            return [*lines, f"  {visible(event.help)}"] if event.help else lines
        case Paused() if verbosity == "verbose":
            pids = " ".join(str(pid) for pid in event.pids)
            if event.resumed:
                return [f"{prog}: running again after {event.seconds * 1000:.1f} ms: {pids}"]
            return [f"{prog}: stopped: {pids}"]
        case _:
            return []


def event_record(event: Event) -> dict[str, Any]:
    """An event as a JSON object; `event` names its kind."""
    match event:
        case Progress():
            return {"event": "progress", "stage": event.stage, "done": event.done, "total": event.total}
        case Paused(resumed=True):
            return {"event": "resumed", "pids": list(event.pids), "seconds": event.seconds}
        case Paused():
            return {"event": "paused", "pids": list(event.pids)}
        case Warned():
            return {
                "event": "warning",
                "pid": event.pid,
                "message": event.message,
                "help": event.help,
                "missing": event.missing,
            }


def error_record(error: BaseException) -> dict[str, Any]:
    """An error as a JSON object."""
    words = explain(error)
    return {"event": "error", "message": words.message, "help": words.help}


def plain_view(arguments: argparse.Namespace, prog: str, verbosity: Verbosity = "normal") -> View:
    """The view for a command with the option --progress (and no JSON lines of its own)."""
    if arguments.progress == "json":
        return JsonView(sys.stderr, with_progress=True)
    if arguments.progress != "none" and verbosity != "quiet" and sys.stderr.isatty():
        return BarView(prog, verbosity)
    return LineView(prog, verbosity)
