"""The snap(6) format: the model, writing, and reading at random."""

from snaptui.engine.snapfile.linux import Area, Link, LinuxRecord, TextFile
from snaptui.engine.snapfile.model import PAGE, Segment
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
