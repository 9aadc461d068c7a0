"""zstd's seekable format: frames that are unpacked one by one, and a table of them in a frame at the end.

Format: contrib/seekable_format/zstd_seekable_compression_format.md of zstd. pyzstd reads and writes it too,
but packs on one processor, and hands out what a frame begins with before it has seen its checksum.
"""

from __future__ import annotations

import itertools
import os
import struct
import threading
from bisect import bisect_right
from collections import OrderedDict
from typing import Final

from snaptui.engine.errors import FormatError

_SKIPPABLE: Final = 0x184D2A5E
_MAGIC: Final = 0x8F92EAB1
_HEADER: Final = struct.Struct("<II")  # magic number, size of what follows
_ENTRY: Final = struct.Struct("<II")  # bytes packed, bytes unpacked
_CHECKED: Final = struct.Struct("<II4x")  # with a checksum, which frames have in themselves
_FOOTER: Final = struct.Struct("<IBI")  # number of frames, descriptor, magic number
_CHECKSUMS: Final = 0x80
_FRAME_HEADER: Final = 18  # bytes at most (RFC 8878, 3.1.1)
_RESERVED: Final = 0x7C

_KEPT: Final = 32 << 20
"""Bytes of unpacked frames that are kept: a debugger goes to and fro between a few places."""
_LOCKS: Final = 16
_DAMAGED: Final = "is damaged: its table of frames does not fit its size"
_WRONG_TABLE: Final = "is damaged: its table does not fit its frames in place or size"


class SeekTable:
    """The table of what is written, frame by frame."""

    def __init__(self) -> None:
        self._entries = bytearray()

    def add(self, packed: int, plain: int) -> None:
        """Note the next frame by its sizes in bytes."""
        self._entries += _ENTRY.pack(packed, plain)

    def encode(self) -> bytes:
        """The skippable frame that ends the file."""
        count = len(self._entries) // _ENTRY.size
        head = _HEADER.pack(_SKIPPABLE, len(self._entries) + _FOOTER.size)
        return head + self._entries + _FOOTER.pack(count, 0, _MAGIC)


class Frames:
    """The plain bytes of a file in this format, at random. Reads may come from any thread.

    A frame is unpacked whole, and by that its checksum compared, before a byte of it is handed out.
    """

    def __init__(self, fd: int) -> None:
        """Raises `FormatError` where there is no table, or a wrong one, and `OSError`."""
        self._fd = fd
        packed, plain = zip((0, 0), *_read_table(fd), strict=True)
        self._packed = list(itertools.accumulate(packed))
        self._plain = list(itertools.accumulate(plain))
        self.size = self._plain[-1]
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._changing = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_size = 0
        for number, (start, stop) in enumerate(itertools.pairwise(self._plain)):
            self._check_size(number, stop - start)

    def pread(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; fewer only at the end.

        Raises `FormatError` when a frame is damaged, and `OSError`.
        """
        stop = min(offset + size, self.size)
        pieces = []
        while offset < stop:
            number = bisect_right(self._plain, offset) - 1
            start = self._plain[number]
            pieces.append(memoryview(self._frame(number))[offset - start : stop - start])
            offset = self._plain[number + 1]
        return b"".join(pieces)

    def _frame(self, number: int) -> bytes:
        # Who comes second waits for the first, and unpacks nothing: a mount reads ahead in many threads.
        with self._locks[number % _LOCKS]:
            with self._changing:
                if number in self._kept:
                    self._kept.move_to_end(number)
                    return self._kept[number]
            content = self._unpack(number)
            with self._changing:
                self._kept[number] = content
                self._kept_size += len(content)
                while self._kept_size > _KEPT and len(self._kept) > 1:
                    self._kept_size -= len(self._kept.popitem(last=False)[1])
            return content

    def _check_size(self, number: int, size: int) -> None:
        """See whether a frame has the size that the table says: a wrong one would shift all that follows."""
        from snaptui.engine.snapfile.zstdlib import zstd

        try:
            frame = zstd.get_frame_info(os.pread(self._fd, _FRAME_HEADER, self._packed[number]))
        except zstd.ZstdError as error:
            raise FormatError(_WRONG_TABLE) from error
        if size == 0:  # never read: that nothing is in it is seen now
            self._unpack(number)
        elif frame.decompressed_size not in (size, None):  # what was packed as a stream need not say it
            raise FormatError(_WRONG_TABLE)

    def _unpack(self, number: int) -> bytes:
        from snaptui.engine.snapfile.zstdlib import zstd

        start, stop = self._packed[number : number + 2]
        size = self._plain[number + 1] - self._plain[number]
        unpacking = zstd.ZstdDecompressor()
        try:
            content = unpacking.decompress(os.pread(self._fd, stop - start, start), max_length=size + 1)
        except zstd.ZstdError as error:
            raise FormatError(f"the compressed data is damaged near byte {start}: {error}") from error
        if not unpacking.eof or unpacking.unused_data or len(content) != size:
            raise FormatError(f"the compressed data is damaged near byte {start}: it has another size")
        return content


def _read_table(fd: int) -> list[tuple[int, int]]:
    """The sizes of each frame, packed and plain."""
    size = os.fstat(fd).st_size
    footer = os.pread(fd, _FOOTER.size, max(size - _FOOTER.size, 0))
    count, descriptor, magic = _FOOTER.unpack(footer) if len(footer) == _FOOTER.size else (0, 0, 0)
    if magic != _MAGIC:
        raise FormatError(
            "is zstd, but not of the seekable kind, or cut short",
            help="unpack it with `zstd -d`, then read the result or compress it with `snaptui compress`",
        )
    entry = _CHECKED if descriptor & _CHECKSUMS else _ENTRY
    start = size - _HEADER.size - count * entry.size - _FOOTER.size
    if start < 0 or descriptor & _RESERVED:
        raise FormatError(_DAMAGED)
    table = os.pread(fd, _HEADER.size + count * entry.size, start)
    frames = list(entry.iter_unpack(table[_HEADER.size :]))
    expected = (_SKIPPABLE, count * entry.size + _FOOTER.size)
    if _HEADER.unpack_from(table) != expected or sum(packed for packed, _ in frames) != start:
        raise FormatError(_DAMAGED)
    return [(packed, plain) for packed, plain in frames]
