"""Saving processes: ask, run, show what came of it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from snaptui.children.child import Child
from snaptui.children.commands import (
    CaptureRequest,
    ask_for_password,
    start_capture,
    sudo_is_there,
    sudo_needs_password,
)
from snaptui.engine.errors import SnapError
from snaptui.engine.progress import Warned
from snaptui.engine.take.permission import refusal
from snaptui.engine.take.processes import LiveProcess
from snaptui.explain import visible
from snaptui.flows.desk import Desk, wait_for_enter
from snaptui.screens.capture import CaptureDialog, CaptureOffer
from snaptui.screens.messages import OpenMount, OpenSnapshot
from snaptui.screens.progress import ProgressScreen
from snaptui.screens.result import Outcome, ResultDialog
from snaptui.widgets.process_columns import names_text
from snaptui.widgets.units import counted, full_size, pause_text

_LOOKS: Final = 0.2  # seconds between looks at a capture in the background


async def take_snapshot(app: Desk, processes: Sequence[LiveProcess]) -> None:
    """From the dialog to the result."""
    request = await app.push_screen_wait(CaptureDialog(_offer(app, processes)))
    if request is None:
        return
    app.remember(compress=request.compress)
    request = _without_ended(app, processes, request)
    if not request.pids:
        return
    if request.sudo and not _sudo_is_ready(app):
        app.warn("sudo was not content: nothing was saved")
        return
    try:
        child = start_capture(app.sources.command, request)
    except (OSError, SnapError) as error:
        app.show_error(error)
        return
    app.captures.append(child)
    title = f"Saving {counted(len(request.pids), 'process', 'processes')}"
    try:
        seen = await app.push_screen_wait(ProgressScreen(title, child, can_hide=True))
        if not seen:
            await _in_background(app, child, title)
    finally:
        app.captures.remove(child)
        app.show_activity("")
    path = _saved_file(app, child)
    if child.cancelled and not path:
        app.notify("Stopped: nothing was saved, and the processes run on", title="Snapshot")
    elif seen:
        await _show_outcome(app, child, path)
    else:
        _tell_outcome(app, child, path)


def _offer(app: Desk, processes: Sequence[LiveProcess]) -> CaptureOffer:
    refused = [process.pid for process in processes if not app.sources.may_read(process.pid)]
    return CaptureOffer(
        processes,
        refused,
        refusal(refused[0]).help if refused else "",
        app.folder,
        app.sources.now(),
        app.preferences.compress,
        app.sources.uid != 0 and sudo_is_there(),
    )


def _without_ended(app: Desk, processes: Sequence[LiveProcess], request: CaptureRequest) -> CaptureRequest:
    """What is asked for but for what has ended meanwhile, lest the next process of that pid be saved."""
    ended = [process for process in processes if not app.sources.still_runs(process)]
    if ended:
        app.warn(f"{names_text(ended)}: ended, not saved")
    pids = tuple(process.pid for process in processes if process not in ended)
    return dataclasses.replace(request, pids=pids)


def _sudo_is_ready(app: Desk) -> bool:
    if not sudo_needs_password():
        return True
    with app.lend_terminal():
        print("snaptui: sudo asks for the password to save processes of other users")  # noqa: T201
        is_content = ask_for_password()
        if not is_content:
            wait_for_enter("sudo was not content")
        return is_content


async def _in_background(app: Desk, child: Child, title: str) -> None:
    while child.status is None:
        report = child.report
        percent = f" {report.done * 100 // report.total:2}%" if report.total else ""
        app.show_activity(f"{title}: {report.stage}{percent}")
        await asyncio.sleep(_LOOKS)


def _saved_file(app: Desk, child: Child) -> str:
    """The file that was written, which is now in the list; empty if there is none."""
    result = child.report.result
    if result is None or not result.get("file"):
        return ""
    path: str = os.path.abspath(result["file"])
    if Path(path).parent != app.folder:
        app.remember_recent(path)
    app.show_snapshots(path)
    return path


def _missing(child: Child) -> list[Warned]:
    return [warning for warning in child.report.warnings if warning.missing]


def _tell_outcome(app: Desk, child: Child, path: str) -> None:
    """A notice: a dialog would take the keys that are meant for something else."""
    missing = _missing(child)
    if not path:
        app.warn("Nothing was saved: " + (missing[0].message if missing else child.failure[0]))
    else:
        rest = f"; {counted(len(missing), 'thing')} missing" if missing else ""
        app.notify(f"Saved {visible(path)}{rest}", title="Snapshot", markup=False)


async def _show_outcome(app: Desk, child: Child, path: str) -> None:
    warnings, result = list(child.report.warnings), child.report.result
    if not path or result is None:
        message, remedy = child.failure
        facts = [("", message if result is None else "none of the processes can be saved"), ("", remedy)]
        await app.push_screen_wait(
            ResultDialog(Outcome("Nothing was saved", [fact for fact in facts if fact[1]], warnings))
        )
        return
    missing = _missing(child)
    facts = [
        ("file", os.path.basename(path)),
        ("in", os.path.dirname(path)),
        ("size", f"{full_size(result['size'])}" + _unpacked(result["size"], result["plain_size"])),
        ("processes", ", ".join(map(str, result["pids"]))),
        ("memory", full_size(result["memory"])),
        ("stopped for", pause_text(result["pause"])),
        ("missing", counted(len(missing), "thing") if missing else "nothing"),
    ]
    answers = (("open", "Open"), ("mount", "Mount"), ("close", "Close"))
    title = "Saved, but something is missing" if missing else "Saved"
    answer = await app.push_screen_wait(ResultDialog(Outcome(title, facts, warnings, answers)))
    if answer == "open":
        app.post_message(OpenSnapshot(path))
    elif answer == "mount":
        app.post_message(OpenMount(path))


def _unpacked(size: int, plain: int) -> str:
    return f" ({full_size(plain)} unpacked)" if plain != size else ""
