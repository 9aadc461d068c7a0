"""A finding: what one thread waits for, and for whom, before there is a graph of all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a thread waits for; `tid` 0 is any thread of the process."""

    pid: int
    tid: int = 0
    why: str = ""
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """What a thread waits for. The fields are those of `Wait`."""

    kind: str
    sentence: str
    known_from: str = ""
    targets: tuple[Target, ...] = ()
    timed: bool = False
    outside: bool = False
    anyone: bool = False
