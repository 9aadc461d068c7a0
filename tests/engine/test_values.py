"""The readings of bytes, against struct, and what time and text they are, by hand."""

from __future__ import annotations

import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snaptui.engine.inspect.values import Endian, inspect

CODES = {
    "i8": "b", "u8": "B", "i16": "h", "u16": "H", "i32": "i", "u32": "I", "i64": "q", "u64": "Q",
}  # fmt: skip


def values(data: bytes, endian: Endian = "little", width: int = 8) -> dict[str, str]:
    return {
        value.name: value.text for value in inspect(data, endian, width, lambda at: "heap" if at == 1 else "")
    }


@given(st.binary(min_size=8, max_size=8), st.sampled_from(["little", "big"]))
def test_numbers_are_those_of_struct(data: bytes, endian: Endian) -> None:
    order = "<" if endian == "little" else ">"
    shown = values(data, endian)
    for name, code in CODES.items():
        assert shown[name] == str(struct.unpack_from(order + code, data)[0])
    for name, code, digits in (("f32", "f", 6), ("f64", "d", 15)):
        (number,) = struct.unpack_from(order + code, data)
        assert float(shown[name]) == pytest.approx(number, rel=10 ** (1 - digits), nan_ok=True)


@pytest.mark.parametrize("size", range(8))
def test_too_few_bytes_are_no_number(size: int) -> None:
    shown = values(bytes(size))
    for name, code in CODES.items():
        assert (shown[name] == "-") == (struct.calcsize(code) > size)
    assert shown["pointer"] == "-"


@pytest.mark.parametrize("seconds", [0, 1_770_000_000, -1, 0x7FFFFFFF, 4_000_000_000])
def test_time_is_what_date_says(seconds: int) -> None:
    expected = subprocess.check_output(["date", "-u", "-d", f"@{seconds}", "+%Y-%m-%d %H:%M:%SZ"], text=True)
    assert values(seconds.to_bytes(8, "little", signed=True))["time"] == expected.strip()


def test_a_32_bit_time_is_read_where_64_bits_make_no_year() -> None:
    data = (86400).to_bytes(4, "little") + b"\xff\xff\xff\x7f"
    assert values(data)["time"] == "1970-01-02 00:00:00Z"


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"A", "A U+0041"),
        ("ü".encode(), "ü U+00FC"),
        ("☃".encode(), "☃ U+2603"),
        ("😀".encode(), "😀 U+1F600"),
        (b"\0", "\\x00 U+0000"),
        (b"\x1b", "\\x1b U+001B"),
        ("\u202e".encode(), "\\u202e U+202E"),
        (b"\xff", "-"),
        (b"\xc3", "-"),
        (b"", "-"),
    ],
)
def test_a_character_is_shown_with_its_code_point_and_never_as_a_control(data: bytes, shown: str) -> None:
    assert values(data)["char"] == shown


def test_a_pointer_says_where_it_leads() -> None:
    assert values((1).to_bytes(8, "little"))["pointer"] == "0x1 heap"
    assert values((2).to_bytes(8, "little"))["pointer"] == "0x2 not mapped"
    assert values(b"\x01\0\0\0\xff\xff\xff\xff", width=4)["pointer"] == "0x1 heap"
    assert values(b"\0\0\0\x01", "big", width=4)["pointer"] == "0x1 heap"
