"""Bytes as text to paste elsewhere, and a range of memory as a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from snaptui.engine.errors import OutputError
from snaptui.engine.inspect.hexdump import HexDump
from snaptui.engine.inspect.space import Space
from snaptui.engine.progress import CancelToken

FORMS: Final[dict[str, str]] = {
    "hex": "hexadecimal: 68 69 0a",
    "text": r"text, what is none as \x0a",
    "c": r'a string of C: "\x68\x69\x0a"',
    "python": r"bytes of Python: b'hi\n'",
    "dump": "lines of hexdump -C",
    "address": "the address",
}
"""How bytes can be copied: names, and what each looks like."""

CLIPBOARD_MAX: Final = 32 << 10
"""Bytes that are copied: terminals take some 100,000 characters by OSC 52 (xterm, tmux), and drop more."""
_PIECE: Final = 1 << 20


def as_text(form: str, address: int, data: bytes) -> str:
    """`data` at `address` in one of `FORMS`."""
    match form:
        case "text":
            return data.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
        case "c":
            return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'
        case "python":
            return repr(data)
        case "dump":
            dump = HexDump(address, squeeze=False)
            return "\n".join((*dump.feed(data), *dump.finish()))
        case "address":
            return f"{address:#x}"
        case _:
            return data.hex(" ")


def save_range(
    space: Space,
    start: int,
    end: int,
    path: str,
    *,
    cancel: CancelToken | None = None,
    advance: Callable[[int], object] = int,
) -> None:
    """Write the memory from `start` to `end` to a new file that only its owner can read.

    `advance` is told how many bytes are written. Raises OutputError (an existing file is never
    overwritten), NotCaptured, Cancelled; then no file is left.
    """
    cancel = cancel or CancelToken()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise OutputError(f"{path} exists", help="type another name") from error
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', error)}") from error
    try:
        with os.fdopen(fd, "wb") as file:
            for at in range(start, end, _PIECE):
                cancel.check()
                file.write(space.read_memory(at, min(_PIECE, end - at)))
                advance(min(at + _PIECE, end) - start)
    except BaseException as error:
        os.unlink(path)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        raise
