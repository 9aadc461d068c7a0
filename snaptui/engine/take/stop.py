"""Stopping processes, all their threads together, and letting them run on as if nothing had been.

PTRACE_SEIZE and PTRACE_INTERRUPT (ptrace(2)), never PTRACE_ATTACH: no signal is sent, a process that was
stopped before stays stopped, its parent is told nothing, and if we die the kernel lets all run on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from snaptui.engine.progress import CancelToken
from snaptui.engine.take import ptracing, threads
from snaptui.engine.take.registers import RegisterSets
from snaptui.engine.take.tracee import NOT_PERMITTED, Reaper, Tracee, seize

_FIRST_NAP: Final = 0.000_1  # s; sleeping threads stop within 50 us of PTRACE_INTERRUPT
_LONGEST_NAP: Final = 0.005  # s; a look at 200 threads that do not stop costs 0.2 ms
_RUNNING_PATIENCE: Final = (
    5  # a thread at work in the kernel has this many times the patience of one asleep there
)
_LOOKS: Final = (0.0, 0.001, 0.005, 0.02)  # s before each look at a process that seems to have ended
_LAST_WAIT: Final = 0.1  # s for threads asked to stop, and for killed ones to end, when all is called off


@dataclass(frozen=True, slots=True)
class StoppedThread:
    """A thread of a process to save: its registers, or why there are none, to follow "thread 5 ..."."""

    pid: int
    tid: int
    registers: RegisterSets | None
    why_not: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether the kernel forbids it: another user's thread, or for ptrace_scope or a seccomp filter."""
        return self.why_not == NOT_PERMITTED


