"""Waits for a lock on a file: flock(2), fcntl(2); who holds it is in fdinfo and proc_locks(5)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from snaptui.engine.inspect.waits.descriptors import Descriptors
from snaptui.engine.inspect.waits.facts import Program, Thread
from snaptui.engine.inspect.waits.finding import Finding, Target

_LOCK: Final = re.compile(
    r"^(?:lock:\s*)?\d+: (FLOCK|POSIX|OFDLCK)\s+\S+\s+(\S+)\s+(-?\d+)\s+\S+:(\d+) (\d+) (\d+|EOF)(?: (.*))?$",
    re.MULTILINE,
)
"""A lock that is held: kind, READ or WRITE, pid, inode, first and last byte; behind them the holder's name,
where it was recorded."""
_END: Final = 1 << 63
_FLOCK: Final = struct.Struct("<hh4xqq")  # struct flock (fcntl.h): l_type, l_whence, l_start, l_len
_F_RDLCK, _LOCK_SH = 0, 1  # fcntl.h, sys/file.h
_SEEK_SET, _SEEK_CUR = 0, 1  # unistd.h


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The lock that a thread waits for."""

    kinds: tuple[str, ...]
    inode: str
    is_shared: bool
    """Whether it only excludes those that write."""
    start: int = 0
    end: int = _END
    """Behind the last byte."""

    def conflicts(self, kind: str, mode: str, inode: str, first: str, last: str) -> bool:
        """Whether a lock that is held, as the kernel lists it, keeps this one away."""
        end = _END if last == "EOF" else int(last) + 1
        return (
            kind in self.kinds
            and inode == self.inode
            and not (self.is_shared and mode == "READ")
            and int(first) < self.end
            and self.start < end
        )


def lock_finding(
    thread: Thread, number: int, programs: Mapping[int, Program], descriptors: Descriptors
) -> Finding:
    """What a thread in flock(2) or fcntl(2) waits for."""
    assert thread.call is not None
    name = thread.call.name
    link = descriptors.link(thread.process, number)
    what = f"the lock on {link or f'descriptor {number}'}"
    evidence = f"{name}(2), and the locks that the kernel listed"
    for holder, said, through in _holders(_wanted(thread, number), thread, programs):
        if holder == thread.pid:
            return _held_by_itself(thread, what, through, evidence)
        if holder in programs:
            target = (Target(holder, 0, what),)
            sentence = f"waits for {what}, held by process {holder} ({programs[holder].name})"
            return Finding("lock file", sentence, evidence, target)
        return Finding("lock file", f"waits for {what}, {_outside(holder, said)}", evidence)
    return Finding("lock file", f"waits for {what}; who holds it is not recorded", f"{name}(2)")


def _outside(holder: int, name: str) -> str:
    """Who holds a lock outside of the snapshot."""
    if holder < 0:
        return "held outside of the snapshot: the kernel does not tell the process of an open file's lock"
    if name:
        return f"held by process {holder} ({name}), which is not in the snapshot"
    inherits = "it may have ended, and its children hold the open file"
    return f"taken by process {holder}, which is not in the snapshot ({inherits})"


def _held_by_itself(thread: Thread, what: str, through: str, evidence: str) -> Finding:
    """A lock that another open file of the same process has."""
    sentence = f"waits for {what}, which this process holds itself, through descriptor {through}"
    if len(thread.process.threads) > 1:
        return Finding("lock file", sentence, evidence, anyone=True)
    return Finding("lock file", sentence, evidence, (Target(thread.pid, thread.tid, what),))


def _wanted(thread: Thread, number: int) -> _Wanted:
    assert thread.call is not None
    call, program = thread.call, thread.process
    inode = program.status("ino", f"fdinfo/{number}")
    if call.name == "flock":
        return _Wanted(("FLOCK",), inode, bool(call.arguments[1] & _LOCK_SH))
    kinds = ("POSIX", "OFDLCK")
    content = program.memory(call.arguments[2], _FLOCK.size)
    if not content:
        return _Wanted(kinds, inode, is_shared=False)
    mode, whence, start, length = _FLOCK.unpack(content)
    if whence == _SEEK_CUR:
        start += int(program.status("pos", f"fdinfo/{number}") or 0)
    elif whence != _SEEK_SET:
        return _Wanted(kinds, inode, mode == _F_RDLCK)  # from the end, which is not recorded
    first, last = sorted((start, start + length if length else _END))
    return _Wanted(kinds, inode, mode == _F_RDLCK, first, last)


def _holders(
    wanted: _Wanted, thread: Thread, programs: Mapping[int, Program]
) -> Iterator[tuple[int, str, str]]:
    """Who holds a lock that keeps it away: pid, name where recorded, descriptor; others first."""
    found: list[tuple[int, str, str]] = []
    for pid, program in programs.items():
        for member in program.linux.names():
            if member.startswith("fdinfo/"):
                for kind, mode, holder, inode, first, last, said in _LOCK.findall(program.text(member)):
                    # Of an open file that was inherited the pid is that of who locked it.
                    known = int(holder) if int(holder) in programs else pid
                    # A process does not wait for its own POSIX locks: it replaces them.
                    own = kind == "POSIX" and known == thread.pid
                    if wanted.conflicts(kind, mode, inode, first, last) and not own:
                        found.append((known, said, member.rpartition("/")[2]))
    yield from sorted(found, key=lambda one: one[0] == thread.pid)
    for kind, mode, holder, inode, first, last, said in _LOCK.findall(thread.process.text("locks")):
        if wanted.conflicts(kind, mode, inode, first, last) and int(holder) != thread.pid:
            yield int(holder), said, ""
