"""What a thread waits for, by the system call that it is in: section 2 of the manual."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Final

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.waits.descriptors import Descriptors, Use
from snaptui.engine.inspect.waits.facts import Program, Thread
from snaptui.engine.inspect.waits.finding import Finding, Target
from snaptui.engine.inspect.waits.futexes import futex_finding
from snaptui.engine.inspect.waits.locks import lock_finding

_READS: Final = ("read", "pread64", "readv", "preadv", "preadv2", "recvfrom", "recvmsg", "recvmmsg", "splice")
_WRITES: Final = ("write", "pwrite64", "writev", "pwritev", "sendto", "sendmsg", "sendmmsg", "sendfile")
_SLEEPS: Final = ("nanosleep", "clock_nanosleep", "restart_syscall")
_SIGNALS: Final = ("pause", "rt_sigsuspend", "rt_sigtimedwait", "sigsuspend")
_POLLS: Final = ("poll", "ppoll", "select", "pselect6", "_newselect")
_EPOLLS: Final = ("epoll_wait", "epoll_pwait", "epoll_pwait2")
_OPENS: Final = {"open": 0, "openat": 1, "openat2": 1, "creat": 0}
"""The argument that is the path."""
_P_PID, _P_PIDFD = 1, 3  # linux/wait.h
_F_SETLKW, _F_OFD_SETLKW = 7, 38  # fcntl.h
_POLLFD: Final = struct.Struct("<ihh")
_POLL_MAX: Final = 64  # descriptors that are named


class Calls:
    """Explains system calls, with what is known of all processes."""

    def __init__(self, programs: Mapping[int, Program], descriptors: Descriptors) -> None:
        self._programs, self._descriptors = programs, descriptors

    def finding(self, thread: Thread) -> Finding | None:
        """What the thread waits for in its call; None if it is in none."""
        call = thread.call
        if call is None:
            return None
        name, first = call.name, call.arguments[0] if call.arguments else 0
        if name == "futex":
            return futex_finding(thread, self._programs)
        if name in _READS:
            return self._transfer(thread, first, "read")
        if name in _WRITES:
            return self._transfer(thread, first, "write")
        if name in ("wait4", "waitid", "waitpid"):
            return self._child(thread)
        if name in _SLEEPS:
            return self._sleep(thread)
        if name in _POLLS or name in _EPOLLS:
            return self._poll(thread)
        if name in _SIGNALS:
            timed = name == "rt_sigtimedwait" and call.arguments[2] != 0
            return Finding(
                "signal", f"waits for a signal in {name}()", _call_text(thread), timed=timed, outside=True
            )
        if name in ("accept", "accept4"):
            what = self._descriptors.name(thread.process, first)
            return Finding("accept", f"waits for a connection at {what}", _call_text(thread), outside=True)
        if name == "connect":
            return self._connect(thread, first)
        if name in _OPENS:
            return self._open(thread)
        if name == "flock" or (name == "fcntl" and call.arguments[1] in (_F_SETLKW, _F_OFD_SETLKW)):
            return lock_finding(thread, first, self._programs, self._descriptors)
        place = f" in {thread.place}" if thread.place else ""
        return Finding("call", f"waits in the system call {name}(){place}", _call_text(thread), outside=True)

    def _transfer(self, thread: Thread, number: int, use: Use) -> Finding:
        program = thread.process
        what = self._descriptors.name(program, number)
        link = self._descriptors.link(program, number)
        verb = "to read from" if use == "read" else "to write to"
        if self._descriptors.is_terminal(program, number):
            return Finding(
                "input", f"waits for input at the terminal, {what}", _call_text(thread), outside=True
            )
        if link == "anon_inode:[timerfd]":
            return Finding("sleep", f"waits for a timer, {what}", _call_text(thread), timed=True)
        other = self._descriptors.other_end(program, number, use)
        said = f": {other.said}" if other.said else ""
        anyone = link == "anon_inode:[eventfd]"
        return Finding(
            use,
            f"waits {verb} {what}{said}",
            _call_text(thread),
            other.targets,
            outside=other.outside and not anyone,
            anyone=anyone,
        )

    def _connect(self, thread: Thread, number: int) -> Finding:
        what = self._descriptors.name(thread.process, number)
        other = self._descriptors.other_end(thread.process, number, "read")
        said = f": {other.said}" if other.said else ""
        return Finding(
            "connect",
            f"waits to connect {what}{said}",
            _call_text(thread),
            other.targets,
            outside=other.outside,
        )

    def _open(self, thread: Thread) -> Finding:
        assert thread.call is not None
        path = thread.process.string(thread.call.arguments[_OPENS[thread.call.name]])
        kernel = thread.kernel_stack
        if "wait_for_partner" in kernel or "fifo_open" in kernel:
            sentence = f"waits to open the named pipe {path}: nobody has opened its other end"
        else:
            sentence = f"waits to open {path}"
        return Finding("open", sentence, _call_text(thread), outside=True)

    def _child(self, thread: Thread) -> Finding:
        which, of_one = _child_of_call(thread)
        if of_one:
            child = self._programs.get(which)
            if child is None:
                said = f"waits for its child {which} to end, which is not in the snapshot"
                return Finding("child", said, _call_text(thread), outside=True)
            target = (Target(which, 0, "its end"),)
            return Finding(
                "child", f"waits for its child {which} ({child.name}) to end", _call_text(thread), target
            )
        children = [one for one in self._programs.values() if one.status("PPid") == str(thread.pid)]
        names = ", ".join(f"{child.pid} ({child.name})" for child in children)
        said = f": in the snapshot that is {names}" if children else ": none of them is in the snapshot"
        targets = tuple(Target(child.pid, 0, "its end") for child in children)
        return Finding(
            "child",
            f"waits for any of its children to end{said}",
            _call_text(thread),
            targets,
            outside=not children,
        )

    def _sleep(self, thread: Thread) -> Finding:
        assert thread.call is not None
        call = thread.call
        place = f" in {thread.place}" if thread.place else ""
        if call.name == "restart_syscall":
            return Finding("sleep", f"sleeps{place}", _call_text(thread), timed=True)
        at = call.arguments[0] if call.name == "nanosleep" else call.arguments[2]
        absolute = call.name == "clock_nanosleep" and call.arguments[1] & 1
        seconds = _timespec(thread.process, at)
        if seconds is None:
            length = ""
        elif absolute:
            now = thread.process.clock(call.arguments[0])
            length = f" for another {seconds - now:.3f} s" if now else f" until {seconds:.3f} s of its clock"
        else:
            length = f" for {seconds:.6g} s"
        return Finding("sleep", f"sleeps{length}{place}", _call_text(thread), timed=True)

    def _poll(self, thread: Thread) -> Finding:
        assert thread.call is not None
        call, program = thread.call, thread.process
        place = f" in {thread.place}" if thread.place else ""
        numbers = self._polled(thread)
        timed = self._is_timed(thread)
        if not numbers:
            kind = "sleep" if timed else "poll"
            words = f"sleeps{place}" if timed else f"waits in {call.name}(){place}"
            return Finding(
                kind, f"{words}, watching no descriptor", _call_text(thread), timed=timed, outside=True
            )
        names = ", ".join(self._descriptors.name(program, number) for number in numbers[:4])
        more = f" and {len(numbers) - 4} more" if len(numbers) > 4 else ""
        ends = [self._descriptors.other_end(program, number, "read") for number in numbers]
        targets = tuple(dict.fromkeys(target for end in ends for target in end.targets))
        return Finding(
            "poll",
            f"waits in {call.name}() for {names}{more}",
            _call_text(thread),
            targets,
            timed=timed,
            outside=any(end.outside for end in ends),
        )

    def _polled(self, thread: Thread) -> tuple[int, ...]:
        assert thread.call is not None
        call, program = thread.call, thread.process
        if call.name in _EPOLLS:
            return self._descriptors.watched(program, call.arguments[0])
        if call.name in ("poll", "ppoll"):
            count = min(call.arguments[1], _POLL_MAX)
            content = _memory(program, call.arguments[0], count * _POLLFD.size)
            return tuple(number for number, _, _ in _POLLFD.iter_unpack(content) if number >= 0)
        count = min(call.arguments[0], 1024)
        watched = set()
        for address in call.arguments[1:4]:
            bits = int.from_bytes(_memory(program, address, -(-count // 8)), "little") if address else 0
            watched |= {number for number in range(count) if bits >> number & 1}
        # While select waits its sets are still those that were asked for.
        return tuple(sorted(watched))

    def _is_timed(self, thread: Thread) -> bool:
        assert thread.call is not None
        call = thread.call
        if call.name in ("epoll_wait", "epoll_pwait"):
            return call.arguments[3] & 0xFFFFFFFF < 1 << 31
        if call.name == "poll":
            return call.arguments[2] & 0xFFFFFFFF < 1 << 31
        where = {"ppoll": 2, "epoll_pwait2": 3}.get(call.name, 4)
        return len(call.arguments) > where and call.arguments[where] != 0


def _child_of_call(thread: Thread) -> tuple[int, bool]:
    """The pid that a thread in wait4(2) or waitid(2) waits for, and whether it is of one child."""
    assert thread.call is not None
    kind, which = thread.call.arguments[:2]
    if thread.call.name != "waitid":
        return kind, 0 < kind < 1 << 31
    if kind == _P_PIDFD:
        found = re.search(r"^Pid:\s*(\d+)", thread.process.text(f"fdinfo/{which}"), re.MULTILINE)
        return (int(found[1]), True) if found else (0, False)
    return which, kind == _P_PID


def _call_text(thread: Thread) -> str:
    assert thread.call is not None
    return (
        f"the system call {thread.call.name}({', '.join(f'{value:#x}' for value in thread.call.arguments)})"
    )


def _timespec(program: Program, address: int) -> float | None:
    seconds, nanoseconds = program.number(address, 8), program.number(address + 8, 8)
    if seconds is None or nanoseconds is None or nanoseconds >= 10**9:
        return None
    return seconds + nanoseconds / 1e9


def _memory(program: Program, address: int, length: int) -> bytes:
    try:
        return program.process.read_memory(address, length) if length else b""
    except SnapError:
        return b""
