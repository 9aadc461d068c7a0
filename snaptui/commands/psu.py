"""List processes in the columns of Plan 9's psu.

The second column is the pid and the last one the name, so that awk can choose:

    snap -o page.snap $(snaptui psu | awk '$NF ~ /page|gs/ {print $2}')

The columns are: user, pid, user and system time (m:ss), resident memory, state and name. A process that
sleeps shows the system call it sleeps in, if you may know it. Blanks in names are printed as _, control
characters as escapes; --json has names as they are.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pwd
import re
from collections.abc import Iterable

from snaptui.commands.options import JSON_OUTPUT
from snaptui.commands.output import print_json
from snaptui.engine.errors import SnapError
from snaptui.engine.take.hung import HungProcess, hung_processes
from snaptui.engine.take.processes import LiveProcess, list_processes
from snaptui.engine.take.procstat import state_name
from snaptui.explain import visible

NAME = "psu"
PARENTS = (JSON_OUTPUT,)

_LONGEST_UID = 10  # digits: a uid_t has 32 bits


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add psu's arguments."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "user", metavar="USER", nargs="?", help="whose processes: a login name or number (default: yours)"
    )
    whose.add_argument("-a", "--all", action="store_true", help="everybody's processes, and the kernel's own")
    parser.add_argument(
        "--match",
        metavar="REGEX",
        type=_pattern,
        help="only those whose name matches, as in 'page|gs' or '/page|gs/'",
    )
    parser.add_argument(
        "--hung",
        action="store_true",
        help="only those that sleep in one place: no thread used the processor or moved for 0.3 s; "
        "the state is then the system call or the kernel's wait channel",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the listing. Raises SnapError for an unknown user."""
    uid = None if arguments.all else _uid(arguments.user)
    chosen = [process for process in list_processes() if _wanted(process, uid, arguments.match)]
    hung = hung_processes(processes=chosen) if arguments.hung else None
    if arguments.json:
        print_json(_rows(chosen, hung))
    elif hung is None:
        for process in chosen:
            print(_line(process, state_name(process.state, process.syscall, process.wchan)))
    else:
        for one in hung:
            print(_line(one.process, one.place))
    return 0


def _pattern(text: str) -> re.Pattern[str]:
    """--match's value, with or without awk's slashes."""
    inner = text[1:-1] if len(text) > 1 and text.startswith("/") and text.endswith("/") else text
    try:
        return re.compile(inner)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error


def _uid(user: str | None) -> int:
    if user is None:
        return os.getuid()
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        if user.isascii() and user.isdigit() and len(user) <= _LONGEST_UID:
            return int(user)
        raise SnapError(f"there is no user {user!r}") from None


def _wanted(process: LiveProcess, uid: int | None, pattern: re.Pattern[str] | None) -> bool:
    # A kernel thread is root's by its uid alone, and nothing of it could be saved.
    if process.pid == os.getpid() or (uid is not None and (process.uid != uid or process.kernel_thread)):
        return False
    return pattern is None or pattern.search(process.name) is not None


def _line(process: LiveProcess, state: str) -> str:
    """A process in the columns of Plan 9's psu; each is one word whatever it holds."""
    return (
        f"{_word(process.user):10s} {process.pid:8d} "
        f"{_minutes(process.utime_ms):>7s} {_minutes(process.stime_ms):>6s} "
        f"{process.rss // 1024:8d}K {_word(state):11s} {_word(process.name)}"
    )


def _minutes(milliseconds: int) -> str:
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes}:{seconds:02d}"


def _word(text: str) -> str:
    """Text as one word that does nothing to a terminal: a process may call itself anything."""
    return visible(text).replace(" ", "_") or "?"


def _rows(chosen: Iterable[LiveProcess], hung: Iterable[HungProcess] | None) -> list[dict[str, object]]:
    if hung is None:
        return [dataclasses.asdict(process) for process in chosen]
    return [
        dataclasses.asdict(one.process)
        | {
            "place": one.place,
            "waits": [dataclasses.asdict(wait) | {"place": wait.place} for wait in one.waits],
        }
        for one in hung
    ]
