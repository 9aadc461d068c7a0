"""Serving a saved process of 1 GiB, beside what serves a plain core: diod, a bare FUSE, gdb on the file.

    python benchmarks/serving.py [DIRECTORY]

Needs root, gdb, FUSE, and diod (`scripts/setup dev bench`). The same client asks both 9P servers for the same
bytes of the same process, in turn, over UNIX sockets; every byte is compared with gcore's in a pass of
its own. DIRECTORY should be on a file system that keeps 2.5 GiB in the page cache.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ninep import Client
from rows import Row, paired, table, timed

_HERE = Path(__file__).parent
_BIN = Path(sys.executable).parent
_SIZE = 1 << 30
_QUARTER = _SIZE // 4
_ROUNDS = 5
_PIECE = 1 << 20
_SMALL = 64
"""Bytes of a random read."""
_READS = 10_000
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Saved:
    """One process, saved by both: the 1 GiB mapping of it, too."""

    directory: Path
    pid: int
    program: Path
    snapshot: Path
    plain: Path
    """gcore's core."""
    address: int
    """Where the mapping begins in memory."""
    offset: int
    """Where it begins in `plain`."""

    def ours(self, msize: int) -> Client:
        return Client(str(self.directory / "ours.9p"), "9P2000", msize, "", [str(self.pid), "mem"])

    def peer(self, msize: int) -> Client:
        names = [self.plain.name]
        return Client(str(self.directory / "diod.9p"), "9P2000.L", msize, str(self.directory), names)


def rows(directory: Path) -> list[Row]:
    """All figures, measured in `directory`. Raises AssertionError where a byte is not what gcore saved."""
    with ExitStack() as stack:
        saved = stack.enter_context(_saved(directory))
        stack.enter_context(_servers(saved))
        mounted = stack.enter_context(_mounts(saved))
        _compare(saved, mounted / str(saved.pid) / "core")
        return [*_ninep(saved), _fuse(saved, mounted), _gdb(saved, mounted), *_starting(directory)]


def _ninep(saved: Saved) -> Iterator[Row]:
    for msize, amount, bar in ((8 << 10, 16, 1.0), (64 << 10, 64, 1.3), (_PIECE + 24, 256, 3.0)):
        read = partial(_sequential, each=amount << 20)
        ours, theirs, largest = _both(saved, msize, read)
        what, peer = f"9P sequential read, msize {msize >> 10} KiB", f"diod, msize {largest >> 10} KiB"
        yield Row(what, ours, theirs, "MB/s", peer, bar, is_rate=True)
    for where, size in (("raw pages", _QUARTER), ("all pages", _SIZE)):
        ours, theirs, _ = _both(saved, 8 << 10, partial(_at_random, size=size))
        yield Row(f"9P random 64-byte reads, {where}", ours, theirs, "reads/s", "diod", 1.2, is_rate=True)


def _both(saved: Saved, msize: int, rate: Callable[[Client, int], float]) -> tuple[float, float, int]:
    """The rates of both servers, and the msize that the peer agreed to."""
    with saved.ours(msize) as ours, saved.peer(msize) as peer:
        pair = paired(lambda: rate(ours, saved.address), lambda: rate(peer, saved.offset), rounds=_ROUNDS)
        return *pair, peer.msize


def _sequential(client: Client, start: int, each: int) -> float:
    """MB/s of reading `each` bytes at the start of each quarter of the mapping."""
    count = client.largest_read

    def read() -> None:
        for first in range(start, start + _SIZE, _QUARTER):
            at, end = first, first + each
            while at < end:
                at += len(client.read(at, min(count, end - at)))

    return 4 * each / timed(read) / 1e6


def _at_random(client: Client, start: int, size: int) -> float:
    """Reads a second, anywhere in `size` bytes."""
    rng = random.Random(size)
    places = [start + rng.randrange(size - _SMALL) for _ in range(_READS)]

    def read() -> None:
        for place in places:
            client.read(place, _SMALL)

    return _READS / timed(read)


def _fuse(saved: Saved, mounted: Path) -> Row:
    ours, peer = mounted / str(saved.pid) / "core", saved.directory / "passthrough" / "core"
    pair = paired(lambda: _read_whole(ours), lambda: _read_whole(peer), _ROUNDS)
    name = "mfusepy passthrough of gcore's"
    return Row("FUSE sequential read of core", *pair, "MB/s", name, 0.8, is_rate=True)


def _read_whole(path: Path) -> float:
    """MB/s of reading a file; what the kernel has of it is dropped before."""
    buffer = bytearray(_PIECE)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

        def read() -> None:
            while file.readinto(buffer):
                pass

        seconds = timed(read)
        return file.tell() / seconds / 1e6


def _gdb(saved: Saved, mounted: Path) -> Row:
    served = mounted / str(saved.pid)

    def backtraces(program: Path, core: Path, *before: str) -> float:
        settings = [word for setting in before for word in ("-iex", setting)]
        command = ["gdb", "-nx", "-batch", *settings, program, core, "-ex", "thread apply all bt"]
        seconds, said = _run_timed([str(word) for word in command])
        assert said.count("Thread ") >= 10, said
        return seconds

    pair = paired(
        lambda: backtraces(served / "text", served / "core", f"set sysroot {served / 'root'}"),
        lambda: backtraces(saved.program, saved.plain),
        _ROUNDS,
    )
    return Row("gdb: thread apply all bt on the mounted core", *pair, "s", "gcore's plain core", 1.3)


