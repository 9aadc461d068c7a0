"""Show where every thread of a saved process was, function by function.

Innermost first, with the line of source where debug information is in the snapshot or on this
machine (or at DEBUGINFOD_URLS), else with the file and the address in it. Frames of Python stand
among those of C that ran them. Threads with equal stacks are shown once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from snaptui.commands.options import ANY_PROCESS, JSON_OUTPUT, SNAPSHOT_FILE, pid
from snaptui.commands.output import print_json
from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.stacks import Frame, StackGroup, ThreadStack, group_stacks, read_stacks
from snaptui.engine.snapfile import Process, Snapshot, open_snapshot
from snaptui.explain import EXIT_MISSING, visible

NAME = "stack"
PARENTS = (SNAPSHOT_FILE, ANY_PROCESS, JSON_OUTPUT)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of stack."""
    parser.add_argument("--thread", metavar="TID", type=pid, help="only this thread")
    parser.add_argument("--locals", action="store_true", help="show arguments and local variables")


def run(arguments: argparse.Namespace) -> int:
    """Print the stacks; the status is 1 if one is missing or not whole. Raises SnapError."""
    with open_snapshot(arguments.file) as snapshot:
        found = []
        for process in _chosen(snapshot, arguments):
            tids = None if arguments.thread is None else [arguments.thread]
            found.append((process, read_stacks(process, tids, with_locals=arguments.locals)))
        if arguments.json:
            print_json({"processes": [_as_json(process, stacks) for process, stacks in found]})
        else:
            _print(found, with_locals=arguments.locals)
    problems = {(process.pid, stack.problem): None for process, stacks in found for stack in stacks}
    for number, problem in problems:
        if problem:
            print(f"{NAME}: process {number}: {visible(problem)}", file=sys.stderr)
    return EXIT_MISSING if any(problem for _, problem in problems) else 0


def _chosen(snapshot: Snapshot, arguments: argparse.Namespace) -> list[Process]:
    every = list(snapshot.processes.values())
    processes = [snapshot.process(arguments.pid)] if arguments.pid else every
    if arguments.thread is None:
        return processes
    holders = [one for one in processes if one.linux is not None and arguments.thread in one.linux.threads()]
    if not holders:
        raise NotCaptured(f"there is no thread {arguments.thread} in {arguments.file}")
    return holders


def _as_json(process: Process, stacks: Sequence[ThreadStack]) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "name": process.name,
        "threads": [
            {
                "tid": stack.tid,
                "name": stack.name,
                "problem": stack.problem,
                "frames": [_frame_as_json(frame) for frame in stack.frames],
            }
            for stack in stacks
        ],
    }


def _frame_as_json(frame: Frame) -> dict[str, Any]:
    return {
        "pc": frame.pc,
        "function": frame.function,
        "language": frame.language,
        "source": frame.source,
        "line": frame.line,
        "module": frame.module,
        "offset": frame.offset,
        "inlined": frame.inlined,
        "signal": frame.signal,
        "locals": {local.name: local.value for local in frame.locals},
    }


def _print(found: Sequence[tuple[Process, Sequence[ThreadStack]]], *, with_locals: bool) -> None:
    for number, (process, stacks) in enumerate(found):
        if number:
            print()
        print(visible(f"process {process.pid} {process.name}"))
        for group in group_stacks(stacks, with_locals=with_locals):
            print()
            for line in _group_lines(group, with_locals=with_locals):
                print(line)


def _group_lines(group: StackGroup, *, with_locals: bool) -> Iterator[str]:
    """The threads, and a line for each frame: `#3  lock_second (in abba.c:6)`."""
    stack = group.stack
    if len(group.tids) == 1:
        yield visible(f"thread {stack.tid} {stack.name}".rstrip())
    else:
        yield f"{len(group.tids)} threads: {', '.join(map(str, group.tids))}"
    if not stack.frames:
        yield f"  no stack: {visible(stack.problem)}"
    width = len(str(len(stack.frames))) + 1
    for number, frame in enumerate(stack.frames):
        yield visible(f"{f'#{number}':<{width}} {frame_text(frame)}")
        if with_locals:
            for local in frame.locals:
                yield visible(f"{'':{width}}     {local.name} = {local.value}")


def frame_text(frame: Frame) -> str:
    """A frame in a line: `lock_second at /src/abba.c:6`, or `main in /bin/cat+0x2a10`; `??` has no name."""
    function = frame.function or "??"
    kind = " (python)" if frame.language == "python" else " (inlined)" if frame.inlined else ""
    where = f" at {frame.place}" if frame.source else f" in {frame.place}" if frame.place else ""
    return f"{function}{kind}{where}"
