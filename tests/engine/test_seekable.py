"""zstd's seekable format: we read what pyzstd writes, it reads what we write, and damage never passes."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import pyzstd

from snaptui.engine.errors import FormatError
from snaptui.engine.snapfile import packer, seekable
from snaptui.engine.snapfile.seekable import Frames, SeekTable
from snaptui.engine.snapfile.zstdlib import zstd

PIECES = [
    b"".join(b"%07d" % (n % (size + 90)) + random.Random(n).randbytes(1) for n in range(size))
    for size in (4000, 1, 2000, 6000)
]
CONTENT = b"".join(PIECES)


def packed(settings: int = 0) -> bytes:
    """The pieces as one file, each a frame."""
    pack, table, frames = packer._pack(packer._SETTINGS[settings]), SeekTable(), []
    for piece in PIECES:
        frames.append(pack(piece))
        table.add(len(frames[-1]), len(piece))
    return b"".join(frames) + table.encode()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "x.zst"
    path.write_bytes(packed())
    yield path


def frames_of(path: Path, content: bytes) -> Frames:
    path.write_bytes(content)
    return Frames(os.open(path, os.O_RDONLY))


@pytest.mark.parametrize("kept", [0, 20_000, 1 << 20])
def test_any_part_is_what_it_was(file: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(seekable, "_KEPT", kept)
    with file.open("rb") as raw:
        frames = Frames(raw.fileno())
        assert frames.size == len(CONTENT)
        chance = random.Random(3)
        for _ in range(300):
            start, size = chance.randrange(len(CONTENT) + 9), chance.choice((0, 1, 100, 40_000, 200_000))
            assert frames.pread(start, size) == CONTENT[start : start + size]
        assert frames._kept_size == sum(map(len, frames._kept.values()))
        assert len(frames._kept) == 1 or frames._kept_size <= kept


def test_threads_that_want_the_same_frame_unpack_it_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = []
    unpack = Frames._unpack
    monkeypatch.setattr(
        Frames, "_unpack", lambda self, number: (unpacked.append(number), unpack(self, number))[1]
    )
    with file.open("rb") as raw:
        frames, found = Frames(raw.fileno()), []
        threads = [
            threading.Thread(target=lambda: found.append(frames.pread(0, len(CONTENT)))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [CONTENT] * 8
    assert sorted(unpacked) == [0, 1, 2, 3]


def test_pyzstd_reads_it(file: Path) -> None:
    with pyzstd.SeekableZstdFile(file, "r") as reader:
        reader.seek(len(PIECES[0]) + 5)
        assert reader.read() == CONTENT[len(PIECES[0]) + 5 :]


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_what_pyzstd_writes_is_read(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.zst"
    with pyzstd.SeekableZstdFile(path, "w", max_frame_content_size=size) as writer:
        writer.write(CONTENT)
    with path.open("rb") as raw:
        frames = Frames(raw.fileno())
        assert frames.pread(0, len(CONTENT)) == CONTENT
        assert frames.pread(12_345, 999) == CONTENT[12_345:13_344]


def test_tables_with_checksums_and_frames_without_content_are_read(tmp_path: Path) -> None:
    pack = packer._pack(packer._SETTINGS[0])
    skipped = struct.pack("<II", 0x184D2A50, 3) + b"abc"
    parts = [(pack(b"one"), 3), (skipped, 0), (pack(b"three"), 5)]
    entries = b"".join(struct.pack("<III", len(part), size, 0) for part, size in parts)
    footer = struct.pack("<IBI", 3, 0x80, 0x8F92EAB1)
    table = struct.pack("<II", 0x184D2A5E, len(entries) + len(footer)) + entries + footer
    frames = frames_of(tmp_path / "x.zst", b"".join(part for part, _ in parts) + table)
    assert frames.pread(0, 99) == b"onethree"
    assert frames.pread(3, 1) == b"t"


@pytest.mark.parametrize("settings", range(len(packer._SETTINGS)))
def test_no_changed_byte_passes(tmp_path: Path, settings: int) -> None:
    good, path = packed(settings), tmp_path / "x.zst"
    table = len(good) - (8 + 8 * len(PIECES) + 9)
    chance, harmless = random.Random(settings), 0
    for at in [*chance.sample(range(table), 250), *range(table, len(good))]:
        bad = bytearray(good)
        bad[at] ^= 1 << chance.randrange(8)
        path.write_bytes(bad)
        with path.open("rb") as raw:
            # Some bits mean nothing, or just how large a window must be: then all is as it was.
            with contextlib.suppress(FormatError):
                assert Frames(raw.fileno()).pread(0, len(CONTENT)) == CONTENT, at
                harmless += 1
            # A part of a frame is not handed out either before the whole frame is seen to be right.
            with contextlib.suppress(FormatError):
                frames = Frames(raw.fileno())
                for start in range(0, len(CONTENT), 4001):
                    with contextlib.suppress(FormatError):
                        assert frames.pread(start, 10) == CONTENT[start : start + 10], at
    assert harmless < 10


@pytest.mark.parametrize("size", [0, 5, 9, 16, 17, 40])
def test_what_is_too_short_for_its_table_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(FormatError):
        frames_of(tmp_path / "x.zst", packed()[-size:] if size else b"")


def test_frames_that_do_not_say_their_size_are_not_all_unpacked_to_open_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, frames = SeekTable(), []
    for piece in PIECES:
        frames.append(zstd.compress(piece, options={zstd.CompressionParameter.content_size_flag: 0}))
        assert zstd.get_frame_info(frames[-1]).decompressed_size is None
        table.add(len(frames[-1]), len(piece))
    with monkeypatch.context() as patch:
        patch.delattr(Frames, "_unpack")
        opened = frames_of(tmp_path / "x.zst", b"".join(frames) + table.encode())
    assert opened.pread(0, len(CONTENT)) == CONTENT


def test_a_size_that_is_wrong_in_the_table_is_seen_at_the_opening(tmp_path: Path) -> None:
    pack, table = packer._pack(packer._SETTINGS[0]), SeekTable()
    frames = [pack(piece) for piece in PIECES]
    for frame, piece in zip(frames, PIECES, strict=True):
        table.add(len(frame), len(piece) + (piece is PIECES[1]))
    with pytest.raises(FormatError, match="does not fit its frames"):
        frames_of(tmp_path / "x.zst", b"".join(frames) + table.encode())


def test_a_frame_of_another_size_than_the_table_says_is_refused(tmp_path: Path) -> None:
    pack = packer._pack(packer._SETTINGS[0])
    for content, size in ((b"abcdef", 5), (b"abcdef", 7), (b"abcdef", 0)):
        table, frame = SeekTable(), pack(content)
        table.add(len(frame), size)
        with pytest.raises(FormatError, match="size"):
            frames_of(tmp_path / "x.zst", frame + table.encode()).pread(0, 1)
