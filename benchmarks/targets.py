"""The processes that are saved: started for one measurement, asked for their pauses, ended by pid."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import mmap
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from rows import Row, table

from snaptui.engine.errors import NotCaptured
from snaptui.engine.snapfile import open_snapshot

MIB: Final = 1 << 20
_PIECE: Final = 8 * MIB

PYTHON_OBJECTS: Final = """
import random, signal, sys
random.seed(1)
size, things = 0, []
while size < int(sys.argv[1]) << 20:
    tags = [random.random() for _ in range(8)]
    things.append({"name": f"thing {random.random()}", "value": random.randrange(10**9), "tags": tags})
    size += 900  # bytes that the dictionary, its values and the list take, about
print("ready", flush=True)
signal.pause()
"""


@dataclass(frozen=True)
class Target:
    """A running process."""

    popen: subprocess.Popen[str]
    measures: bool
    """Whether it measures its pauses."""

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def pids(self) -> list[int]:
        """Its children, and itself."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def longest_pause(self) -> float:
        """Seconds, since it was last asked, that its measuring thread did not run; 0 if it has none."""
        if not self.measures:
            return 0.0
        assert self.popen.stdin is not None and self.popen.stdout is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        return int(self.popen.stdout.readline()) / 1e9


@contextlib.contextmanager
def running(command: Sequence[str | int | Path], *, measures: bool = False) -> Iterator[Target]:
    """Run a program that says `ready`, and end it."""
    popen = subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert popen.stdout is not None
        line = popen.stdout.readline()
        assert line == "ready\n", f"{command} said {line!r}"
        yield Target(popen, measures)
    finally:
        popen.kill()
        popen.communicate()


def build() -> Path:
    """target.c, compiled."""
    source = Path(__file__).with_name("target.c")
    key = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    binary = Path(tempfile.gettempdir()) / f"snaptui-bench-{os.getuid()}-{key}"
    if not binary.exists():
        subprocess.run(["cc", "-O2", "-pthread", "-o", binary, source], check=True)
    return binary


def mixed(mib: int, *more: int) -> contextlib.AbstractContextManager[Target]:
    """The standard target: MIB of mixed memory, ten threads; `more` as target.c says."""
    return running([build(), mib, 10, *more], measures=True)


def python_objects(mib: int) -> contextlib.AbstractContextManager[Target]:
    """A Python process with about so much of objects."""
    return running([sys.executable, "-c", PYTHON_OBJECTS, mib])


def join_free_memory() -> None:
    """Have the kernel join what memory is free to large pieces, as on a machine just started; for root only.

    What ran before scatters it, and a process whose pages lie here and there is read a third more slowly.
    """
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/compact_memory").write_text("1")


def have_at_hand(mib: int) -> None:
    """Take so much memory, and give it back: whoever comes next need not wait until the host gives it."""
    with mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for at in range(0, mib * MIB, mmap.PAGESIZE):
            memory[at] = 1


def compare(snapshot: Path, pid: int) -> int:
    """Compare all that a snapshot holds of a process with the process; returns how many bytes are equal.

    Its threads have run since: up to 1 MiB may differ, in areas smaller than a piece (stacks, the program's
    data). Raises AssertionError where more does.
    """
    equal, unequal = 0, []
    os.kill(pid, signal.SIGSTOP)
    try:
        with open_snapshot(str(snapshot)) as opened, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            process = opened.process(pid)
            for area in process.areas():
                if area.kind == "left out":
                    continue
                for at in range(area.start, area.end, _PIECE):
                    if area.kind == "zero" and at - area.start >= 8 * _PIECE:
                        break  # a terabyte of them
                    size = min(_PIECE, area.end - at)
                    try:
                        saved = process.read_memory(at, size)
                    except NotCaptured as error:
                        raise AssertionError(f"{area}: {error}") from error
                    if saved == os.pread(memory.fileno(), size, at):
                        equal += size
                    else:
                        unequal.append((area.name, at, size))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert all(size < _PIECE for _, _, size in unequal), f"memory that does not change differs: {unequal}"
    assert sum(size for _, _, size in unequal) <= MIB, unequal
    return equal


def distinct_pages(snapshot: Path) -> int:
    """The pages of 1 KiB that a snapshot holds as they are."""
    with open_snapshot(str(snapshot)) as opened:
        segments = [
            (one, segment) for one in opened.processes.values() for segment in (*one.text, *one.memory)
        ]
        return sum(one.page_counts(segment)["r"] for one, segment in segments)


def peak_memory(command: Sequence[str | int | Path]) -> float:
    """MB that a command takes at most."""
    done = subprocess.run(
        ["/usr/bin/time", "-f", "peak %M", *map(str, command)], capture_output=True, text=True, check=True
    )
    found = re.search(r"^peak (\d+)$", done.stderr, re.MULTILINE)
    assert found is not None, done.stderr
    return int(found[1]) * 1024 / 1e6


def quietly(command: Sequence[object], file: IO[bytes] | None = None) -> None:
    """Run a command to its end, with `file` for its standard input."""
    subprocess.run(
        list(map(str, command)), check=True, stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def print_rows(description: str | None, rows: Callable[[Path, int], Iterator[Row]]) -> None:
    """What a module does as a command: print the table of its rows."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--large", type=int, default=8192, help="MiB of the largest process")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = arguments.directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(table(list(rows(directory, arguments.large))), end="")
