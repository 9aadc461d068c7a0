"""The bytes of the lines of one frame: one read for neighbours, kept for the next frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.machine import Machine
from snaptui.engine.inspect.space import Space
from snaptui.widgets.hex.lines import Line

_KEPT: Final = 4096
"""Rows that are kept: 1 MB."""


@dataclass(frozen=True, slots=True)
class Row:
    """The bytes of a line, and where in it pointers to mapped memory begin; or why they cannot be read."""

    data: bytes
    pointers: tuple[int, ...] = ()
    error: str = ""


class RowReader:
    """Reads rows; the same row is read once."""

    def __init__(self, space: Space, addresses: AddressMap, machine: Machine) -> None:
        self._space = space
        self._addresses = addresses
        self.machine = machine
        self._rows: dict[tuple[int, int], Row] = {}
        self.reads = 0
        """How often the space was asked."""

    def rows(self, lines: Sequence[Line]) -> dict[int, Row]:
        """The rows of lines of the kind `rows`, by the address of their first byte."""
        missing = [line for line in lines if line.is_row and (line.start, line.end) not in self._rows]
        if len(self._rows) + len(missing) > _KEPT:
            self._rows.clear()
            missing = [line for line in lines if line.is_row]
        for start, end, members in _neighbours(missing):
            self._read(start, end, members)
        return {line.start: self._rows[line.start, line.end] for line in lines if line.is_row}

    def _read(self, start: int, end: int, lines: list[Line]) -> None:
        self.reads += 1
        try:
            content = self._space.read_memory(start, end - start)
        except SnapError as error:
            if len(lines) > 1:
                for line in lines:
                    self._read(line.start, line.end, [line])
            else:
                self._rows[start, end] = Row(b"", error=str(error))
            return
        for line in lines:
            data = content[line.start - start : line.end - start]
            self._rows[line.start, line.end] = Row(data, tuple(self._pointers(line.start, data)))

    def _pointers(self, address: int, data: bytes) -> Iterable[int]:
        width, endian = self.machine.width, self.machine.endian
        for at in range(-address % width, len(data) - width + 1, width):
            if self._addresses.is_mapped(int.from_bytes(data[at : at + width], endian)):
                yield address + at


def _neighbours(lines: list[Line]) -> list[tuple[int, int, list[Line]]]:
    """Lines in runs without a hole: start and end of each."""
    runs: list[tuple[int, int, list[Line]]] = []
    for line in lines:
        if runs and runs[-1][1] == line.start:
            start, _, members = runs[-1]
            members.append(line)
            runs[-1] = (start, line.end, members)
        else:
            runs.append((line.start, line.end, [line]))
    return runs
