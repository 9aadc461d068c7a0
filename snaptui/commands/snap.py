"""Save live processes into one snapshot file.

A number is a process id. Anything else is a name: all processes of that name which you own, by
the kernel's name for them or that of their executable or argv[0].

Memory, the registers of every thread, what the kernel knows (open files, the system call and wait
channel of each thread) and the executable with its libraries go into FILE, in the format snap(6) of
Plan 9. The processes stand still while their memory is read, all together, and then run on. With
--fork they stand only while they make copies of themselves, some 20 ms for a GiB.

FILE appears only when it is complete, readable by you alone. Exit status: 0 when everything asked
for is in it, 1 when something is missing (named on standard error), 2 for a wrong command line.

With --every several snapshots are taken of the same processes, which are chosen once: `snaptui diff`
of two of them tells what hangs from what is slow.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

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
from snaptui.commands.series import Series, duration, positive
from snaptui.engine.errors import ArgumentError, NothingSaved, SnapError
from snaptui.engine.progress import Event, Warned
from snaptui.explain import EXIT_MISSING, explain, visible

if TYPE_CHECKING:
    from snaptui.engine.take.capture import CaptureResult
    from snaptui.engine.take.options import CaptureOptions

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
    parser.add_argument(
        "--sync", action="store_true", help="end only when FILE is on the disk, safe from a loss of power"
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
        "--every",
        metavar="TIME",
        type=duration,
        help="take several, one each 500ms, 5s, 2m or 1h; FILE has a %%n where the number goes (%%%% is a "
        "percent sign); without --count until ^C comes or the processes have ended",
    )
    parser.add_argument("--count", metavar="N", type=positive, help="with --every: how many")
    parser.add_argument(
        "--fork",
        action="store_true",
        help="let the processes copy themselves, as fork does, and run on at once: the copies are read",
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


class _Job(NamedTuple):
    """One snapshot: its file; and one of a series, which processes, and how."""

    path: str | None
    pids: Sequence[int] | None = None
    options: CaptureOptions | None = None


class _Teller:
    """A sink for what is said between two snapshots, by nobody else's thread."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.missing = False

    def __call__(self, event: Event) -> None:
        self.missing |= isinstance(event, Warned) and event.missing
        self._view.show(event)


def run(arguments: argparse.Namespace) -> int:
    """Take the snapshot, or several. Raises SnapError."""
    _check(arguments)
    series = Series.of(arguments)
    try:
        with Interrupts() as interrupts:
            if series is None:
                return _take(arguments, _Job(arguments.output), interrupts)
            return _take_all(arguments, series, interrupts)
    except SnapError as error:
        if not _is_json(arguments):
            raise
        _json_view(arguments).emit(error_record(error))
        return explain(error).status


def _take_all(arguments: argparse.Namespace, series: Series, interrupts: Interrupts) -> int:
    """Take a snapshot whenever one is due; those that are complete stay, whatever happens then."""
    name = os.urandom(8).hex()
    tell = _Teller(_view(arguments))
    from snaptui.engine.take.choose import resolve
    from snaptui.engine.take.followed import Followed

    pids = resolve(arguments.processes, tree=arguments.tree, sink=tell)
    # Without a count they are expected to end.
    followed = Followed(pids, missing=series.count is not None, sink=tell)
    # Now: what this imports would make the first one late.
    options = _options(arguments)
    status = 0
    for number in series.numbers(followed, tell, interrupts.cancel):
        job = _Job(series.file(number), followed.pids, replace(options, series=(name, number)))
        status = max(status, _take(arguments, job, interrupts))
        interrupts.cancel.check()
    return EXIT_MISSING if tell.missing else status


def _take(arguments: argparse.Namespace, job: _Job, interrupts: Interrupts) -> int:
    """Take one snapshot; the exit status."""
    reporter = Reporter(_view(arguments))
    result = _capture(arguments, job, reporter, interrupts)
    if _is_json(arguments):
        _json_view(arguments).emit(_done_record(job, result))
    elif result is not None and _wants_summary(arguments):
        print(f"{NAME}: {_summary(job, result)}", file=sys.stderr)
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


def _capture(
    arguments: argparse.Namespace, job: _Job, reporter: Reporter, interrupts: Interrupts
) -> CaptureResult | None:
    """The snapshot is written; None if none of the processes can be saved. Raises SnapError."""
    with reporter, interrupts.staying_awake():
        # These take 60 ms: not for `snap --help`. Here, since ^C must not break into an import.
        from snaptui.engine.snapfile.output import open_output
        from snaptui.engine.take.capture import capture
        from snaptui.engine.take.choose import resolve

        compress = arguments.compress or (job.path or "").endswith(".zst")
        options = job.options or _options(arguments)
        pids = job.pids
        if pids is None:
            pids = resolve(arguments.processes, tree=arguments.tree, sink=reporter.sink)
        if not pids:
            return None
        with open_output(job.path, compress=compress, sync=arguments.sync) as output:
            try:
                return capture(pids, output, options, sink=reporter.sink, cancel=interrupts.cancel)
            except NothingSaved:
                return None  # the reporter has said why


def _options(arguments: argparse.Namespace) -> CaptureOptions:
    from snaptui.engine.take.options import CaptureOptions

    return CaptureOptions(all_memory=arguments.all_memory, plan9=arguments.plan9, fork=arguments.fork)


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


def _summary(job: _Job, result: CaptureResult) -> str:
    where = "standard output" if job.path is None else visible(job.path)
    count = f"{len(result.pids)} process{'' if len(result.pids) == 1 else 'es'}"
    return f"{where}: {count}, {size_text(result.size)}, stopped for {result.pause * 1000:.1f} ms"


def _done_record(job: _Job, result: CaptureResult | None) -> dict[str, Any]:
    record: dict[str, Any] = {"event": "done", "file": job.path}
    if job.options is not None and job.options.series is not None:
        record["number"] = job.options.series[1]
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
