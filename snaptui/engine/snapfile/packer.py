"""Packing a snapshot into frames of zstd's seekable format, on all processors."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from snaptui.engine.snapfile.following import Make, Piece
from snaptui.engine.snapfile.model import RAW_SIZE
from snaptui.engine.snapfile.seekable import SeekTable

_BLOCK: Final = 1015
"""ZSTD_c_maxBlockSize (zstd.h, since 1.5.5), of which Python has no name."""
_SETTINGS: Final[tuple[Mapping[str | int, int], ...]] = (
    {"compression_level": 1, "window_log": 17, "hash_log": 13, "min_match": 6},
    {"compression_level": 1, "window_log": 17, "hash_log": 12, "min_match": 7, _BLOCK: 16 * RAW_SIZE},
    {"compression_level": 1, "window_log": 19, "hash_log": 15, "min_match": 5},
    {"compression_level": 3, "window_log": 18, "hash_log": 13, "chain_log": 13, "min_match": 6},
)
"""Ways to pack, the quickest first.

The second is for memory that an allocator has cut into pools of 16 KiB, each for objects of one size, as
Python's does: blocks of what such a pool takes in the file get codes that suit it. The third is for code. The
fourth looks for long repetitions too, in tables that a core's second cache can hold: for text, and for small
objects that are all alike.
"""
_COSTS: Final = (0.0, 0.003, 0.003, 0.004)
"""What the time of each counts, in bytes of the result to a byte of memory: so much a slower one must save.

Not a share of the result: what packs to a twentieth is packed as slowly, and there is little left to save.
"""
_SAMPLE: Final = 128 << 10
"""Bytes from the beginning of a piece: in half as many, a small window seems better than it is."""
_AREA: Final = 32 << 20
"""Bytes of the file that are packed alike: to try for each frame took a tenth of the time, for no gain."""
_BACKLOG: Final = 32 << 20
"""Bytes that may wait before those who hurry pack the quickest way."""
_QUICKLY: Final = 0.33
"""The share of a file that is packed so at most: on slow machines, too, a file grows by a thirtieth only."""
_THREADS: Final = min(8, os.cpu_count() or 1)
_NICE: Final = 10
"""How far packing stands back: while processes stand, whoever reads their memory comes first."""

Pack = Callable[[bytes | memoryview], bytes]


class Packing:
    """Makes of each piece of a file a frame: what a random read has to unpack (about 1 ms)."""

    threads = _THREADS
    whole = True

    def __init__(self) -> None:
        self.hurries = False
        """Whether somebody waits for the file."""
        self._quickly = 0  # bytes packed so
        self._table = SeekTable()
        self._choosing = threading.Lock()
        self._chosen: dict[int, int] = {}

    def maker(self) -> Make:
        """Packs frames in one thread, by compressors that it keeps: making one takes a third of its use."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        packs = [_pack(settings) for settings in _SETTINGS]
        return lambda content, piece: packs[self._choice(piece, content[:_SAMPLE], packs)](content)

    def made(self, piece: Piece, size: int) -> None:
        """Note a frame in the table."""
        self._table.add(size, piece.size)

    def end(self) -> bytes:
        """The table."""
        return self._table.encode()

    def _choice(self, piece: Piece, sample: memoryview, packs: Sequence[Pack]) -> int:
        """Which of the settings a piece gets: whoever comes first to an area tries what is best there."""
        area = piece.start // _AREA
        with self._choosing:
            known = piece.start + piece.size + piece.backlog
            if self.hurries and piece.backlog > _BACKLOG and self._quickly < _QUICKLY * known:
                self._quickly += piece.size
                return 0
            if area not in self._chosen:
                tries = zip(_COSTS, packs, strict=True)
                costs = [cost * len(sample) + len(pack(sample)) for cost, pack in tries]
                self._chosen[area] = costs.index(min(costs))
            return self._chosen[area]


def _pack(settings: Mapping[str | int, int]) -> Pack:
    from snaptui.engine.snapfile.zstdlib import zstd

    options = {
        zstd.CompressionParameter[name] if isinstance(name, str) else name: value
        for name, value in (*settings.items(), ("checksum_flag", 1))  # of a garbled frame 9 of 10 unpack else
    }
    try:
        compressor = zstd.ZstdCompressor(options=options)
    except ValueError:  # an older library: there a block is as large as the window, if not larger
        del options[_BLOCK]
        compressor = zstd.ZstdCompressor(options={**options, zstd.CompressionParameter.window_log: 14})

    def pack(content: bytes | memoryview) -> bytes:
        compressor.set_pledged_input_size(len(content))
        return compressor.compress(content, compressor.FLUSH_FRAME)

    return pack
