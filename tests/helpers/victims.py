"""Real programs for the tests to stop, save and look at.

A victim says `ready` on its standard output once it is in the state that the test wants; the
context manager waits for that line and always kills and reaps what it started, by pid.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"

_BUILD = Path(tempfile.gettempdir()) / f"snaptui-victims-{os.getuid()}"


LARGE = """
import signal
x = bytearray(3 << 30)
x[::4096] = b"1" * (3 << 18)
print("ready", flush=True)
signal.pause()
"""
"""It takes more than a second to save, and little room; a shorter capture may end before it is stopped."""


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Ask again and again until `condition()` is true; fail after `seconds`, saying `what` was awaited."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.002)


def compile_c(source: str, *flags: str, language: str = "c") -> Path:
    """The path of `source` as the system's C compiler builds it, once for each source and flags."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed: apt-get install gcc libc6-dev"
    key = hashlib.sha256("\0".join([source, language, *flags]).encode()).hexdigest()[:16]
    _BUILD.mkdir(mode=0o700, exist_ok=True)
    binary = _BUILD / key
    if not binary.exists():
        code = _BUILD / f"{key}.{language}"
        draft = _BUILD / f"{key}.{os.getpid()}"
        draft.write_text(source)
        draft.rename(code)  # at once: another worker may be compiling it
        subprocess.run([compiler, "-g", "-o", draft, code, *flags], check=True)
        draft.rename(binary)
    return binary


def program(name: str, *flags: str) -> Path:
    """The path of tests/helpers/programs/NAME (`.c` or `.s`), built once."""
    source = (PROGRAMS / name).read_text().replace('#include "victim.h"', (PROGRAMS / "victim.h").read_text())
    if name.endswith(".s"):
        return compile_c(source, *flags, language="s")
    return compile_c(source, "-O1", "-pthread", *flags, "-ldl")


def state_of(pid: int, tid: int | None = None) -> str:
    """The state letter of proc_pid_stat(5); empty when the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/task/{tid or pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The name before it can be any bytes.
    return stat.rpartition(b")")[2].split()[0].decode()


def threads_of(pid: int) -> list[int]:
    """The ids of all threads, the main one first."""
    return sorted(
        (int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()), key=lambda tid: (tid != pid, tid)
    )


def tracer_of(pid: int) -> int:
    """The pid of who traces the process, 0: nobody."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("TracerPid:"):
            return int(line.split()[1])
    raise AssertionError("no TracerPid in status")


@dataclass(frozen=True)
class Victim:
    """A running program of the test's own."""

    popen: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.popen.pid

    def readline(self) -> str:
        """The next line that the program printed, without its end."""
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().decode().rstrip("\n")

    def send(self, text: str) -> None:
        """Give the program a line on its standard input."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(text.encode() + b"\n")
        self.popen.stdin.flush()

    def state(self) -> str:
        """The state letter of proc_pid_stat(5)."""
        return state_of(self.pid)

    def threads(self) -> list[int]:
        return threads_of(self.pid)

    def table(self) -> list[list[str]]:
        """The words of the lines that the program prints, up to a line `end`."""
        return [line.split() for line in iter(self.readline, "end")]

    def ask(self, command: str) -> list[list[str]]:
        """Give the program a command; the words of the lines that it answers."""
        self.send(command)
        return self.table()

    def stop(self) -> None:
        """Stop it by SIGSTOP, so that its memory holds still, and wait until every thread stands."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(lambda: {state_of(self.pid, tid) for tid in self.threads()} == {"T"}, "all threads stop")

    def wait_asleep(self) -> None:
        """Wait until every thread sleeps: each is in the call that the program is about."""
        wait_until(lambda: {state_of(self.pid, tid) for tid in self.threads()} == {"S"}, "all threads sleep")


@contextlib.contextmanager
def running(argv: Sequence[str | Path], **options: object) -> Iterator[Victim]:
    """Start `argv`, wait until it prints `ready`, and kill it (and its process group) at the end."""
    popen = subprocess.Popen(  # type: ignore[call-overload]
        [str(word) for word in argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        **options,
    )
    victim = Victim(popen)
    try:
        line = victim.readline()
        assert line == "ready", f"the victim said {line!r}, not ready"
        yield victim
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
        for pipe in (popen.stdin, popen.stdout):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def running_c(source: str, *flags: str, arguments: Sequence[str] = ()) -> Iterator[Victim]:
    """Compile a C program and run it as `running` does."""
    with running([compile_c(source, *flags), *arguments]) as victim:
        yield victim


@contextlib.contextmanager
def running_python(code: str, *arguments: str) -> Iterator[Victim]:
    """Run Python code as `running` does."""
    with running([sys.executable, "-u", "-c", code, *arguments]) as victim:
        yield victim


@contextlib.contextmanager
def running_program(name: str, *arguments: str | Path, flags: Sequence[str] = ()) -> Iterator[Victim]:
    """Run a program of tests/helpers/programs as `running` does."""
    with running([program(name, *flags), *arguments]) as victim:
        yield victim
