"""What is done with snapshot files: open, verify, compress, rename, delete."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from snaptui.children.commands import start_compress, start_verify
from snaptui.engine.errors import Cancelled, SnapError
from snaptui.engine.snapfile import Snapshot, library, open_snapshot
from snaptui.flows.desk import Desk
from snaptui.screens.ask import AskText, Confirm
from snaptui.screens.progress import ProgressScreen, ThreadWork
from snaptui.screens.result import Outcome, ResultDialog
from snaptui.widgets.units import full_size

R = TypeVar("R")

_AT_ONCE: Final = 0.2
"""Seconds. What ends sooner needs no progress on the screen."""


async def open_file(app: Desk, path: str) -> Snapshot | None:
    """Open a snapshot in a thread; None if that failed (the user was told) or was stopped."""
    try:
        opening = functools.partial(open_snapshot, path)
        snapshot = await work_in_thread(app, f"Opening {os.path.basename(path)}", opening)
    except Cancelled:
        return None
    except (SnapError, OSError, MemoryError) as error:
        app.show_error(error)
        return None
    library.remember(snapshot)
    if Path(path).parent != app.folder:
        app.remember_recent(os.path.abspath(path))
    return snapshot


async def work_in_thread(app: Desk, title: str, work: Callable[..., R]) -> R:
    """Do `work(sink=, cancel=)` in a thread, with its progress on the screen if it takes longer."""
    watched = ThreadWork()
    doing = asyncio.ensure_future(asyncio.to_thread(work, sink=watched.report, cancel=watched.token))
    doing.add_done_callback(lambda _: setattr(watched, "status", 0))
    await asyncio.wait([doing], timeout=_AT_ONCE)
    if not doing.done():
        await app.push_screen_wait(ProgressScreen(title, watched))
    return await doing


async def verify(app: Desk, path: str) -> None:
    """Read all of a snapshot, and say what is missing or damaged."""
    child = start_verify(app.sources.command, path)
    await app.push_screen_wait(ProgressScreen(f"Verifying {os.path.basename(path)}", child))
    if child.cancelled:
        return
    lines = [line.strip() for line in child.report.text if line.strip()]
    if child.status not in (0, 1) or not any(line.startswith(f"{path}: ") for line in lines):
        message, remedy = child.failure
        facts = [("", message), ("", remedy)]
        title = "Damaged, or no snapshot"
    else:
        facts = [("", line.removeprefix(f"{path}: ")) for line in lines]
        title = f"Verified {os.path.basename(path)}"
    await app.push_screen_wait(ResultDialog(Outcome(title, [fact for fact in facts if fact[1]])))


async def compress(app: Desk, path: str) -> None:
    """Compress a snapshot."""
    await _convert(app, path, unpack=False)


async def unpack(app: Desk, path: str) -> None:
    """Unpack a compressed snapshot."""
    await _convert(app, path, unpack=True)


async def _convert(app: Desk, path: str, *, unpack: bool) -> None:
    """Write a second file; then ask whether to keep the first."""
    target = path.removesuffix(".zst") if unpack else f"{path}.zst"
    if target == path:
        target += ".plain"
    child = start_compress(app.sources.command, path, target, unpack=unpack)
    doing = "Unpacking" if unpack else "Compressing"
    await app.push_screen_wait(ProgressScreen(f"{doing} {os.path.basename(path)}", child))
    if child.cancelled and not os.path.exists(target):
        app.notify("Stopped: nothing was written")
        return
    if child.status != 0:
        app.show_failure(child)
        return
    app.show_snapshots(target)
    sizes = f"{full_size(os.path.getsize(path))} are now {full_size(os.path.getsize(target))}."
    question = f"{sizes}\nKeep the first file too?\n\n{path}"
    answers = (("keep", "Keep both"), ("delete", "Delete the first"))
    if await app.push_screen_wait(Confirm(f"{doing} is done", question, answers)) == "delete":
        _delete(app, path)


async def rename(app: Desk, path: str) -> None:
    """Ask for another name."""
    name = await app.push_screen_wait(
        AskText("Rename", "The new name, in the same folder", os.path.basename(path), button="Rename")
    )
    if not name:
        return
    try:
        target = library.rename(path, name.strip())
    except SnapError as error:
        app.show_error(error)
        return
    if path in app.preferences.recent:
        app.remember_recent(target)
    app.show_snapshots(target)


async def delete(app: Desk, path: str) -> None:
    """Ask, and delete the file."""
    question = f"Delete {path}?\nThere is no way back."
    answers = (("keep", "Keep it"), ("delete", "Delete"))
    if await app.push_screen_wait(Confirm("Delete", question, answers, danger="delete")) == "delete":
        _delete(app, path)


def _delete(app: Desk, path: str) -> None:
    try:
        library.delete(path)
    except SnapError as error:
        app.show_error(error)
    app.show_snapshots("")


async def choose_folder(app: Desk) -> None:
    """Ask where snapshots are kept."""
    found = await app.push_screen_wait(
        AskText("Folder", "Where snapshots are kept (empty: the usual place)", str(app.folder))
    )
    if found is None:
        return
    folder = str(Path(found).expanduser().absolute()) if found.strip() else ""
    if folder and not os.path.isdir(folder):
        app.warn(f"there is no directory {folder}")
        return
    app.remember(folder=folder)
    app.show_snapshots("")


async def ask_for_file(app: Desk) -> str | None:
    """Ask for the path of a snapshot."""
    found = await app.push_screen_wait(
        AskText("Open a snapshot", "Its path; what is not absolute is in the folder", button="Open")
    )
    if not found:
        return None
    return str(app.folder / Path(found.strip()).expanduser())


WORK: Final[dict[str, Callable[[Desk, str], Coroutine[Any, Any, None]]]] = {
    "verify": verify,
    "compress": compress,
    "unpack": unpack,
    "rename": rename,
    "delete": delete,
}
"""What can be done with a snapshot file, by the words of `WorkOnFile`."""
