"""Print the texts in the memory of saved processes, as strings(1) does.

A line for each text of at least six characters: the process, the address, the permissions and name of
the mapping, and the text, whole. Letters of all languages count in UTF-8; in UTF-16, those of ASCII.
With --json it is an object a line.

Exit status: 0 if there are any, 1 if there are none, or if the snapshot is damaged, 2 for a wrong command
line. ^C ends it; what was found until then is printed.
"""

from __future__ import annotations

import argparse
import json
import sys

from snaptui.commands.interrupts import Interrupts
from snaptui.commands.options import ANY_PROCESS, JSON_OUTPUT, SNAPSHOT_FILE
from snaptui.commands.searching import Places, chosen_processes, positive, status_of
from snaptui.engine.inspect.patterns import REGEX_REACH
from snaptui.engine.inspect.strings import FoundText, TextScan, read_text
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile import Process, open_snapshot
from snaptui.explain import visible

NAME = "strings"
PARENTS = (SNAPSHOT_FILE, ANY_PROCESS, JSON_OUTPUT)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of strings."""
    parser.add_argument(
        "-n",
        "--bytes",
        dest="minimum",
        metavar="N",
        type=_length,
        default=6,
        help="of N characters or more; 6 if it is not given",
    )
    parser.add_argument("--encoding", choices=("utf-8", "utf-16"), default="utf-8", help="utf-8")
    parser.add_argument("--containing", metavar="WORD", default="", help="with WORD in them, of any length")


def _length(text: str) -> int:
    number = positive(text)
    if number > REGEX_REACH:
        raise argparse.ArgumentTypeError(f"not a number up to {REGEX_REACH}: {text}")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Print the texts as they are found; the status is 1 if there are none. Raises SnapError, Cancelled."""
    found = 0
    missing: dict[int, int] = {}
    with Interrupts() as interrupts, open_snapshot(arguments.file, cancel=interrupts.cancel) as snapshot:
        for process in chosen_processes(snapshot, arguments):
            found += _show(process, arguments, interrupts.cancel, missing)
    return status_of(NAME, found, missing)


def _show(
    process: Process, arguments: argparse.Namespace, cancel: CancelToken, missing: dict[int, int]
) -> int:
    """Print the texts of one process; how many there were."""
    places = Places(process)
    scan = TextScan(
        process,
        minimum=arguments.minimum,
        encoding=arguments.encoding,
        word=arguments.containing,
        cancel=cancel,
    )
    count = 0
    for texts in scan.batches():
        for found in texts:
            cancel.check()
            text = _whole(process, found, arguments)
            if arguments.json:
                print(json.dumps({**places.as_json(found.address), "size": found.size, "text": text}))
            else:
                print(f"{places.line(found.address)}: {visible(text)}")
        count += len(texts)
        missing[process.pid] = scan.missing
        if texts:
            sys.stdout.flush()
    return count


def _whole(process: Process, found: FoundText, arguments: argparse.Namespace) -> str:
    if found.is_whole:
        return found.text
    return read_text(process, found.address, found.size, arguments.encoding)
