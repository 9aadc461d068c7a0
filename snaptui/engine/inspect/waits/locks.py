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
    for holder, said in _holders(kind, inode[1] if inode else "", thread, programs):
        if holder in programs:
            target = (Target(holder, 0, what),)
            sentence = f"waits for {what}, held by process {holder} ({programs[holder].name})"
            return Finding("lock file", sentence, evidence, target)
        named = f" ({said})" if said else ""
        sentence = f"waits for {what}, held by process {holder}{named}, which is not in the snapshot"
        return Finding("lock file", sentence, evidence)
    return Finding("lock file", f"waits for {what}; who holds it is not recorded", f"{name}(2)")


def _holders(
    kinds: tuple[str, ...], inode: str, thread: Thread, programs: Mapping[int, Program]
) -> Iterator[tuple[int, str]]:
    """The pids of those who hold a lock of these kinds on that inode, and their names where recorded."""
    for pid, program in programs.items():
        for member in program.linux.names():
            if member.startswith("fdinfo/"):
                for kind, holder, file, said in _LOCK.findall(program.text(member)):
                    if kind in kinds and file.rpartition(":")[2] == inode and pid != thread.pid:
                        # Of an open file that was inherited the pid is that of who locked it.
                        yield (int(holder) if int(holder) in programs else pid), said
    for kind, holder, file, said in _LOCK.findall(thread.process.text("locks")):
        if kind in kinds and file.rpartition(":")[2] == inode and int(holder) != thread.pid:
            yield int(holder), said
