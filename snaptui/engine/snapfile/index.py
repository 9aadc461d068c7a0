"""Remembering where everything in a large snapshot is, so that it opens at once the next time.

An index is a file in the user's cache, named for the snapshot file (device, inode, size, time of change): a
line of JSON, and the columns of the runs. If anything is wrong with it, the snapshot is scanned anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import zlib
from array import array
from pathlib import Path
from typing import Any, Final

from platformdirs import user_cache_path

from snaptui.engine.progress import CancelToken, Sink, ignore
from snaptui.engine.snapfile.container import Source
from snaptui.engine.snapfile.model import Segment
from snaptui.engine.snapfile.scan import DataRecord, Layout, Runs, scan

_FORMAT: Final = 1
_WORTH_IT: Final = 16 << 20
"""Bytes of a snapshot from which on it is remembered: below, a scan takes as long as to read an index."""
_MOST: Final = 256 << 20
"""Bytes that all indexes may take; those used longest ago go first."""
_COLUMNS: Final = ("first", "kind", "position", "stride", "number_at")


def layout_of(source: Source, sink: Sink = ignore, cancel: CancelToken | None = None) -> Layout:
    """What `scan` says of `source`, from the index if there is one. Raises what `scan` raises."""
    if source.size < _WORTH_IT:
        return scan(source, sink, cancel)
    path = _path(source)
    known = _load(path)
    if known is None:
        known = scan(source, sink, cancel)
        _save(path, known)
    return known


def _path(source: Source) -> Path:
    name = "-".join(map(str, (_FORMAT, *source.identity)))
    return user_cache_path("snaptui") / "index" / hashlib.sha256(name.encode()).hexdigest()[:32]


def _load(path: Path) -> Layout | None:
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if facts.st_uid != os.geteuid():
                return None
            checksum, _, content = file.read().partition(b"\n")
        if int(checksum, 16) != zlib.crc32(content):
            return None
        line, _, columns = content.partition(b"\n")
        layout = _layout(json.loads(line), columns)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # it was used just now
    return layout


def _layout(facts: dict[str, Any], columns: bytes) -> Layout:
    runs, at = Runs(), 0
    for name in _COLUMNS:
        column: array[int] = getattr(runs, name)
        size = facts["runs"] * column.itemsize
        column.frombytes(columns[at : at + size])
        at += size
    if at != len(columns):
        raise ValueError("the columns are not of that length")
    return Layout(
        facts["header"],
        tuple(facts["pids"]),
        tuple(DataRecord(*record) for record in facts["data"]),
        tuple(Segment(*segment) for segment in facts["segments"]),
        tuple(facts["first_pages"]),
        runs,
        facts["page_count"],
    )


def _save(path: Path, layout: Layout) -> None:
    """Keep it for the next time, if that is possible."""
    facts = {
        "header": layout.header,
        "pids": layout.pids,
        "data": [(r.pid, r.name, r.position, r.size) for r in layout.data],
        "segments": [(s.pid, s.kind, s.number, s.offset, s.length) for s in layout.segments],
        "first_pages": layout.first_pages,
        "page_count": layout.page_count,
        "runs": len(layout.runs.first),
    }
    content = json.dumps(facts).encode() + b"\n"
    content += b"".join(getattr(layout.runs, name).tobytes() for name in _COLUMNS)
    draft = path.with_name(f".{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_room(path.parent, len(content))
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(b"%08x\n" % zlib.crc32(content) + content)
        draft.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()


def _make_room(directory: Path, size: int) -> None:
    """Remove the indexes used longest ago until there is room for another."""
    found = sorted(
        (entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in os.scandir(directory)
    )
    total = size + sum(facts[1] for facts in found)
    for _, taken, path in found:
        if total <= _MOST:
            return
        os.unlink(path)
        total -= taken
