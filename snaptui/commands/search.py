"""Find text, bytes or pointers in the memory of saved processes.

Prints a line for each place: the process, the address, the permissions and name of the mapping, and
what is around it, as text or as rows of a hex dump; with --json, an object a line. A pattern is found
at any alignment, across the borders of pages and of mappings that touch, and in what was never touched,
which is zeros. Text, bytes and pointers are found wherever they stand, also where one lies on another;
of a regular expression, matches do not overlap, and those of up to 4096 bytes are sure to be found whole.

Exit status: 0 if something was found, 1 if nothing was, or if the snapshot is damaged, 2 for a wrong
command line. ^C ends it; what was found until then is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from snaptui.commands.addressing import AddressRange, address_of, address_range
from snaptui.commands.interrupts import Interrupts
from snaptui.commands.options import ANY_PROCESS, JSON_OUTPUT, SNAPSHOT_FILE
from snaptui.commands.searching import Places, chosen_processes, positive, status_of
from snaptui.engine.errors import ArgumentError, SnapError
from snaptui.engine.inspect.hexdump import ROW, row
from snaptui.engine.inspect.machine import Machine, machine_of
from snaptui.engine.inspect.patterns import Pattern, PatternKind, parse_pattern, pointer_pattern
from snaptui.engine.inspect.search import Batch, Hit, search
from snaptui.engine.inspect.space import read_available, read_before
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile import Process, Snapshot, open_snapshot
from snaptui.explain import visible

NAME = "search"
PARENTS = (SNAPSHOT_FILE, ANY_PROCESS, JSON_OUTPUT)

_AROUND: Final = 16
"""Bytes before and after a match."""
_SHOWN: Final = 256
"""Bytes of a match that are shown."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to look for, and how its surroundings are shown."""

    kind: PatternKind
    what: str | AddressRange

    def codec(self, machine: Machine) -> str:
        """How to show what is found as text; empty where its bytes are to be shown."""
        if self.kind == "utf-16":
            return "utf-16-le" if machine.endian == "little" else "utf-16-be"
        return "utf-8" if self.kind in ("text", "regex") else ""

    def pattern(self, snapshot: Snapshot, process: Process) -> Pattern:
        """The pattern in a process: byte order and names are its own. Raises ArgumentError, SnapError."""
        machine = machine_of(snapshot, process)
        if isinstance(self.what, AddressRange):
            address = address_of(snapshot, process, self.what.start)
            return pointer_pattern(address, machine.width, machine.endian, self.what.length or 1)
        return parse_pattern(self.kind, self.what, machine.endian)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of search."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="PATTERN", help="this text")
    what.add_argument("--hex", metavar="BYTES", help="bytes, as `de ad be ef` or deadbeef; ?? is any byte")
    what.add_argument("--regex", metavar="REGEX", help="a regular expression of Python's, on bytes")
    what.add_argument(
        "--pointer-to",
        metavar="ADDR[+LEN]",
        type=address_range,
        help="pointers to that address, or to any of LEN bytes from it on; given as for hexdump",
    )
    parser.add_argument("--encoding", choices=("utf-8", "utf-16"), help="of --text; utf-8 if it is not given")
    parser.add_argument(
        "-c", "--count", action="store_true", help="print only how many there are, by process"
    )
    parser.add_argument("-m", "--max", metavar="N", type=positive, help="end after N matches")


def run(arguments: argparse.Namespace) -> int:
    """Print the matches as they are found; the status is 1 if there are none. Raises SnapError, Cancelled."""
    wanted = _wanted(arguments)
    found = 0
    missing: dict[int, int] = {}
    with Interrupts() as interrupts, open_snapshot(arguments.file, cancel=interrupts.cancel) as snapshot:
        for process, pattern in _patterns(snapshot, chosen_processes(snapshot, arguments), wanted):
            codec = wanted.codec(machine_of(snapshot, process))
            output = _Output(process, codec, as_json=arguments.json)
            count = 0
            for batch in search(process, pattern, cancel=interrupts.cancel):
                missing[process.pid] = batch.missing
                room = None if arguments.max is None else arguments.max - found - count
                count += len(batch.addresses[:room])
                if not arguments.count:
                    output.show(batch, room, interrupts.cancel)
                if count and arguments.max == found + count:
                    break
            if arguments.count:
                output.show_count(count)
            found += count
            if found == arguments.max:
                break
    return status_of(NAME, found, missing)


