"""Say why saved processes hang: the verdict first, then what each thread waits for.

The snapshot alone is asked: the system call of each thread, its stack, the locks in its memory, the
files, pipes and sockets that it has open, and who of the other processes in the snapshot has the
other end. What is concluded, and not recorded, is said to be; what is not known too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from snaptui.commands.options import ANY_PROCESS, JSON_OUTPUT, SNAPSHOT_FILE
from snaptui.commands.output import print_json
from snaptui.engine.inspect.waits import Report, Wait, find_waits
from snaptui.engine.snapfile import open_snapshot
from snaptui.explain import EXIT_MISSING, visible

NAME = "why"
PARENTS = (SNAPSHOT_FILE, ANY_PROCESS, JSON_OUTPUT)

_TIDS = 8


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of why."""
    parser.add_argument("-v", dest="verbose", action="store_true", help="say from what each wait is known")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; the status is 1 where nothing is known. Raises SnapError."""
    with open_snapshot(arguments.file) as snapshot:
        pids = None if arguments.pid is None else [snapshot.process(arguments.pid).pid]
        report = find_waits(snapshot, pids)
        names = {process.pid: process.name for process in snapshot.processes.values()}
    for problem in report.problems:
        print(f"{NAME}: {visible(problem)}", file=sys.stderr)
    if arguments.json:
        print_json(report.as_json())
    else:
        for line in _lines(report, names, verbose=arguments.verbose):
            print(visible(line))
    return EXIT_MISSING if report.kind == "unknown" else 0


def _lines(report: Report, names: dict[int, str], *, verbose: bool) -> Iterator[str]:
    """The verdict; then, for each process, its threads, those together that wait for the same."""
    yield report.verdict
    for pid in dict.fromkeys(wait.pid for wait in report.waits):
        yield ""
        yield f"process {pid} {names.get(pid, '')}".rstrip()
        groups: dict[tuple[str, str], list[Wait]] = {}
        for wait in report.waits:
            if wait.pid == pid:
                groups.setdefault((wait.sentence, wait.known_from), []).append(wait)
        for (sentence, known_from), waits in groups.items():
            yield f"  {_who(waits)} {sentence}"
            if verbose:
                yield f"    known from {known_from}"


def _who(waits: list[Wait]) -> str:
    if len(waits) == 1:
        return f"thread {waits[0].tid} ({waits[0].name})" if waits[0].name else f"thread {waits[0].tid}"
    tids = ", ".join(str(wait.tid) for wait in waits[:_TIDS])
    more = ", ..." if len(waits) > _TIDS else ""
    return f"{len(waits)} threads ({tids}{more}): each"
