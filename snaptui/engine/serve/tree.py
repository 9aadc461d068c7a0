"""The tree that is served: a directory for each saved process, laid out like Plan 9's /proc (proc(3)).

    PID/                the files of snap(6) as stored, `mem` and `text` put together from their pages
    PID/args PID/core PID/root/ PID/linux/ PID/task/TID/    what a Linux snapshot has besides

Nothing is read before somebody looks there, and files are read in parts, never as a whole.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.core import CoreImage
from snaptui.engine.inspect.sysroot import SysrootEntry, sysroot_entries
from snaptui.engine.progress import Sink, Warned
from snaptui.engine.serve.nodes import Directory, File, Link, Node, Origin, StoredFile, Tree
from snaptui.engine.snapfile import LinuxRecord, Process, Snapshot
from snaptui.engine.snapfile.direct import Extents, cut
from snaptui.engine.snapfile.fieldarrays import U8

PLAN9_FILES: Final = (
    "ctl", "fd", "fpregs", "kregs", "mem", "noteid", "ns", "proc", "regs", "segment", "status", "text",
)  # fmt: skip
"""In the order of the listing. `ctl` is empty: a debugger may look for it, and nothing can be controlled."""

_MEMORY_END: Final = 1 << 63
"""Where `mem` ends at the latest: off_t has 63 bits. Above is nothing but the kernel's vsyscall page."""

_LAST_TIME: Final = (1 << 32) - 1
"""9P2000's times have 32 bits."""

_QUOTED: Final = frozenset(b"`^#*[]=|\\?${}()'<>&;")
"""What rc(1) gives a meaning to, besides blanks and control characters."""


@dataclass(frozen=True, slots=True)
class Parts:
    """How to read parts of something: the first two are asked for no byte past its end."""

    read: Callable[[int, int], bytes]
    read_into: Callable[[int, U8], None]
    direct: Callable[[], Extents | None]


Leaf = Callable[["Place", str], Node]
Leaves = Iterable[tuple[tuple[str, ...], Leaf]]
"""What belongs at which path, as its components."""


def qid_of(path: str) -> int:
    """The number of the file at `path` in a served tree: 63 bits of a hash, so that it never changes."""
    digest = hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class PartsFile(File):
    """A file whose parts a function of offset and count reads; it is asked for no byte past the end."""

    def __init__(
        self, name: str, qid: int, origin: Origin, size: int, parts: Callable[[int, int], bytes]
    ) -> None:
        super().__init__(name, qid, origin, size=size)
        self._parts = parts

    def read(self, offset: int, count: int) -> bytes:
        """Raises what the function raises."""
        count = min(count, self.size - offset)
        return self._parts(offset, count) if count > 0 else b""


class LargeFile(StoredFile):
    """A file that functions read in parts, into new bytes or given ones; never past the end."""

    def __init__(self, name: str, qid: int, origin: Origin, size: int, source: Parts) -> None:
        super().__init__(name, qid, origin, size=size)
        self._source = source

    def read(self, offset: int, count: int) -> bytes:
        """Raises what the function raises."""
        count = min(count, self.size - offset)
        return self._source.read(offset, count) if count > 0 else b""

    def read_into(self, offset: int, out: U8) -> int:
        """Raises what the function raises."""
        count = max(0, min(len(out), self.size - offset))
        self._source.read_into(offset, out[:count])
        return count

    def _find_direct(self) -> Extents | None:
        return self._source.direct()


