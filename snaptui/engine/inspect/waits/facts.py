"""What a snapshot tells of its threads: the system call of each, its stack, and the memory they share."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from snaptui.engine.errors import NotCaptured, SnapError
from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.stacks import Frame, ThreadStack, read_stacks
from snaptui.engine.inspect.symbols import Symbols
from snaptui.engine.inspect.threads import SavedThread, saved_threads
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile import LinuxRecord, Process

_CALL: Final = re.compile(r"^syscall -?\d+ (\w+)\(([^)]*)\)", re.MULTILINE)
_STACK: Final = re.compile(r"^\t([\w.]+)", re.MULTILINE)
_CHANNEL: Final = re.compile(r"^wchan ([A-Za-z_][\w.]*)", re.MULTILINE)
_CLOCKS: Final = {0: "realtime", 1: "monotonic", 7: "boottime"}  # linux/time.h
_TEXT_MAX: Final = 4096  # PATH_MAX
_UNASKED: Final = sum(1 << number - 1 for number in (2, 4, 5, 6, 7, 8, 11, 31, 32, 33))
"""Signals whose handlers do no part of a program's work: SIGINT, a person's; those of faults (SIGILL,
SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS); and the two that glibc uses inside."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call and its arguments, as the registers held them."""

    name: str
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread and what is known of it."""

    process: Program
    saved: SavedThread
    stack: ThreadStack
    call: Call | None
    """None where it ran, or stood in the kernel outside of a call."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def tid(self) -> int:
        return self.saved.tid

    @property
    def frames(self) -> Sequence[Frame]:
        return self.stack.frames

    @property
    def has_ended(self) -> bool:
        """Whether it is a zombie: a main thread stays one while others run."""
        return self.saved.state in ("Z", "X")

    @property
    def kernel_stack(self) -> tuple[str, ...]:
        """The kernel's functions, innermost first; the innermost alone if the others were not to be read."""
        found = _STACK.findall(self.saved.kernel.partition("\nstack")[2])
        return tuple(found or _CHANNEL.findall(self.saved.kernel))

    def is_in(self, *functions: str) -> str:
        """The first of its functions that is one of these, by its plain name; empty if none is."""
        for frame in self.frames:
            if (name := plain_name(frame.function)) in functions:
                return name
        return ""

    @property
    def own(self) -> Sequence[Frame]:
        """Its frames without those of the languages' libraries; Python's alone where there are any."""
        frames = [frame for frame in self.frames if frame.language == "python"] or self.frames
        return [frame for frame in frames if not _is_of_a_library(frame)]

    @property
    def place(self) -> str:
        """The innermost function of its own, or where that is, else of a library; empty if none is known."""
        if self.own:
            frame = self.own[0]
            return f"{frame.function}()" if frame.function else os.path.basename(frame.place)
        outside = [frame for frame in reversed(self.frames) if not is_of_libc(frame)]
        found = next((frame for frame in (*outside, *self.frames) if frame.function), None)
        return f"{found.function}()" if found is not None else ""

    def works_like(self, other: Thread) -> bool:
        """Whether both run the same code, up to where each stands in the innermost function of its own."""
        mine, theirs = self.own, other.own
        if not mine or not theirs or mine[0].module != theirs[0].module:
            return False
        called_alike = [frame.place for frame in mine[1:]] == [frame.place for frame in theirs[1:]]
        # Without names they may be two functions, unless the same call led there, or both are main().
        known = mine[0].function or mine[1:] or (self.tid == self.pid and other.tid == other.pid)
        return bool(known) and called_alike and mine[0].function == theirs[0].function


_PYTHON_LIBRARY: Final = re.compile(r"/lib/python3\.\d+/(?!(site|dist)-packages/)|^<frozen ")
_LIBRARY: Final = re.compile(r"/(libc|libpthread|libstdc\+\+|libc\+\+|ld-[^/]*)[.-][^/]*$|vdso")
_INCLUDED: Final = ("/usr/include/", "/rustc/", "library/std/", "library/core/")
"""Where the source of what every program of C++ or Rust has in it is."""


def is_of_libc(frame: Frame) -> bool:
    """Whether a function is of the C or C++ library, the loader, or the kernel's."""
    return _LIBRARY.search(frame.module) is not None


def is_of_python(frame: Frame) -> bool:
    """Whether it is a function of Python's own library."""
    return frame.language == "python" and _PYTHON_LIBRARY.search(frame.source) is not None


def _is_of_a_library(frame: Frame) -> bool:
    return (
        frame.signal
        or is_of_python(frame)
        or frame.source.startswith(_INCLUDED)
        or is_of_libc(frame)
        or frame.function.startswith(("std::", "<std::"))
    )


