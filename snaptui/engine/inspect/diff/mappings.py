"""What was mapped, unmapped, or is mapped otherwise than before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from snaptui.engine.inspect.addresses import short_name
from snaptui.engine.inspect.diff.model import Change, MappingChange
from snaptui.engine.snapfile import Process
from snaptui.engine.snapfile.mappings import parse_maps
from snaptui.engine.snapfile.reader import parse_segment_file


@dataclass(frozen=True, slots=True)
class _Mapped:
    """A mapping; `origin` is what it maps, and at which address that would begin."""

    start: int
    end: int
    perms: str
    name: str
    origin: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """A range, and which mapping was and is there; None: none."""

    start: int
    end: int
    was: _Mapped | None
    now: _Mapped | None


def mapping_changes(before: Process, after: Process) -> Iterator[MappingChange]:
    """The changes, by address.

    A mapping is the same as one before if it maps the same at the same address, in part at least: it may
    have grown, or have got other permissions.
    """
    runs: list[_Run] = []
    kept: set[_Mapped] = set()
    for start, end, was, now in _overlay(_mappings(before), _mappings(after)):
        if was is not None and now is not None and _alike(was, now):
            kept |= {was, now}
        elif runs and runs[-1].end == start and _alike(runs[-1].was, was) and _alike(runs[-1].now, now):
            runs[-1] = replace(runs[-1], end=end)
        else:
            runs.append(_Run(start, end, was, now))
    for run in runs:
        shown = run.now or run.was
        assert shown is not None
        change, said = _said(run, partly=shown in kept)
        yield MappingChange(after.pid, change, run.start, run.end, shown.perms, shown.name, said)


def _mappings(process: Process) -> list[_Mapped]:
    if process.linux is not None:
        return [
            _Mapped(
                *(one.start, one.end, one.perms, one.path),
                # A mapping of a file is where its beginning would be; the kernel joins and cuts them.
                (one.device, one.inode, one.path, one.start - one.offset if one.is_file else 0),
            )
            for one in parse_maps(process.linux.read("maps"))
        ]
    if "segment" in process.records:
        ranges = parse_segment_file(process.read("segment"))
    else:
        ranges = [(area.start, area.end, area.name) for area in process.areas()]
    return [_Mapped(start, end, "", name, (name,)) for start, end, name in sorted(ranges)]


def _overlay(
    old: Sequence[_Mapped], new: Sequence[_Mapped]
) -> Iterator[tuple[int, int, _Mapped | None, _Mapped | None]]:
    """The ranges between the ends of mappings of either: start, end, and what was and is there."""
    edges = sorted({edge for one in (*old, *new) for edge in (one.start, one.end)})
    left, right = 0, 0
    for start, end in itertools.pairwise(edges):
        while left < len(old) and old[left].end <= start:
            left += 1
        while right < len(new) and new[right].end <= start:
            right += 1
        was = old[left] if left < len(old) and old[left].start <= start else None
        now = new[right] if right < len(new) and new[right].start <= start else None
        if was is not None or now is not None:
            yield start, end, was, now


def _alike(one: _Mapped | None, other: _Mapped | None) -> bool:
    """Whether two neighbours are one thing to a person: the same kind of mapping, or none."""
    if one is None or other is None:
        return one is other
    return one.origin == other.origin and one.perms == other.perms


def _said(run: _Run, *, partly: bool) -> tuple[Change, str]:
    """What became of it; `partly`: the mapping it is of is in both, but not all of it."""
    size = f"{run.end - run.start:,} bytes"
    if run.was is None:
        return ("changed", f"has grown by {size}") if partly else ("came", f"is new: {size}")
    if run.now is None:
        return ("changed", f"has shrunk by {size}") if partly else ("went", f"was unmapped: {size}")
    if run.was.origin == run.now.origin:
        return "changed", f"had the permissions {run.was.perms}: {size}"
    former = f"{short_name(run.was.name)} {run.was.perms}".rstrip()
    return "changed", f"is mapped in the place of {former}: {size}"
