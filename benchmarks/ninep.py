"""A bare 9P client on a blocking socket: the same code asks our server and diod.

Tread and Rread are alike in 9P2000, which snapfs speaks, and 9P2000.L, which diod does; they differ in how
a file is found and opened.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from typing import Final, Literal, Self

_HEADER: Final = struct.Struct("<IBH")  # size type tag
_READ: Final = struct.Struct("<IBHIQI")  # size type tag fid offset count
_DATA_AT: Final = 11  # size[4] type[1] tag[2] count[4] come before the data
_OVERHEAD: Final = 24
"""Bytes of msize that are not data (IOHDRSZ of fcall.h)."""
_TVERSION: Final = 100
_TATTACH: Final = 104
_TWALK: Final = 110
_TOPEN: Final = 112
_TLOPEN: Final = 12
_TREAD: Final = 116
_NO_TAG: Final = 0xFFFF
_NO_FID: Final = 0xFFFFFFFF
_LARGEST: Final = 4 << 20

Dialect = Literal["9P2000", "9P2000.L"]


class Client:
    """A client with one file open. Raises OSError, or RuntimeError when the server refuses."""

    def __init__(self, path: str, dialect: Dialect, msize: int, aname: str, names: Sequence[str]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._buffer = memoryview(bytearray(_LARGEST))
        answer = self._ask(_TVERSION, struct.pack("<I", msize) + _text(dialect), _NO_TAG)
        self.msize = int.from_bytes(answer[7:11], "little")
        """Bytes: what the server agreed to."""
        self.largest_read = self.msize - _OVERHEAD
        linux = dialect == "9P2000.L"
        user = struct.pack("<I", os.getuid()) if linux else b""
        self._ask(_TATTACH, struct.pack("<II", 0, _NO_FID) + _text("root") + _text(aname) + user)
        self._ask(_TWALK, struct.pack("<IIH", 0, 1, len(names)) + b"".join(map(_text, names)))
        self._ask(_TLOPEN if linux else _TOPEN, struct.pack("<II" if linux else "<IB", 1, os.O_RDONLY))

    def read(self, offset: int, count: int) -> memoryview:
        """Bytes of the file, valid until the next call; fewer at its end. `count` must fit `largest_read`."""
        self._socket.send(_READ.pack(_READ.size, _TREAD, 1, 1, offset, count))
        return self._receive()[_DATA_AT:]

    def _ask(self, kind: int, body: bytes, tag: int = 1) -> memoryview:
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, tag) + body)
        return self._receive(kind + 1)

    def _receive(self, kind: int = _TREAD + 1) -> memoryview:
        """The next message, whole."""
        have = self._socket.recv_into(self._buffer)
        size = int.from_bytes(self._buffer[:4], "little")
        while have < size:
            more = self._socket.recv_into(self._buffer[have:size])
            if not more:
                raise RuntimeError("the server has hung up")
            have += more
        if self._buffer[4] != kind:
            raise RuntimeError(f"the server refuses: {bytes(self._buffer[7:size])!r}")
        return self._buffer[:size]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(string: str) -> bytes:
    data = string.encode()
    return struct.pack("<H", len(data)) + data
