"""Comparing a snapshot with another one of the same processes."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Sequence
from typing import Any, Final

from snaptui.children.answers import Answers
from snaptui.engine.errors import Cancelled, SnapError
from snaptui.engine.inspect.diff import Report, compare
from snaptui.engine.inspect.diff.moments import moment_of
from snaptui.engine.snapfile import Snapshot
from snaptui.engine.snapfile.library import Item
from snaptui.flows.desk import Desk
from snaptui.flows.library import ask_for_file, open_file, work_in_thread
from snaptui.screens.choose import Choose
from snaptui.screens.diff import DiffScreen
from snaptui.screens.snapshots import processes_text

_RANGES: Final = 1000
"""Of changed pages in one mapping that are listed; the others are counted."""
_OTHER: Final = "other"  # the id of the answer that is no path: those begin with a /


async def compare_with(app: Desk, path: str) -> None:
    """Ask which snapshot to compare that at `path` with, and show what changed."""
    other = await _ask(app, path)
    if not other:
        return
    opened: list[Snapshot] = []
    try:
        for name in (path, other):
            snapshot = await open_file(app, name)
            if snapshot is None:
                return
            opened.append(snapshot)
        # Whichever was chosen first: time goes one way.
        seconds = moment_of(opened[0]).seconds_to(moment_of(opened[1]))
        before, after = reversed(opened) if seconds is not None and seconds < 0 else opened
        report = await _compared(app, before, after)
        if report is not None:
            await app.push_screen_wait(DiffScreen(before, after, report, Answers(app.sources.command)))
    finally:
        for snapshot in opened:
            snapshot.close()


async def _ask(app: Desk, path: str) -> str | None:
    """Which other one; those of the same processes first."""
    items = await asyncio.to_thread(app.sources.library, app.folder, app.preferences.recent)
    own = next((item for item in items if os.path.samefile(item.path, path)), None)
    others = [item for item in items if item is not own and not item.problem]
    others.sort(key=lambda item: (not _akin(own, item), -item.taken, item.path))
    options = [(item.path, _line(item)) for item in others]
    options.append((_OTHER, "Another file..."))
    question = Choose(f"Compare {os.path.basename(path)} with", options, options[0][0])
    chosen = await app.push_screen_wait(question)
    return await ask_for_file(app) if chosen == _OTHER else chosen


def _akin(own: Item | None, item: Item) -> bool:
    mine: Sequence[Any] = own.processes or () if own is not None else ()
    return bool({pid for pid, _ in mine} & {pid for pid, _ in item.processes or ()})


def _line(item: Item) -> str:
    taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(item.taken or item.modified))
    return f"{taken}  {item.name}  {processes_text(item)}"


async def _compared(app: Desk, before: Snapshot, after: Snapshot) -> Report | None:
    """The report; None if that failed (the user was told) or was stopped."""
    work = functools.partial(compare, before, after, range_limit=_RANGES)
    try:
        return await work_in_thread(app, "Comparing", work)
    except Cancelled:
        return None
    except (SnapError, MemoryError) as error:
        app.show_error(error)
        return None
