"""System calls: the line of /proc/PID/syscall, and the names of the numbers in it."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

import system_calls  # type: ignore[import-untyped]  # it has hints in part, but no py.typed

_TABLES = {
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv8l": "arm",
    "i686": "i386",
    "i586": "i386",
    "ppc64le": "powerpc64",
}
"""uname's machine to the name of system_calls' table, where they differ."""

_COMPATIBLE_32_BIT = {"x86_64": "i386", "arm64": "arm"}
"""The table for a 32-bit process on a 64-bit kernel."""


@dataclass(frozen=True, slots=True)
class SystemCall:
    """The system call that a thread waits in, its six argument registers, and where it will go on."""

    number: int
    arguments: tuple[int, ...]
    stack_pointer: int
    program_counter: int

    @property
    def is_32_bit(self) -> bool:
        """Whether a 32-bit program called: a 64-bit one has its stack, or at least its code, above 4 GiB."""
        return self.stack_pointer < 1 << 32 and self.program_counter < 1 << 32

    def name(self, machine: str = "") -> str:
        """The name of the call, "" if unknown; `machine` as uname has it, by default this one's."""
        table = _TABLES.get(machine or os.uname().machine, machine or os.uname().machine)
        if self.is_32_bit:
            table = _COMPATIBLE_32_BIT.get(table, table)
        return _names(table).get(self.number, "")


def parse_syscall(line: bytes) -> SystemCall | None:
    """Read /proc/PID/syscall (proc(5)): None when the thread runs, or is blocked outside of a system call."""
    fields = line.split()
    if len(fields) != 9:
        return None
    number, *registers = (int(field, 0) for field in fields)
    return SystemCall(number, tuple(registers[:6]), registers[6], registers[7])


@functools.cache
def _names(table: str) -> dict[int, str]:
    try:
        names: dict[int, str] = system_calls.syscalls().load_reverse_arch_table(table)
    except system_calls.NoSuchArchitecture:
        return {}
    return names
