"""Reading many small files of /proc in one call, not with some turns of the interpreter for each."""

from __future__ import annotations

import contextlib
import ctypes
import os
from array import array
from collections.abc import Sequence
from typing import Final

from snaptui.engine import compiled
from snaptui.engine.take.procstat import read_whole

ROOM: Final = 128 << 10
"""Bytes for the files that are read at once, to begin with."""


def read_files(directory: int, names: Sequence[str], room: int = ROOM) -> dict[str, bytes]:
    """Those of these files below an open directory that can be read, whole; `room` bytes will mostly do."""
    files: dict[str, bytes] = {}
    library = compiled.library()
    if library is None:
        for name in names:
            with contextlib.suppress(OSError):
                files[name] = read_whole(name, directory)
        return files
    while names:
        content = bytearray(room)
        sizes = array("q", bytes(8 * len(names)))
        words = b"".join(os.fsencode(name) + b"\0" for name in names)
        where = ctypes.addressof(ctypes.c_uint8.from_buffer(content))
        count = library.files_read(directory, words, len(names), where, room, sizes.buffer_info()[0])
        at = 0
        for name, size in zip(names[:count], sizes, strict=False):
            if size >= 0:
                files[name] = bytes(content[at : at + size])
                at += size
        if not count:
            room *= 4
        names = names[count:]
    return files
