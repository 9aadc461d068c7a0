"""What every test needs: a kernel that lets one process trace another."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

_SEIZE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_SEIZE = 0x4206
sys.exit(ctypes.get_errno() if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) else 0)
"""

# <sched.h> and <sys/mount.h>; os.unshare came with Python 3.12.
_CLONE_NEWNS = 0x20000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18

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


def _may_have_own_mounts() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist the tests run one after the other
def pytest_xdist_auto_num_workers() -> int:
    """Without mounts of its own, one worker would clean up the dead ones that another has to find."""
    return len(os.sched_getaffinity(0)) if _may_have_own_mounts() else 1


def _take_own_mounts() -> None:
    """From here on, what this process and its children mount is seen by nobody else (mount_namespaces(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None):
        pytest.exit(f"no mounts of its own for a worker: {os.strerror(ctypes.get_errno())}", returncode=3)


def pytest_sessionstart(session: pytest.Session) -> None:
    # A shell's background jobs have these ignored, and would hand that on to all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # Of the terminal that the tests run in; readline, which pytest imports, sets them too.
    os.environ.pop("COLUMNS", None)
    os.environ.pop("LINES", None)
    if "PYTEST_XDIST_WORKER" in os.environ and _may_have_own_mounts():
        _take_own_mounts()
    if why := why_not_ptrace():
        pytest.exit(_REMEDY.format(why=why), returncode=3)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of large snapshots is not to be found by the next run, nor by the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
