"""ptrace(2): the requests that stop a thread, look at it and let it go, over python-ptrace's binding.

Every function raises OSError: ProcessLookupError when the thread has gone or is not in a ptrace-stop,
PermissionError when the kernel refuses. A tracee belongs to the *thread* that seized it: only that
thread may make the other requests, and when it ends the kernel lets all its tracees run on.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

# Requests and register sets that python-ptrace has no names for.
_PTRACE_SEIZE: Final = 0x4206  # include/uapi/linux/ptrace.h, as the next two
_PTRACE_INTERRUPT: Final = 0x4207

NT_PRSTATUS: Final = 1  # include/uapi/linux/elf.h, as the next two
NT_PRFPREG: Final = 2
NT_X86_XSTATE: Final = 0x202

WAIT_ALL: Final = 0x40000000
"""__WALL of linux/wait.h: wait for threads too, which os has no name for."""

_SIGINFO_SIZE: Final = 128  # SI_MAX_SIZE of asm-generic/siginfo.h
_FIRST_BUFFER: Final = 16 * 1024  # AMX makes the largest xstate so far: 11,008 bytes (CPUID leaf 0xd)
_LARGEST_BUFFER: Final = 1024 * 1024


class _Binding(NamedTuple):
    ptrace: Callable[..., Any]
    error: type[Exception]
    iovec: type[Any]
    registers: type[Any]
    get_siginfo: int
    get_regset: int
    get_event_message: int
    poke_user: int
    detach: int


@functools.cache
def _binding() -> _Binding:
    """python-ptrace, imported at the first use: it takes 30 ms, and most commands stop nothing."""
    from ptrace.binding import func, linux_struct
    from ptrace.error import PtraceError

    return _Binding(
        func.ptrace,
        PtraceError,
        linux_struct.iovec_struct,
        linux_struct.user_regs_struct,
        func.PTRACE_GETSIGINFO,
        func.PTRACE_GETREGSET,
        func.PTRACE_GETEVENTMSG,
        func.PTRACE_POKEUSER,
        func.PTRACE_DETACH,
    )


def load() -> None:
    """Import what the requests need, so that no time is spent on it while targets are stopped."""
    _binding()


def seize(tid: int) -> None:
    """Become the tracer of a thread that runs on (PTRACE_SEIZE, without options)."""
    _call(_PTRACE_SEIZE, tid)


def interrupt(tid: int) -> None:
    """Ask a seized thread to stop: waitid(2) reports it later."""
    _call(_PTRACE_INTERRUPT, tid)


def detach(tid: int, signal: int = 0) -> None:
    """Let a stopped thread run on, and take the signal that it stopped to deliver."""
    _call(_binding().detach, tid, 0, signal)


def is_stopped(tid: int) -> bool:
    """Whether a tracee is in a ptrace-stop now; PTRACE_GETEVENTMSG is the cheapest request that tells."""
    message = ctypes.c_ulong()
    try:
        _call(_binding().get_event_message, tid, 0, ctypes.addressof(message))
    except ProcessLookupError:
        return False
    return True


def signal_info(tid: int) -> bytes:
    """The siginfo_t (128 bytes) of the signal that a thread is stopped to deliver."""
    buffer = ctypes.create_string_buffer(_SIGINFO_SIZE)
    _call(_binding().get_siginfo, tid, 0, ctypes.addressof(buffer))
    return buffer.raw


def register_set(tid: int, kind: int) -> bytes:
    """A register set of a stopped thread in the kernel's layout, "" if the machine has no such set.

    As long as the kernel makes it: that of a 32-bit process is shorter than that of a 64-bit one.
    """
    size = _FIRST_BUFFER
    while True:
        buffer = ctypes.create_string_buffer(size)
        vector = _binding().iovec(ctypes.addressof(buffer), size)
        try:
            _call(_binding().get_regset, tid, kind, ctypes.addressof(vector))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENODEV, errno.EIO):
                return b""
            raise
        length = int(vector.len)
        if length < size or size >= _LARGEST_BUFFER:
            return ctypes.string_at(buffer, length)
        size *= 2  # the kernel fills what there is and says no more than that


def general_register_offset(name: str) -> int:
    """Where a general register stands in a 64-bit NT_PRSTATUS set, in bytes; also for `poke_user`."""
    return int(getattr(_binding().registers, name).offset)


def poke_user(tid: int, offset: int, value: int) -> None:
    """Set the word at `offset` of the thread's struct user (sys/user.h): first of all, its registers."""
    _call(_binding().poke_user, tid, offset, value & ctypes.c_ulong(-1).value)


def _call(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    binding = _binding()
    try:
        binding.ptrace(request, tid, address, data)
    except binding.error as error:
        number = getattr(error, "errno", None) or errno.EIO
        raise OSError(number, os.strerror(number)) from None
