"""Processes of a chosen name."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.victims import state_of, wait_until

CALLS_ITSELF = """
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    prctl(PR_SET_NAME, argv[1]);
    puts("ready"); fflush(stdout);
    pause();
}
"""
"""A C program whose comm becomes its first argument."""


@contextlib.contextmanager
def sleeping(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps, of that executable: its name is in its exe, comm and argv[0]."""
    if not path.exists():
        shutil.copy(shutil.which("sleep") or "", path)
    with subprocess.Popen([path, "1000"]) as popen:
        try:
            # Popen returns as soon as the kernel begins to execute the file: it has no name or arguments yet.
            cmdline = Path(f"/proc/{popen.pid}/cmdline")
            wait_until(lambda: cmdline.read_bytes() == os.fsencode(path) + b"\x001000\0", f"{path} runs")
            wait_for_state(popen.pid, "S")
            yield popen
        finally:
            popen.kill()


def wait_for_state(pid: int, letter: str) -> None:
    """Wait until the main thread is in that state of proc_pid_stat(5)."""
    wait_until(lambda: state_of(pid) == letter, f"process {pid} is in state {letter}")
