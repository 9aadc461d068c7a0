"""The verdict: in a sentence or two, why it hangs, or that it does not seem to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from snaptui.engine.inspect.waits.graph import HALTED, Graph, Node
from snaptui.engine.inspect.waits.model import Edge, Kind

_HELD: Final = ("mutex", "rwlock", "lock", "lock file", "gil")
"""Waits for what somebody holds: to wait long for it is a hang, whatever the holder does."""
_INPUT: Final = ("accept", "poll", "input")
"""What a program that is well waits for; a child that does is no hang of its parent."""
_TOLD: Final = 4  # groups of threads that a verdict names


def judge(graph: Graph, names: Mapping[int, str]) -> tuple[str, Kind]:
    """The verdict and its kind; `names` are those of the processes by pid."""
    speaker = _Speaker(graph, names)
    return (
        speaker.deadlock()
        or speaker.stuck()
        or speaker.busy()
        or speaker.chain()
        or (f"no hang seen: {speaker.summary(graph.waits)}", "idle")
    )


class _Speaker:
    def __init__(self, graph: Graph, names: Mapping[int, str]) -> None:
        self._graph, self._names = graph, names
        self._several = len(names) > 1

    def who(self, node: Node) -> str:
        """`thread 12 (worker)`, `process 7 (cat)`, `thread 12 (worker) of process 7 (cat)`."""
        pid, tid = node
        threads = [other for other in self._graph.waits if other[0] == pid]
        process = f"process {pid} ({self._names.get(pid, '?')})"
        if not tid or (len(threads) == 1 and self._several):
            return process
        name = self._graph.waits[node].name
        thread = f"thread {tid} ({name})" if name else f"thread {tid}"
        return f"{thread} of {process}" if self._several else thread

    def deadlock(self) -> tuple[str, Kind] | None:
        """A ring of threads that wait for each other."""
        for ring in self._graph.cycles():
            if not self._is_closed(ring):
                continue
            steps = [
                f"{self.who((edge.pid, edge.tid))} waits for {edge.why}, "
                f"{_holding(edge)} {self.who(node) if edge.to_tid else self.who((node[0], 0))}"
                for edge, node in ring
            ]
            certain = all(edge.certain for edge, _ in ring)
            how = "" if certain else " (who holds what is concluded from variables: Python records no owner)"
            members = {(edge.pid, edge.tid) for edge, _ in ring}
            waiting = [
                node for node in self._graph.waits if node not in members and self._leads_to(node, members)
            ]
            more = f"; {_count(len(waiting))} for these" if waiting else ""
            return f"deadlock{how}: {'; '.join(steps)}{more}", "deadlock"
        return None

    def _is_closed(self, ring: Sequence[tuple[Edge, Node]]) -> bool:
        """Whether nobody else can end it. A lock can only be freed by who holds it."""
        for edge, _ in ring:
            node = edge.pid, edge.tid
            wait = self._graph.waits[node]
            if wait.timed or (node not in self._graph.stuck and wait.kind not in _HELD):
                return False
        return True

    def _leads_to(self, node: Node, members: set[Node]) -> bool:
        seen, waiting = {node}, [node]
        while waiting:
            for _, other in self._graph.next(waiting.pop()):
                if other in members:
                    return True
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
        return False

    def stuck(self) -> tuple[str, Kind] | None:
        """Threads that nobody will wake: they wait in a chain for one that cannot go on."""
        stuck = self._graph.stuck
        if not stuck:
            return None
        roots = dict.fromkeys(root for node in stuck if (root := self._graph.root(node)) in stuck)
        others = [node for node in stuck if node not in roots]
        halted = [root for root in roots if self._graph.waits[root].kind in HALTED]
        said = self.summary(halted or roots)
        tail = "" if halted else ", and no thread is left that could end that"
        waiting = f"; {self.summary(others)}" if others else ""
        return f"blocked: {said}{tail}{waiting}", "blocked"

    def busy(self) -> tuple[str, Kind] | None:
        """Threads that run."""
        running = [node for node, wait in self._graph.waits.items() if wait.kind == "busy"]
        if not running:
            return None
        held_up = [
            node for node in self._graph.waits if node not in running and self._leads_to(node, set(running))
        ]
        more = f"; {self.summary(held_up)}" if held_up else ""
        return f"busy: {self.summary(running)}{more}", "busy"

    def chain(self) -> tuple[str, Kind] | None:
        """Threads that wait for what another one holds, which itself waits for something else."""
        for node, wait in self._graph.waits.items():
            edges = self._graph.edges.get(node, ())
            if not edges and wait.kind in _HELD and not wait.anyone:
                return f"blocked: {self.who(node)} {wait.sentence}", "blocked"
            root = self._graph.root(node)
            if not edges or wait.kind not in (*_HELD, "child", "connect") or root == node:
                continue
            last = self._graph.waits[root]
            all_wait = [one for one in self._graph.waits if one != root and self._leads_to(one, {root})]
            every = len(all_wait) == len(self._graph.waits) - 1
            subject = (
                "all wait"
                if every
                else f"{self.who(node)} waits"
                if len(all_wait) == 1
                else _count(len(all_wait))
            )
            kind: Kind = "blocked" if wait.kind in _HELD or last.kind not in _INPUT else "idle"
            head = "" if kind == "blocked" else "no hang seen: "
            return f"{head}{subject} for {self.who(root)}, which {last.sentence} ({wait.sentence})", kind
        return None

    def summary(self, nodes: Iterable[Node]) -> str:
        """What these threads do, equal ones together, those of the largest group last."""
        groups: dict[str, list[Node]] = {}
        for node in nodes:
            groups.setdefault(self._graph.waits[node].sentence, []).append(node)
        ordered = sorted(groups.items(), key=lambda group: len(group[1]))
        said = [
            f"{self.who(members[0])} {sentence}"
            if len(members) == 1
            else f"{len(members)} threads: each {sentence}"
            for sentence, members in ordered
        ]
        more = f"; and {len(said) - _TOLD} other kinds of waits" if len(said) > _TOLD else ""
        return "; ".join(said[:_TOLD]) + more


def _holding(edge: Edge) -> str:
    return (
        "held by" if not edge.why.startswith(("its end", "a pipe", "TCP", "UNIX", "a UNIX", "/")) else "from"
    )


def _count(number: int) -> str:
    return f"{number} other threads wait" if number != 1 else "another thread waits"
