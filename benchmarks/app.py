"""How quick the app is in a real terminal: first paint, and from a key to the screen under load.

    python benchmarks/app.py [--processes N] [--capture MIB] [--open MIB]

Starts N processes that sleep, and a program of MIB of memory, which is saved while keys are pressed. The
snapshot that is opened is made up, of MIB without two equal pages, in a temporary directory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import multiprocessing
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hexview import make, moves
from rows import Row

from snaptui.commands.app import collect_seldom
from snaptui.engine.snapfile import open_snapshot

_KEYS: Final = 40
_STARTS: Final = 5
_MAPPINGS: Final = 1000
_PATIENCE: Final = 60.0

_CODES: Final = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_ROW: Final = re.compile(rb"[0-9a-f]{12} (?:[0-9a-f]{2} +){16}")

_MANY: Final = """
import ctypes, os, signal, sys
prctl = ctypes.CDLL(None).prctl
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: all end with their parent
        signal.pause()
print("ready", flush=True)
signal.pause()
"""
_LARGE: Final = """
import os, signal, sys
size = int(sys.argv[1]) << 20
memory = bytearray(os.urandom(1 << 20)) * (size >> 20)
for at in range(0, size, 4096): memory[at:at + 8] = at.to_bytes(8, "little")
print("ready", flush=True)
signal.pause()
"""


class App:
    """The app in a pseudo-terminal of 80x24."""

    def __init__(self, directory: Path, *files: str) -> None:
        self.began = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            names = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
            places = dict.fromkeys(names, str(directory))
            os.environ.update(places, COLORTERM="truecolor", TERM="xterm-256color", COLUMNS="", LINES="")
            os.execv(sys.executable, [sys.executable, "-m", "snaptui", *files])
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def wait_for(self, *words: bytes) -> float:
        """The time at which one of the words had been painted."""
        painted = b""
        deadline = time.perf_counter() + _PATIENCE
        while time.perf_counter() < deadline:
            if select.select([self._fd], [], [], 0.5)[0]:
                painted = painted[-4096:] + os.read(self._fd, 1 << 16)
                if any(word in painted for word in words):
                    return time.perf_counter()
        raise SystemExit(f"{words} did not appear; last painted: {painted[-2000:]!r}")

    def press(self, keys: bytes) -> float:
        """Send keys; returns when."""
        now = time.perf_counter()
        os.write(self._fd, keys)
        return now

    def wait_for_rows(self) -> float:
        """The time at which lines of bytes had been painted."""
        painted = b""
        deadline = time.perf_counter() + _PATIENCE
        while time.perf_counter() < deadline:
            if select.select([self._fd], [], [], 0.5)[0]:
                painted += os.read(self._fd, 1 << 16)
                if _ROW.search(_CODES.sub(b"", painted)):
                    return time.perf_counter()
        raise SystemExit(f"no bytes; last painted: {painted[-2000:]!r}")

    def settle(self, seconds: float) -> None:
        """Read what is painted for a while."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                os.read(self._fd, 1 << 16)

    def memory(self) -> float:
        """MiB of memory that it had at most."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def end(self) -> None:
        """End it, and wait."""
        os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(OSError):
            while os.read(self._fd, 1 << 16):
                pass
        os.waitpid(self.pid, 0)
        os.close(self._fd)


@contextlib.contextmanager
def running(code: str, argument: int) -> Iterator[int]:
    """A program of ours, when it is ready."""
    with subprocess.Popen([sys.executable, "-c", code, str(argument)], stdout=subprocess.PIPE) as popen:
        try:
            assert popen.stdout is not None
            assert popen.stdout.readline() == b"ready\n"
            yield popen.pid
        finally:
            popen.kill()


def key_to_screen(app: App) -> list[float]:
    """Milliseconds from the key `a` (mine, all) to the changed line below the list."""
    times = []
    for number in range(_KEYS):
        sent = app.press(b"a")
        painted = app.wait_for(b"all users" if number % 2 == 0 else b"mine")
        times.append((painted - sent) * 1000)
        app.settle(0.04)  # 25 keys a second
    return times


def page_down_to_screen(app: App) -> list[float]:
    """Milliseconds from the key to the next page of bytes, in several mappings."""
    times = []
    for number in range(_KEYS):
        if number % 4 == 0:
            app.press(b"]")  # to the next mapping
            app.settle(0.5)
        sent = app.press(b"\x1b[6~")
        times.append((app.wait_for_rows() - sent) * 1000)
        app.settle(0.2)  # until the line below and the inspector say what the cursor is on
    return times


def first_paint(directory: Path) -> list[float]:
    """Milliseconds from the command to the list of processes on the screen."""
    times = []
    for _ in range(_STARTS):
        app = App(directory)
        times.append((app.wait_for(b" processes") - app.began) * 1000)
        app.end()
    return times


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, all of it, and what it may be at most."""

    what: str
    values: Sequence[float]
    limit: float
    unit: str = "ms"
    share: float = 0.95
    """Which of the ordered values counts: of the keys the 95th percentile, of few starts the middle one."""

    @property
    def value(self) -> float:
        """The value that counts."""
        return sorted(self.values)[int(len(self.values) * self.share)]

    def row(self) -> Row:
        """It beside what is required."""
        return Row(self.what, self.value, self.limit, self.unit, "required", 1.0)

    def __str__(self) -> str:
        middle, worst = statistics.median(self.values), max(self.values)
        text = f"{self.what:45} {self.value:5.0f} {self.unit}  (at most {self.limit:.0f})"
        return text if len(self.values) == 1 else f"{text}  median {middle:.0f}, worst {worst:.0f}"


