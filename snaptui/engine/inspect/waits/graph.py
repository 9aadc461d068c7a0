"""The wait-for graph: which threads can never go on, and the cycles among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from snaptui.engine.inspect.waits.model import Edge, Wait

Node = tuple[int, int]
"""A thread by pid and tid; a process by pid and 0."""

Ring = tuple[tuple[Edge, Node], ...]
"""Threads that wait for each other in a circle: the edge of each, and whom it leads to."""

HALTED = ("stopped", "traced", "uninterruptible", "abandoned")
"""Kinds of threads that cannot go on, whoever they wait for."""


@dataclass(frozen=True, slots=True)
class Graph:
    """All threads, and who waits for whom."""

    waits: Mapping[Node, Wait]
    edges: Mapping[Node, Sequence[Edge]]
    stuck: frozenset[Node]
    """Those that no thread of the snapshot and nothing outside of it will wake, as far as is recorded."""

    def others(self, node: Node) -> Iterator[Node]:
        """The other threads of the process that have not ended."""
        return (other for other in self.of(node[0]) if other != node)

    def of(self, pid: int) -> Iterator[Node]:
        """The threads of a process that have not ended: a main thread may, before the others."""
        return (node for node, wait in self.waits.items() if node[0] == pid and wait.kind != "ended")

    def next(self, node: Node) -> Iterator[tuple[Edge, Node]]:
        """The threads that a thread waits for; of a process all its threads."""
        for edge in self.edges.get(node, ()):
            yield from ((edge, other) for other in self.ends_of(edge))

    def ends_of(self, edge: Edge) -> Iterator[Node]:
        """The threads that an edge leads to, of those in the snapshot."""
        end = edge.to_pid, edge.to_tid
        if not edge.to_tid:
            yield from self.of(edge.to_pid)
        elif end in self.waits:
            yield end

    def cycles(self) -> tuple[Ring, ...]:
        """Threads that wait for each other in a ring: each with its edge to the next one."""
        found: dict[frozenset[Node], Ring] = {}
        for start in self.waits:
            ring = self._ring(start)
            if ring:
                found.setdefault(frozenset((edge.pid, edge.tid) for edge, _ in ring), ring)
        return tuple(found.values())

    def _ring(self, start: Node) -> Ring:
        """The shortest way from a thread back to itself, by breadth; () if there is none."""
        ways: list[Ring] = [((edge, node),) for edge, node in self.next(start)]
        seen = set()
        for way in ways:
            node = way[-1][1]
            if node == start:
                return way
            if node not in seen:
                seen.add(node)
                ways += [(*way, step) for step in self.next(node)]
        return ()

    def root(self, node: Node) -> Node:
        """Where the chain of a thread ends: whom all before it wait for in the end."""
        seen = {node}
        while True:
            following = [other for _, other in self.next(node) if other not in seen]
            if not following:
                return node
            # Of a process that thread counts which itself waits for somebody, or is halted.
            node = next((other for other in following if self.edges.get(other)), following[0])
            seen.add(node)


def build_graph(waits: Sequence[Wait], edges: Sequence[Edge]) -> Graph:
    """The graph, with those found that can never go on.

    A thread can go on if it runs or ends its wait by itself, if that is for something outside, or if one
    that it waits for can. Where nothing says who will end a wait any other thread of the process may.
    """
    by_node = {(wait.pid, wait.tid): wait for wait in waits}
    outgoing: dict[Node, list[Edge]] = {}
    for edge in edges:
        outgoing.setdefault((edge.pid, edge.tid), []).append(edge)
    graph = Graph(by_node, outgoing, frozenset())
    live: set[Node] = set()
    waiting = set(by_node)
    while True:
        found = {node for node in waiting if _can_go_on(graph, node, live)}
        if not found:
            return Graph(by_node, outgoing, frozenset(waiting))
        live |= found
        waiting -= found


def _can_go_on(graph: Graph, node: Node, live: set[Node]) -> bool:
    wait = graph.waits[node]
    if wait.kind in HALTED:
        return wait.timed
    edges = graph.edges.get(node, ())
    if wait.timed or wait.outside or not (edges or wait.anyone):
        return True
    any_thread = wait.anyone or not all(edge.certain for edge in edges)
    if any_thread and any(other in live for other in graph.others(node)):
        return True
    for edge in edges:
        threads = list(graph.ends_of(edge))
        if not threads or any(other in live for other in threads):
            return True
    return False
