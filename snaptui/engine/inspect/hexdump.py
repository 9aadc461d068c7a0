"""Rows of a hex dump, in the layout of `hexdump -C` (hexdump(1)).

A row is the address (8 hexadecimal digits or more), 16 bytes in two groups of eight, and the same as
ASCII. Rows that repeat the one before are one `*`. The last line is the address of the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

ROW: Final = 16
"""Bytes in a row."""

_HEX_WIDTH: Final = 3 * ROW
_ASCII: Final = bytes(byte if 0x20 <= byte < 0x7F else ord(".") for byte in range(256))


def row(address: int, data: bytes) -> str:
    """The row for up to 16 bytes at `address`, without a line end."""
    digits = data[:8].hex(" ").ljust(_HEX_WIDTH // 2) + " " + data[8:].hex(" ")
    return f"{address:08x}  {digits:<{_HEX_WIDTH}}  |{data.translate(_ASCII).decode('ascii')}|"


class HexDump:
    """Turns bytes that arrive in pieces into rows; remembers what was repeated between the pieces.

    The rows start at the first address, whatever it is: they are not aligned to 16, as with `hexdump -s`.
    """

    def __init__(
        self, address: int, *, squeeze: bool = True, labels: Mapping[int, Sequence[str]] | None = None
    ) -> None:
        """`labels` are lines that come before the rows of these addresses, which are always shown."""
        self._labels = labels or {}
        self._address = address
        self._squeeze = squeeze
        self._previous = b""
        self._repeating = False
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """The rows that `data`, the next bytes, completes."""
        data = self._rest + data
        whole = len(data) - len(data) % ROW
        self._rest = data[whole:]
        # A long run of what is being repeated (untouched memory, say) needs no look at each row.
        if self._repeating and not self._labels and data[:whole] == self._previous * (whole // ROW):
            self._address += whole
            return
        for at in range(0, whole, ROW):
            yield from self._next(data[at : at + ROW])

    def finish(self) -> Iterator[str]:
        """The last row, when it is short, and the line with the address of the end."""
        if self._rest:
            yield from self._next(self._rest)
        if self._previous or self._rest:
            yield f"{self._address:08x}"
        self._rest = b""

    def _next(self, data: bytes) -> Iterator[str]:
        # A short last row never equals the one before.
        labels = self._labels.get(self._address, ())
        yield from labels
        if self._squeeze and data == self._previous and not labels:
            if not self._repeating:
                self._repeating = True
                yield "*"
        else:
            self._repeating = False
            self._previous = data
            yield row(self._address, data)
        self._address += len(data)
