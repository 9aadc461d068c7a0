"""What follows from what threads did: hung or idle, or slow."""

from __future__ import annotations

from collections.abc import Sequence

from snaptui.engine.inspect.diff.model import MOVING, Movement, ProcessChange, ThreadChange, Verdict

_TELLING: tuple[Movement, ...] = ("moved", "returned", "ran", "came", "went")
"""Of several threads that did something, whose sentence says most."""


def judge(
    seconds: float, processes: Sequence[ProcessChange], threads: Sequence[ThreadChange]
) -> tuple[str, Verdict]:
    """The verdict in a sentence, and its kind. It says no more than what the snapshots tell.

    A program that waits for work stands as still as one that hangs: what it waits for tells them apart.
    """
    during = f"in {seconds:.1f} s" if seconds else "between the two"
    compared = [one for one in processes if one.fate in ("same", "executed")]
    if not compared:
        said = "; ".join(f"process {one.pid} {one.sentence}" for one in processes) or "both are empty"
        return f"nothing to compare: no process is in both: {said}", "unknown"
    moving = [one for one in threads if one.movement in MOVING]
    if moving:
        return _slow(during, compared, threads, moving), "slow"
    if executed := [one for one in compared if one.fate == "executed"]:
        return f"slow, not hung: process {executed[0].pid} {executed[0].sentence}", "slow"
    unknown = sum(one.movement == "unknown" for one in threads)
    if unknown:
        known = len(threads) - unknown
        rest = f"; {_count(known)} {_have(known)} not moved" if known else ""
        said = f"not known: of {_count(unknown)} it is not recorded whether {_they(unknown)} ran {during}"
        return f"{said}{rest}", "unknown"
    return f"hung or idle: no thread has moved {during}", "hung"


def _slow(
    during: str,
    compared: Sequence[ProcessChange],
    threads: Sequence[ThreadChange],
    moving: Sequence[ThreadChange],
) -> str:
    # By far most CPU time first: that is what the program was busy with.
    first = min(moving, key=lambda one: (_TELLING.index(one.movement), -(one.cpu or 0.0)))
    of = f" of process {first.pid}" if len(compared) > 1 else ""
    name = f" ({first.name})" if first.name else ""
    said = f"slow, not hung: thread {first.tid}{name}{of} {first.sentence}"
    if len(moving) > 1:
        said += f"; {len(moving) - 1} more moved, ran, came or went"
    still = sum(one.movement == "still" for one in threads)
    if still:
        said += f"; {_count(still)} {_have(still)} not moved {during}"
    moved = {one.pid for one in moving}
    silent = [one.pid for one in compared if one.pid not in moved and one.fate == "same"]
    if silent:
        said += f", all of process{'es' if len(silent) > 1 else ''} {', '.join(map(str, silent))} among them"
    return said


def _count(number: int) -> str:
    return f"{number} thread{'' if number == 1 else 's'}"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _they(number: int) -> str:
    return "it" if number == 1 else "they"
