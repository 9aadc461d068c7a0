"""Copying bytes to the clipboard, and saving a range to a file: dialogs and notices."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from textual.app import App

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.copying import CLIPBOARD_MAX, FORMS, as_text, save_range
from snaptui.engine.inspect.space import Space
from snaptui.engine.progress import CancelToken
from snaptui.explain import explain, visible
from snaptui.screens.ask import AskText
from snaptui.screens.choose import Choose
from snaptui.widgets.units import counted, full_size

_FILE: Final = "file"


def tell(app: App[Any], error: SnapError) -> None:
    """Show an error as a notice."""
    words = explain(error)
    app.notify(f"{words.message}\n{words.help}".rstrip(), severity="error", markup=False)


def copy(app: App[Any], space: Space, start: int, end: int, form: str = "hex") -> None:
    """Put a range on the clipboard of the terminal (OSC 52)."""
    if end - start > CLIPBOARD_MAX and form != "address":
        app.notify(
            f"{full_size(end - start)} are too much for a terminal's clipboard: save them to a file (Y)",
            severity="warning",
            markup=False,
        )
        return
    try:
        data = b"" if form == "address" else space.read_memory(start, end - start)
    except SnapError as error:
        tell(app, error)
        return
    app.copy_to_clipboard(as_text(form, start, data))
    what = f"{start:#x}" if form == "address" else f"{counted(end - start, 'byte')} as {form}"
    app.notify(f"Copied {what}", markup=False)


async def copy_as(app: App[Any], space: Space, start: int, end: int) -> None:
    """Ask in which form, and copy or save a range."""
    options = [*FORMS.items(), (_FILE, "to a file, as they are")]
    title = f"Copy {counted(end - start, 'byte')} at {start:x}"
    form = await app.push_screen_wait(Choose(title, options))
    if form == _FILE:
        await _save(app, space, start, end)
    elif form is not None:
        copy(app, space, start, end, form)


async def _save(app: App[Any], space: Space, start: int, end: int) -> None:
    label = f"The {full_size(end - start)} from {start:#x} to {end:#x}, to which new file?"
    path = await app.push_screen_wait(AskText("Save bytes", label, f"{start:x}-{end:x}.bin", button="Save"))
    if not path:
        return
    cancel = CancelToken()
    try:
        await asyncio.to_thread(save_range, space, start, end, path, cancel=cancel)
    except SnapError as error:
        tell(app, error)
        return
    finally:
        cancel.cancel()  # the app may be leaving: then the thread stops, and leaves no file
    app.notify(f"Saved {full_size(end - start)} to {visible(path)}", markup=False)
