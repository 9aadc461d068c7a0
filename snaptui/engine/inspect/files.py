"""The files of a saved process: Plan 9's, and those of Linux's /proc/PID."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.snapfile import Process

_RECORD: Final = "proc"
_NUL_SEPARATED: Final = ("cmdline", "environ")
_TEXT_LOOK: Final = 4096


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file: one of snap(6)'s records, or of the Linux record, `linux/NAME`. `size` in bytes."""

    name: str
    size: int
    is_link: bool = False


def saved_files(process: Process) -> tuple[SavedFile, ...]:
    """What `read_file` can read: Plan 9's files first, then Linux's by name."""
    linux = process.linux
    files = [
        SavedFile(name, process.record_size(name))
        for name in process.records
        if name != _RECORD or linux is None
    ]
    if linux is not None:
        for name in sorted(linux.names(), key=_order):
            with contextlib.suppress(NotCaptured):  # a directory, say, in a record of others
                files.append(SavedFile(f"linux/{name}", len(linux.read(name)), linux.is_link(name)))
    return tuple(files)


def _order(name: str) -> tuple[object, ...]:
    """Files before directories, and numbers by value."""
    parts = name.split("/")
    return (len(parts) > 1, *((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts))


def read_file(process: Process, file: SavedFile) -> bytes:
    """The contents; of a link, its target. Raises NotCaptured."""
    linux = process.linux
    if linux is not None and file.name.startswith("linux/"):
        return linux.read(file.name.removeprefix("linux/"))
    return process.read(file.name)


def as_lines(name: str, content: bytes) -> list[str] | None:
    """The lines of a text; None for what is none, and is to be shown as bytes."""
    if name.rpartition("/")[2] in _NUL_SEPARATED:
        content = content.rstrip(b"\0").replace(b"\0", b"\n")
    if b"\0" in content[:_TEXT_LOOK]:
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
        if text.count("\ufffd") * 20 > len(text):
            return None
    return text.split("\n")[: -1 if text.endswith("\n") else None]