class StopSession:
    """All threads of some processes, stopped together; a context manager that lets them run on at its end.

    A thread is traced by a *thread* of ours: all calls must come from the same one. One that did not stop in
    time (in uninterruptible sleep) cannot be let go by request: when it wakes it stops, until that thread of
    ours ends and the kernel lets it go. So give a session its own thread, which ends soon after `release`.
    """

    def __init__(
        self, pids: Sequence[int], *, cancel: CancelToken | None = None, patience: float = 1.0
    ) -> None:
        """`patience`: seconds that a sleeping thread is waited for after the last one that stopped."""
        self._pids = tuple(dict.fromkeys(pids))
        self._cancel = cancel or CancelToken()
        self._patience = patience
        self._owner = 0
        self._tracees: dict[int, Tracee] = {}
        self._refused: dict[int, StoppedThread] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def stop(self) -> tuple[StoppedThread, ...]:
        """Stop all threads and read their registers; in the order of the pids asked for, main threads first.

        Left out are threads that have ended: a main thread may have while others live, and a process that has
        gone has none. Never fails for one thread or process. Raises Cancelled, with everything let go.
        """
        ptracing.load()
        self._owner = threading.get_native_id()
        self._refused.clear()
        own_children = {pid for pid in self._pids if threads.parent_of(pid) == os.getpid()}
        begin = time.monotonic()
        deadline = begin + 2 * _RUNNING_PATIENCE * self._patience
        try:
            with Reaper(lambda: tuple(self._tracees.values())):
                for nap in _LOOKS:
                    time.sleep(nap)
                    # While one runs it may start others, or end them and take their place by execve(2).
                    while self._seize_new(own_children) or not self._all_stand():
                        self._await_stops(deadline)
                    if not self._has_lost_a_process():
                        break
                    if time.monotonic() > 2 * deadline - begin:
                        break  # a pause must end: better without some registers
        except BaseException:
            self.release()
            raise
        return self._result()

    def quiet_threads(self, pid: int) -> list[int]:
        """The threads of a process that stand and are not just about to take a signal, the main one first."""
        quiet = [t.tid for t in self._tracees.values() if t.pid == pid and t.registers and not t.signal]
        return sorted(quiet, key=lambda tid: (tid != pid, tid))

    def release(self) -> None:
        """Let every thread run on exactly as before; again, to look for threads that stopped late."""
        if not self._tracees:
            return
        if threading.get_native_id() != self._owner:
            raise RuntimeError("a StopSession belongs to the thread that called stop()")
        self._let_go()
        for tracee in self._tracees.values():
            if tracee.is_awaited:
                tracee.interrupt()
        # What stopped late, and what was killed while it stood: a parent cannot see the end of a process
        # while one of its threads is a zombie that we have not reaped.
        deadline = time.monotonic() + _LAST_WAIT
        while self._poll(list(self._tracees.values())) or self._has_unfinished():
            self._let_go()
            if time.monotonic() > deadline:
                break
            time.sleep(_FIRST_NAP)
        self._let_go()

    def _seize_new(self, own_children: set[int]) -> bool:
        """Seize the threads not known yet and ask them to stop; whether to look for more."""
        new = []
        changing = False
        for pid in self._pids:
            for tid in threads.thread_ids(pid):
                self._cancel.check()
                if tid in self._tracees or tid in self._refused:
                    continue
                # Noted before it is seized, or an exception in between would leave it traced.
                tracee = self._tracees[tid] = Tracee(pid, tid, own_child=tid in own_children)
                try:
                    why_not = seize(pid, tid)
                except ProcessLookupError:
                    del self._tracees[tid]
                    # Only a zombie that stays one is settled: by execve(2) others vanish and it comes alive.
                    changing |= threads.thread_state(pid, tid) != "Z"
                    continue
                if why_not:
                    del self._tracees[tid]
                    self._refused[tid] = StoppedThread(pid, tid, None, why_not)
                else:
                    new.append(tracee)
        for tracee in new:
            tracee.interrupt()
        return bool(new) or changing

    def _await_stops(self, deadline: float) -> None:
        """Wait until every thread stands, has ended or is given up; `deadline`: when all patience ends."""
        nap = _FIRST_NAP
        last_news = time.monotonic()
        while awaited := [tracee for tracee in self._tracees.values() if tracee.is_awaited]:
            self._cancel.check()
            now = time.monotonic()
            if self._poll(awaited):
                last_news, nap = now, _FIRST_NAP
                continue
            quiet = now - last_news
            for tracee in awaited if nap == _LONGEST_NAP else ():
                # By execve(2) another thread may have its number now: one of ours, to be asked, or none.
                ours = tracee.interrupt()
                tracee.look_for_end()
                if not (ours or tracee.ended):
                    del self._tracees[tracee.tid]
                elif not tracee.ended and (quiet > self._patience or now > deadline):
                    tracee.given_up = self._why_give_up(tracee, quiet, late=now > deadline)
            time.sleep(nap)
            nap = min(2 * nap, _LONGEST_NAP)

    def _why_give_up(self, tracee: Tracee, quiet: float, *, late: bool) -> str:
        """The reason to give a thread up, "" to wait on."""
        if threads.thread_state(tracee.pid, tracee.tid) == "D":
            place = threads.sleeping_place(tracee.pid, tracee.tid)
            return "is in uninterruptible sleep" + (f" ({place})" if place else "")
        if late or quiet > _RUNNING_PATIENCE * self._patience:
            return f"did not stop within {quiet:.0f} s"
        return ""

    def _has_lost_a_process(self) -> bool:
        """Whether a process seems to have nothing but a zombie: by execve(2) it can come alive at once."""
        found = {thread.pid for thread in self._result()}
        return any(pid not in found and threads.thread_ids(pid) for pid in self._pids)

    def _all_stand(self) -> bool:
        """Whether all that were seen to stop still stand, and nobody else is to be waited for."""
        stand = True
        for tracee in list(self._tracees.values()):
            if tracee.given_up:
                continue
            try:
                stand &= tracee.still_stands()
            except ChildProcessError:
                del self._tracees[tracee.tid]
                stand = False
        return stand

    def _poll(self, tracees: list[Tracee]) -> bool:
        """Look at each once, forget those that have gone; whether there was news of any."""
        news = False
        for tracee in tracees:
            try:
                news |= tracee.poll()
            except ChildProcessError:
                del self._tracees[tracee.tid]
                news = True
        return news

    def _let_go(self) -> None:
        """Detach all that stand; those killed while they stood stay known, until reaped, as awaited ones."""
        for tracee in list(self._tracees.values()):
            if tracee.registers:
                try:
                    tracee.let_go()
                    del self._tracees[tracee.tid]
                except ProcessLookupError:
                    tracee.registers = None

    def _has_unfinished(self) -> bool:
        """Whether some will stop, or can be reaped, in a moment."""
        return any(tracee.is_awaited for tracee in self._tracees.values())

    def _result(self) -> tuple[StoppedThread, ...]:
        """What stop() returns."""
        found = dict(self._refused)
        for tracee in self._tracees.values():
            if not tracee.ended:
                why_not = "did not stop in time" if tracee.is_awaited else tracee.given_up
                found[tracee.tid] = StoppedThread(tracee.pid, tracee.tid, tracee.registers, why_not)
        place = {pid: position for position, pid in enumerate(self._pids)}
        return tuple(sorted(found.values(), key=lambda t: (place[t.pid], t.tid != t.pid, t.tid)))
