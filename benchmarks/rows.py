"""What a benchmark measures: our figure beside a peer's of the same run, and the bar for their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: ours and the peer's in the same unit, measured in the same run."""

    what: str
    ours: float
    peer: float
    unit: str
    """`s`, `MB/s`, `reads/s`, `MB`: of both figures."""
    peer_name: str
    bar: float
    """What the ratio ours/peer must not exceed; or, for a rate, what it must reach."""
    is_rate: bool = False
    """More is better."""

    @property
    def ratio(self) -> float:
        """Ours by the peer's."""
        return self.ours / self.peer if self.peer else float("inf")

    @property
    def holds(self) -> bool:
        """Whether the bar holds."""
        return self.ratio >= self.bar if self.is_rate else self.ratio <= self.bar

    def cells(self) -> tuple[str, ...]:
        """What the table of results shows."""
        sign = ">=" if self.is_rate else "<="
        return (
            self.what,
            _number(self.ours, self.unit),
            f"{_number(self.peer, self.unit)} ({self.peer_name})",
            f"{self.ratio:.3g}",
            f"{sign} {self.bar:g}",
            "holds" if self.holds else "MISSED",
        )


HEADINGS = ("what", "ours", "peer", "ratio", "bar", "")


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, aligned to be read as it is."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([text[0], rule, *text[1:]]) + "\n"


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def paired(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> tuple[float, float]:
    """The medians of both, measured in turn, so that a machine whose speed drifts is fair to both."""
    pairs = [(ours(), peer()) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 10 else 3
    return f"{value:,.{digits}f} {unit}"
