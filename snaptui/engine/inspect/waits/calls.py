"""What a thread waits for, by the system call that it is in: section 2 of the manual."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from snaptui.engine.inspect.waits.descriptors import Descriptors
from snaptui.engine.inspect.waits.facts import Program, Thread, call_text, signal_names, timespec
from snaptui.engine.inspect.waits.finding import Finding, Target
from snaptui.engine.inspect.waits.futexes import futex_finding
from snaptui.engine.inspect.waits.locks import lock_finding
from snaptui.engine.inspect.waits.messages import CALLS as MESSAGES
from snaptui.engine.inspect.waits.messages import message_finding
from snaptui.engine.inspect.waits.polls import CALLS as POLLS
from snaptui.engine.inspect.waits.polls import poll_finding
from snaptui.engine.inspect.waits.transfers import OPENS, READS, WRITES, Transfers

_SLEEPS: Final = ("nanosleep", "clock_nanosleep", "restart_syscall")
_SIGNALS: Final = ("pause", "rt_sigsuspend", "rt_sigtimedwait", "sigsuspend")
_P_ALL, _P_PID, _P_PGID, _P_PIDFD = range(4)  # linux/wait.h
_F_SETLKW, _F_OFD_SETLKW = 7, 38  # fcntl.h
_CLONE_VFORK: Final = 0x4000  # linux/sched.h


class Calls:
    """Explains system calls, with what is known of all processes."""

    def __init__(self, programs: Mapping[int, Program], descriptors: Descriptors) -> None:
        self._programs, self._descriptors = programs, descriptors
        self._transfers = Transfers(descriptors)

    def finding(self, thread: Thread) -> Finding | None:
        """What the thread waits for in its call; None if it is in none."""
        call = thread.call
        if call is None:
            return None
        name, first = call.name, call.arguments[0] if call.arguments else 0
        if name == "futex":
            return futex_finding(thread, self._programs)
        if name in READS or name in WRITES:
            return self._transfers.transfer(thread, first, "read" if name in READS else "write")
        if name in ("wait4", "waitid", "waitpid"):
            return self._child(thread)
        if name in _SLEEPS:
            return _sleep(thread)
        if name in POLLS:
            return poll_finding(thread, self._descriptors)
        if name in _SIGNALS:
            return _signal(thread)
        if name in ("accept", "accept4"):
            what = self._descriptors.name(thread.process, first)
            return Finding("accept", f"waits for a connection at {what}", call_text(thread), outside=True)
        if name == "connect":
            return self._transfers.connect(thread, first)
        if name in OPENS:
            return self._transfers.open(thread)
        if name == "flock" or (name == "fcntl" and call.arguments[1] in (_F_SETLKW, _F_OFD_SETLKW)):
            return lock_finding(thread, first, self._programs, self._descriptors)
        if name in MESSAGES:
            return message_finding(thread, self._descriptors)
        place = f" in {thread.place}" if thread.place else ""
        return Finding("call", f"waits in the system call {name}(){place}", call_text(thread), outside=True)

    def vforked(self, thread: Thread) -> Finding | None:
        """A wait of vfork(2), for the child to call execve(2) or to end; None if it is no such."""
        call = thread.call
        if call is None or call.name not in ("vfork", "clone", "clone3"):
            return None
        flags = call.arguments[0] if call.arguments else 0
        if call.name == "clone3":  # its argument is a structure, which begins with them
            flags = thread.process.number(flags, 8) or 0
        if call.name != "vfork" and not flags & _CLONE_VFORK:
            return None
        children = self._children(thread)
        names = " or ".join(f"{child.pid} ({child.name})" for child in children)
        said = f"waits in {call.name}() for its child {names or 'that is not in the snapshot'}"
        targets = tuple(Target(child.pid, 0, "its end or execve()") for child in children)
        sentence = f"{said} to call execve(), or to end"
        return Finding("child", sentence, call_text(thread), targets, outside=not children)

    def _children(self, thread: Thread) -> list[Program]:
        return [one for one in self._programs.values() if one.status("PPid") == str(thread.pid)]

    def _child(self, thread: Thread) -> Finding:
        kind, which = _child_of_call(thread)
        children = self._children(thread)
        if kind == _P_PID:
            # Inside of a container the parent knows its child by another number.
            child = self._programs.get(which) or next(
                (one for one in children if one.inner_pid == which), None
            )
            if child is None:
                said = f"waits for its child {which} to end, which is not in the snapshot"
                return Finding("child", said, call_text(thread), outside=True)
            target = (Target(child.pid, 0, "its end"),)
            said = f"waits for its child {child.pid} ({child.name}) to end"
            return Finding("child", said, call_text(thread), target)
        group = ""
        if kind == _P_PGID:
            which = which or int(thread.process.stat(5) or 0)
            children = [child for child in children if child.stat(5) == str(which)]
            group = f" in the process group {which}"
        names = ", ".join(f"{child.pid} ({child.name})" for child in children)
        said = f": in the snapshot that is {names}" if children else ": none of them is in the snapshot"
        targets = tuple(Target(child.pid, 0, "its end") for child in children)
        sentence = f"waits for any of its children{group} to end{said}"
        return Finding("child", sentence, call_text(thread), targets, outside=not children)


def _child_of_call(thread: Thread) -> tuple[int, int]:
    """What a thread in wait4(2) or waitid(2) waits for, in waitid's terms: the kind of id, and the id."""
    assert thread.call is not None
    kind, which = thread.call.arguments[:2]
    if thread.call.name != "waitid":
        pid = (kind & 0xFFFF_FFFF ^ 1 << 31) - (1 << 31)  # the register holds an int
        if pid > 0:
            return _P_PID, pid
        return (_P_ALL, 0) if pid == -1 else (_P_PGID, -pid)
    if kind == _P_PIDFD:
        found = re.search(r"^Pid:\s*(\d+)", thread.process.text(f"fdinfo/{which}"), re.MULTILINE)
        return (_P_PID, int(found[1])) if found else (_P_ALL, 0)
    return kind, which


def _signal(thread: Thread) -> Finding:
    assert thread.call is not None
    call, which, timed, limit = thread.call, "a signal", False, ""
    if call.name == "rt_sigtimedwait":
        names = signal_names(thread.process.number(call.arguments[0], 8) or 0)
        which = f"one of the signals {names}" if "," in names else f"the signal {names}" if names else which
        timed = call.arguments[2] != 0
        seconds = timespec(thread.process, call.arguments[2]) if timed else None
        limit = f", for at most {seconds:.6g} s" if seconds is not None else ""
    sentence = f"waits for {which} in {call.name}(){limit}"
    return Finding("signal", sentence, call_text(thread), timed=timed, outside=True)


def _sleep(thread: Thread) -> Finding:
    assert thread.call is not None
    call = thread.call
    place = f" in {thread.place}" if thread.place else ""
    if call.name == "restart_syscall":
        return Finding("sleep", f"sleeps{place}", call_text(thread), timed=True)
    at = call.arguments[0] if call.name == "nanosleep" else call.arguments[2]
    absolute = call.name == "clock_nanosleep" and call.arguments[1] & 1
    seconds = timespec(thread.process, at)
    if seconds is None:
        length = ""
    elif absolute:
        now = thread.process.clock(call.arguments[0])
        length = f" for another {seconds - now:.3f} s" if now else f" until {seconds:.3f} s of its clock"
    else:
        length = f" for {seconds:.6g} s"
    return Finding("sleep", f"sleeps{length}{place}", call_text(thread), timed=True)