def plain_name(function: str) -> str:
    """A function's name without what only tells the aliases of one function apart: `pthread_mutex_lock`."""
    name = function.partition("@")[0].removeprefix("__GI_").lstrip("_").removeprefix("IO_")
    return re.sub(r"\.(constprop|part|isra|cold)\b.*", "", name)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A process of the snapshot."""

    process: Process
    linux: LinuxRecord
    symbols: Symbols
    threads: dict[int, Thread] = field(default_factory=dict)
    """By their ids, the main one first."""
    inner: dict[int, int] = field(default_factory=dict)
    """Threads by the ids that the process knows them by: others than ours inside of a container."""

    def by_inner(self, tid: int) -> Thread | None:
        """The thread that the process itself calls so, in a lock that it holds, say."""
        return self.threads.get(self.inner.get(tid, -1))

    def by_pthread(self, address: int) -> Thread | None:
        """The thread whose pthread_t that is: on x86-64 it is where FS points to (glibc, musl)."""
        found = (one for one in self.threads.values() if one.saved.registers.get("fs_base") == address)
        return next(found, None) if address else None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def name(self) -> str:
        return self.text("comm").rstrip("\n") or self.process.name

    def text(self, member: str) -> str:
        """A member of the Linux record as text; empty if it is not there."""
        try:
            return self.linux.read(member).decode("utf-8", "backslashreplace")
        except NotCaptured:
            return ""

    def status(self, field_name: str, member: str = "status") -> str:
        """A field of status (proc_pid_status(5)), or of another member that is written like it."""
        found = re.search(rf"^{field_name}:\s*(.*)$", self.text(member), re.MULTILINE)
        return found[1] if found else ""

    @property
    def inner_pid(self) -> int:
        """Its pid as it knows it itself: another one than ours inside of a container."""
        names = self.status("NSpid").split()
        return int(names[-1]) if names else self.pid

    @property
    def handles_signals(self) -> bool:
        """Whether a handler of it may run at any time, and wake a thread of its own."""
        return bool(int(self.status("SigCgt") or "0", 16) & ~_UNASKED)

    def stat(self, number: int) -> str:
        """A field of stat behind the name, by its number in proc_pid_stat(5): 5 is the process group."""
        words = self.text("stat").rpartition(")")[2].split()
        return words[number - 3] if 0 <= number - 3 < len(words) else ""

    def clock(self, number: int) -> float:
        """What a clock (clock_gettime(2)) showed when the process was stopped, in seconds; 0 if unknown."""
        clocks = self.linux.info.get("clocks")
        found = clocks.get(_CLOCKS.get(number, "")) if isinstance(clocks, dict) else None
        return float(found) if isinstance(found, int | float) else 0.0

    def number(self, address: int, size: int = 4) -> int | None:
        """The number in memory there; None if it cannot be read."""
        try:
            return int.from_bytes(self.process.read_memory(address, size), "little")
        except SnapError:
            return None

    def memory(self, address: int, length: int) -> bytes:
        """The bytes in memory there; none if they cannot be read."""
        try:
            return self.process.read_memory(address, length) if length else b""
        except SnapError:
            return b""

    def string(self, address: int) -> str:
        """The text in memory there, up to its NUL; empty if it cannot be read."""
        for length in (_TEXT_MAX, 256, 16, 1):
            try:
                content = self.process.read_memory(address, length)
            except SnapError:
                continue
            return content.partition(b"\0")[0].decode("utf-8", "backslashreplace")
        return ""

    def describe(self, address: int) -> str:
        """What a lock is called: `queue_lock`, or its address alone where no symbol is."""
        symbol = self.symbols.near(address)
        return f"{symbol} ({address:#x})" if symbol else f"{address:#x}"


def read_programs(processes: Sequence[Process], cancel: CancelToken) -> dict[int, Program]:
    """The processes that have a Linux record, by pid. Raises Cancelled and FormatError."""
    programs = {}
    for process in processes:
        if process.linux is None:
            continue
        symbols = Symbols(process, AddressMap(process.areas()))
        program = Program(process, process.linux, symbols)
        stacks = {stack.tid: stack for stack in read_stacks(process, with_locals=True, cancel=cancel)}
        for saved in saved_threads(process):
            stack = stacks.get(saved.tid) or ThreadStack(saved.tid, saved.name, ())
            program.threads[saved.tid] = Thread(program, saved, stack, _call(saved))
            names = program.status("NSpid", f"task/{saved.tid}/status").split()
            program.inner[int(names[-1]) if names else saved.tid] = saved.tid
        programs[process.pid] = program
    return programs


def all_threads(programs: Mapping[int, Program]) -> Iterator[Thread]:
    """Every thread of every process."""
    for program in programs.values():
        yield from program.threads.values()


def _call(saved: SavedThread) -> Call | None:
    found = _CALL.search(saved.kernel)
    if found is None:
        return None
    words = found[2].replace(",", " ").split()
    return Call(found[1], tuple(int(word, 0) for word in words))


def call_text(thread: Thread) -> str:
    """The system call of a thread with its arguments, as evidence."""
    assert thread.call is not None
    arguments = ", ".join(f"{value:#x}" for value in thread.call.arguments)
    return f"the system call {thread.call.name}({arguments})"


def timespec(program: Program, address: int) -> float | None:
    """The seconds that a struct timespec in memory holds; None if there is none."""
    seconds, nanoseconds = program.number(address, 8), program.number(address + 8, 8)
    if seconds is None or nanoseconds is None or nanoseconds >= 10**9:
        return None
    return seconds + nanoseconds / 1e9


def signal_names(mask: int) -> str:
    """The signals of a set (sigset_t: signal 1 is the lowest bit): `SIGINT, SIGTERM`."""
    numbers = [number for number in range(1, 65) if mask >> number - 1 & 1]
    return ", ".join(_signal_name(number) for number in numbers)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
