"""Whether the kernel lets us look into a process, and what would help if not.

Source: ptrace(2), "Ptrace access mode checking".
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from snaptui.engine.progress import Warned
from snaptui.engine.take.users import user_name

_YAMA: Final = "/proc/sys/kernel/yama/ptrace_scope"


def may_read(pid: int) -> bool:
    """Whether we may open the memory of `pid`, which takes the rights of ptrace(2); true if it is gone."""
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def refusal(pid: int) -> Warned:
    """A process that we may not save: why, and what would help."""
    remedy = "run snap as root (sudo snap ...)"
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        owner = os.geteuid()
    scope = 0
    with contextlib.suppress(OSError, ValueError), open(_YAMA) as file:
        scope = int(file.read())
    if owner != os.geteuid():
        who = "root" if owner == 0 else f"{user_name(owner)} or root"
        remedy = f"it belongs to {user_name(owner)}: run snap as {who} (sudo snap ...)"
    elif scope:
        remedy = (
            f"kernel.yama.ptrace_scope is {scope}: use sudo, or as root: sysctl kernel.yama.ptrace_scope=0"
        )
    elif os.geteuid() == 0:
        remedy = "not even root may: a container without CAP_SYS_PTRACE, or a security module, forbids it"
    return Warned("permission denied, nothing of it is saved", pid=pid, help=remedy, missing=True)
