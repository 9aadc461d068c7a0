"""A copy of a stopped process, made by itself: fork(2), without its knowledge (x86-64).

A thread of the process is made to call clone(2) (`injection`). The copy never runs an instruction of the
program: it is traced from its first moment, and the kernel kills it when its tracer ends (PTRACE_O_EXITKILL).

A process sees its children: by SIGCHLD, by wait(2), as zombies. So the copy is a grandchild. The child
between the two shares the process's memory, as after vfork(2), makes the copy, and is killed and waited for,
by the process itself, all while that is stopped. The copy is then a child of init, or of the nearest process
above that collects orphans, and stays so. It has no file open, so that a pipe that the process closes is
closed. If its tracer were killed before EXITKILL is set, it would die at its first instruction all the same:
by a signal that it blocks, since it has no stack.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from collections.abc import Sequence
from typing import Final

from snaptui.engine.take import ptracing
from snaptui.engine.take.injection import Borrowed, Event, InjectionRefused, wait_for_stop
from snaptui.engine.take.procstat import read_if_possible, status_field

# asm/unistd_64.h
_CLONE: Final = 56
_WAIT4: Final = 61
_PRCTL: Final = 157
_CLOSE_RANGE: Final = 436

_CLONE_VM: Final = 0x100  # linux/sched.h, as the next two
_CLONE_FILES: Final = 0x400
_CLONE_VFORK: Final = 0x4000
_PR_GET_CHILD_SUBREAPER: Final = 37  # linux/prctl.h
_CLOSE_RANGE_UNSHARE: Final = 2  # linux/close_range.h
_ALL_FILES: Final = 0xFFFFFFFF

_REGISTERS_64: Final = 27 * 8  # bytes of struct user_regs_struct
_CODE_64: Final = 0x33  # __USER_CS of asm/segment.h
_NO_CALL: Final = (1 << 64) - 1
_RSEQ_CS: Final = 8  # offset of rseq_cs in struct rseq, linux/rseq.h
_WORD: Final = 8

_LAST_TO_DIE: Final = b"1000"
"""oom_score_adj of a copy: when memory ends (it counts in the process's control group), the copy goes."""


def why_unusable(pid: int, tid: int) -> str:
    """Why a thread that stands cannot be made to copy its process; "" if it can.

    It is in the stop of PTRACE_INTERRUPT. Raises ProcessLookupError.
    """
    regs = ptracing.register_set(tid, ptracing.NT_PRSTATUS)
    if len(regs) != _REGISTERS_64 or _register(regs, "cs") != _CODE_64:
        return "it runs 32-bit code"
    status = read_if_possible(f"/proc/{pid}/task/{tid}/status")
    if status_field(status, "Seccomp") != "0":
        return "it is under seccomp"
    if "shstk" in status_field(status, "x86_Thread_features").split():
        return "it has a shadow stack"
    if ptracing.dispatches_calls(tid):
        return "it handles its system calls itself (syscall user dispatch)"
    if _register(regs, "orig_rax") == _NO_CALL and _is_in_sequence(tid):
        # The kernel would forget that it was interrupted there, and let it go on.
        return "it is in a restartable sequence"
    return ""


def refuse_early(statuses: Sequence[bytes]) -> None:
    """Raise InjectionRefused for what can be told of a process before it is stopped.

    `statuses`: proc_pid_status(5) of its threads.
    """
    for status in statuses[:1]:
        if status_field(status, "NSpid").split()[-1:] == ["1"]:
            raise InjectionRefused("it is the init of its container, which would be the copy's parent")
    if statuses and all(status_field(status, "Seccomp") not in ("", "0") for status in statuses):
        raise InjectionRefused("it is under seccomp")


def copy_process(tid: int, instruction: int) -> int:
    """Make a copy of a process, by its thread `tid` that `why_unusable` has nothing against: the copy's pid.

    All its threads stand. `instruction`: as `Borrowed` has it. The copy is traced by this thread of ours,
    stands, and is to be ended by `end_copy`. Raises InjectionRefused, which says why there is no copy, and
    ProcessLookupError when the process was killed.
    """
    with Borrowed(tid, instruction, options=ptracing.TRACE_VFORK) as thread:
        if _collects_orphans(thread):
            raise InjectionRefused("it collects orphans (PR_SET_CHILD_SUBREAPER), and would the copy")
        flags = _CLONE_VM | _CLONE_VFORK | _CLONE_FILES
        between = _new_process(thread.call(_CLONE, flags, 0, 0, 0, 0, stack=0))
        try:
            return _copy_by(between, instruction)
        finally:
            _kill(between)
            child = thread.finish()
            thread.call(_WAIT4, _number(child), 0, ptracing.WAIT_ALL | os.WNOHANG, 0)


def end_copy(copy: int) -> None:
    """Kill a copy and tell its parent, which is init; never raises."""
    _kill(copy)


def open_copy(copy: int, instruction: int) -> Borrowed:
    """The one thread of a copy, for more system calls; it is never given back."""
    thread = Borrowed(copy, instruction, options=ptracing.EXIT_KILL)
    thread.borrow()
    return thread


def _copy_by(between: int, instruction: int) -> int:
    """The pid of the copy that the process between makes."""
    wait_for_stop(between)
    options = ptracing.EXIT_KILL | ptracing.TRACE_CLONE  # which its child inherits
    thread = Borrowed(between, instruction, options=options)
    thread.borrow()
    copy = _new_process(thread.call(_CLONE, _CLONE_FILES, 0, 0, 0, 0))
    try:
        wait_for_stop(copy)
        # Shared until here and then left: had it files of its own, to close them could do things (fuse).
        closed = open_copy(copy, instruction).call(_CLOSE_RANGE, 0, _ALL_FILES, _CLOSE_RANGE_UNSHARE)
        if _number(closed) < 0:
            raise InjectionRefused(f"its copy's files cannot be closed: {_words(closed)}")
        with contextlib.suppress(OSError), open(f"/proc/{copy}/oom_score_adj", "wb") as file:
            file.write(_LAST_TO_DIE)
    except BaseException:
        _kill(copy)
        raise
    return copy


def _new_process(made: int | Event) -> int:
    """The pid of what clone(2) made."""
    if isinstance(made, Event):
        return made.tid
    raise InjectionRefused(f"the kernel makes no copy: {_words(made)}")


def _number(result: int | Event) -> int:
    assert not isinstance(result, Event), "a call that makes no process"
    return result


def _words(result: int | Event) -> str:
    return os.strerror(-_number(result))


def _kill(tid: int) -> None:
    """Kill a tracee that is a process of its own, and see its end."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(tid, signal.SIGKILL)
        while True:
            wait_for_stop(tid)


def _collects_orphans(thread: Borrowed) -> bool:
    """Whether the process is a subreaper.

    The kernel tells only by writing to its memory: the top of the stack, which then is as before.
    """
    address = thread.register("rsp") & -_WORD
    memory = os.open(f"/proc/{thread.tid}/mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        before = os.pread(memory, _WORD, address)
        try:
            result = _number(thread.call(_PRCTL, _PR_GET_CHILD_SUBREAPER, address))
            answer = os.pread(memory, _WORD, address)
        finally:
            os.pwrite(memory, before, address)
    except OSError as error:
        if isinstance(error, ProcessLookupError):
            raise
        raise InjectionRefused("its stack cannot be read") from error
    finally:
        os.close(memory)
    if result < 0:
        raise InjectionRefused(f"its stack cannot be written to: {_words(result)}")
    return bool(struct.unpack_from("<i", answer)[0])


def _is_in_sequence(tid: int) -> bool:
    area = ptracing.rseq_area(tid)
    if not area:
        return False
    memory = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return any(os.pread(memory, _WORD, area + _RSEQ_CS))
    except OSError:
        return True
    finally:
        os.close(memory)


def _register(regs: bytes, name: str) -> int:
    (value,) = struct.unpack_from("<Q", regs, ptracing.general_register_offset(name))
    return int(value)


def usable_thread(pid: int, tids: Sequence[int]) -> int:
    """The first of the threads that can copy its process. Raises InjectionRefused with the reason."""
    reason = "none of its threads could be stopped where it can be used"
    for tid in tids:
        with contextlib.suppress(ProcessLookupError):
            why_not = why_unusable(pid, tid)
            if not why_not:
                return tid
            reason = why_not
    raise InjectionRefused(reason)
