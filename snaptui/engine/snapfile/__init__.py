"""The snap(6) format: the model, writing, and reading at random."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from snaptui.engine.snapfile.model import PAGE, Segment

if TYPE_CHECKING:
    from snaptui.engine.snapfile.linux import Area, Link, LinuxRecord, TextFile
    from snaptui.engine.snapfile.reader import Process, Snapshot, open_snapshot

__all__ = [
    "PAGE",
    "Area",
    "Link",
    "LinuxRecord",
    "Process",
    "Segment",
    "Snapshot",
    "TextFile",
    "open_snapshot",
]

# Imported when they are first asked for: reading needs numpy (65 ms), which writing does without.
_PLACES: Final = dict.fromkeys(("Area", "Link", "LinuxRecord", "TextFile"), "linux") | dict.fromkeys(
    ("Process", "Snapshot", "open_snapshot"), "reader"
)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
