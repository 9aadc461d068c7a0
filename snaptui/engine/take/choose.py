"""Which processes are meant: pids and names to pids (snap(4))."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Sequence

from snaptui.engine.errors import ArgumentError, NoSuchProcess, TargetError
from snaptui.engine.progress import Sink, Warned, ignore
from snaptui.engine.take.processes import LiveProcess, list_processes, read_process
from snaptui.engine.take.procstat import base_name, read_if_possible
from snaptui.engine.take.users import user_name

_LONGEST_PID = 10  # digits: a pid_t has 31 bits


def resolve(arguments: Sequence[str], *, tree: bool = False, sink: Sink = ignore) -> list[int]:
    """The pids meant by `arguments`, in their order and each once.

    Digits are a pid. Anything else is a name: all processes of the current (real) user with it as
    their comm or as the base name of their executable or argv[0]. With `tree` each is followed by
    its descendants, parents first. What can't be saved is left out, and is a `Warned(missing=True)`
    to the sink.
    Raises ArgumentError for an empty name.
    """
    return _Choice(sink).choose(arguments, tree)


class _Choice:
    """One look at the processes, and what was found in it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._said: set[str] = set()

    @functools.cached_property
    def _processes(self) -> list[LiveProcess]:
        """All processes, where that is asked for: 0.1 ms each, on a machine that may have thousands."""
        return list_processes()

    def choose(self, arguments: Sequence[str], tree: bool) -> list[int]:
        chosen: dict[int, None] = {}
        for argument in arguments:
            if not argument:
                raise ArgumentError("an empty name names no process", help="give a pid or a process's name")
            for process in self._found(argument):
                chosen[process.pid] = None
                if tree:
                    chosen.update(dict.fromkeys(self._descendants(process)))
        return list(chosen)

    def _found(self, argument: str) -> list[LiveProcess]:
        if not (argument.isascii() and argument.isdigit()):
            return self._named(argument)
        try:
            process = self._by_pid(argument)
            _check(process)
        except (NoSuchProcess, TargetError) as error:
            self._missing(str(error), help=error.help)
            return []
        return [process]

    def _by_pid(self, argument: str) -> LiveProcess:
        digits = argument.lstrip("0") or "0"
        last = read_if_possible("/proc/sys/kernel/pid_max").strip()
        if digits == "0" or len(digits) > _LONGEST_PID or (last and int(digits) >= int(last)):
            shown = digits if len(digits) <= _LONGEST_PID else f"{digits[:_LONGEST_PID]}..."
            raise NoSuchProcess(f"there is no process {shown}: pids here are 1 to {int(last or b'0') - 1}")
        return read_process(int(digits))

    def _named(self, name: str) -> list[LiveProcess]:
        found = []
        others: defaultdict[int, list[int]] = defaultdict(list)
        unfit = 0
        for process in self._processes:
            if not _has_name(process, name):
                continue
            if process.uid != os.getuid():
                others[process.uid].append(process.pid)
                continue
            try:
                _check(process)
            except TargetError as error:
                if process.pid != os.getpid():  # nobody means snap itself by `snap python3`
                    unfit += 1
                    self._missing(str(error), process.pid, error.help)
                continue
            found.append(process)
        if not found and not unfit:
            self._nobody(name, others)
        return found

    def _nobody(self, name: str, others: dict[int, list[int]]) -> None:
        line = f"{user_name(os.getuid())} has no process named {name!r}"
        owners = [f"{user_name(uid)} has {', '.join(map(str, pids))}" for uid, pids in sorted(others.items())]
        remedy = "another user's processes are chosen by their pids" if owners else ""
        self._missing("; ".join([line, *owners]), help=remedy)

    def _descendants(self, root: LiveProcess) -> list[int]:
        children: defaultdict[int, list[LiveProcess]] = defaultdict(list)
        for process in self._processes:
            children[process.ppid].append(process)
        found: list[int] = []
        parents = [root.pid]
        for parent in parents:  # grows as it goes: a generation at a time
            for child in children[parent]:
                if child.pid == os.getpid():
                    continue
                parents.append(child.pid)
                try:
                    _check(child)
                except TargetError as error:
                    self._missing(str(error), child.pid, error.help)
                    continue
                found.append(child.pid)
        return found

    def _missing(self, message: str, pid: int = 0, help: str = "") -> None:
        if message not in self._said:
            self._said.add(message)
            self._sink(Warned(message, pid=pid, help=help, missing=True))


def _has_name(process: LiveProcess, name: str) -> bool:
    argv0 = process.cmdline[0] if process.cmdline else ""
    return name in (process.comm, base_name(argv0), base_name(process.exe))


def _check(process: LiveProcess) -> None:
    """Raise TargetError for what has no memory to save."""
    pid = process.pid
    if pid == os.getpid():
        raise TargetError(f"process {pid} is snap: it does not save itself")
    if process.kernel_thread:
        raise TargetError(f"process {pid} ({process.comm}) is a kernel thread: it has no memory of its own")
    if process.is_zombie:
        raise TargetError(
            f"process {pid} ({process.comm}) is a zombie: it has ended, and its memory is gone",
            help=f"its parent, process {process.ppid}, has not waited for it yet",
        )
