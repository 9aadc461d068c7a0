"""The columns of the process table, and the order of its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from snaptui.engine.take.processes import LiveProcess
from snaptui.engine.take.watch import Key, Watched
from snaptui.widgets.columns import Column
from snaptui.widgets.units import counted, short_size, short_time

_NAMED: Final = 5  # processes that are named in a sentence; the others are counted
_KIND_OF_STATE: Final = {
    "R": "good",
    "D": "bad",
    "T": "marked",
    "t": "marked",
    "Z": "dim",
    "S": "",
    "I": "dim",
}


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process in the table, and how deep it is in the tree."""

    watched: Watched
    depth: int = 0

    @property
    def process(self) -> LiveProcess:
        """The process."""
        return self.watched.process

    @property
    def key(self) -> Key:
        """What tells it from other rows."""
        return self.watched.key


def command_text(process: LiveProcess) -> str:
    """The command line without the directory of the program; the process's own name where that differs."""
    if not process.cmdline:
        return f"[{process.name}]"
    first, *rest = process.cmdline
    program = first.rpartition("/")[2] if first.startswith("/") and " " not in first else first
    words = " ".join([program, *rest])
    return words if program.startswith(process.name) else f"{process.name}: {words}"


def names_text(processes: Sequence[LiveProcess]) -> str:
    """Which processes: `page (7), gs (8) and 3,003 others`."""
    names = [f"{process.name} ({process.pid})" for process in processes[:_NAMED]]
    rest = len(processes) - len(names)
    return ", ".join(names) + (f" and {counted(rest, 'other')}" if rest else "")


def _command(row: ProcessRow) -> str:
    return ("  " * (row.depth - 1) + "└ " if row.depth else "") + command_text(row.process)


def _still(row: ProcessRow) -> str:
    return short_time(row.watched.still) if row.watched.is_hung else ""


def _cpu_seconds(row: ProcessRow) -> float:
    return (row.process.utime_ms + row.process.stime_ms) / 1000


def _cpu(row: ProcessRow) -> str:
    return f"{row.watched.cpu:.1f}" if row.watched.cpu >= 0.05 else ""


def _cpu_kind(row: ProcessRow) -> str:
    return "busy" if row.watched.cpu >= 50 else ""


def _state_kind(row: ProcessRow) -> str:
    return _KIND_OF_STATE.get(row.process.state, "")


def _virtual(row: ProcessRow) -> str:
    return short_size(row.process.vsize)


_NUMBER: Final[Any] = {"right": True, "descending": True}

PROCESS_COLUMNS: Final[tuple[Column[ProcessRow], ...]] = (
    Column("pid", "PID", 7, lambda r: str(r.process.pid), lambda r: r.process.pid, right=True),
    Column("user", "USER", 8, lambda r: r.process.user, lambda r: r.process.user),
    Column("state", "S", 2, lambda r: r.process.state, lambda r: r.process.state, kind=_state_kind),
    Column("wait", "WAITS IN", 12, lambda r: r.watched.place, lambda r: r.watched.place),
    Column("still", "STILL", 6, _still, lambda r: r.watched.still, from_width=100, **_NUMBER),
    Column("threads", "THR", 4, lambda r: str(r.process.threads), lambda r: r.process.threads, **_NUMBER),
    Column("cpu", "CPU%", 5, _cpu, lambda r: r.watched.cpu, kind=_cpu_kind, **_NUMBER),
    Column("memory", "MEM", 5, lambda r: short_size(r.process.rss), lambda r: r.process.rss, **_NUMBER),
    Column("age", "AGE", 5, lambda r: short_time(r.watched.age), lambda r: r.watched.age, right=True),
    Column("parent", "PARENT", 7, lambda r: str(r.process.ppid), lambda r: r.process.ppid, True, False, 120),
    Column("time", "TIME", 6, lambda r: short_time(_cpu_seconds(r)), _cpu_seconds, from_width=120, **_NUMBER),
    Column("virtual", "VIRT", 5, _virtual, lambda r: r.process.vsize, from_width=140, **_NUMBER),
    Column("command", "COMMAND", 0, _command, lambda r: command_text(r.process).lower()),
)
"""All columns, in their order; the last one takes the rest of the line."""

MEANINGS: Final = {
    "state": "R runs, S sleeps, D cannot be woken, T is stopped, Z has ended",
    "wait": "system call, or function of the kernel",
    "still": "how long it has not moved from its wait",
    "threads": "threads",
    "memory": "memory in RAM",
    "time": "CPU time used so far",
    "virtual": "memory mapped or reserved",
}
"""What headings are short for, where one chooses columns; by id."""


def column_named(name: str) -> Column[ProcessRow]:
    """The column of that id; the first one if there is none (a setting of another version)."""
    return next((column for column in PROCESS_COLUMNS if column.id == name), PROCESS_COLUMNS[0])


def in_order(processes: Iterable[Watched], column: str, *, descending: bool) -> list[ProcessRow]:
    """The rows in the order of a column; where that is the same, in that of `processes`."""
    rows = map(ProcessRow, processes)
    return sorted(rows, key=column_named(column).order, reverse=descending)  # type: ignore[arg-type]


def hung_first(rows: Sequence[ProcessRow]) -> list[ProcessRow]:
    """Those first that have stood still, the longest first; what cannot be woken (D) before all others."""
    hung = [row for row in rows if row.watched.is_hung]
    # Whole seconds: what began to stand in the same moment keeps its place.
    hung.sort(key=lambda row: (row.process.state != "D", -int(row.watched.still)))
    return [*hung, *(row for row in rows if not row.watched.is_hung)]


def as_tree(rows: Sequence[ProcessRow]) -> list[ProcessRow]:
    """Children below their parents; brothers in the order of `rows`."""
    present = {row.process.pid for row in rows}
    children: dict[int, list[ProcessRow]] = {}
    for row in rows:
        parent = row.process.ppid
        is_root = parent not in present or parent == row.process.pid
        children.setdefault(0 if is_root else parent, []).append(row)
    found: list[ProcessRow] = []
    waiting = [(row, 0) for row in reversed(children.get(0, []))]
    while waiting:
        row, depth = waiting.pop()
        found.append(ProcessRow(row.watched, depth))
        waiting += [(child, depth + 1) for child in reversed(children.get(row.process.pid, []))]
    return found


def shown_columns(hidden: Collection[str], *, hung: bool) -> list[Column[ProcessRow]]:
    """The columns but the hidden ones; in the view of hung processes the time they stood, not their age."""
    shown = [column for column in PROCESS_COLUMNS if column.id == "command" or column.id not in hidden]
    if not hung:
        return shown
    still = dataclasses.replace(column_named("still"), from_width=0)
    rest = [column for column in shown if column.id not in ("still", "age")]
    at = next((number for number, column in enumerate(rest) if column.id == "wait"), -1) + 1
    return [*rest[:at], still, *rest[at:]]
