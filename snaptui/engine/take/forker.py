"""The process that stops the targets, has them copied, and lets them run on: a child of snap's (`forked`).

While a thread makes system calls for us, it has registers of ours (`injection`): if its tracer died just
then, it would crash. So the tracer is a process of its own, in a session of its own, which nobody has
reason to kill: when snap ends, whichever way, its connection does, and the tracer tidies up and ends too.
"""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final, TypeVar

from snaptui.engine.errors import Cancelled, NoSuchProcess
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile.linux import Link
from snaptui.engine.snapfile.mappings import Mapping, parse_maps
from snaptui.engine.take import ptracing
from snaptui.engine.take.fork import copy_process, end_copy, open_copy, refuse_early, usable_thread
from snaptui.engine.take.images import VDSO, TextImage
from snaptui.engine.take.injection import SYSCALL, InjectionRefused
from snaptui.engine.take.keep import Kept, check_files, keep, refuse_userfaults, restore
from snaptui.engine.take.others import file_locks
from snaptui.engine.take.procfiles import kernel_state, quick_files, socket_files
from snaptui.engine.take.procstat import read_whole
from snaptui.engine.take.stop import StoppedThread, StopSession

T = TypeVar("T")

_MACHINE: Final = "x86_64"
READY: Final = "ready"
"""Sent when a job can be done at once."""
STOPPING: Final = "stopping"
"""Sent just before the processes are stopped, and then the answer; the answer alone if they were not."""

_HASTE: Final = -20
"""Our nice value while the processes stand: on a busy machine we would wait for our turn ten times over."""

_LIKELY: Final = 4 << 20  # bytes at the start of a mapping in which a SYSCALL instruction is looked for


@dataclass(frozen=True, slots=True)
class Job:
    """What snap asks for."""

    images: tuple[TextImage, ...]
    all_memory: bool


@dataclass(frozen=True, slots=True)
class Copied:
    """A process that was stopped and copied, and runs on."""

    pid: int
    copy: int
    """The pid of its copy."""
    state: dict[str, bytes]
    """`kernel_state`, from just before the stop."""
    files: dict[str, bytes | Link]
    """`process_files`; of these, smaps is from just before the stop too, `socket_files` from just after."""
    threads: tuple[StoppedThread, ...]
    kept: Kept
    uptime: float
    """Seconds since boot when the state was read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the job: all processes copied but those that ended, or none and `why_not`."""

    pause: float
    """Seconds that the processes stood."""
    copied: tuple[Copied, ...] = ()
    ended: tuple[int, ...] = ()
    """Pids of those that ended before."""
    why_not: str = ""
    pid: int = 0
    """Of the process that could not be copied."""


