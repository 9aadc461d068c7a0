"""One thread that we trace: becoming its tracer, seeing it stop or end, letting it go."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from snaptui.engine.take import ptracing, threads
from snaptui.engine.take.registers import RegisterSets, read_registers
from snaptui.engine.take.restart import restart_interrupted_call

NOT_PERMITTED: Final = "may not be traced: permission denied"

_ENDS: Final = (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED)  # si_code of waitid(2)

_ATTEMPTS: Final = 5  # a program that calls execve(2) all the time needed three in one of 300 runs

_STUCK: Final = 0.01  # s between looks for dead tracees


@dataclass(slots=True)
class Tracee:
    """A thread that this thread of ours has seized.

    It stands when it has `registers`; `ended` is a zombie (that its process's other threads keep);
    `given_up` says why it will not be waited for.
    """

    pid: int
    tid: int
    own_child: bool = False
    registers: RegisterSets | None = None
    signal: int = 0
    ended: bool = False
    given_up: str = ""

    @property
    def is_awaited(self) -> bool:
        return not (self.registers or self.ended or self.given_up)

    def interrupt(self) -> bool:
        """Ask it to stop, which `poll` sees; false when it has ended or its number is another's now."""
        try:
            ptracing.interrupt(self.tid)
        except OSError:  # ESRCH, or EIO for one that is just being reaped
            return False
        return True

    def poll(self) -> bool:
        """Look whether it has stopped; whether there was news. Raises ChildProcessError when it has gone."""
        # The end of our own child is for whoever started it to see: its status can be had only once.
        flags = os.WSTOPPED | os.WNOHANG | ptracing.WAIT_ALL | (0 if self.own_child else os.WEXITED)
        event = os.waitid(os.P_PID, self.tid, flags)
        if event is None:
            return False
        if event.si_code in _ENDS:
            raise ChildProcessError(f"thread {self.tid} has ended")
        self._has_stopped(stop=event.si_status >> 8, number=event.si_status & 0xFF)
        return True

    def still_stands(self) -> bool:
        """Whether it was not killed since it stopped, nor replaced by another thread's execve(2)."""
        # In this order: one that takes its number and stops between the two is news to `poll`.
        if self.registers and not ptracing.is_stopped(self.tid):
            self.registers = None
        if self.ended:
            self.look_for_end()
        return not self.poll() and not self.is_awaited

    def look_for_end(self) -> None:
        """Note whether it is a zombie: nothing reports the end of a main thread while others live."""
        self.ended = threads.has_ended(threads.thread_state(self.pid, self.tid))

    def let_go(self) -> None:
        """Let it run on, with the signal it was to take. Raises ProcessLookupError unless it stands."""
        ptracing.detach(self.tid, self.signal)

    def _has_stopped(self, stop: int, number: int) -> None:
        """`stop`: 0 for a signal-delivery-stop, or PTRACE_EVENT_STOP; `number`: of the signal."""
        taking_signal = stop == 0
        self.ended = False
        try:
            self.registers = read_registers(self.tid, taking_signal=taking_signal)
            self.signal = number if taking_signal else 0
            # Not in a group-stop: there it was SIGSTOP that interrupted the call, before us.
            if taking_signal or number == signal.SIGTRAP:
                restart_interrupted_call(self.tid, self.registers.regs)
        except ProcessLookupError:
            self.registers = None  # killed just now: its end comes next


def seize(pid: int, tid: int) -> str:
    """Become the tracer of a thread; "" or the reason why not, to follow "thread 5 ...".

    Raises ProcessLookupError when it has ended.
    """
    for _ in range(_ATTEMPTS):  # its tracer may have let it go, or another taken its place, since
        try:
            ptracing.seize(tid)
            return ""
        except ProcessLookupError:
            raise
        except PermissionError:
            pass  # not allowed, or traced already, or ended: the kernel says the same to all three
        except OSError as error:
            return f"cannot be traced: {error.strerror}"
        if threads.has_ended(threads.thread_state(pid, tid)):
            raise ProcessLookupError(f"thread {tid} has ended")
        tracer = threads.tracer_of(pid, tid)
        if tracer is not None:
            # Ours under another number: it called execve(2) and took over its main thread's.
            ours = tracer.tid == threading.get_native_id()
            return "" if ours else f"is already traced by {tracer.name} (pid {tracer.tid})"
    return NOT_PERMITTED


def _reap(tid: int) -> None:
    # Look first: a tracer's wait takes stops too, asked for or not, and those are for `poll`.
    flags = os.WEXITED | os.WNOHANG | ptracing.WAIT_ALL
    event = os.waitid(os.P_PID, tid, flags | os.WNOWAIT)
    if event is not None and event.si_code in _ENDS:
        os.waitid(os.P_PID, tid, flags)


class Reaper:
    """Reaps tracees that have died while their tracer may be stuck in PTRACE_SEIZE.

    execve(2) in a process of several threads kills the others and waits until they are reaped, by us if we
    trace them, holding a lock that PTRACE_SEIZE of any of its threads waits for: without help from another
    thread of ours both wait for ever.
    """

    def __init__(self, tracees: Callable[[], Iterable[Tracee]]) -> None:
        self._tracees = tracees
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(_STUCK):
            for tracee in self._tracees():
                if not tracee.own_child:
                    with contextlib.suppress(ChildProcessError):
                        _reap(tracee.tid)
