"""Waits for a lock on a file: flock(2), fcntl(2); who holds it is in fdinfo and proc_locks(5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from snaptui.engine.inspect.waits.descriptors import Descriptors
from snaptui.engine.inspect.waits.facts import Program, Thread
from snaptui.engine.inspect.waits.finding import Finding, Target

_LOCK: Final = re.compile(
    r"^(?:lock:\s*)?\d+: (FLOCK|POSIX|OFDLCK)\s+\S+\s+\S+\s+(-?\d+)\s+(\S+:\d+) \S+ \S+(?: (.*))?$",
    re.MULTILINE,
)
"""A lock that is held: kind, pid, device and inode; behind them the holder's name, where it was recorded."""


def lock_finding(
    thread: Thread, number: int, programs: Mapping[int, Program], descriptors: Descriptors
) -> Finding:
    """What a thread in flock(2) or fcntl(2) waits for."""
    assert thread.call is not None
    name = thread.call.name
    link = descriptors.link(thread.process, number)
    what = f"the lock on {link or f'descriptor {number}'}"
    kind = ("FLOCK",) if name == "flock" else ("POSIX", "OFDLCK")
    inode = re.search(r"^ino:\s*(\d+)", thread.process.text(f"fdinfo/{number}"), re.MULTILINE)
    evidence = f"{name}(2), and the locks that the kernel listed"
    for holder, said, through in _holders(kind, inode[1] if inode else "", thread, programs):
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


def _holders(
    kinds: tuple[str, ...], inode: str, thread: Thread, programs: Mapping[int, Program]
) -> Iterator[tuple[int, str, str]]:
    """Who holds a lock of these kinds on that inode: pid, name where recorded, descriptor; others first."""
    found: list[tuple[int, str, str]] = []
    for pid, program in programs.items():
        for member in program.linux.names():
            if member.startswith("fdinfo/"):
                for kind, holder, file, said in _LOCK.findall(program.text(member)):
                    # Of an open file that was inherited the pid is that of who locked it.
                    known = int(holder) if int(holder) in programs else pid
                    # A process does not wait for its own POSIX locks: it replaces them.
                    own = kind == "POSIX" and known == thread.pid
                    if kind in kinds and file.rpartition(":")[2] == inode and not own:
                        found.append((known, said, member.rpartition("/")[2]))
    yield from sorted(found, key=lambda one: one[0] == thread.pid)
    for kind, holder, file, said in _LOCK.findall(thread.process.text("locks")):
        if kind in kinds and file.rpartition(":")[2] == inode and int(holder) != thread.pid:
            yield int(holder), said, ""
