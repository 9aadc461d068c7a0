"""Serve snapshots as a /proc tree.

Each saved process gets a directory named by its pid, with the files of Plan 9's /proc (mem and text,
regs, status, ...) and, if it was saved on Linux, core (an ELF core for debuggers), root/ (its executable
and libraries at their own paths), linux/ (what Linux's /proc had), task/TID/ and args.

With neither -m nor -s the tree is mounted at $XDG_RUNTIME_DIR/snapfs/proc, or /tmp/snapfs-UID/proc.
The command returns as soon as it serves; `snaptui mounts` lists the servers, `snaptui umount` ends them.

    snapfs page.snap
    gdb MTPT/PID/text MTPT/PID/core -ex 'set sysroot MTPT/PID/root'
"""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from snaptui.commands.options import PROGRESS, complete_files
from snaptui.explain import visible

if TYPE_CHECKING:
    from snaptui.engine.serve.ninep import Listener
    from snaptui.engine.serve.nodes import Tree
    from snaptui.engine.serve.service import Service
    from snaptui.engine.snapfile import Process, Snapshot

NAME = "fs"
PARENTS = (PROGRESS,)

_TRIM_THRESHOLD: Final = -1  # malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_MMAP_THRESHOLD: Final = -3
_KEPT: Final = 32 << 20
"""Bytes that may lie unused: the largest threshold that glibc takes."""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add snapfs's arguments."""
    parser.add_argument(
        "-a",
        dest="after",
        action="store_true",
        help="mount the new directories after the present entries: where names clash, the old ones are seen",
    )
    parser.add_argument(
        "-m", dest="mountpoint", metavar="MTPT", help="mount at MTPT instead of the default place"
    )
    parser.add_argument(
        "-s",
        dest="service",
        metavar="SERVICE",
        help="serve 9P requests at the socket SERVICE: a name in plan9port's $NAMESPACE, a path (with a /), "
        "or tcp!HOST!PORT",
    )
    parser.add_argument("-f", dest="foreground", action="store_true", help="stay in the foreground")
    parser.add_argument(
        "--insecure-listen",
        action="store_true",
        help="with -s tcp!HOST!PORT: even where other machines can connect, who then read all memory unasked",
    )
    complete_files(
        parser.add_argument("files", metavar="FILE", nargs="+", help="a snapshot, plain or compressed (.zst)")
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve. Raises SnapError."""
    from snaptui.commands.background import run_in_background
    from snaptui.engine.serve.registry import default_mountpoint
    from snaptui.engine.serve.service import Service

    mountpoint = arguments.mountpoint
    if mountpoint is None and arguments.service is None:
        mountpoint = default_mountpoint()
    if mountpoint is not None:
        from snaptui.engine.serve.mount import load_library

        load_library()  # before the work of reading the snapshots

    with contextlib.ExitStack() as stack:
        snapshots, tree = _open(arguments, stack)
        listeners = _listen(arguments)
        try:
            service = Service(
                tree, arguments.files, mountpoint=mountpoint, after=arguments.after, listeners=listeners
            )
            if arguments.foreground:
                _serve(service, lambda: _print_processes(snapshots))
                return 0
            run_in_background(lambda ready: _serve(service, ready))
        except BaseException:
            for listener in listeners:
                listener.remove()
            raise
        for listener in listeners:
            listener.close()  # the child has it
        _print_processes(snapshots)
    return 0


def _open(arguments: argparse.Namespace, stack: contextlib.ExitStack) -> tuple[list[Snapshot], Tree]:
    """All the snapshots, closed when `stack` is, and the tree of them."""
    from snaptui.commands.interrupts import Interrupts
    from snaptui.commands.reporting import Reporter, plain_view
    from snaptui.engine.serve.tree import build_tree
    from snaptui.engine.snapfile import open_snapshot

    with Reporter(plain_view(arguments, "snapfs")) as reporter, Interrupts() as interrupts:
        snapshots = [
            stack.enter_context(open_snapshot(file, sink=reporter.sink, cancel=interrupts.cancel))
            for file in arguments.files
        ]
        return snapshots, build_tree(snapshots, reporter.sink)


def _listen(arguments: argparse.Namespace) -> list[Listener]:
    if arguments.service is None:
        return []
    from snaptui.engine.serve.ninep import listen

    return [listen(arguments.service, arguments.insecure_listen)]


def _serve(service: Service, ready: Callable[[], None]) -> None:
    """Serve until a signal, `snaptui umount` or an unmounting by hand ends it."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, lambda _number, _frame: service.request_stop())
    _keep_freed_memory()
    service.start()
    try:
        ready()
        service.wait()
    finally:
        service.stop()


def _keep_freed_memory() -> None:
    """Have what was freed be used again, and not given back to the kernel to be asked for anew.

    Each block that is read ahead is new memory, for which the kernel has to make 256 pages: without that
    all of a core is read a fifth faster. Other C libraries than glibc have no mallopt(3), or it does nothing.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        set_parameter = ctypes.CDLL(None).mallopt
        set_parameter(_TRIM_THRESHOLD, _KEPT)
        set_parameter(_MMAP_THRESHOLD, _KEPT)


def _print_processes(snapshots: Iterable[Snapshot]) -> None:
    """A line for each process that is served, as the original prints it: its pid, and who and how it is."""
    served: dict[int, Process] = {}
    for snapshot in snapshots:
        for pid, process in snapshot.processes.items():
            served.setdefault(pid, process)
    for pid, process in served.items():
        words = ["process", str(pid), process.name, process.user, process.state]
        print(" ".join(visible(word) for word in words if word), flush=True)
