"""The hex dump's rows against hexdump(1) of util-linux."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snaptui.engine.inspect.hexdump import HexDump

pytestmark = pytest.mark.skipif(not shutil.which("hexdump"), reason="needs hexdump (bsdextrautils)")


def expected(path: Path, address: int, data: bytes, *, squeeze: bool) -> str:
    """What hexdump prints for `data` that lies at offset `address` of a (sparse) file."""
    with path.open("wb") as file:
        try:
            file.seek(address)
            file.write(data)
        except OSError:
            pytest.skip(f"this file system has no files of {address:#x} bytes")
    options = [] if squeeze else ["-v"]
    return subprocess.check_output(["hexdump", "-C", *options, "-s", str(address), path], text=True)


def dumped(address: int, pieces: list[bytes], *, squeeze: bool) -> str:
    dump = HexDump(address, squeeze=squeeze)
    rows = [row for piece in pieces for row in dump.feed(piece)]
    return "".join(f"{row}\n" for row in (*rows, *dump.finish()))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


ADDRESSES = [0, 5, 0x1000, 0x1234, 0xFFFFFFF0, 0x7FFC5A21B7]


@pytest.mark.parametrize("squeeze", [True, False])
@pytest.mark.parametrize("address", ADDRESSES, ids=hex)
def test_rows_are_those_of_hexdump(tmp_path: Path, address: int, squeeze: bool) -> None:
    """Given random bytes, runs of one byte and short ends, all rows are what hexdump prints."""
    source = random.Random(address)
    for _ in range(12):
        parts = [
            source.choice(
                [
                    source.randbytes(source.randrange(40)),
                    b"A" * source.randrange(90),
                    bytes(source.randrange(64)),
                ]
            )
            for _ in range(source.randrange(1, 7))
        ]
        data = b"".join(parts) or b"x"
        want = expected(tmp_path / "data", address, data, squeeze=squeeze)
        for size in (1, 16, 17, len(data)):
            assert dumped(address, cut(data, size), squeeze=squeeze) == want


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)),
        bytes(48),
        bytes(47),
        bytes(16) + b"x" + bytes(31),
        b"ab" * 8 + b"ab" * 8 + b"ab" * 4,
        b"a",
        bytes(1 << 16),
    ],
    ids=lambda data: f"{len(data)}-{data[:3].hex()}",
)
def test_repeats_and_ends_are_those_of_hexdump(tmp_path: Path, data: bytes) -> None:
    want = expected(tmp_path / "data", 0x400000, data, squeeze=True)
    assert dumped(0x400000, cut(data, 4096), squeeze=True) == want


@given(st.binary(min_size=1, max_size=200), st.integers(1, 64))
def test_pieces_make_no_difference(data: bytes, size: int) -> None:
    assert dumped(7, cut(data, size), squeeze=True) == dumped(7, [data], squeeze=True)


def test_nothing_is_dumped_as_nothing() -> None:
    assert dumped(16, [], squeeze=True) == ""