class MemoryFile(StoredFile):
    """A process's memory, by virtual address.

    As with Linux's /proc/PID/mem, a read that begins where something was captured gives what there is up
    to the first address that was not; one that begins there raises `NotCaptured`.
    """

    def __init__(self, name: str, qid: int, origin: Origin, process: Process) -> None:
        areas = [area for area in process.areas() if area.end <= _MEMORY_END]
        super().__init__(name, qid, origin, size=max((area.end for area in areas), default=0))
        self.held = sum(area.size for area in areas if area.kind in ("stored", "text"))
        """Bytes that are not holes."""
        self._process = process
        self._areas = areas
        self._starts = [area.start for area in areas]

    def read(self, offset: int, count: int) -> bytes:
        """Bytes from address `offset` on. Raises `NotCaptured` if there are none at that address."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        try:
            return self._process.read_memory(offset, count)
        except NotCaptured:
            captured = self._captured(offset, count)
            if not captured:
                raise
            return self._process.read_memory(offset, captured)

    def read_into(self, offset: int, out: U8) -> int:
        """The same, into `out`."""
        count = min(len(out), self.size - offset)
        if count <= 0:
            return 0
        count = self._captured(offset, count) or count
        self._process.read_memory_into(offset, out[:count])
        return count

    def _find_direct(self) -> Extents | None:
        return self._process.direct(cut([*self._process.memory_extents()], 0, self.size, 0))

    def _captured(self, address: int, count: int) -> int:
        """How many of `count` bytes from `address` on are captured, without a gap."""
        at, end = address, address + count
        for index in range(max(0, bisect.bisect_right(self._starts, at) - 1), len(self._areas)):
            area = self._areas[index]
            if at >= end or not area.start <= at < area.end or area.kind == "left out":
                break
            at = min(area.end, end)
        return at - address


class LazyDirectory(Directory):
    """A directory whose entries are made when somebody looks."""

    def __init__(self, name: str, qid: int, origin: Origin, build: Callable[[], Iterable[Node]]) -> None:
        super().__init__(name, qid, origin)
        self._build = build
        self._lock = threading.Lock()
        self._by_name: dict[str, Node] | None = None

    def entries(self) -> Sequence[Node]:
        """All entries. Raises SnapError when the snapshot can't be read."""
        return tuple(self._found().values())

    def lookup(self, name: str) -> Node | None:
        """The entry of that name. Raises as `entries` does."""
        return self._found().get(name)

    def _found(self) -> dict[str, Node]:
        if self._by_name is None:
            with self._lock:
                if self._by_name is None:
                    self._by_name = {node.name: node for node in self._build()}
        return self._by_name


@dataclass(frozen=True, slots=True)
class Place:
    """A directory in the tree, for making what is in it."""

    path: str
    origin: Origin

    def file(self, name: str, size: int, parts: Callable[[int, int], bytes]) -> Node:
        return PartsFile(name, self._qid(name), self.origin, size, parts)

    def large(self, name: str, size: int, source: Parts) -> Node:
        return LargeFile(name, self._qid(name), self.origin, size, source)

    def memory(self, name: str, process: Process) -> Node:
        return MemoryFile(name, self._qid(name), self.origin, process)

    def link(self, name: str, target: str) -> Node:
        return Link(name, self._qid(name), self.origin, target)

    def directory(self, name: str, build: Callable[[Place], Iterable[Node]]) -> Node:
        inner = Place(f"{self.path}/{name}", self.origin)
        return LazyDirectory(name, self._qid(name), self.origin, lambda: build(inner))

    def _qid(self, name: str) -> int:
        return qid_of(f"{self.path}/{name}")


def build_tree(snapshots: Sequence[Snapshot], warn: Sink) -> Tree:
    """The tree of the processes of all `snapshots`, which it closes when it is closed.

    Where two have a process of the same id the first is served, and a `Warned` says so.
    """
    owners: dict[int, Snapshot] = {}
    for snapshot in snapshots:
        for pid in snapshot.processes:
            first = owners.setdefault(pid, snapshot)
            if first is not snapshot:
                message = f"process {pid} is in {first.path} and in {snapshot.path}: the first is served"
                warn(
                    Warned(
                        message, pid=pid, help="serve the other one by itself, at a mount point of its own"
                    )
                )
    times = {id(snapshot): time_of(snapshot) for snapshot in snapshots}
    newest = max(times.values(), default=0)

    def processes() -> Iterable[Node]:
        for pid, snapshot in owners.items():
            process = snapshot.process(pid)
            owner = process.user or "none"
            place = Place("", Origin(owner, owner, times[id(snapshot)]))
            yield place.directory(str(pid), partial(_process_files, process))

    def close() -> None:
        for snapshot in snapshots:
            snapshot.close()

    return Tree(LazyDirectory("", qid_of(""), Origin("none", "none", newest), processes), close)


def time_of(snapshot: Snapshot) -> int:
    """When a snapshot was taken, in seconds since 1970: its header's first word, else the age of the file."""
    word = snapshot.header.partition(" ")[0]
    if word.isascii() and word.isdigit() and int(word) <= _LAST_TIME:
        return int(word)
    try:
        return min(max(0, int(os.stat(snapshot.path).st_mtime)), _LAST_TIME)
    except OSError:
        return 0