def _wanted(arguments: argparse.Namespace) -> _Wanted:
    if arguments.encoding and arguments.text is None:
        raise ArgumentError("--encoding is for --text: bytes and regular expressions are what they are")
    if arguments.text is not None:
        return _Wanted("utf-16" if arguments.encoding == "utf-16" else "text", arguments.text)
    if arguments.hex is not None:
        return _Wanted("hex", arguments.hex)
    if arguments.regex is not None:
        return _Wanted("regex", arguments.regex)
    return _Wanted("pointer", arguments.pointer_to)


def _patterns(
    snapshot: Snapshot, processes: list[Process], wanted: _Wanted
) -> Iterator[tuple[Process, Pattern]]:
    """The pattern in each process; those that know no such name are passed over, unless none does."""
    found, errors = [], []
    for process in processes:
        try:
            found.append((process, wanted.pattern(snapshot, process)))
        except SnapError as error:
            errors.append((process, error))
    if errors and not found:
        raise errors[0][1]
    for process, why in errors:
        print(f"{NAME}: process {process.pid} is passed over: {visible(str(why))}", file=sys.stderr)
    yield from found


class _Output:
    """Prints what was found in one process."""

    def __init__(self, process: Process, codec: str, *, as_json: bool) -> None:
        self._process, self._codec, self._as_json = process, codec, as_json
        self._places = Places(process)

    def show(self, batch: Batch, room: int | None, cancel: CancelToken) -> None:
        """Print the matches of a batch, `room` at most, so that whoever reads them has them now."""
        for hit in batch.hits[:room]:
            cancel.check()
            if self._as_json:
                print(json.dumps(self._record(hit)))
            else:
                for line in self._lines(hit):
                    print(line)
        if len(batch.addresses):
            sys.stdout.flush()

    def show_count(self, count: int) -> None:
        """Print how many there are."""
        process = self._process
        if self._as_json:
            print(json.dumps({"pid": process.pid, "process": process.name, "count": count}))
        else:
            print(visible(f"{process.pid} {process.name}: {count}"))

    def _around(self, hit: Hit) -> tuple[bytes, bytes]:
        """The bytes before a match, and it with those after it."""
        size = min(hit.size, _SHOWN) + _AROUND
        return read_before(self._process, hit.address, _AROUND), read_available(
            self._process, hit.address, size
        )

    def _record(self, hit: Hit) -> dict[str, Any]:
        before, after = self._around(hit)
        return {
            **self._places.as_json(hit.address),
            "size": hit.size,
            "context": {
                "start": hit.address - len(before),
                "bytes": (before + after).hex(),
                "text": self._text(before, after),
            },
        }

    def _lines(self, hit: Hit) -> Iterator[str]:
        before, after = self._around(hit)
        line = self._places.line(hit.address)
        if self._codec:
            yield f"{line}: {self._text(before, after)}"
            return
        yield f"{line}:"
        # Rows as hexdump has them: whole ones, from an address that is a multiple of 16.
        start = hit.address // ROW * ROW
        content = before[len(before) - (hit.address - start) :] if hit.address > start else b""
        start = hit.address - len(content)
        content = (content + after)[: -(-(hit.address + min(hit.size, _SHOWN) - start) // ROW) * ROW]
        for at in range(0, len(content), ROW):
            yield "  " + row(start + at, content[at : at + ROW])

    def _text(self, before: bytes, after: bytes) -> str:
        """Both as text; a dot for what is none."""
        codec = self._codec or "utf-8"
        text = before.decode(codec, "replace") + after.decode(codec, "replace")
        return "".join(char if char.isprintable() and char != "\ufffd" else "." for char in text)