def main(fd: int) -> None:
    """Serve snap, which has the other end of the connection `fd`, until it closes that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ptracing.load()
    connection = Connection(fd)
    with contextlib.suppress(EOFError, OSError, Cancelled):
        connection.send(READY)
        job: Job = connection.recv()
        forker = Forker(job, lambda: connection.send(STOPPING))
        watch = threading.Thread(target=_await_end, args=(fd, forker.cancel), daemon=True)
        watch.start()
        try:
            connection.send(forker.run())
            watch.join()
        finally:
            forker.end()


def _await_end(fd: int, cancel: CancelToken) -> None:
    """Wait until snap closes the connection or is gone: it sends nothing more."""
    with contextlib.suppress(OSError):
        os.read(fd, 1)
    cancel.cancel()


class Forker:
    """Carries out one job; all calls from the same thread."""

    def __init__(self, job: Job, stopping: Callable[[], None]) -> None:
        """`stopping` is called just before the processes are stopped."""
        self._job, self._stopping = job, stopping
        self.cancel = CancelToken()
        self._pid = 0
        self._copies: dict[int, tuple[int, int]] = {}
        """By pid: the copy's pid, and the address of the instruction."""
        self._ended: list[int] = []
        self._pause = 0.0

    def run(self) -> Answer:
        """Stop all processes, copy them, let them run on. Raises Cancelled."""
        try:
            copied = tuple(self._run())
            return Answer(self._pause, copied, tuple(self._ended))
        except InjectionRefused as refusal:
            why_not = str(refusal)
        except OSError as error:
            why_not = f"{error.strerror}"
        self.end()
        return Answer(self._pause, why_not=why_not, pid=self._pid)

    def end(self) -> None:
        """End the copies."""
        while self._copies:
            end_copy(self._copies.popitem()[1][0])

    def _run(self) -> list[Copied]:
        images = self._job.images
        if platform.machine() != _MACHINE:
            raise InjectionRefused(f"that needs an x86-64 machine, and this is {platform.machine()}")
        before = [look for image in images for look in self._unless_ended(self._look_before, image)]
        locks = file_locks()
        session = StopSession([image.pid for image in images], cancel=self.cancel)
        self._stopping()
        gc.disable()
        self._set_priority(_HASTE)
        begin = time.monotonic()
        try:
            with session:
                threads = session.stop()
                copied = [
                    process
                    for look in before
                    for process in self._unless_ended(self._copy, look, session, threads)
                ]
        finally:
            self._pause = time.monotonic() - begin
            self._set_priority(0)
            gc.enable()
        for process in copied:
            self._pid = process.pid
            process.files.update(socket_files(process.copy, process.files, locks))
            restore(open_copy(*self._copies[process.pid]), process.kept)
        return copied

    def _set_priority(self, nice: int) -> None:
        with contextlib.suppress(PermissionError):  # it is root's to be before others
            os.setpriority(os.PRIO_PROCESS, 0, nice)

    def _unless_ended(self, look: Callable[..., T], what: TextImage | _Before, *arguments: object) -> list[T]:
        """What `look` finds, if the process is there."""
        self._pid = what.pid
        try:
            return [look(what, *arguments)]
        except (NoSuchProcess, ProcessLookupError, FileNotFoundError):
            self._ended.append(what.pid)
            return []

    def _look_before(self, image: TextImage) -> _Before:
        """What takes long and need not wait for the stop."""
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        smaps = read_whole(f"/proc/{image.tid}/smaps")
        mappings = parse_maps(smaps)
        refuse_userfaults(mappings)
        instruction = _find_instruction(image, mappings)
        state = kernel_state(image.pid)
        refuse_early([state[name] for name in state if name.startswith("task/") and name.endswith("/status")])
        return _Before(image, state, uptime, smaps, mappings, instruction)

    def _copy(self, before: _Before, session: StopSession, threads: Sequence[StoppedThread]) -> Copied:
        image = before.image
        files = quick_files(image.tid)
        check_files(files)
        maps = files["maps"]
        if not isinstance(maps, bytes):
            raise InjectionRefused("its memory map cannot be read")
        kept = keep(image, maps, before.mappings, all_memory=self._job.all_memory)
        tid = usable_thread(image.pid, session.quiet_threads(image.pid))
        if not _is_instruction(image.tid, kept.mappings, before.instruction):
            raise InjectionRefused("its code changed while it was being stopped")
        copy = copy_process(tid, before.instruction)
        self._copies[image.pid] = copy, before.instruction
        files["smaps"] = before.smaps
        own = tuple(thread for thread in threads if thread.pid == image.pid)
        return Copied(image.pid, copy, before.state, files, own, kept, before.uptime)


@dataclass(frozen=True, slots=True)
class _Before:
    """A process just before it is stopped."""

    image: TextImage
    state: dict[str, bytes]
    uptime: float
    smaps: bytes
    mappings: tuple[Mapping, ...]
    instruction: int
    """The address of a SYSCALL instruction."""

    @property
    def pid(self) -> int:
        return self.image.pid


def _find_instruction(image: TextImage, mappings: Sequence[Mapping]) -> int:
    """The address of a SYSCALL instruction in its code; the vdso has some. Raises InjectionRefused."""
    with open(f"/proc/{image.tid}/mem", "rb", buffering=0) as memory:
        for mapping in sorted(mappings, key=lambda mapping: mapping.path != VDSO):
            if mapping.is_executable and mapping.is_readable and not mapping.flags & {"io", "pf"}:
                with contextlib.suppress(OSError):
                    code = os.pread(memory.fileno(), min(mapping.size, _LIKELY), mapping.start)
                    if (place := code.find(SYSCALL)) >= 0:
                        return mapping.start + place
    raise InjectionRefused("it has no code that calls the kernel")


def _is_instruction(tid: int, mappings: Sequence[Mapping], address: int) -> bool:
    if not any(mapping.contains(address) and mapping.is_executable for mapping in mappings):
        return False
    with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), len(SYSCALL), address) == SYSCALL
