"""Write an ELF core of a saved process.

gdb, lldb, eu-stack, drgn, pystack and other tools read it. Memory that was never touched becomes holes: the
file takes less space than its size says. The libraries to go with it come from `snaptui sysroot`.
"""

from __future__ import annotations

import argparse
import sys

from snaptui.commands.conversion import add_output, check_target
from snaptui.commands.interrupts import Interrupts
from snaptui.commands.options import PROGRESS, SAVED_PROCESS, SNAPSHOT_FILE
from snaptui.commands.output import size_text
from snaptui.commands.reporting import Reporter, plain_view
from snaptui.explain import EXIT_MISSING, visible

NAME = "core"
PARENTS = (SNAPSHOT_FILE, SAVED_PROCESS, PROGRESS)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of core."""
    add_output(parser, "core.PID")


def run(arguments: argparse.Namespace) -> int:
    """Write the core. Raises SnapError."""
    from snaptui.engine.inspect.extract import write_core
    from snaptui.engine.snapfile import open_snapshot

    target = arguments.output or f"core.{arguments.pid}"
    check_target(target, arguments.file, force=arguments.force)
    with (
        Reporter(plain_view(arguments, NAME)) as reporter,
        Interrupts() as interrupts,
        open_snapshot(arguments.file, sink=reporter.sink, cancel=interrupts.cancel) as snapshot,
    ):
        process = snapshot.process(arguments.pid)
        image = write_core(process, target, sink=reporter.sink, cancel=interrupts.cancel)
    if sys.stderr.isatty():
        held = sum(end - start for start, end in image.data_ranges())
        sizes = f"{size_text(image.size)}, {size_text(held)} without its holes"
        print(f"{NAME}: {visible(target)}: {sizes}", file=sys.stderr)
    return EXIT_MISSING if reporter.missing else 0
