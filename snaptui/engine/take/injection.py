"""Making a stopped thread of another process call the kernel, and giving it back as it was (x86-64).

Nothing of the process's memory is written: the thread is sent through a `syscall` instruction that its
own code has, with registers of ours and all signals blocked, and then has its own registers and mask again.
Before the last step it is stopped as it stood before, by PTRACE_INTERRUPT: only on the way out of such a
stop does the kernel restart the system call that the first stop interrupted, as its registers ask for.
"""

from __future__ import annotations

import math
import os
import signal
import struct
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from snaptui.engine.take import ptracing, threads

SYSCALL: Final = b"\x0f\x05"
"""The instruction."""

_ARGUMENTS: Final = ("rdi", "rsi", "rdx", "r10", "r8", "r9")  # syscall(2), "Architecture calling conventions"
_ALL_SIGNALS: Final = (1 << 64) - 1  # the kernel takes SIGKILL and SIGSTOP out again
_TRAP_FLAG: Final = 1 << 8  # of eflags: the program steps through itself
_ERESTARTNOINTR: Final = 513  # include/linux/errno.h: a clone(2) that found something pending
_ATTEMPTS: Final = 20  # of calls that give that back

_SPIN: Final = 0.000_3  # s; most stops come within 30 us, and a sleep takes 60 at least
_NAP: Final = 0.000_05  # s between looks after that
_PATIENCE: Final = 1.0  # s until a thread must have begun the call: one in a frozen cgroup does not

_STOPPED: Final = (os.CLD_STOPPED, os.CLD_TRAPPED)  # si_code of waitid(2)

EventStop = tuple[int, int]
"""The event (ptracing.EVENT_*, 0: none) and the signal of a stop."""

_CALL_STOP: Final[EventStop] = (0, ptracing.CALL_STOP)


class InjectionRefused(Exception):
    """The thread cannot be used; it stands as before. The text says why, to follow "...: "."""


@dataclass(frozen=True, slots=True)
class Event:
    """The call stopped on its way, since it made a new process; `tid` is the new one's, here."""

    kind: int
    tid: int


class Borrowed:
    """A thread in the stop of PTRACE_INTERRUPT, to make system calls in; a context manager.

    Every method raises ProcessLookupError when the thread was killed, and InjectionRefused. Only the thread
    of ours that traces it may use it. If we are killed meanwhile, the thread crashes: whoever uses this must
    be a process that nobody has reason to kill.
    """

    def __init__(self, tid: int, instruction: int, *, options: int = 0) -> None:
        """`instruction`: the address of a SYSCALL in its executable memory. `options`: for `set_options`."""
        self.tid = tid
        self._instruction = instruction
        self._options = options | ptracing.TRACE_CALLS
        self._regs = b""
        self._mask = 0
        self._stands = True
        self._stops_again = False

    def __enter__(self) -> Self:
        self.borrow()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.give_back()
        except ProcessLookupError:
            if error is None:
                raise

    def borrow(self) -> None:
        """Begin: for a thread that is to be killed rather than given back."""
        self._regs = ptracing.register_set(self.tid, ptracing.NT_PRSTATUS)
        self._mask = ptracing.signal_mask(self.tid)
        ptracing.set_options(self.tid, self._options)
        ptracing.set_signal_mask(self.tid, _ALL_SIGNALS)

    def give_back(self) -> None:
        """Make the thread stand as it did."""
        ptracing.interrupt(self.tid)
        if self._stands:
            ptracing.set_general_registers(self.tid, self._regs)
            ptracing.run(self.tid)
        while wait_for_stop(self.tid)[0] != ptracing.EVENT_STOP:
            ptracing.run(self.tid)
        ptracing.set_general_registers(self.tid, self._regs)
        ptracing.set_signal_mask(self.tid, self._mask)
        ptracing.set_options(self.tid, 0)
        if self._stops_again:
            os.kill(self.tid, signal.SIGSTOP)

    def register(self, name: str) -> int:
        """What a general register held when the thread was borrowed."""
        (value,) = struct.unpack_from("<Q", self._regs, ptracing.general_register_offset(name))
        return int(value)

    def call(self, number: int, *arguments: int, stack: int | None = None) -> int | Event:
        """Make a system call: its result, -errno if it failed; or the event that it stopped at.

        `stack`: the stack pointer meanwhile, which a new process inherits.
        """
        for _ in range(_ATTEMPTS):
            self._set_call(number, arguments, stack)
            try:
                self._run_to({_CALL_STOP}, _PATIENCE)
            except TimeoutError:
                raise InjectionRefused("it does not run on (is its control group frozen?)") from None
            result = self.finish()
            if result != -_ERESTARTNOINTR:
                return result
        raise InjectionRefused("its system calls are interrupted all the time")

    def finish(self) -> int | Event:
        """Let the call go on to its end, or the next event."""
        new = {(ptracing.EVENT_VFORK, signal.SIGTRAP), (ptracing.EVENT_CLONE, signal.SIGTRAP)}
        # However long it takes: a thread within a call cannot be given back.
        stop = self._run_to({_CALL_STOP, *new})
        if stop in new:
            return Event(stop[0], ptracing.event_message(self.tid))
        regs = ptracing.register_set(self.tid, ptracing.NT_PRSTATUS)
        (result,) = struct.unpack_from("<q", regs, ptracing.general_register_offset("rax"))
        return int(result)

    def _set_call(self, number: int, arguments: tuple[int, ...], stack: int | None) -> None:
        regs = bytearray(self._regs)

        def put(name: str, value: int) -> None:
            struct.pack_into("<Q", regs, ptracing.general_register_offset(name), value & _ALL_SIGNALS)

        put("rip", self._instruction)
        put("rax", number)
        put("orig_rax", -1)  # the kernel shall not take it for an interrupted call
        put("eflags", self.register("eflags") & ~_TRAP_FLAG)
        for name, value in zip(_ARGUMENTS, arguments, strict=False):
            put(name, value)
        if stack is not None:
            put("rsp", stack)
        ptracing.set_general_registers(self.tid, bytes(regs))

    def _run_to(self, wanted: set[EventStop], patience: float = math.inf) -> EventStop:
        """Run to one of these stops. Raises TimeoutError when `patience` (s) ends before one comes."""
        while True:
            ptracing.run_to_call(self.tid)
            self._stands = False
            stop = wait_for_stop(self.tid, patience)
            self._stands = True
            if stop in wanted:
                return stop
            # What else there is are notices of SIGCONT and the like, and SIGSTOP, which nobody can block.
            if stop == (0, signal.SIGSTOP):
                self._stops_again = True


def wait_for_stop(tid: int, patience: float = math.inf) -> EventStop:
    """Wait until a tracee stops. Raises ProcessLookupError if it ends, TimeoutError after `patience` (s)."""
    begin = time.monotonic()
    has_ended = False
    while True:
        event = os.waitid(os.P_PID, tid, os.WSTOPPED | os.WEXITED | os.WNOHANG | ptracing.WAIT_ALL)
        if event is not None and event.si_code in _STOPPED:
            return event.si_status >> 8, event.si_status & 0xFF
        if event is not None or has_ended:
            raise ProcessLookupError(f"thread {tid} has ended")
        waited = time.monotonic() - begin
        if waited > patience:
            raise TimeoutError
        if waited > _SPIN:
            time.sleep(_NAP)
            # The kernel tells of a main thread's end only when its other threads, which we trace, are reaped.
            has_ended = threads.has_ended(threads.thread_state(tid, tid))
