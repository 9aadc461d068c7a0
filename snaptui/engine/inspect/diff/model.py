"""What became of processes between two snapshots of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

Verdict = Literal["hung", "slow", "unknown"]
Fate = Literal["same", "came", "went", "executed", "other"]
"""Of a process; `other`: one that has got the process id of another."""
Movement = Literal["moved", "returned", "ran", "still", "unknown", "came", "went"]
Change = Literal["came", "went", "changed"]

MOVING: Final[tuple[Movement, ...]] = ("moved", "returned", "ran", "came", "went")
"""What a program that does something is known by."""


@dataclass(frozen=True, slots=True)
class ProcessChange:
    """What became of a process: a sentence without saying which, and its name."""

    pid: int
    name: str
    fate: Fate
    sentence: str


@dataclass(frozen=True, slots=True)
class ThreadChange:
    """What became of a thread.

    `moved`: other registers, or another system call. `returned`: the same registers, but it ran in
    between. `ran`: it did, and where it stood is not known. `still`: it has not run at all.
    """

    pid: int
    tid: int
    name: str
    movement: Movement
    sentence: str
    """What it did, without saying who: `moved from read to futex`."""
    before: str = ""
    """Where it stood: the system call, or the function."""
    after: str = ""
    cpu: float | None = None
    """Seconds of CPU time between the two, in steps of the kernel's 1/100 s; None: not recorded."""
    wakeups: int | None = None
    """How often it was woken, beyond what being saved does; None: not recorded."""
    registers: tuple[str, ...] = ()
    """Those that differ, by name; none where their layout is not known."""


@dataclass(frozen=True, slots=True)
class MappingChange:
    """A range of addresses that was mapped, unmapped, or is mapped otherwise than before."""

    pid: int
    change: Change
    start: int
    end: int
    perms: str
    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class DescriptorChange:
    """A descriptor that was opened, closed, or changed."""

    pid: int
    number: int
    change: Change
    target: str
    sentence: str


@dataclass(frozen=True, slots=True)
class MemoryChange:
    """How the contents of a mapping differ, as far as they were in memory both times.

    Pages are those of the machine, in a snapshot from Plan 9 those of snap(6), 1 KiB. `compared` pages
    were compared or are known to be equal; of `not_compared` bytes nothing is known, for the `reasons`.
    """

    pid: int
    start: int
    end: int
    perms: str
    name: str
    page_size: int
    compared: int
    changed: int
    not_compared: int = 0
    reasons: tuple[str, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()
    """Where the changed pages are: start and end. Some only, if there are more than were asked for."""
    range_count: int = 0
    """How many there are."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known to have changed; `seconds` between the two snapshots."""

    verdict: str
    kind: Verdict
    seconds: float
    processes: tuple[ProcessChange, ...]
    threads: tuple[ThreadChange, ...] = ()
    mappings: tuple[MappingChange, ...] = ()
    descriptors: tuple[DescriptorChange, ...] = ()
    memory: tuple[MemoryChange, ...] = ()
    """Mappings that are in both snapshots; those without a change too."""

    def with_memory(self, memory: tuple[MemoryChange, ...]) -> Report:
        """The same, and what memory was found to have changed."""
        return replace(self, memory=memory)

    def as_json(self, *, ranges: bool) -> dict[str, Any]:
        """The report as a JSON object; with the `ranges` of the changed pages, or their number alone."""
        found = asdict(self)
        for change in found["memory"]:
            if not ranges:
                del change["ranges"]
        return found
