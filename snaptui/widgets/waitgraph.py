"""Who waits for whom, drawn in lines: below each thread those that it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from snaptui.engine.inspect.waits.model import Edge, Report, Wait
from snaptui.widgets.units import counted

_AGAIN: Final = "  ↺ a ring"
_LINES: Final = 2000
"""Lines of one picture: a thousand workers that wait for one mutex are better read in the list."""


def draw(report: Report) -> list[str]:
    """The graph. Threads that wait for nobody in the snapshot are only counted."""
    drawing = _Drawing(report)
    lines = [line for _, line in zip(range(_LINES), drawing.lines(), strict=False)]
    alone = drawing.alone()
    if alone:
        lines += ["", f"{counted(alone, 'thread')} more: each waits for nobody in the snapshot"]
    return lines


class _Drawing:
    def __init__(self, report: Report) -> None:
        self._waits: Mapping[tuple[int, int], Wait] = {(wait.pid, wait.tid): wait for wait in report.waits}
        self._edges: dict[tuple[int, int], list[Edge]] = {}
        for edge in report.edges:
            self._edges.setdefault((edge.pid, edge.tid), []).append(edge)
        self._drawn: set[tuple[int, int]] = set()

    def lines(self) -> Iterator[str]:
        """A tree for each thread that waits and that nobody waits for; then the rings that are left."""
        awaited = {(edge.to_pid, edge.to_tid) for edges in self._edges.values() for edge in edges}
        first = [node for node in self._edges if node not in awaited and (node[0], 0) not in awaited]
        for node in (*first, *self._edges):
            if node not in self._drawn:
                yield f"● {self._name(node)}"
                yield from self._below(node, (), "")

    def _below(self, node: tuple[int, int], path: Sequence[tuple[int, int]], indent: str) -> Iterator[str]:
        self._drawn.add(node)
        edges = self._edges.get(node, [])
        for number, edge in enumerate(edges):
            last = number == len(edges) - 1
            other = self._thread_of(edge)
            again = other in (*path, node)
            corner, arrow = "└" if last else "├", "─▶" if edge.certain else "╌▶"
            yield f"{indent}{corner}─ {edge.why} {arrow} {self._name(other)}{_AGAIN if again else ''}"
            if not again:
                yield from self._below(other, (*path, node), indent + ("   " if last else "│  "))

    def _thread_of(self, edge: Edge) -> tuple[int, int]:
        """The thread that is waited for; of a process the one that itself waits, or the only one."""
        if edge.to_tid:
            return edge.to_pid, edge.to_tid
        threads = [node for node in self._waits if node[0] == edge.to_pid]
        waiting = [node for node in threads if node in self._edges]
        return (waiting or threads or [(edge.to_pid, 0)])[0]

    def _name(self, node: tuple[int, int]) -> str:
        pid, tid = node
        wait = self._waits.get(node)
        if wait is None:
            return f"process {pid}" if not tid else f"thread {tid} of process {pid}"
        process = "" if len({pid for pid, _ in self._waits}) == 1 else f" of {pid}"
        end = "" if node in self._edges else f": {wait.sentence}"
        return f"{tid}{process} {wait.name}{end}"

    def alone(self) -> int:
        """How many threads are not in the picture."""
        return len(self._waits.keys() - self._drawn)
