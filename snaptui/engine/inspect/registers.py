"""Names for the general registers of a saved thread.

The bytes are those of ptrace(2)'s PTRACE_GETREGSET NT_PRSTATUS. The layouts are the kernel's
(`struct user_regs_struct` of <sys/user.h>, `struct user_pt_regs` of <asm/ptrace.h>), written down here
rather than taken from python-ptrace, whose structures are those of the machine that it runs on: a
snapshot is read on other machines than the one it was taken on.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Layout:
    """How the registers of a machine lie in its register set: words of `width` bytes, little endian."""

    arch: str
    width: int
    names: tuple[str, ...]
    pc: str
    sp: str

    @property
    def size(self) -> int:
        """The size of the register set, in bytes."""
        return self.width * len(self.names)

    def decode(self, data: bytes) -> dict[str, int]:
        """The value of each register; `data` has `size` bytes."""
        words = struct.unpack(f"<{len(self.names)}{'Q' if self.width == 8 else 'I'}", data)
        return dict(zip(self.names, words, strict=True))


X86_64: Final = Layout(
    "x86_64",
    8,
    (
        *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx"),
        *("rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base"),
        *("ds", "es", "fs", "gs"),
    ),
    pc="rip",
    sp="rsp",
)
I386: Final = Layout(
    "i386",
    4,
    (
        *("ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "orig_eax"),
        *("eip", "cs", "eflags", "esp", "ss"),
    ),
    pc="eip",
    sp="esp",
)
AARCH64: Final = Layout(
    "aarch64", 8, (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate"), pc="pc", sp="sp"
)
ARM: Final = Layout(
    "arm",
    4,
    (*(f"r{number}" for number in range(11)), "fp", "ip", "sp", "lr", "pc", "cpsr", "orig_r0"),
    pc="pc",
    sp="sp",
)

# A 32-bit process has the register set of its own machine, on a 64-bit kernel too: the size tells.
_FAMILIES: Final[Mapping[str, tuple[Layout, ...]]] = {
    "x86_64": (X86_64, I386),
    "i386": (I386,),
    "i686": (I386,),
    "aarch64": (AARCH64, ARM),
    "arm": (ARM,),
    "armv7l": (ARM,),
}


def layout_of(machine: str, size: int) -> Layout | None:
    """The layout of a register set of `size` bytes saved on `machine` (uname -m); None: not known."""
    for layout in _FAMILIES.get(machine, ()):
        if layout.size == size:
            return layout
    return None
