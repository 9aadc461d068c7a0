"""Packing a snapshot into the seekable zstd format, on all processors.

pyzstd reads this format, and writes it too, but on one processor: that takes longer than to save a process.
Format: contrib/seekable_format/zstd_seekable_compression_format.md of zstd: frames, and a table of them in a
skippable frame at the end.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

PIECE: Final = 1 << 20
"""Bytes in a frame: what a random read of a compressed snapshot has to unpack (about 1 ms)."""

_QUICK, _SLOW = 1, 3
"""Levels. 3, zstd's default, is better at code and text; 1 at objects and pointers, and quicker."""
_WORTH_IT: Final = 0.97
"""3 is taken for a frame if it makes this of what 1 makes, of a sample."""
_SAMPLE: Final = 64 << 10
"""Bytes from the middle of a frame."""
_ALIKE: Final = 16
"""Frames in a row of which one is looked at: to look at each took a tenth of the time, and saved no more."""
_THREADS: Final = min(8, os.cpu_count() or 1)
_NICE: Final = 10
"""How far packing stands back: while processes stand, whoever reads their memory comes first."""

_SKIPPABLE: Final = 0x184D2A5E
_ENTRY: Final = struct.Struct("<II")  # bytes packed, bytes unpacked
_HEADER: Final = struct.Struct("<II")  # magic number, size of what follows
_FOOTER: Final = struct.Struct("<IBI")  # number of frames, descriptor (no checksums), magic number
_SEEKABLE: Final = 0x8F92EAB1


class Target(Protocol):
    """Where the packed bytes go."""

    def write(self, data: bytes | memoryview) -> int: ...


class Stopped(Exception):
    """Nothing more is packed: somebody called `stop`."""


class Packer:
    """Packs pieces, a frame each, in their order. Close it, or `stop` it. Raises what `target` raises."""

    def __init__(self, target: Target) -> None:
        # Not for who writes plain files: 20 ms.
        from concurrent.futures import CancelledError, ThreadPoolExecutor

        import pyzstd

        self._cancelled = CancelledError

        self._zstd = pyzstd
        self._target = target
        self._pool = ThreadPoolExecutor(_THREADS, "snap-zstd", initializer=_stand_back)
        self._pending: deque[tuple[Future[bytes], int]] = deque()
        self._table = bytearray()
        self._local = threading.local()
        self._count = 0
        self._level = _QUICK

    def write(self, piece: bytes) -> int:
        """Pack the next PIECE bytes, or the last ones. Raises Stopped after `stop`."""
        if self._count % _ALIKE == 0:
            self._level = self._best_level(piece)
        self._count += 1
        try:
            self._pending.append((self._pool.submit(self._frame, piece, self._level), len(piece)))
        except RuntimeError as error:  # the pool takes no more
            raise Stopped from error
        while len(self._pending) > 2 * _THREADS:
            self._pass_on()
        return len(piece)

    def close(self) -> None:
        """Write what is not written yet, and the table."""
        while self._pending:
            self._pass_on()
        count = len(self._table) // _ENTRY.size
        self._target.write(_HEADER.pack(_SKIPPABLE, len(self._table) + _FOOTER.size))
        self._target.write(bytes(self._table) + _FOOTER.pack(count, 0, _SEEKABLE))
        self.stop()

    def stop(self) -> None:
        """Pack no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _pass_on(self) -> None:
        future, size = self._pending.popleft()
        try:
            frame = future.result()
        except self._cancelled as error:
            raise Stopped from error
        self._target.write(frame)
        self._table += _ENTRY.pack(len(frame), size)

    def _best_level(self, piece: bytes) -> int:
        middle = len(piece) // 2
        sample = piece[middle : middle + _SAMPLE]
        quick, slow = len(self._frame(sample, _QUICK)), len(self._frame(sample, _SLOW))
        return _SLOW if slow < _WORTH_IT * quick else _QUICK

    def _frame(self, content: bytes, level: int) -> bytes:
        """A frame of its own, by a compressor that this thread keeps: making it takes a third of its use."""
        compressors = self._local.__dict__
        name = f"level{level}"
        if name not in compressors:
            compressors[name] = self._zstd.ZstdCompressor(level)
        compressor = compressors[name]
        compressor._set_pledged_input_size(len(content))  # its documentation has it, in spite of the name
        frame: bytes = compressor.compress(content, compressor.FLUSH_FRAME)
        return frame


def _stand_back() -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
