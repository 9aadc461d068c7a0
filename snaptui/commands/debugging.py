"""What gdb and lldb have in common: the files that a debugger needs, and running it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Final, Self

from snaptui.commands.interrupts import Interrupts
from snaptui.commands.reporting import Reporter, View, plain_view
from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.core import CoreImage
from snaptui.engine.inspect.extract import extract_sysroot, write_core
from snaptui.engine.inspect.sysroot import executable, search_directories, sysroot_entries
from snaptui.engine.snapfile import Process, Snapshot, open_snapshot
from snaptui.explain import Interrupted

_BY_SIGNAL: Final = 128  # as a shell reports a program that a signal ended
_SPACIOUS: Final = "/var/tmp"
"""Where temporary files may be large (hier(7)); /tmp often is memory."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where a debugger finds a saved process."""

    executable: str
    """Empty if it is not in the snapshot."""
    core: str
    sysroot: str
    search: tuple[str, ...]
    """Directories with libraries that have relative names."""


def add_arguments(parser: argparse.ArgumentParser, debugger: str) -> None:
    """Add --extract and the debugger's own arguments."""
    parser.add_argument(
        "--extract",
        action="store_true",
        help="write the files that the debugger needs to a temporary directory (in TMPDIR), even if they "
        "can be mounted",
    )
    # Not nargs="*", which argparse takes for done, without any, when an option stands between PID and --.
    more = parser.add_argument(
        "debugger_arguments",
        metavar="ARGUMENT",
        nargs="+",
        default=[],
        help=f"more arguments for {debugger}, after --",
    )
    more.required = False
    parser.usage = "%(prog)s [-h] [--version] [--progress WHICH] [--extract] FILE PID [-- ARGUMENT ...]"


def debug(
    arguments: argparse.Namespace, name: str, command: Callable[[Prepared, Sequence[str]], list[str]]
) -> int:
    """Run the debugger `name` on a saved process; `command` makes its arguments. Returns its exit status."""
    program = shutil.which(name)
    if program is None:
        raise SnapError(f"{name} is not installed", help=f"apt-get install {name} (or dnf install {name})")
    with (
        _Forwarding() as forwarding,
        open_snapshot(arguments.file) as snapshot,
        prepare(snapshot, snapshot.process(arguments.pid), name, arguments) as prepared,
    ):
        return forwarding.run([program, *command(prepared, arguments.debugger_arguments)])


@contextlib.contextmanager
def prepare(
    snapshot: Snapshot, process: Process, name: str, arguments: argparse.Namespace
) -> Iterator[Prepared]:
    """The files of a process for a debugger, as long as the block lasts: mounted, or else extracted.

    Either way they are in a private directory, which is removed at the end.
    """
    CoreImage(process)  # raises NotCaptured before anything is made
    with (
        tempfile.TemporaryDirectory(
            prefix="snaptui-", dir=_temporary_directory(), ignore_cleanup_errors=True
        ) as directory,
        contextlib.ExitStack() as mounts,
    ):
        place = "" if arguments.extract else _mount(snapshot, directory, mounts)
        if place:
            core, sysroot = f"{place}/{process.pid}/core", f"{place}/{process.pid}/root"
        else:
            core, sysroot = f"{directory}/core", f"{directory}/root"
            _extract(process, core, sysroot, plain_view(arguments, name))
        main = executable(process)
        paths = {entry.file: entry.path for entry in sysroot_entries(process) if entry.file is not None}
        yield Prepared(
            executable=f"{sysroot}{paths[main]}" if main is not None else "",
            core=core,
            sysroot=sysroot,
            search=tuple(f"{sysroot}{directory}" for directory in search_directories(process)),
        )


def _mount(snapshot: Snapshot, directory: str, mounts: contextlib.ExitStack) -> str:
    """Mount the snapshot below `directory` until `mounts` is closed; where, or "" if that cannot be done."""
    from snaptui.engine.progress import ignore
    from snaptui.engine.serve.mount import Mount
    from snaptui.engine.serve.tree import build_tree

    place = f"{directory}/proc"
    os.mkdir(place, 0o700)
    try:
        # The tree is not closed: that would close the snapshot, which is not ours.
        mount = Mount(build_tree([snapshot], ignore), place, after=False, ended=lambda: None)
        mount.start()
    except SnapError:
        return ""  # no FUSE here, or none for this user
    mounts.callback(_unmount, mount.stop)
    return place


def _unmount(stop: Callable[[], None]) -> None:
    with contextlib.suppress(SnapError):  # it ends with us
        stop()


def _extract(process: Process, core: str, sysroot: str, view: View) -> None:
    with Reporter(view) as reporter, Interrupts() as interrupts:
        extract_sysroot(process, sysroot, sink=reporter.sink, cancel=interrupts.cancel)
        write_core(process, core, sink=reporter.sink, cancel=interrupts.cancel)


def _temporary_directory() -> str | None:
    """None: Python's choice, which heeds TMPDIR."""
    if "TMPDIR" in os.environ or not os.access(_SPACIOUS, os.W_OK | os.X_OK):
        return None
    return _SPACIOUS


class _Forwarding:
    """Signals while a debugger runs: those of the keyboard are its business, an order to end reaches it.

    The files are removed in any case: without a debugger yet, an order to end is `Interrupted`.
    """

    _KEYBOARD: Final = (signal.SIGINT, signal.SIGQUIT)
    _END: Final = (signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._before: list[tuple[signal.Signals, Any]] = []

    def __enter__(self) -> Self:
        for number in (*self._KEYBOARD, *self._END):
            if (before := signal.getsignal(number)) != signal.SIG_IGN:
                self._before.append((number, before))
                # A handler, not SIG_IGN, which the debugger would inherit.
                signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in self._before:
            signal.signal(number, before)

    def run(self, command: Sequence[str]) -> int:
        """Run a debugger to its end; its exit status, 128 + the signal that ended it."""
        with subprocess.Popen(command) as child:
            self._child = child
            status = child.wait()
        return status if status >= 0 else _BY_SIGNAL - status

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._child is None:
            raise Interrupted(number)
        if number in self._END:
            self._child.send_signal(number)
