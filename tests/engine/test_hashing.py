"""A page's hash is 0 for zeros, and for nothing else: a page with hash 0 is written as zeros."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from snaptui.engine import compiled
from snaptui.engine.snapfile.model import PAGE

WAYS = {"words": 0, "vectors": 1, "wide vectors": 2}
NEEDED = {"vectors": "avx2", "wide vectors": "avx512f"}
ODD = 13
"""Bytes past where memory is aligned."""


def hashes(way: str, pages: np.ndarray) -> np.ndarray:
    """The hash of each row, of pages that begin anywhere."""
    library = compiled.library()
    assert library is not None, "the package was installed without a C compiler: run scripts/setup dev"
    room = np.zeros(pages.size + ODD, dtype=np.uint8)
    room[ODD:] = pages.reshape(-1)
    found = np.full(len(pages), 7, dtype=np.uint64)
    where = ctypes.c_void_p(room.ctypes.data + ODD)
    library.hash_pages_by.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p)
    can = library.hash_pages_by(WAYS[way], where, len(pages), ctypes.c_void_p(found.ctypes.data))
    flags = Path("/proc/cpuinfo").read_text().split()
    assert bool(can) == (way not in NEEDED or NEEDED[way] in flags)
    if not can:
        pytest.skip(f"this processor has no {NEEDED[way]}")
    return found


@pytest.mark.parametrize("way", WAYS)
class TestHashes:
    def test_only_zeros_have_hash_zero_and_each_bit_counts(self, way: str) -> None:
        pages = np.zeros((8 * PAGE + 1, PAGE), dtype=np.uint8)
        bits = np.arange(8 * PAGE)
        pages[bits, bits // 8] = 1 << bits % 8
        found = hashes(way, pages)
        assert found[-1] == 0
        assert np.all(found[:-1] != 0)
        # By words the highest bits of words in one lane are alike: equal hashes cost time, and no byte.
        assert len(np.unique(found)) > 0.9 * len(pages)

    def test_pages_of_one_value_differ_by_the_value(self, way: str) -> None:
        pages = np.repeat(np.arange(256, dtype=np.uint8), PAGE).reshape(-1, PAGE)
        found = hashes(way, pages)
        assert found[0] == 0
        assert len(np.unique(found)) == len(pages)

    def test_words_in_another_order_or_place_are_another_page(self, way: str) -> None:
        words = np.random.default_rng(5).integers(0, 2**64, size=PAGE // 8, dtype=np.uint64)
        turned = [np.roll(words, count) for count in range(PAGE // 8)]
        swapped = []
        for first in range(PAGE // 8 - 1):
            other = words.copy()
            other[[first, first + 1]] = words[[first + 1, first]]
            swapped.append(other)
        found = hashes(way, np.stack([*turned, *swapped]).view(np.uint8))
        assert len(np.unique(found)) == len(turned) + len(swapped)

    def test_small_numbers_and_pointers_are_told_apart(self, way: str) -> None:
        numbers = np.zeros((20_000, PAGE // 8), dtype=np.uint64)
        numbers[:10_000, 3] = np.arange(1, 10_001)  # the upper half of each word is zero
        numbers[10_000:, 3] = np.arange(1, 10_001, dtype=np.uint64) << np.uint64(32)  # or the lower one
        pointers = np.full((20_000, PAGE // 8), 0x7F12_3456_7000, dtype=np.uint64)
        pointers[np.arange(20_000), np.arange(20_000) % 128] += np.arange(
            1, 20_001, dtype=np.uint64
        ) * np.uint64(16)
        found = hashes(way, np.concatenate([numbers, pointers]).view(np.uint8))
        assert len(np.unique(found)) == 40_000

    def test_equal_pages_have_equal_hashes_wherever_they_are(self, way: str) -> None:
        page = np.random.default_rng(6).integers(0, 256, size=PAGE, dtype=np.uint8)
        assert len(np.unique(hashes(way, np.tile(page, (100, 1))))) == 1
