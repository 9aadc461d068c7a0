"""The registers of a stopped thread, as the kernel lays them out."""

from __future__ import annotations

from dataclasses import dataclass

from snaptui.engine.take import ptracing


@dataclass(frozen=True, slots=True, repr=False)
class RegisterSets:
    """What ptrace(2) tells of one thread, in the kernel's own layouts; b"" where it has none.

    `regs`: NT_PRSTATUS's set (struct user_regs_struct, sys/user.h); `fpregs`: NT_PRFPREG; `xstate`:
    NT_X86_XSTATE (the XSAVE area, x86 only); `siginfo`: siginfo_t of the signal that the thread was
    just about to take, b"" when there was none. Those of 32-bit processes have their 32-bit layouts.
    """

    regs: bytes
    fpregs: bytes
    xstate: bytes
    siginfo: bytes

    def __repr__(self) -> str:
        sizes = (len(self.regs), len(self.fpregs), len(self.xstate), len(self.siginfo))
        return "RegisterSets(regs {}, fpregs {}, xstate {}, siginfo {} bytes)".format(*sizes)


def read_registers(tid: int, *, taking_signal: bool) -> RegisterSets:
    """The registers of a thread in a ptrace-stop.

    `taking_signal`: it is in a signal-delivery-stop. In any other stop siginfo only tells of the stop itself.
    Raises ProcessLookupError when the thread was killed meanwhile.
    """
    return RegisterSets(
        regs=ptracing.register_set(tid, ptracing.NT_PRSTATUS),
        fpregs=ptracing.register_set(tid, ptracing.NT_PRFPREG),
        xstate=ptracing.register_set(tid, ptracing.NT_X86_XSTATE),
        siginfo=ptracing.signal_info(tid) if taking_signal else b"",
    )
