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
import signal
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

# Requests and register sets that python-ptrace has no names for.
_PTRACE_SEIZE: Final = 0x4206  # include/uapi/linux/ptrace.h, as all of these
_PTRACE_INTERRUPT: Final = 0x4207
_PTRACE_SETREGSET: Final = 0x4205
_PTRACE_GETSIGMASK: Final = 0x420A
_PTRACE_SETSIGMASK: Final = 0x420B
_PTRACE_GET_RSEQ_CONFIGURATION: Final = 0x420F  # Linux 5.13
_PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG: Final = 0x4211  # Linux 6.4

# Options, and the events that they make a thread stop at.
TRACE_CALLS: Final = 1
"""PTRACE_O_TRACESYSGOOD: stops at system calls show `CALL_STOP` and so are like no other."""
TRACE_VFORK: Final = 1 << 2
TRACE_CLONE: Final = 1 << 3
EXIT_KILL: Final = 1 << 20
EVENT_VFORK: Final = 2
EVENT_CLONE: Final = 3
EVENT_STOP: Final = 128
CALL_STOP: Final = signal.SIGTRAP | 0x80

NT_PRSTATUS: Final = 1  # include/uapi/linux/elf.h, as the next two
NT_PRFPREG: Final = 2
NT_X86_XSTATE: Final = 0x202

WAIT_ALL: Final = 0x40000000
"""__WALL of linux/wait.h: wait for threads too, which os has no name for."""

_SIGSET_SIZE: Final = 8  # sizeof(sigset_t) of the kernel
_RSEQ_CONFIGURATION: Final = struct.Struct("=QIIII")  # struct ptrace_rseq_configuration
_DISPATCH_CONFIGURATION: Final = struct.Struct("=QQQQ")  # struct ptrace_sud_config: mode selector offset len
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
    run: int
    run_to_call: int
    set_options: int


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
        func.PTRACE_CONT,
        func.PTRACE_SYSCALL,
        func.PTRACE_SETOPTIONS,
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


def detach(tid: int, number: int = 0) -> None:
    """Let a stopped thread run on, and take the signal that it stopped to deliver."""
    _call(_binding().detach, tid, 0, number)


def run(tid: int) -> None:
    """Let a stopped thread run, still traced; a signal that it stopped to deliver is dropped."""
    _call(_binding().run, tid)


def run_to_call(tid: int) -> None:
    """As `run`, but up to where it enters or leaves a system call."""
    _call(_binding().run_to_call, tid)


def set_options(tid: int, options: int) -> None:
    """What of a stopped thread is traced, and what becomes of it when we end."""
    _call(_binding().set_options, tid, 0, options)


def is_stopped(tid: int) -> bool:
    """Whether a tracee is in a ptrace-stop now; PTRACE_GETEVENTMSG is the cheapest request that tells."""
    try:
        event_message(tid)
    except ProcessLookupError:
        return False
    return True


def event_message(tid: int) -> int:
    """What the last event of a stopped thread was about: after a clone(2), the new thread's id."""
    message = ctypes.c_ulong()
    _call(_binding().get_event_message, tid, 0, ctypes.addressof(message))
    return message.value


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


def set_general_registers(tid: int, regs: bytes) -> None:
    """Set all general registers of a stopped thread, as `register_set` gave them."""
    buffer = ctypes.create_string_buffer(regs, len(regs))
    vector = _binding().iovec(ctypes.addressof(buffer), len(regs))
    _call(_PTRACE_SETREGSET, tid, NT_PRSTATUS, ctypes.addressof(vector))


def signal_mask(tid: int) -> int:
    """The signals that a stopped thread blocks: bit n - 1 stands for signal n."""
    mask = ctypes.c_ulong()
    _call(_PTRACE_GETSIGMASK, tid, _SIGSET_SIZE, ctypes.addressof(mask))
    return mask.value


def set_signal_mask(tid: int, mask: int) -> None:
    """Let a stopped thread block just these signals."""
    value = ctypes.c_ulong(mask)
    _call(_PTRACE_SETSIGMASK, tid, _SIGSET_SIZE, ctypes.addressof(value))


def rseq_area(tid: int) -> int:
    """Where a stopped thread has its struct rseq (rseq(2)); 0: nowhere, or the kernel does not tell."""
    return _configuration(_PTRACE_GET_RSEQ_CONFIGURATION, tid, _RSEQ_CONFIGURATION)


def dispatches_calls(tid: int) -> bool:
    """Whether a stopped thread has its system calls sent to itself (PR_SET_SYSCALL_USER_DISPATCH)."""
    return bool(_configuration(_PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, tid, _DISPATCH_CONFIGURATION))


def _configuration(request: int, tid: int, layout: struct.Struct) -> int:
    """The first field of what such a request tells, 0 if the kernel does not know it."""
    buffer = ctypes.create_string_buffer(layout.size)
    try:
        _call(request, tid, layout.size, ctypes.addressof(buffer))
    except OSError as error:
        if error.errno in (errno.EIO, errno.EINVAL):
            return 0
        raise
    return int(layout.unpack(buffer.raw)[0])


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
