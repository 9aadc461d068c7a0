"""Texts are found where the regular expression that says the same finds them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snaptui.engine.inspect.textruns import Encoding, TextRuns

CHARACTERS: dict[Encoding, bytes] = {
    "utf-8": rb"(?:[\t\x20-\x7e]|[\xc3-\xf4][\x80-\xbf]{1,3})",
    "utf-16": rb"(?:[\t\x20-\x7e]\0)",
}
# ASCII, UTF-8 of two, three and four bytes, UTF-16, and what is none of them, or is not complete.
PIECES: list[bytes] = [
    b"a",
    b"text",
    b"~" * 9,
    b"\t ",
    b"\0",
    b"\0\0",
    b"a\0b\0",
    "ä€😀".encode(),
    b"\xc2\xa0",
]
NO_TEXT: list[bytes] = [b"\xc3", b"\xf0\x9f", b"\x80", b"\x80" * 4, b"\xf5", b"\x7f"]
PARTS = st.sampled_from(PIECES) | st.sampled_from(NO_TEXT)


def found(data: bytes, minimum: int, encoding: Encoding) -> list[tuple[int, int]]:
    starts, ends = TextRuns(minimum, encoding).find(np.frombuffer(data, dtype=np.uint8))
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@given(data=st.lists(PARTS | st.binary(max_size=9), max_size=60), minimum=st.integers(1, 20))
def test_they_are_those_of_the_regular_expression(
    encoding: Encoding, data: list[bytes], minimum: int
) -> None:
    content = b"".join(data)
    expected = [match.span() for match in re.finditer(CHARACTERS[encoding] + b"{%d,}" % minimum, content)]
    assert found(content, minimum, encoding) == expected


@pytest.mark.parametrize("size", [0, 1, 5, 6, 7])
def test_a_piece_may_be_shorter_than_any_text(size: int) -> None:
    assert found(b"x" * size, 6, "utf-8") == ([(0, size)] if size >= 6 else [])
    assert found(b"x\0" * size, 6, "utf-16") == ([(0, 2 * size)] if size >= 6 else [])
