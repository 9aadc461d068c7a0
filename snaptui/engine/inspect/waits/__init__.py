"""Why it hangs: what each saved thread waits for, who waits for whom, and what follows from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snaptui.engine.inspect.waits.calls import Calls
from snaptui.engine.inspect.waits.descriptors import Descriptors
from snaptui.engine.inspect.waits.facts import Program, Thread, all_threads, read_programs
from snaptui.engine.inspect.waits.finding import Finding
from snaptui.engine.inspect.waits.graph import build_graph
from snaptui.engine.inspect.waits.model import Edge, Report, Wait
from snaptui.engine.inspect.waits.verdict import judge
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile import Snapshot

__all__ = ["Edge", "Report", "Wait", "find_waits"]


def find_waits(
    snapshot: Snapshot, pids: Sequence[int] | None = None, *, cancel: CancelToken | None = None
) -> Report:
    """Why the processes hang, or those in `pids`; the others are known of all the same.

    Raises Cancelled, and FormatError where the file is damaged.
    """
    programs = read_programs(list(snapshot.processes.values()), cancel or CancelToken())
    calls = Calls(programs, Descriptors(programs))
    waits: list[Wait] = []
    edges: list[Edge] = []
    for thread in all_threads(programs):
        found = _finding(thread, calls, programs)
        waits.append(
            Wait(
                *(thread.pid, thread.tid, thread.saved.name, found.kind, found.sentence, found.known_from),
                *(found.timed, found.outside, found.anyone),
            )
        )
        edges += [
            Edge(
                *(thread.pid, thread.tid, target.pid, target.tid, target.why, target.certain),
                turns=programs[target.pid].threads[target.tid or target.pid].works_like(thread),
            )
            for target in found.targets
        ]
    if not waits:
        return Report("nothing is known: the snapshot has no Linux record of threads", "unknown", ())
    graph = build_graph(waits, edges)
    verdict, kind = judge(graph, {pid: program.name for pid, program in programs.items()})
    shown = [wait for wait in waits if pids is None or wait.pid in pids]
    problems = dict.fromkeys(
        f"process {thread.pid}: {thread.stack.problem}"
        for thread in all_threads(programs)
        if thread.stack.problem and not thread.has_ended
    )
    return Report(verdict, kind, tuple(shown), tuple(edges), tuple(problems))


def _finding(thread: Thread, calls: Calls, programs: Mapping[int, Program]) -> Finding:
    state = thread.saved.state
    where = f" in {thread.place}" if thread.place else ""
    if state == "T":
        return Finding("stopped", f"is stopped by a signal (SIGSTOP or the like){where}", "its state, T")
    if state == "t":
        tracer = thread.process.status("TracerPid")
        by = f", process {tracer}" if tracer not in ("", "0") else ""
        if by and (program := programs.get(int(tracer))):
            by += f" ({program.name})"
        return Finding("traced", f"is held by a debugger{by}{where}", "its state, t")
    if state in "ZX":
        return Finding("ended", "has ended", f"its state, {state}", outside=True)
    if state == "D" and (found := calls.vforked(thread)) is not None:
        return found
    if state == "D":
        kernel = " < ".join(thread.kernel_stack[:4])
        call = (
            f"the system call {thread.call.name}()"
            if thread.call is not None
            else "a page fault, or the like"
        )
        deep = f": {kernel}" if kernel else ""
        return Finding("uninterruptible", f"is in uninterruptible sleep in {call}{deep}", "its state, D")
    # A thread that has just been woken, to find that another one was faster, waits for the GIL all the same.
    runs = state == "R" and not (thread.call is not None and thread.is_in("take_gil"))
    if runs or (thread.call is None and state == "?"):
        spins = ", which waits in pthread_spin_lock()" if thread.is_in("pthread_spin_lock") else ""
        where += spins
        return Finding("busy", f"runs{where or ': in which function is not known'}", f"its state, {state}")
    found = calls.finding(thread)
    if found is not None:
        return found
    kernel = " < ".join(thread.kernel_stack[:4])
    if thread.saved.where or kernel:
        deep = f": {kernel}" if kernel else f" at {thread.saved.where}"
        return Finding("kernel", f"waits in the kernel outside of a system call{deep}", "its kernel stack")
    return Finding("unknown", f"is in state {state}{where}; what it waits for is not known", "its state")
