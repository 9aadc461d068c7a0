"""The saved executable and libraries as files that other programs' libraries can open."""

from __future__ import annotations

import os
from typing import Final

from snaptui.engine.snapfile import Process, TextFile

_PIECE: Final = 4 << 20  # bytes


def open_image(process: Process, file: TextFile) -> int:
    """A descriptor of a copy of a text file in memory (memfd_create(2)); the caller closes it.

    Raises SnapError and OSError. What the text image lacks at its end is a hole: zeros.
    """
    descriptor = os.memfd_create(os.path.basename(file.path)[:200])
    try:
        os.ftruncate(descriptor, file.size)
        for at in range(0, file.size, _PIECE):
            content = process.read_text(file.offset + at, min(_PIECE, file.size - at))
            os.pwrite(descriptor, content, at)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
