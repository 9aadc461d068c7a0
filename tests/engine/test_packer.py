"""Frames of zstd, by every setting and with libraries of other versions."""

from __future__ import annotations

import random

import pytest

from snaptui.engine.snapfile import packer
from snaptui.engine.snapfile.following import Piece
from snaptui.engine.snapfile.zstdlib import zstd

# Pools of 16 pages, each with letters of its own.
_CHANCE = random.Random(5)
POOLS = b"".join(bytes(_CHANCE.choices(range(first, first + 16), k=16 * 1025)) for first in range(0, 240, 5))
QUICKEST = packer._pack(packer._SETTINGS[0])(POOLS)
CONTENT = b"".join(b"r%0512d" % (n % 50) + random.Random(n).randbytes(512) for n in range(1024))


@pytest.mark.parametrize("number", range(len(packer._SETTINGS)))
def test_every_setting_makes_a_frame_of_its_own(number: int) -> None:
    pack = packer._pack(packer._SETTINGS[number])
    for part in (CONTENT, CONTENT[:1], CONTENT[:300_000]):
        frame = pack(part)
        assert zstd.get_frame_info(frame).decompressed_size == len(part)
        assert zstd.decompress(frame) == part


def test_a_library_that_cannot_limit_blocks_has_small_windows_in_their_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 1099 is a parameter that no library knows, as older ones do not know that of the size of blocks.
    monkeypatch.setattr(packer, "_BLOCK", 1099)
    (settings,) = (settings for settings in packer._SETTINGS if 1015 in settings)
    older = {(1099 if name == 1015 else name): value for name, value in settings.items()}
    frame = packer._pack(older)(CONTENT)
    assert zstd.decompress(frame) == CONTENT
    assert frame == packer._pack({**{k: v for k, v in older.items() if k != 1099}, "window_log": 14})(CONTENT)


@pytest.mark.parametrize(
    ("hurries", "backlog", "is_quick"),
    [(True, 1 << 30, True), (True, 1 << 20, False), (False, 1 << 30, False)],
)
def test_who_hurries_and_has_much_to_do_packs_the_quickest_way(
    hurries: bool, backlog: int, is_quick: bool
) -> None:
    packing = packer.Packing()
    packing.hurries = hurries
    frame = packing.maker()(memoryview(POOLS), Piece(0, 0, len(POOLS), backlog))
    assert (frame == QUICKEST) == is_quick


def test_a_third_of_the_file_is_packed_the_quickest_way_at_most() -> None:
    packing = packer.Packing()
    packing.hurries = True
    make = packing.maker()
    size, count = len(POOLS), 400
    quick = 0
    for number in range(count // 2):  # the backlog does not fall below what is enough for a hurry
        piece = Piece(number, number * size, size, (count - number - 1) * size)
        quick += make(memoryview(POOLS), piece) == QUICKEST
    assert quick == count * 33 // 100
