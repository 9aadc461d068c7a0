"""System calls that a stop interrupts and the kernel does not restart by itself (x86-64).

Stopping a thread wakes it from its system call. Most calls then return one of the kernel's internal ERESTART
codes and are restarted, with the time that was left, when the thread runs on. Some return a plain EINTR:
signal(7), "Interruption of system calls and library functions by stop signals". A program without signal
handlers does not expect that, so these are restarted too: while the thread stands, its result is changed
from EINTR to ERESTARTNOHAND, the code of pause(2) and select(2). When it runs on, the kernel restarts the
call, or, if a handler is to run first, makes it EINTR after all: just what happens without a stop.

What this cannot do:
- A call that had done part of its work (a large write to a pipe, sendfile, getrandom, recv with
  MSG_WAITALL, io_uring_enter that submitted something) returns what it has done: a short count.
- A finite timeout starts again, since nobody can tell how much of it was used, and changing
  the argument would change a register that the program may use again. The call can then wait up to twice
  as long. That does the least harm: a wait may always last longer (the scheduler may do the same), while an
  EINTR nobody expects ends programs, and a timeout before its time reports a peer dead who is not.
- Other architectures are left to the kernel: arm64 decides on the restart before the stop.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

from snaptui.engine.take import ptracing

_ERESTARTNOHAND: Final = 514  # include/linux/errno.h

# EINTR from read and write means that nothing was moved, so they may be restarted on any file,
# although it is for sockets with a timeout that they are listed. close is not: it has closed.
_CALLS_64: Final = {  # asm/unistd_64.h
    0: "read", 1: "write", 19: "readv", 20: "writev",
    42: "connect", 43: "accept", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg",
    288: "accept4", 299: "recvmmsg", 307: "sendmmsg", 327: "preadv2", 328: "pwritev2",
    65: "semop", 220: "semtimedop", 128: "rt_sigtimedwait",
    208: "io_getevents", 333: "io_pgetevents", 426: "io_uring_enter",
    232: "epoll_wait", 281: "epoll_pwait", 441: "epoll_pwait2",
    # These only where their timeout cannot be written back, in read-only memory for example.
    23: "select", 270: "pselect6", 271: "ppoll",
}  # fmt: skip
_CALLS_32: Final = {  # asm/unistd_32.h; "ipc" is semop and its kin, "socketcall" all calls on sockets
    3: "read", 4: "write", 145: "readv", 146: "writev",
    102: "socketcall", 362: "connect", 364: "accept4", 369: "sendto", 370: "sendmsg",
    371: "recvfrom", 372: "recvmsg", 337: "recvmmsg", 417: "recvmmsg_time64", 345: "sendmmsg",
    378: "preadv2", 379: "pwritev2", 117: "ipc", 420: "semtimedop_time64",
    177: "rt_sigtimedwait", 421: "rt_sigtimedwait_time64",
    247: "io_getevents", 385: "io_pgetevents", 416: "io_pgetevents_time64", 426: "io_uring_enter",
    256: "epoll_wait", 319: "epoll_pwait", 441: "epoll_pwait2",
    82: "select", 142: "_newselect", 308: "pselect6", 413: "pselect6_time64",
    309: "ppoll", 414: "ppoll_time64",
}  # fmt: skip

_REGISTERS_32: Final = struct.Struct("<17i")  # struct user_regs_struct32, asm/user32.h
_EAX, _ORIG_EAX = 6, 11

_IS_X86_64: Final = os.uname().machine == "x86_64"


def restart_interrupted_call(tid: int, regs: bytes) -> bool:
    """Make the kernel restart the call that our stop interrupted; whether it would not have by itself.

    `regs`: the thread's NT_PRSTATUS set. The thread is in the stop of PTRACE_INTERRUPT or in a
    signal-delivery-stop. Raises ProcessLookupError when it was killed meanwhile.
    """
    if not _IS_X86_64 or not _was_interrupted(regs):
        return False
    ptracing.poke_user(tid, ptracing.general_register_offset("rax"), -_ERESTARTNOHAND)
    return True


def _was_interrupted(regs: bytes) -> bool:
    # A thread that came into the kernel by an interrupt or fault has -1 for its call's number.
    if len(regs) == _REGISTERS_32.size:
        values = _REGISTERS_32.unpack(regs)
        return values[_EAX] == -errno.EINTR and values[_ORIG_EAX] in _CALLS_32
    (result,) = struct.unpack_from("<q", regs, ptracing.general_register_offset("rax"))
    (number,) = struct.unpack_from("<q", regs, ptracing.general_register_offset("orig_rax"))
    return result == -errno.EINTR and number in _CALLS_64
