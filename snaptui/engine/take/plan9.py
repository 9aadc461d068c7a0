"""Plan 9's /proc files of a Linux process, made from the files of Linux's /proc.

Pure functions: all comes from the bytes that were read. The formats are those of Plan 9's proc(3), as the
readers of snap(6) know them; a Linux file that is missing leaves out the file made from it.
"""

from __future__ import annotations

import os
import re
from collections import abc
from typing import Final, NamedTuple

from snaptui.engine.snapfile.linux import Link
from snaptui.engine.snapfile.mappings import Mapping, parse_maps
from snaptui.engine.take.procstat import (
    USER_HZ,
    Stat,
    base_name,
    full_name,
    parse_stat,
    resident_size,
    state_name,
    text_of,
)
from snaptui.engine.take.syscalls import parse_syscall

Record = abc.Mapping[str, bytes | Link]
"""Files by their names within /proc/PID."""

_MS_PER_TICK: Final = 1000 // USER_HZ
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_RC_SPECIAL: Final = re.compile(r"[\s#^*\[\]=|\\?${}()'<>&;`~]")  # rc(1): what a word holds only in quotes
_O_DIRECTORY: Final = {"aarch64": 0o40000, "armv7l": 0o40000}  # asm/fcntl.h; elsewhere as on x86
_O_DIRECTORY_X86: Final = 0o200000


def plan9_files(
    pid: int, record: Record, *, user: str, uptime: float, machine: str = os.uname().machine
) -> dict[str, bytes]:
    """The records `status segment fd ns noteid kregs` of snap(6).

    `record` holds kernel_state and process_files; `user` is the login name, `uptime` the seconds since boot
    (CLOCK_BOOTTIME) when the state was read.
    """
    files: dict[str, bytes] = {}
    stat = _bytes(record, "stat")
    if stat:
        process = parse_stat(stat)
        resident = resident_size(_bytes(record, "status"))
        files["status"] = status(
            process, _name(process, record), user, _state(process, record, machine), resident, uptime
        )
        files["noteid"] = b"%11d " % process.pgrp
    if maps := _bytes(record, "maps"):
        files["segment"] = segment(maps, _target(record, "exe"))
    if "cwd" in record:
        files["fd"] = fd(record, machine)
    if mounts := _bytes(record, "mountinfo"):
        files["ns"] = ns(mounts, _target(record, "cwd"))
    files["kregs"] = kregs(pid, record, machine)
    return files