def with_processes(directory: Path, number: int) -> Iterator[Figure]:
    """The list of many processes."""
    with running(_MANY, number):
        app = App(directory)
        app.wait_for(b"COMMAND")
        app.settle(3)
        yield Figure(f"key to screen, {number:,} processes (p95)", key_to_screen(app), 50)
        yield Figure(f"memory of the app, {number:,} processes", [app.memory()], 200, "MiB")
        app.end()


def while_capturing(directory: Path, mebibytes: int) -> Iterator[Figure]:
    """The list while a large process is saved."""
    with running(_LARGE, mebibytes) as pid:
        app = App(directory)
        app.wait_for(b"COMMAND")
        app.press(f"/pid:{pid}\r".encode())
        app.wait_for(b"1 of")
        app.settle(0.5)
        app.press(b"s")
        app.wait_for(b"Save as")
        app.settle(0.3)
        app.press(b"\r")
        app.wait_for(b"goes on")
        app.press(b"b")
        app.settle(0.2)
        yield Figure(f"key to screen, capture of {mebibytes:,} MiB (p95)", key_to_screen(app), 50)
        app.end()


def inside(directory: Path, mebibytes: int) -> Iterator[Figure]:
    """A large snapshot, opened."""
    path = directory / "made-up.snap"
    # In a child, for its memory.
    child = multiprocessing.get_context("spawn").Process(target=make, args=(path, mebibytes << 20, _MAPPINGS))
    child.start()
    child.join()
    app = App(directory, str(path))
    app.wait_for_rows()
    app.settle(1)
    yield Figure(f"page down to screen, {mebibytes:,} MiB open (p95)", page_down_to_screen(app), 50)
    yield Figure(f"memory of the app, {mebibytes:,} MiB open", [app.memory()], 200, "MiB")
    app.end()
    collect_seldom()  # as the app does
    with open_snapshot(str(path)) as snapshot:
        for size in ((80, 24), (200, 50)):
            work = asyncio.run(moves(snapshot, size))["page down"]
            name = f"work of page down, anywhere, {size[0]}x{size[1]} (p95)"
            yield Figure(name, [seconds * 1000 for seconds in work], 16)
    path.unlink()


def figures(
    directory: Path, processes: int = 5000, capture: int = 2048, opened: int = 10_240
) -> Iterator[Figure]:
    """All that is required of the app; `capture` and `opened` in MiB, 0 leaves that out."""
    yield Figure("first paint", first_paint(directory), 600, share=0.5)
    yield from with_processes(directory, processes)
    if capture:
        yield from while_capturing(directory, capture)
    if opened:
        yield from inside(directory, opened)


def rows(directory: Path) -> list[Row]:
    """All figures beside what is required; their files are in `directory`, 12 GiB of them."""
    return [figure.row() for figure in figures(directory)]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=5000)
    parser.add_argument("--capture", metavar="MIB", type=int, default=2048, help="0: leave that out")
    parser.add_argument("--open", metavar="MIB", type=int, default=10_240, help="0: leave that out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="snaptui-") as name:
        for figure in figures(Path(name), arguments.processes, arguments.capture, arguments.open):
            print(figure, flush=True)


if __name__ == "__main__":
    main()
