"""Which descriptors were opened, closed or changed: their files, and where in them they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.diff.model import DescriptorChange
from snaptui.engine.snapfile import LinuxRecord, Process

_RUNNING: Final = ("it_value", "lock")
"""Fields of fdinfo (proc_pid_fdinfo(5)) that are no change: the time left of a timer, and who else locks."""
_WORDS: Final = {"pos": "position", "flags": "flags", "ino": "inode"}

_PLAN9_LINE: Final = re.compile(
    r" *(?P<number>\d+) +(?P<mode>\S+) +\S+ +\d+ +\((?P<qid>[^)]*)\) +\d+ +(?P<pos>\d+) +(?P<path>.*)"
)
"""A line of Plan 9's fd (proc(3)): number, mode, device, qid, iounit, offset, path."""


@dataclass(frozen=True, slots=True)
class _Descriptor:
    target: str
    fields: Mapping[str, str]


def descriptor_changes(before: Process, after: Process) -> Iterator[DescriptorChange]:
    """The changes, by number."""
    old, new = _descriptors(before), _descriptors(after)
    for number in sorted(old.keys() | new.keys()):
        was, now = old.get(number), new.get(number)
        if now is None and was is not None:
            yield DescriptorChange(after.pid, number, "went", was.target, "was closed")
        elif was is None and now is not None:
            yield DescriptorChange(after.pid, number, "came", now.target, "was opened")
        elif was is not None and now is not None and (said := _difference(was, now)):
            yield DescriptorChange(after.pid, number, "changed", now.target, said)


def _difference(was: _Descriptor, now: _Descriptor) -> str:
    """What differs, in words; empty if nothing does."""
    words = [f"was {was.target}"] if was.target != now.target else []
    for name in dict.fromkeys((*was.fields, *now.fields)):
        if was.fields.get(name) != now.fields.get(name):
            values = was.fields.get(name, "nothing"), now.fields.get(name, "nothing")
            words.append(f"{_WORDS.get(name, name)} {values[0]} -> {values[1]}")
    return ", ".join(words)


def _descriptors(process: Process) -> dict[int, _Descriptor]:
    linux = process.linux
    if linux is None:
        return _plan9_descriptors(process)
    return {
        int(name[3:]): _Descriptor(
            linux.read(name).decode("utf-8", "surrogateescape"), _fields(linux, f"fdinfo/{name[3:]}")
        )
        for name in linux.names()
        if name.startswith("fd/") and name[3:].isdigit()
    }


def _fields(linux: LinuxRecord, member: str) -> dict[str, str]:
    try:
        lines = linux.read(member).decode("utf-8", "replace").splitlines()
    except NotCaptured:
        return {}
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        # An epoll has a line `tfd: 5 events: 19 ..` for each file that it watches.
        fields[name] = f"{fields[name]}; {value.strip()}" if name in fields else value.strip()
    return {name: value for name, value in fields.items() if name not in _RUNNING}


def _plan9_descriptors(process: Process) -> dict[int, _Descriptor]:
    if "fd" not in process.records:
        return {}
    lines = process.read("fd").decode("utf-8", "replace").splitlines()[1:]
    found = (_PLAN9_LINE.fullmatch(line) for line in lines)
    return {
        int(match["number"]): _Descriptor(
            match["path"], {"mode": match["mode"], "qid": match["qid"], "pos": match["pos"]}
        )
        for match in found
        if match
    }
