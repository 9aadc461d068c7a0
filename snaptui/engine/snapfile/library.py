"""A folder of snapshots: what is known of each without reading all of it, and what one look inside tells."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from snaptui.engine.errors import ArgumentError, OutputError, SnapError
from snaptui.engine.snapfile.container import open_source
from snaptui.engine.snapfile.model import MAGIC
from snaptui.engine.snapfile.reader import Snapshot, open_snapshot

SUFFIXES: Final = (".snap", ".snap.zst", ".zst")
"""What names of snapshots end in; other files of a folder are not looked at."""

_LINE: Final = 4096  # bytes: more than any first line
_INDEXED: Final = 256 << 20
"""Bytes of a file up to which the list reads it whole, for its processes: 0.2 s; compressed ones 1 s."""

_HEADER: Final = re.compile(
    r"(?P<taken>[0-9]+) (?P<user>[^@ ]*)@(?P<host>\S*) (?P<machine>\S*)(?: (?P<system>[A-Za-z]\S*))?"
)


@dataclass(frozen=True, slots=True)
class Item:
    """A snapshot file in the list. What its header does not tell is empty or 0."""

    path: str
    size: int
    """Bytes of the file."""
    modified: float
    """Seconds since 1970, as is `taken`."""
    taken: int = 0
    user: str = ""
    host: str = ""
    system: str = ""
    compressed: bool = False
    processes: tuple[tuple[int, str], ...] | None = None
    """Pids and names; None: not looked into yet."""
    problem: str = ""
    """Why it cannot be opened; empty if it can, as far as is known."""

    @property
    def name(self) -> str:
        """The file's name without its directory."""
        return os.path.basename(self.path)


_Version = tuple[str, int, int]
"""Path, size and time of modification (ns): a file that has not changed since."""

_known: dict[_Version, Item] = {}
"""What was found in files that have not changed since; a look at the list is then only a stat(2) each."""


def list_snapshots(folder: Path, others: Sequence[str] = ()) -> list[Item]:
    """The snapshots in `folder` and at the paths `others`; what has gone is left out."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(SUFFIXES))
    except OSError:
        names = []
    paths = [str(folder / name) for name in names]
    items = [_item(path) for path in dict.fromkeys([*paths, *others])]
    return [item for item in items if item is not None]


def remember(snapshot: Snapshot) -> None:
    """Keep what an open snapshot holds, for the list."""
    try:
        version = _version(snapshot.path)
    except OSError:
        return
    _known[version] = _with_header(version, snapshot.header, snapshot.compressed, _processes(snapshot))


def rename(path: str, name: str) -> str:
    """Give the snapshot at `path` another name in its directory; returns its new path.

    Raises ArgumentError or OutputError; nothing is ever replaced.
    """
    if not name or "/" in name or name in (".", ".."):
        raise ArgumentError("a name is one word without /")
    target = os.path.join(os.path.dirname(path), name)
    if target == path:
        return path
    try:
        os.link(path, target)  # unlike rename(2), link(2) does not replace
    except FileExistsError as error:
        raise OutputError(f"{target}: is there already") from error
    except OSError as error:
        raise OutputError(f"cannot rename {path}: {error.strerror}") from error
    os.unlink(path)
    return target


def delete(path: str) -> None:
    """Delete the file. Raises OutputError."""
    try:
        os.unlink(path)
    except OSError as error:
        raise OutputError(f"cannot delete {path}: {error.strerror}") from error


def _item(path: str) -> Item | None:
    try:
        version = _version(path)
    except OSError:
        return None
    if version not in _known:
        _known[version] = _look(version)
    return _known[version]


def _version(path: str) -> _Version:
    found = os.stat(path)
    return path, found.st_size, found.st_mtime_ns


def _look(version: _Version) -> Item:
    path, size, modified = version
    try:
        if size <= _INDEXED:
            with open_snapshot(path) as snapshot:
                return _with_header(version, snapshot.header, snapshot.compressed, _processes(snapshot))
        source = open_source(path)
        try:
            line = source.pread(0, _LINE).partition(b"\n")[0]
            return _with_header(version, os.fsdecode(line[len(MAGIC) :]), source.compressed, None)
        finally:
            source.close()
    except SnapError as error:
        return Item(path, size, modified / 1e9, problem=str(error).removeprefix(f"{path}: "))


def _processes(snapshot: Snapshot) -> tuple[tuple[int, str], ...]:
    return tuple((pid, process.name) for pid, process in snapshot.processes.items())


def _with_header(
    version: _Version, header: str, compressed: bool, processes: tuple[tuple[int, str], ...] | None
) -> Item:
    path, size, modified = version
    match = _HEADER.match(header.removeprefix(MAGIC.decode()).strip())
    taken, user, host, system = 0, "", "", ""
    if match is not None:
        taken, user, host = int(match["taken"]), match["user"], match["host"]
        system = match["system"] or ""
    return Item(path, size, modified / 1e9, taken, user, host, system, compressed, processes)