def status(stat: Stat, name: str, user: str, state: str, resident: int, uptime: float) -> bytes:
    """The 176 bytes of `status`: names, state, times in ms, memory in KiB, priorities.

    `resident` is in bytes: what is merely reserved says nothing of a Linux process. `uptime` is in seconds.
    Plan 9's priorities go from 0 to 19 with 10 as usual, the higher the better; nice values go the other way.
    """
    priority = min(19, 10 - stat.nice // 2)
    numbers = (
        stat.utime * _MS_PER_TICK,
        stat.stime * _MS_PER_TICK,
        int(uptime * 1000) - stat.start_ticks * _MS_PER_TICK,
        stat.children_utime * _MS_PER_TICK,
        stat.children_stime * _MS_PER_TICK,
        0,  # the children's real time: Linux keeps only what they used of the processor
        resident // 1024,
        priority,
        priority,
    )
    texts = _column(name, 27) + _column(user, 27) + _column(state, 11)
    return texts + b"".join(b"%11d " % min(max(number, 0), 99_999_999_999) for number in numbers)


def fd(record: Record, machine: str) -> bytes:
    """The current directory, then the open descriptors, from the links fd/N and the files fdinfo/N.

    The mount's number stands for Plan 9's device, and the inode's for the qid's path.
    """
    lines = [_raw(_target(record, "cwd"))]
    numbers = sorted(int(name[3:]) for name in record if name.startswith("fd/"))
    directory_flag = _O_DIRECTORY.get(machine, _O_DIRECTORY_X86)
    for number in numbers:
        info = dict(re.findall(rb"^(\w+):\s*(\w+)", _bytes(record, f"fdinfo/{number}"), re.MULTILINE))
        flags = int(info.get(b"flags", b"0"), 8)
        mode = ("r", "w", "rw", "rw")[flags & os.O_ACCMODE]
        kind = 0x80 if flags & directory_flag else 0  # a qid's type: QTDIR of Plan 9's libc.h
        device, inode, offset = (int(info.get(key, b"0")) for key in (b"mnt_id", b"ino", b"pos"))
        line = f"{number:3d} {mode:2s} c {device:4d} ({inode:016x} 0 {kind:02x}) {0:5d} {offset:8d} "
        lines.append(line.encode() + _raw(_target(record, f"fd/{number}")))
    return b"".join(line + b"\n" for line in lines)


def ns(mountinfo: bytes, directory: str) -> bytes:
    """The name space as rc commands that would build it: `mount [-c] SOURCE TARGET [ROOT]`, then `cd DIR`.

    A mount that may be written has `-c`; ROOT is there if not the whole file system is mounted
    (proc_pid_mountinfo(5)).
    """
    lines = []
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(b" - ")
        fields, end = head.split(b" "), tail.split(b" ")
        if len(fields) < 6 or len(end) < 2:
            continue
        words = [b"mount"] + ([b"-c"] if b"rw" in fields[5].split(b",") else [])
        words += [_quoted(_unescaped(end[1])), _quoted(_unescaped(fields[4]))]
        if fields[3] != b"/":
            words.append(_quoted(_unescaped(fields[3])))
        lines.append(b" ".join(words) + b"\n")
    lines.append(b"cd " + _quoted(directory) + b"\n")
    return b"".join(lines)


def kregs(pid: int, record: Record, machine: str) -> bytes:
    """Where each thread hangs, for people: state, system call, wait channel, kernel stack."""
    tids = {int(name.split("/")[1]) for name in record if name.startswith("task/")}
    pieces = []
    for tid in sorted(tids, key=lambda tid: (tid != pid, tid)):
        prefix = f"task/{tid}/"
        stat = _bytes(record, prefix + "stat")
        if not stat:  # one that came, or could be seen, only after the states were read
            continue
        thread = parse_stat(stat)
        pieces.append(f"thread {tid} {_clean(thread.comm)}\nstate {thread.state}\n")
        if call := _call_text(_bytes(record, prefix + "syscall"), machine):
            pieces.append(f"syscall {call}\n")
        wchan = text_of(_bytes(record, prefix + "wchan"))
        if wchan not in ("", "0"):
            pieces.append(f"wchan {wchan}\n")
        if stack := text_of(_bytes(record, prefix + "stack")).splitlines():
            # The kernel writes `[<0>] function+offset/size`: the address has been hidden for years.
            pieces += ["stack\n", *(f"\t{line.removeprefix('[<0>] ')}\n" for line in stack)]
        pieces.append("\n")
    return os.fsencode("".join(pieces))


def _call_text(line: bytes, machine: str) -> str:
    call = parse_syscall(line)
    if call is None:
        return "none: runs" if line.startswith(b"running") else ("none: waits in the kernel" if line else "")
    arguments = ", ".join(f"{argument:#x}" for argument in call.arguments)
    where = f"sp {call.stack_pointer:#x} pc {call.program_counter:#x}"
    return f"{call.number} {call.name(machine) or 'unknown'}({arguments}) {where}"


class _Line(NamedTuple):
    """A line of `segment`: one mapping, or several that go together."""

    start: int
    end: int
    kind: str
    read_only: bool
    rank: int
    """How early it comes: readers look at 128 lines at most."""

    def goes_on_as(self, other: _Line) -> bool:
        """Whether the other is the same kind of thing, right behind."""
        same = (self.kind, self.read_only, self.rank) == (other.kind, other.read_only, other.rank)
        return same and self.end == other.start


def segment(maps: bytes, executable: str) -> bytes:
    """The mappings as Plan 9's segments, the most telling first: the executable's, the heap, the stack.

    Neighbours of one type are one line. Order means nothing to a reader, but the original ones
    read 128 lines only.
    """
    joined: list[_Line] = []
    for line in _classified(parse_maps(maps), executable.removesuffix(" (deleted)")):
        if joined and joined[-1].goes_on_as(line):
            joined[-1] = joined[-1]._replace(end=line.end)
        else:
            joined.append(line)
    joined.sort(key=lambda line: (line.rank, line.start))
    return "".join(
        f"{line.kind:6s} {'R' if line.read_only else ' '}  {line.start:8x} {line.end:8x} {1:4d}\n"
        for line in joined
    ).encode()


def _classified(mappings: abc.Sequence[Mapping], executable: str) -> list[_Line]:
    images = {mapping.path for mapping in mappings if mapping.is_executable and mapping.path.startswith("/")}
    lines = []
    previous = ""  # whose anonymous memory may follow as its bss
    for mapping in mappings:
        path = mapping.path
        kind = _kind(mapping, path in images)
        is_main = bool(executable) and (path == executable or (not path and previous == executable))
        rank = _rank(kind, path, is_main)
        lines.append(_Line(mapping.start, mapping.end, kind, not mapping.is_writable, rank))
        previous = path
    return lines


def _kind(mapping: Mapping, is_image: bool) -> str:
    """The type of a mapping. What a program's file has read-only is Text: Plan 9 has constants there."""
    path = mapping.path
    if path == "[stack]":
        return "Stack"
    if path.startswith("/dev/") and not path.startswith(("/dev/shm/", "/dev/zero")):
        return "Phys"
    if mapping.is_shared:
        return "Shared"
    if path in ("", "[heap]", "/dev/zero") or path.startswith("[anon"):
        return "Bss"
    if not path.startswith("/"):
        return "Map"
    return "Text" if is_image and not mapping.is_writable else "Data"


_RANK: Final = {"Stack": 3, "Bss": 4, "Text": 5, "Data": 6, "Shared": 7, "Phys": 8, "Map": 9}
"""After the executable's Text, Data and Bss with the heap: 0, 1 and 2."""


def _rank(kind: str, path: str, is_main: bool) -> int:
    if is_main and kind in ("Text", "Data", "Bss"):
        return ("Text", "Data", "Bss").index(kind)
    return 2 if path == "[heap]" else _RANK[kind]


def _name(stat: Stat, record: Record) -> str:
    argv0 = text_of(_bytes(record, "cmdline").partition(b"\0")[0])
    return full_name(stat.comm, argv0, base_name(_target(record, "exe")))


def _state(stat: Stat, record: Record, machine: str) -> str:
    wchan = text_of(_bytes(record, "wchan"))
    call = parse_syscall(_bytes(record, "syscall"))
    return state_name(stat.state, call.name(machine) if call else "", "" if wchan == "0" else wchan)


def _bytes(record: Record, name: str) -> bytes:
    value = record.get(name, b"")
    return value if isinstance(value, bytes) else b""


def _target(record: Record, name: str) -> str:
    value = record.get(name)
    return value.target if isinstance(value, Link) else ""


def _clean(text: str) -> str:
    """Text that keeps its place on a line and does nothing to a terminal."""
    return _CONTROL.sub("?", text)


def _raw(text: str) -> bytes:
    return os.fsencode(_clean(text))


def _column(text: str, width: int) -> bytes:
    """`width` bytes, blank-padded, and a blank; no character of UTF-8 is cut in two."""
    data = _raw(text)
    if len(data) > width:
        cut = width
        while cut > width - 3 and data[cut] & 0xC0 == 0x80:  # amid a character of at most 4 bytes
            cut -= 1
        data = data[:cut]
    return data.ljust(width) + b" "


def _unescaped(field: bytes) -> str:
    """A field of mountinfo: blank, tab, newline and backslash stand there in octal."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field))


def _quoted(text: str) -> bytes:
    """A word as rc(1) quotes it, if it must be."""
    word = _clean(text)
    if not word or _RC_SPECIAL.search(word):
        word = "'" + word.replace("'", "''") + "'"
    return os.fsencode(word)