def _starting(directory: Path) -> Iterator[Row]:
    """What must not take longer than a given time."""
    snap = str(_BIN / "snap")
    seconds = [_run_timed([snap, "--help"])[0] for _ in range(_ROUNDS)]
    yield Row("snap --help", sorted(seconds)[_ROUNDS // 2], 0.2, "s", "required", 1.0)
    with _target(directory, 1) as (pid, _):
        output = str(directory / "small.snap")
        seconds = [_run_timed([snap, "-o", output, str(pid)])[0] for _ in range(_ROUNDS)]
    yield Row("snap of a process of 1 MiB", sorted(seconds)[_ROUNDS // 2], 0.5, "s", "required", 1.0)


def _run_timed(command: list[str]) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, done.stdout


@contextmanager
def _target(directory: Path, mebibytes: int) -> Iterator[tuple[int, Path]]:
    program = directory / "target"
    if not program.exists():
        subprocess.run(["cc", "-O2", "-pthread", "-o", program, _HERE / "target.c"], check=True)
    command = [str(program), str(mebibytes), "10"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process.pid, program
        finally:
            process.kill()


@contextmanager
def _saved(directory: Path) -> Iterator[Saved]:
    snapshot = directory / "target.snap"
    with _target(directory, _SIZE >> 20) as (pid, program):
        subprocess.run([_BIN / "snap", "-q", "-o", snapshot, str(pid)], check=True)
        subprocess.run(["gcore", "-o", directory / "plain", str(pid)], check=True, capture_output=True)
    plain = directory / f"plain.{pid}"
    address, offset, _ = max(_segments(plain), key=lambda segment: segment[2])
    yield Saved(directory, pid, program, snapshot, plain, address, offset)


def _segments(core: Path) -> list[tuple[int, int, int]]:
    """Address, offset in the file and bytes of each PT_LOAD of a 64-bit core (elf(5))."""
    with core.open("rb") as file:
        header = file.read(64)
        (start,), (count,) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<H", header, 56)
        file.seek(start)
        fields = [struct.unpack("<2I6Q", file.read(56)) for _ in range(count)]
    return [(field[3], field[2], field[5]) for field in fields if field[0] == 1]


@contextmanager
def _process(command: list[str], ready: Callable[[], bool]) -> Iterator[None]:
    # diod may crash when it is ended: its core is not for the directory of whoever measures.
    null, place = subprocess.DEVNULL, tempfile.gettempdir()
    with subprocess.Popen(command, stdout=null, stderr=null, cwd=place) as process:
        try:
            deadline = time.monotonic() + _PATIENCE
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"does not serve: {' '.join(command)}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def _answers(open_client: Callable[[int], Client]) -> Callable[[], bool]:
    def ready() -> bool:
        with contextlib.suppress(OSError):
            open_client(8192).close()
            return True
        return False

    return ready


@contextmanager
def _servers(saved: Saved) -> Iterator[None]:
    ours = [str(_BIN / "snapfs"), "-f", "-s", str(saved.directory / "ours.9p"), str(saved.snapshot)]
    diod = ["/usr/sbin/diod", "-f", "-n", "-N", "-c", "/dev/null", "-L", str(saved.directory / "diod.log")]
    diod += ["-l", str(saved.directory / "diod.9p"), "-e", str(saved.directory)]
    with _process(ours, _answers(saved.ours)), _process(diod, _answers(saved.peer)):
        yield


@contextmanager
def _mounts(saved: Saved) -> Iterator[Path]:
    ours, peer = saved.directory / "mounted", saved.directory / "passthrough"
    ours.mkdir()
    peer.mkdir()
    snapfs = [str(_BIN / "snapfs"), "-f", "-m", str(ours), str(saved.snapshot)]
    bare = [sys.executable, str(_HERE / "passthrough.py"), str(saved.plain), str(peer)]
    core = ours / str(saved.pid) / "core"
    with _process(snapfs, core.exists), _process(bare, (peer / "core").exists):
        yield ours


def _compare(saved: Saved, core: Path) -> None:
    """Every byte of the mapping, as 9P and as the mount give it, with gcore's."""
    with saved.plain.open("rb") as plain, saved.ours(_PIECE + 24) as large, saved.ours(8192) as small:
        for at in range(0, _SIZE, _PIECE):
            plain.seek(saved.offset + at)
            expected = plain.read(_PIECE)
            assert large.read(saved.address + at, _PIECE) == expected, hex(saved.address + at)
            if at % (8 * _PIECE) == 0:
                pieces = range(at, at + _PIECE, 4096)
                read = b"".join(bytes(small.read(saved.address + piece, 4096)) for piece in pieces)
                assert read == expected, hex(saved.address + at)
        with core.open("rb") as ours:
            for address, offset, size in _segments(core):
                within = address - saved.address
                for at in range(0, size if 0 <= within < _SIZE else 0, _PIECE):
                    ours.seek(offset + at), plain.seek(saved.offset + within + at)
                    count = min(_PIECE, size - at)
                    assert ours.read(count) == plain.read(count), hex(address + at)


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        sys.stdout.write(table(rows(Path(directory))))


if __name__ == "__main__":
    main()
