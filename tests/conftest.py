"""What every test needs: a kernel that lets one process trace another."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SEIZE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_SEIZE = 0x4206
sys.exit(ctypes.get_errno() if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) else 0)
"""

_REMEDY = """\
the tests trace processes of their own, and the kernel does not allow it ({why}).
Try one of: run them as root; `sudo sysctl kernel.yama.ptrace_scope=0`;
in a container: `docker run --cap-add SYS_PTRACE --security-opt seccomp=unconfined`"""


def why_not_ptrace() -> str:
    """Why one child of ours may not trace another; empty when it may."""
    with subprocess.Popen(["sleep", "60"]) as target:
        try:
            probe = subprocess.run([sys.executable, "-c", _SEIZE, str(target.pid)], check=False)
        finally:
            target.kill()
    return f"ptrace: error {probe.returncode}" if probe.returncode else ""


def pytest_sessionstart(session: pytest.Session) -> None:
    if why := why_not_ptrace():
        pytest.exit(_REMEDY.format(why=why), returncode=3)