def quote(argument: bytes) -> bytes:
    """An argument as rc(1) wants it: in single quotes, and those in it doubled, where it needs that."""
    if argument and not any(byte <= 0x20 or byte in _QUOTED for byte in argument):
        return argument
    return b"'" + argument.replace(b"'", b"''") + b"'"


def _process_files(process: Process, place: Place) -> Iterable[Node]:
    """All in a process's directory."""
    for name in PLAN9_FILES:
        if name == "ctl":
            yield place.file(name, 0, lambda offset, count: b"")  # noqa: ARG005 - never called: it is empty
        elif name in process.records:
            yield place.file(name, process.record_size(name), partial(process.read_part, name))
        elif name == "mem" and process.memory:
            yield place.memory(name, process)
        elif name == "text" and process.text:
            yield place.large(name, process.text_size, _text_parts(process, 0, process.text_size))
    if process.linux is not None:
        yield from _linux_files(process, process.linux, place)


def _linux_files(process: Process, record: LinuxRecord, place: Place) -> Iterable[Node]:
    """What only a Linux snapshot has."""
    names = [(tuple(name.split("/")), name) for name in record.names()]
    if "cmdline" in record.names():
        arguments = record.read("cmdline").split(b"\0")
        args = b" ".join(quote(argument) for argument in (arguments if arguments[-1] else arguments[:-1]))
        yield place.file("args", len(args), partial(_part, lambda: args))
    try:
        core = CoreImage(process)
    except NotCaptured:
        pass  # of a machine without cores, or a record that lacks what a core needs
    else:
        yield place.large("core", core.size, Parts(core.read, core.read_into, core.direct))
    yield place.directory("root", lambda inner: _level(inner, _sysroot(process)))
    tasks = [(parts[1:], partial(_record_file, record, name)) for parts, name in names if parts[0] == "task"]
    yield place.directory("task", lambda inner: _level(inner, tasks))
    everything = [(parts, partial(_record_file, record, name)) for parts, name in names]
    yield place.directory("linux", lambda inner: _level(inner, everything))


def _record_file(record: LinuxRecord, member: str, place: Place, name: str) -> Node:
    content = record.read(member)
    if record.is_link(member):
        return place.link(name, content.decode("utf-8", "surrogateescape"))
    return place.file(name, len(content), partial(_part, partial(record.read, member)))


def _part(content: Callable[[], bytes], offset: int, count: int) -> bytes:
    return content()[offset : offset + count]


def _sysroot(process: Process) -> Leaves:
    for entry in sysroot_entries(process):
        yield tuple(entry.path.split("/")), partial(_sysroot_file, process, entry)


def _sysroot_file(process: Process, entry: SysrootEntry, place: Place, name: str) -> Node:
    if entry.file is None:
        return place.link(name, entry.link)
    return place.large(name, entry.file.size, _text_parts(process, entry.file.offset, entry.file.size))


def _text_parts(process: Process, start: int, size: int) -> Parts:
    """How to read the `size` bytes of the text image from `start` on."""
    return Parts(
        lambda offset, count: process.read_text(start + offset, count),
        lambda offset, out: process.read_text_into(start + offset, out),
        lambda: process.direct(cut([*process.text_extents()], start, start + size, -start)),
    )


def _level(place: Place, leaves: Leaves) -> Iterable[Node]:
    """The entries of the directory `place`, below which all the `leaves` are.

    Paths come from a file that anybody may have made: empty components are skipped, and what a path
    with `.`, `..` or a NUL in it leads to is left out.
    """
    groups: dict[str, list[tuple[tuple[str, ...], Leaf]]] = {}
    for path, leaf in leaves:
        parts = tuple(part for part in path if part)
        if parts and not any(part in (".", "..") or "\0" in part for part in parts):
            groups.setdefault(parts[0], []).append((parts[1:], leaf))
    for name, inside in groups.items():
        deeper = [(rest, leaf) for rest, leaf in inside if rest]
        if deeper:
            yield place.directory(name, partial(_level, leaves=deeper))
            continue
        try:
            yield inside[0][1](place, name)
        except NotCaptured:
            continue  # a directory or device of a strange archive: it holds nothing
