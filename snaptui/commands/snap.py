"""Save live processes into one snapshot file.

A number is a process id. Anything else is a name: all processes of that name which you own, by
the kernel's name for them or that of their executable or argv[0].

Memory, the registers of every thread, what the kernel knows (open files, the system call and wait
channel of each thread) and the executable with its libraries go into FILE, in the format snap(6) of
Plan 9. The processes stand still while their memory is read, all together, and then run on.

FILE appears only when it is complete, readable by you alone. Exit status: 0 when everything asked
for is in it, 1 when something is missing (named on standard error), 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from snaptui.commands.interrupts import Interrupts
from snaptui.commands.options import PROGRESS, complete_files
from snaptui.commands.output import size_text, stdout_is_terminal
from snaptui.commands.reporting import (
    BarView,
    Both,
    JsonView,
    LineView,
    Reporter,
    Verbosity,
    View,
    error_record,
    event_record,
)
from snaptui.engine.errors import ArgumentError, NothingSaved, SnapError
from snaptui.explain import EXIT_MISSING, explain, visible

if TYPE_CHECKING:
    from snaptui.engine.take.capture import CaptureResult

NAME = "snap"
PARENTS = (PROGRESS,)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add snap's arguments."""
    parser.add_argument("processes", metavar="PID|NAME", nargs="+", help="a process id, or a name")
    complete_files(
        parser.add_argument(
            "-o",
            dest="output",
            metavar="FILE",
            help="write to FILE (default: standard output, if that is no terminal)",
        )
    )
    parser.add_argument(
        "-z", dest="compress", action="store_true", help="compress; so does a FILE whose name ends in .zst"
    )
    parser.add_argument("--tree", action="store_true", help="save all descendants of the processes too")
    parser.add_argument(
        "--all",
        dest="all_memory",
        action="store_true",
        help="save also what is left out otherwise and can be read: unmodified pages of mapped data "
        "files, memory marked MADV_DONTDUMP, device memory",
    )
    parser.add_argument(
        "--plan9",
        action="store_true",
        help="fail rather than write a file that Plan 9's own snapfs would refuse",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="report each event as a line of JSON: on standard output with -o, else on standard error",
    )
    noise = parser.add_mutually_exclusive_group()
    noise.add_argument("-q", "--quiet", action="store_true", help="only say what is missing")
    noise.add_argument("-v", "--verbose", action="store_true", help="say what happens, and a summary")


def run(arguments: argparse.Namespace) -> int:
    """Take the snapshot. Raises SnapError."""
    _check(arguments)
    reporter = Reporter(_view(arguments))
    if not _is_json(arguments):
        result = _capture(arguments, reporter)
        if result is not None and _wants_summary(arguments):
            print(f"{NAME}: {_summary(arguments, result)}", file=sys.stderr)
        return EXIT_MISSING if reporter.missing else 0
    lines = _json_view(arguments)
    try:
        result = _capture(arguments, reporter)
    except SnapError as error:
        lines.emit(error_record(error))
        return explain(error).status
    lines.emit(_done_record(arguments, result))
    return EXIT_MISSING if reporter.missing else 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.output == "-":
        arguments.output = None
    if arguments.output is None and stdout_is_terminal():
        raise ArgumentError(
            "a snapshot is no text for a terminal",
            help="name a file with -o FILE, or redirect standard output",
        )
    if _is_json(arguments) and arguments.progress == "bar" and arguments.output is None:
        raise ArgumentError(
            "the bar and the JSON lines would both go to standard error",
            help="name a file with -o: the JSON lines then go to standard output",
        )


def _capture(arguments: argparse.Namespace, reporter: Reporter) -> CaptureResult | None:
    """The snapshot is written; None if none of the processes can be saved. Raises SnapError."""
    with reporter, Interrupts(stays_awake=True) as interrupts:
        # These cost 0.2 s (numpy): not for `snap --help`. Here, since ^C must not break into an import.
        from snaptui.engine.snapfile.output import open_output
        from snaptui.engine.take.capture import CaptureOptions, capture
        from snaptui.engine.take.choose import resolve

        compress = arguments.compress or (arguments.output or "").endswith(".zst")
        options = CaptureOptions(all_memory=arguments.all_memory, plan9=arguments.plan9)
        pids = resolve(arguments.processes, tree=arguments.tree, sink=reporter.sink)
        if not pids:
            return None
        with open_output(arguments.output, compress=compress) as output:
            try:
                return capture(pids, output, options, sink=reporter.sink, cancel=interrupts.cancel)
            except NothingSaved:
                return None  # the reporter has said why


def _is_json(arguments: argparse.Namespace) -> bool:
    return bool(arguments.json or arguments.progress == "json")


def _view(arguments: argparse.Namespace) -> View:
    bar_possible = sys.stderr is not None and sys.stderr.isatty()
    if _is_json(arguments):
        lines = _json_view(arguments)
        return Both(lines, BarView(NAME, "quiet")) if arguments.progress == "bar" and bar_possible else lines
    wants_bar = arguments.progress == "bar" or (arguments.progress == "auto" and not arguments.quiet)
    if wants_bar and bar_possible:
        return BarView(NAME, _verbosity(arguments))
    return LineView(NAME, _verbosity(arguments))


def _json_view(arguments: argparse.Namespace) -> JsonView:
    stream = sys.stderr if arguments.output is None else sys.stdout
    return JsonView(stream, with_progress=arguments.progress in ("auto", "json"))


def _verbosity(arguments: argparse.Namespace) -> Verbosity:
    if arguments.quiet:
        return "quiet"
    return "verbose" if arguments.verbose else "normal"


def _wants_summary(arguments: argparse.Namespace) -> bool:
    return bool(arguments.verbose or (not arguments.quiet and sys.stderr.isatty()))


def _summary(arguments: argparse.Namespace, result: CaptureResult) -> str:
    where = "standard output" if arguments.output is None else visible(arguments.output)
    count = f"{len(result.pids)} process{'' if len(result.pids) == 1 else 'es'}"
    return f"{where}: {count}, {size_text(result.size)}, stopped for {result.pause * 1000:.1f} ms"


def _done_record(arguments: argparse.Namespace, result: CaptureResult | None) -> dict[str, Any]:
    record: dict[str, Any] = {"event": "done", "file": arguments.output}
    if result is None:
        return record | {
            "file": None,
            "pids": [],
            "size": 0,
            "plain_size": 0,
            "memory": 0,
            "pause": 0.0,
            "missing": [],
        }
    return record | {
        "pids": list(result.pids),
        "size": result.size,
        "plain_size": result.plain_size,
        "memory": result.memory,
        "pause": result.pause,
        "missing": [event_record(warning) for warning in result.missing],
    }
