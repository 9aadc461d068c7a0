"""The verdict: in a sentence or two, why it hangs, or that it does not seem to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from snaptui.engine.inspect.waits.graph import HALTED, Graph, Node, Ring
from snaptui.engine.inspect.waits.model import Edge, Kind

_HELD: Final = ("mutex", "rwlock", "lock", "lock file", "gil")
"""Waits for what somebody holds: to wait long for it is a hang, whatever the holder does."""
_PUSHES: Final = ("write", "open", "connect")
"""Waits for somebody to take what is offered: a program that is well does not stand in these either."""
_FOLLOWED: Final = (*_HELD, *_PUSHES, "child", "join", "read", "poll", "once")
"""Waits for somebody who is known, and in turn may wait for another one."""
_INPUT: Final = ("accept", "poll", "input")
"""What a program that is well waits for; a child that does is no hang of its parent."""
_IDLE: Final = (*_INPUT, "condition", "semaphore", "message")
"""What the one of several workers waits for who has the turn; or to read, from who is known."""
_TOLD: Final = 4  # groups of threads that a verdict names
_RINGS: Final = 3  # deadlocks that it names


def judge(graph: Graph, names: Mapping[int, str]) -> tuple[str, Kind]:
    """The verdict and its kind; `names` are those of the processes by pid."""
    speaker = _Speaker(graph, names)
    return (
        speaker.deadlock()
        or speaker.stuck()
        or speaker.busy()
        or speaker.deadlock_for_a_time()
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
        """Rings of threads that wait for each other."""
        rings = _apart(ring for ring in self._graph.cycles() if self._is_closed(ring))
        return (self._rings("deadlock", rings), "deadlock") if rings else None

    def deadlock_for_a_time(self) -> tuple[str, Kind] | None:
        """Such rings that a time limit will end."""
        rings = _apart(ring for ring in self._graph.cycles() if self._is_held(ring))
        return (self._rings("blocked until a time limit ends it", rings), "blocked") if rings else None

    def _rings(self, what: str, rings: Sequence[Ring]) -> str:
        certain = all(edge.certain for ring in rings for edge, _ in ring)
        how = "" if certain else " (who holds what is not recorded, but concluded)"
        members = {(edge.pid, edge.tid) for ring in rings for edge, _ in ring}
        waiting = [
            node for node in self._graph.waits if node not in members and self._leads_to(node, members)
        ]
        said = [
            "; ".join(f"{self.who((edge.pid, edge.tid))} {self._step(edge, node)}" for edge, node in ring)
            for ring in rings
        ]
        more = f"; and {len(said) - _RINGS} more" if len(said) > _RINGS else ""
        more += f"; {_count(len(waiting))} for these" if waiting else ""
        return f"{what}{how}: {'; and another one: '.join(said[:_RINGS])}{more}"

    def _step(self, edge: Edge, node: Node) -> str:
        """`waits for mutex m, held by thread 12`."""
        other = self.who(node if edge.to_tid else (node[0], 0))
        if edge.why == "its end":
            return f"waits for the end of {other}"
        return f"waits for {edge.why}, {_holding(edge)} {other}"

    def _is_held(self, ring: Ring) -> bool:
        """Whether each waits for a lock, or for an end: for what one thread alone can give."""
        kinds = (*_HELD, "join", "child")
        return all(edge.certain and self._graph.waits[edge.pid, edge.tid].kind in kinds for edge, _ in ring)

    def _is_closed(self, ring: Ring) -> bool:
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
        found = self._held_outside()
        chains = [] if found else list(self._chains())
        return found or next((chain for chain in chains if chain[1] == "blocked"), (*chains, None)[0])

    def _held_outside(self) -> tuple[str, Kind] | None:
        """Threads that wait for what is held by nobody known, or offer what nobody known takes."""
        found = [
            node
            for node, wait in self._graph.waits.items()
            if not self._graph.edges.get(node)
            and not wait.timed
            and (wait.kind in _PUSHES or wait.kind == "rwlock" or (wait.kind in _HELD and not wait.anyone))
        ]
        if not found:
            return None
        others = [
            node for node in self._graph.waits if node not in found and self._leads_to(node, set(found))
        ]
        more = f"; {_count(len(others))} for {'that' if len(found) == 1 else 'these'}" if others else ""
        return f"blocked: {self.summary(found)}{more}", "blocked"

    def _chains(self) -> Iterator[tuple[str, Kind]]:
        """The chains with their kinds, those that begin with a lock first."""
        nodes = sorted(self._graph.waits, key=lambda node: self._graph.waits[node].kind not in _HELD)
        for node in nodes:
            wait, root = self._graph.waits[node], self._graph.root(node)
            if not self._graph.edges.get(node) or wait.kind not in _FOLLOWED or root == node:
                continue
            if wait.outside and wait.kind not in _HELD:
                continue  # others may end it as well
            last = self._graph.waits[root]
            all_wait = [one for one in self._graph.waits if one != root and self._leads_to(one, {root})]
            every = len(all_wait) == len(self._graph.waits) - 1
            subject = (
                "all wait"
                if every
                else f"{self.who(node)} waits"
                if len(all_wait) == 1
                else _count(len(all_wait)).replace("other ", "")
            )
            is_hang = self._is_hang(node, root)
            head = "" if is_hang else "no hang seen: "
            said = f"{head}{subject} for {self.who(root)}, which {last.sentence} ({wait.sentence})"
            yield said, "blocked" if is_hang else "idle"

    def _is_hang(self, node: Node, root: Node) -> bool:
        """Whether a program that is well does not wait so, for a thread that waits for something itself."""
        kind, last = self._graph.waits[node].kind, self._graph.waits[root].kind
        if kind not in _HELD:
            return kind in (*_PUSHES, "child") and last not in _INPUT
        takes_turns = all(edge.turns for edge in self._graph.edges[node])
        return not takes_turns or not (last in _IDLE or (last == "read" and self._graph.edges.get(root)))

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


def _apart(rings: Iterable[Ring]) -> list[Ring]:
    """Rings that share no thread, the shortest of those that do: the others follow from it."""
    seen: set[Node] = set()
    found = []
    for ring in sorted(rings, key=len):
        members = {(edge.pid, edge.tid) for edge, _ in ring}
        if not members & seen:
            seen |= members
            found.append(ring)
    return found


def _holding(edge: Edge) -> str:
    return (
        "held by" if not edge.why.startswith(("its end", "a pipe", "TCP", "UNIX", "a UNIX", "/")) else "from"
    )


def _count(number: int) -> str:
    return f"{number} other threads wait" if number != 1 else "another thread waits"
