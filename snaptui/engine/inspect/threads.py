"""The threads of a saved process: where each stood in the kernel, and its registers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.registers import layout_of
from snaptui.engine.snapfile import LinuxRecord, Process

_THREAD: Final = re.compile(r"^thread (\d+)(?: (.*))?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SavedThread:
    """One thread as it was when the process was stopped."""

    tid: int
    name: str
    state: str
    """The letter of proc_pid_stat(5), or Plan 9's word."""
    where: str
    """The system call it was in, or what it waited for, in few words; empty if it ran."""
    kernel: str
    """What is known of the kernel's side of it, as text of several lines."""
    registers: Mapping[str, int] = field(default_factory=dict)
    """By name; empty where their layout is not known, or they are missing."""
    pc: str = ""
    """The name of the program counter among them, and that of the stack pointer."""
    sp: str = ""
    data: bytes = b""
    """The registers as saved."""
    missing: str = ""
    """Why there are none."""

    @property
    def stack_pointer(self) -> int | None:
        return self.registers.get(self.sp)


def saved_threads(process: Process) -> tuple[SavedThread, ...]:
    """The threads, the main one first; a process from Plan 9 is one thread."""
    linux = process.linux
    if linux is None:
        return (_plan9_thread(process),)
    kernel = _kernel_texts(process)
    return tuple(_linux_thread(linux, tid, kernel.get(tid, "")) for tid in linux.threads())


def _plan9_thread(process: Process) -> SavedThread:
    try:
        data, missing = process.read("regs"), ""
    except NotCaptured as error:
        data, missing = b"", str(error)
    return SavedThread(process.pid, process.name, process.state, "", "", data=data, missing=missing)


def _linux_thread(linux: LinuxRecord, tid: int, kernel: str) -> SavedThread:
    data = _member(linux, f"task/{tid}/regs")
    layout = layout_of(str(linux.info.get("arch", "")), len(data))
    stat = _member(linux, f"task/{tid}/stat")
    # The name before the state can be any bytes.
    rest = stat.rpartition(b")")[2].split()
    return SavedThread(
        tid,
        _text(_member(linux, f"task/{tid}/comm")),
        rest[0].decode("latin-1") if rest else "?",
        _where(kernel, _text(_member(linux, f"task/{tid}/wchan"))),
        kernel,
        layout.decode(data) if layout is not None else {},
        layout.pc if layout is not None else "",
        layout.sp if layout is not None else "",
        data,
        "" if data else _why_missing(linux, tid),
    )


def _why_missing(linux: LinuxRecord, tid: int) -> str:
    reasons = linux.info.get("registers")
    reason = str(reasons.get(str(tid), "")) if isinstance(reasons, dict) else ""
    return f"the registers were not saved: the thread {reason}" if reason else "the registers were not saved"


def _where(kernel: str, wchan: str) -> str:
    """Like `clock_nanosleep`, or the wait channel."""
    call = next((line for line in kernel.splitlines() if line.startswith("syscall ")), "")
    match = re.match(r"syscall -?\d+ (\w+)", call)
    if match:
        return match[1]
    return wchan if wchan not in ("", "0") else ""


def _kernel_texts(process: Process) -> dict[int, str]:
    """The parts of kregs, by thread."""
    try:
        text = process.read("kregs").decode("utf-8", "replace")
    except NotCaptured:
        return {}
    heads = list(_THREAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {int(head[1]): text[head.end() : end].strip("\n") for head, end in zip(heads, ends, strict=True)}


def _member(linux: LinuxRecord, name: str) -> bytes:
    try:
        return linux.read(name)
    except NotCaptured:
        return b""


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace").rstrip("\n")
