"""Stacks: where a thread was, function by function, innermost first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Language = Literal["native", "python"]


@dataclass(frozen=True, slots=True)
class Local:
    """A variable or argument of a frame; its value as text, one line."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A function on a stack."""

    pc: int
    """Where it goes on; 0 for a frame of Python."""
    function: str
    """Its name, demangled; empty where it is not known."""
    language: Language = "native"
    source: str = ""
    """The path as the debug information (or Python's code) has it; empty where that is not known."""
    line: int = 0
    module: str = ""
    """The path of the mapped file that `pc` is in; empty if it is in none."""
    offset: int = 0
    """`pc` as an address of that file (addr2line takes it)."""
    inlined: bool = False
    """Whether the compiler has put it into the next frame: it has none of its own."""
    signal: bool = False
    """Whether it is the kernel's call of a signal handler, the frame before, and no function."""
    locals: tuple[Local, ...] = ()

    @property
    def place(self) -> str:
        """The line of source; else the file and the address in it; else the address."""
        if self.source:
            return f"{self.source}:{self.line}" if self.line else self.source
        if self.module:
            return f"{self.module}+{self.offset:#x}"
        return f"{self.pc:#x}" if self.pc else ""


@dataclass(frozen=True, slots=True)
class ThreadStack:
    """The stack of a thread."""

    tid: int
    name: str
    frames: tuple[Frame, ...]
    """Innermost first."""
    problem: str = ""
    """Why it is missing, or may not be whole."""
    holds_gil: bool = False
    """Whether it is the thread that may run Python: it has the global interpreter lock."""


@dataclass(frozen=True, slots=True)
class StackGroup:
    """Threads that stand in the same place."""

    tids: tuple[int, ...]
    stack: ThreadStack
    """That of the first one."""


def group_stacks(stacks: Iterable[ThreadStack], *, with_locals: bool = False) -> tuple[StackGroup, ...]:
    """Threads with equal frames together, the largest group first; `with_locals` only if these are equal too.

    Threads without a frame are no group: each may have its own reason.
    """
    groups: dict[object, list[ThreadStack]] = {}
    for stack in stacks:
        frames = tuple(
            (frame.function, frame.place, frame.language, with_locals and frame.locals)
            for frame in stack.frames
        )
        groups.setdefault((frames, stack.problem) if frames else stack.tid, []).append(stack)
    found = [StackGroup(tuple(stack.tid for stack in group), group[0]) for group in groups.values()]
    return tuple(sorted(found, key=lambda group: -len(group.tids)))
