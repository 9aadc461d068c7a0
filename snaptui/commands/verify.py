"""Read a whole snapshot and say what is missing or damaged.

Every reference is resolved and every byte read. Exit status: 0 if the file is intact (memory that
is left out by design is listed, and no fault), 1 if it is damaged or if something that was asked
for, as the registers of a thread, is missing.
"""

from __future__ import annotations

import argparse
from typing import Any

from snaptui.commands.interrupts import Interrupts
from snaptui.commands.options import JSON_OUTPUT, PROGRESS, SNAPSHOT_FILE
from snaptui.commands.output import print_json, size_text
from snaptui.commands.reporting import Reporter, plain_view
from snaptui.engine.inspect.verify import ProcessReport, Verifier
from snaptui.engine.snapfile import open_snapshot
from snaptui.explain import EXIT_MISSING, visible

NAME = "verify"
PARENTS = (SNAPSHOT_FILE, JSON_OUTPUT, PROGRESS)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add verify's arguments: none but the shared ones."""


def run(arguments: argparse.Namespace) -> int:
    """Print the report. Raises SnapError if the snapshot is damaged."""
    with (
        Reporter(plain_view(arguments, NAME)) as reporter,
        Interrupts() as interrupts,
        open_snapshot(arguments.file, fresh=True, sink=reporter.sink, cancel=interrupts.cancel) as snapshot,
    ):
        reports = Verifier(reporter.sink, interrupts.cancel).verify(snapshot.processes.values())
        names = {process.pid: process.name for process in snapshot.processes.values()}
    complete = not any(report.missing for report in reports)
    if arguments.json:
        print_json(
            {
                "file": arguments.file,
                "complete": complete,
                "processes": {str(report.pid): _contents(report) for report in reports},
                "reports": {str(report.pid): _findings(report) for report in reports},
            }
        )
    else:
        print(f"{visible(arguments.file)}: {'intact' if complete else 'intact, but something is missing'}")
        for report in reports:
            _print(report, names[report.pid])
    return 0 if complete else EXIT_MISSING


def _contents(report: ProcessReport) -> dict[str, Any]:
    return {
        "files": {
            name: {"size": digest.size, "sha256": digest.sha256} for name, digest in report.files.items()
        },
        "segments": [
            {
                "name": segment.name,
                "start": segment.start,
                "length": segment.digest.size,
                "sha256": segment.digest.sha256,
            }
            for segment in report.segments
        ],
    }


def _findings(report: ProcessReport) -> dict[str, Any]:
    return {
        "absent": list(report.absent),
        "left_out": [{"reason": reason, "size": size} for reason, size in report.left_out],
        "missing": list(report.missing),
    }


def _print(report: ProcessReport, name: str) -> None:
    text = report.files.get("text")
    print(
        f"{report.pid} {visible(name)}: {len(report.files)} files, "
        f"text image {size_text(text.size if text else 0)}, "
        f"{len(report.segments)} memory segments, {size_text(report.memory_size)}"
    )
    for missing in report.missing:
        print(f"  missing: {visible(missing)}")
    if report.absent:
        print(f"  not in the snapshot: {' '.join(report.absent)}")
    for reason, size in report.left_out:
        print(f"  left out by design: {size} bytes: {visible(reason)}")
