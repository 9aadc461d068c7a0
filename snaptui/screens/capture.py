"""The dialog before a capture: what is saved, where to, and with which rights."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Checkbox, Input, Static

from snaptui.children.commands import CaptureRequest
from snaptui.engine.take.processes import LiveProcess
from snaptui.explain import visible
from snaptui.widgets.dialog import Dialog
from snaptui.widgets.tick import Tick
from snaptui.widgets.units import counted, full_size

_SHOWN: Final = 6  # processes that are named; the others are counted
_PACKED: Final = ".zst"


@dataclass(frozen=True, slots=True)
class CaptureOffer:
    """What the dialog begins with."""

    processes: Sequence[LiveProcess]
    refused: Sequence[int]
    """Pids that this user may not trace."""
    remedy: str
    folder: Path
    now: float
    compress: bool
    has_sudo: bool


def suggested_name(processes: Sequence[LiveProcess], now: float) -> str:
    """A file name that says what and when: `page-4711-20260131-235959.snap`."""
    names = list(dict.fromkeys(process.name for process in processes))
    name = names[0] if len(names) == 1 else "+".join(names[:3])
    name = re.sub(r"[^A-Za-z0-9_+.-]+", "_", name).strip("._-")[:40] or "process"
    pid = f"-{processes[0].pid}" if len(processes) == 1 else ""
    return f"{name}{pid}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}.snap"


class CaptureDialog(Dialog[CaptureRequest]):
    """Where to, how, and go."""

    HELP: ClassVar[str] = (
        "The processes stop together while their memory is read, with all their threads, and then run "
        "on exactly as before. With fork they stand only while they make copies of themselves, which are "
        "read and ended; that needs memory for what they change meanwhile. The file appears when it is "
        "complete, and nobody but you may read it."
    )
    SHELL: ClassVar[tuple[str, ...]] = ("snap -o FILE [-z] [--tree] [--all] [--fork] PID...",)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "go", "Snapshot", id="capture.go", tooltip="Take the snapshot"),
    ]

    def __init__(self, offer: CaptureOffer) -> None:
        super().__init__()
        self._offer = offer
        self._file = suggested_name(offer.processes, offer.now) + (_PACKED if offer.compress else "")

    def compose(self) -> ComposeResult:
        """Processes, file, options, buttons."""
        offer = self._offer
        with Vertical(classes="dialog") as box:
            box.border_title = f"Snapshot of {counted(len(offer.processes), 'process', 'processes')}"
            box.border_subtitle = "space: tick   ctrl+s: take it   escape: back"
            yield Static(self._summary(), markup=False)
            if offer.refused:
                yield Static(self._warning(), classes="warning", markup=False)
            yield Static(
                f"Save as (in {visible(str(offer.folder))}, or a whole path)",
                classes="label",
                markup=False,
            )
            yield Input(self._file, id="file", select_on_focus=False)
            yield Tick("Compress (zstd, opens as it is)", offer.compress, id="compress")
            yield Tick("With all their descendants", False, id="tree")
            yield Tick("Also memory left out by default (data files, devices)", False, id="all", compact=True)
            yield Tick("Stop them only to copy themselves (fork), not until all is read", False, id="fork")
            if offer.refused and offer.has_sudo:
                yield Tick("Through sudo, in a child process", True, id="sudo")
            yield Static("", id="problem", classes="error", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Snapshot", variant="primary", id="go", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    def _summary(self) -> str:
        processes = self._offer.processes
        lines = [f"{p.pid:>8}  {p.user:8}  {full_size(p.rss):>10}  {p.name}" for p in processes[:_SHOWN]]
        if len(processes) > _SHOWN:
            rest = processes[_SHOWN:]
            lines.append(f"     and  {counted(len(rest), 'other')}, {full_size(sum(p.rss for p in rest))}")
        return "\n".join(visible(line) for line in lines)

    def _warning(self) -> str:
        pids = self._offer.refused
        named = ", ".join(map(str, pids[:_SHOWN]))
        rest = f" and {counted(len(pids) - _SHOWN, 'other')}" if len(pids) > _SHOWN else ""
        remedy = "sudo may, as ticked below" if self._offer.has_sudo else self._offer.remedy
        return visible(f"You may not trace {named}{rest}: {remedy}")

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        """A compressed snapshot is named .zst."""
        if event.checkbox.id == "compress":
            field = self.query_one("#file", Input)
            if event.value and not field.value.endswith(_PACKED):
                field.value += _PACKED
            elif not event.value:
                field.value = field.value.removesuffix(_PACKED)

    def on_input_submitted(self) -> None:
        """Enter in the name."""
        self.action_go()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button."""
        if event.button.id == "go":
            self.action_go()
        else:
            self.dismiss(None)

    def action_go(self) -> None:
        """Take it."""
        name = self.query_one("#file", Input).value.strip()
        path = self._offer.folder / Path(name).expanduser()
        problem = ""
        if not name:
            problem = "give the name of a file"
        elif path.is_dir():
            problem = "that is a directory"
        elif path.exists():
            problem = "there is a file of that name already"
        if problem:
            self.query_one("#problem", Static).update(problem)
            return
        self.dismiss(
            CaptureRequest(
                tuple(process.pid for process in self._offer.processes),
                str(path),
                compress=self._is_on("compress"),
                tree=self._is_on("tree"),
                all_memory=self._is_on("all"),
                fork=self._is_on("fork"),
                sudo=self._is_on("sudo"),
            )
        )

    def _is_on(self, name: str) -> bool:
        found = self.query(f"#{name}").results(Checkbox)
        return any(checkbox.value for checkbox in found)
