"""What a user may ask of a capture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What to save, for whom, and how."""

    all_memory: bool = False
    """Also what is left out by default, as far as it can be read."""
    plan9: bool = False
    """Refuse to write what 9front's snapfs would refuse."""
    series: tuple[str, int] | None = None
    """Of several snapshots of the same processes: a name that they share, and which one this is, from 1."""
    fork: bool = False
    """Read the memory from copies of the processes, which run on at once; where that cannot be, as always."""
