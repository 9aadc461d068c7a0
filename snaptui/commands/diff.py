"""Compare two snapshots of the same processes: do they hang, or are they slow?

The verdict comes first. Then what each thread did: one that was not woken and used no CPU time has not
moved. Then the processes, threads, mappings and descriptors that came, went or changed, and how many
pages of memory changed: pages of the machine, of 1 KiB in snapshots from Plan 9. BEFORE is the older
file; `snap --every 5s --count 2 -o f-%n.snap` takes two.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence

from snaptui.commands.interrupts import Interrupts
from snaptui.commands.options import JSON_OUTPUT, PROGRESS, complete_files, pid
from snaptui.commands.output import print_json, size_text
from snaptui.commands.reporting import Reporter, plain_view
from snaptui.engine.inspect.diff import Comparison, MemoryChange, Report, ThreadChange
from snaptui.engine.snapfile import open_snapshot
from snaptui.explain import EXIT_MISSING, visible

NAME = "diff"
PARENTS = (JSON_OUTPUT, PROGRESS)

_TIDS = 8


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of diff."""
    for name, which in (("before", "older"), ("after", "later")):
        words = f"the {which} snapshot, plain or compressed (.zst)"
        complete_files(parser.add_argument(name, metavar=name.upper(), help=words))
    parser.add_argument(
        "pid", metavar="PID", type=pid, nargs="?", help="one process alone, of those in the files"
    )
    parser.add_argument(
        "-v",
        dest="verbose",
        action="store_true",
        help="the addresses of changed pages, why memory was not compared, and each thread on its own",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the report; the status is 1 where it is not known whether anything moved. Raises SnapError."""
    pids = None if arguments.pid is None else [arguments.pid]
    with Interrupts() as interrupts, contextlib.ExitStack() as files:
        with Reporter(plain_view(arguments, NAME)) as reporter:
            before, after = (
                files.enter_context(open_snapshot(path, sink=reporter.sink, cancel=interrupts.cancel))
                for path in (arguments.before, arguments.after)
            )
            comparison = Comparison(before, after, pids, cancel=interrupts.cancel)
        report = comparison.report
        if not arguments.json:
            _print(_facts(report, verbose=arguments.verbose))
        # Another one: a bar and our lines may be on the same terminal, but not at the same time.
        with Reporter(plain_view(arguments, NAME)) as reporter:
            memory = tuple(comparison.memory(sink=reporter.sink))
    if arguments.json:
        print_json(report.with_memory(memory).as_json(ranges=arguments.verbose))
    else:
        _print(_memory(memory, verbose=arguments.verbose))
    return EXIT_MISSING if report.kind == "unknown" else 0


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(visible(line), flush=True)


def _facts(report: Report, *, verbose: bool) -> Iterator[str]:
    """The verdict; then, for each process, its threads, those together that did the same, and the rest."""
    yield report.verdict
    if report.kind == "hung":
        yield "  a program that waits for work stands still too: snaptui why AFTER says what it waits for"
    for process in report.processes:
        yield ""
        yield f"process {process.pid} {process.name} {process.sentence}".replace("  ", " ")
        groups: dict[object, list[ThreadChange]] = {}
        for thread in report.threads:
            if thread.pid == process.pid:
                groups.setdefault(thread.tid if verbose else thread.sentence, []).append(thread)
        for threads in groups.values():
            yield f"  {_who(threads)} {threads[0].sentence}"
        for mapping in report.mappings:
            if mapping.pid == process.pid:
                what = " ".join(filter(None, (mapping.perms, mapping.name or "anonymous")))
                yield f"  mapping {mapping.start:x}-{mapping.end:x} {what} {mapping.sentence}"
        for one in report.descriptors:
            if one.pid == process.pid:
                yield f"  descriptor {one.number} ({one.target}) {_CHANGED.get(one.change, '')}{one.sentence}"


_CHANGED = {"changed": "changed: "}


def _who(threads: Sequence[ThreadChange]) -> str:
    if len(threads) == 1:
        name = f" ({threads[0].name})" if threads[0].name else ""
        return f"thread {threads[0].tid}{name}"
    tids = ", ".join(str(thread.tid) for thread in threads[:_TIDS])
    more = ", ..." if len(threads) > _TIDS else ""
    return f"{len(threads)} threads ({tids}{more}): each"


def _memory(memory: Sequence[MemoryChange], *, verbose: bool) -> Iterator[str]:
    """The mappings of each process whose contents changed, and how much of it was compared."""
    for pid_ in dict.fromkeys(change.pid for change in memory):
        mine = [change for change in memory if change.pid == pid_]
        changed, compared = sum(one.changed for one in mine), sum(one.compared for one in mine)
        not_compared = sum(one.not_compared for one in mine)
        unit = size_text(mine[0].page_size)
        yield ""
        yield f"memory of process {pid_}: {changed} of {compared} pages of {unit} changed" + (
            f"; {size_text(not_compared)} not compared" if not_compared else ""
        )
        for one in mine:
            where = " ".join(filter(None, (f"{one.start:x}-{one.end:x}", one.perms, one.name or "anonymous")))
            if one.changed:
                yield f"  {where}: {one.changed} of {one.compared} pages"
            if verbose:
                yield from (f"    {start:x}-{end:x}" for start, end in one.ranges)
                if one.not_compared:
                    reasons = "; ".join(one.reasons)
                    yield f"  {where}: {size_text(one.not_compared)} not compared: {reasons}"
