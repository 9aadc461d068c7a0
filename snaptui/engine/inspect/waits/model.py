"""What threads wait for, who waits for whom, and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["deadlock", "blocked", "busy", "idle", "unknown"]


@dataclass(frozen=True, slots=True)
class Wait:
    """What a thread was doing or waiting for."""

    pid: int
    tid: int
    name: str
    kind: str
    """`mutex`, `condition`, `read`, `child`, `sleep`, `busy`, `stopped`, ... or `unknown`."""
    sentence: str
    """What it waits for, without saying who: `waits for the mutex 0x7f.., held by thread 12`."""
    known_from: str = ""
    """The evidence."""
    timed: bool = False
    """Whether the wait ends by itself."""
    outside: bool = False
    """Whether what ends it comes from outside of the snapshot: input, a client, a signal."""
    anyone: bool = False
    """Whether any other thread of its process may end it: nothing says which one will."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A thread waits for a thread, or for a process (`to_tid` 0: any thread of it)."""

    pid: int
    tid: int
    to_pid: int
    to_tid: int
    why: str
    """What it waits for: `mutex 0x7f..`."""
    certain: bool = True
    """False where the holder is not recorded, and concluded from other things that `why` names."""
    turns: bool = False
    """Whether both run the same code up to where they wait: workers that take turns."""


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to why it hangs."""

    verdict: str
    kind: Kind
    waits: tuple[Wait, ...]
    edges: tuple[Edge, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be read, so that less is known than might be."""

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Report:
        """The report that `as_json` gave."""
        waits = tuple(Wait(**wait) for wait in found["waits"])
        edges = tuple(Edge(**edge) for edge in found["edges"])
        return cls(found["verdict"], found["kind"], waits, edges, tuple(found["problems"]))
