"""When two snapshots were taken, and whether a process id means the same process in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from snaptui.engine.errors import ArgumentError, NotCaptured
from snaptui.engine.snapfile import Process, Snapshot

_START: Final = 19
"""Where the start time is in /proc/PID/stat, counted in words behind the name (proc_pid_stat(5))."""
_CLOCKS: Final = ("boottime", "monotonic", "realtime")
"""In this order: the first one goes on while the machine sleeps, and nobody can set it."""
_REAL: Final = slice(92, 104)
"""Where Plan 9's status has the milliseconds since the process started (proc(3))."""
_PLAN9_SLACK: Final = 3.0
"""Seconds: the clock of the first line counts whole ones, and saving takes its time."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a snapshot was taken, by the clocks that it has."""

    clocks: dict[str, float]
    host: str
    boot: str
    """Which start of the machine it was, by its kernel's id; empty if that is not recorded."""
    series: str
    number: int
    """Of several that were taken of the same processes, which one it is; 0: taken alone."""

    def seconds_to(self, other: Moment) -> float | None:
        """Seconds from here to there; None if there is no clock that both have."""
        for name in _CLOCKS if not self.elsewhere(other) else _CLOCKS[-1:]:
            if name in self.clocks and name in other.clocks:
                return other.clocks[name] - self.clocks[name]
        return None

    def elsewhere(self, other: Moment) -> str:
        """Why process ids of the one mean nothing in the other; empty if they do."""
        if self.host and other.host and self.host != other.host:
            return f"taken on {other.host}, not on {self.host}"
        if self.boot and other.boot and self.boot != other.boot:
            return "the machine was started anew in between"
        return ""

    def stops_until(self, other: Moment) -> int:
        """How often snap has stopped the processes from here on before `other`: at least this once."""
        if self.series and self.series == other.series and other.number > self.number:
            return other.number - self.number
        return 1


def moment_of(snapshot: Snapshot) -> Moment:
    """When that was."""
    words = snapshot.header.removeprefix("process snapshot").split()
    taken = float(words[0]) if words and words[0].isascii() and words[0].isdigit() else None
    info = next((one.linux.info for one in snapshot.processes.values() if one.linux is not None), {})
    clocks = {name: float(value) for name, value in _dict(info, "clocks").items() if _is_number(value)}
    if taken is not None:
        clocks.setdefault("realtime", taken)
    series = _dict(info, "series")
    number = series.get("number")
    return Moment(
        clocks,
        str(info.get("hostname", "")),
        str(info.get("boot_id", "")),
        str(series.get("id", "")),
        number if isinstance(number, int) else 0,
    )


def seconds_between(before: Snapshot, after: Snapshot) -> float:
    """Seconds from one to the other; 0 if no clock tells. Raises ArgumentError if the first is the later."""
    seconds = moment_of(before).seconds_to(moment_of(after))
    if seconds is not None and seconds < 0:
        raise ArgumentError(
            f"{before.path} was taken {-seconds:.1f} s after {after.path}", help="name the older one first"
        )
    return seconds or 0.0


def started(process: Process) -> int | None:
    """When the process started, in 1/100 s since its machine did; None if that is not recorded."""
    return start_ticks(stat_words(process, "stat"))


def start_ticks(words: list[bytes]) -> int | None:
    """The start time in the words of a stat file."""
    return int(words[_START]) if len(words) > _START and words[_START].isdigit() else None


def stat_words(process: Process, member: str) -> list[bytes]:
    """The words of a stat file of the Linux record, behind the name; none if it is not there."""
    try:
        # The name can be any bytes.
        return process.linux.read(member).rpartition(b")")[2].split() if process.linux is not None else []
    except NotCaptured:
        return []


def same_process(before: Process, after: Process, seconds: float) -> bool:
    """Whether it is the same process, as far as start times tell; both have the same id."""
    starts = started(before), started(after)
    if None not in starts:
        return starts[0] == starts[1]
    ages = _plan9_age(before), _plan9_age(after)
    if ages[0] is None or ages[1] is None:
        return True
    return abs(ages[1] - ages[0] - seconds) <= _PLAN9_SLACK


def _plan9_age(process: Process) -> float | None:
    if process.linux is not None or "status" not in process.records:
        return None
    field = process.read("status")[_REAL].strip()
    return int(field) / 1000 if field.isdigit() else None


def _dict(info: dict[str, Any], name: str) -> dict[str, Any]:
    found = info.get(name)
    return found if isinstance(found, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
