"""A 9P2000 client of a few lines, written from Plan 9's intro(5) alone, and trees to serve to it.

It packs its messages itself, so that the server's library and its tests do not share their mistakes.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snaptui.engine.serve.ninep import Server, listen
from snaptui.engine.serve.ninep.session import Session
from snaptui.engine.serve.nodes import Directory, File, Link, Node, Origin, Tree

NOTAG = 0xFFFF
NOFID = 0xFFFFFFFF
(TVERSION, RVERSION, TAUTH, RAUTH, TATTACH, RATTACH, TERROR, RERROR, TFLUSH, RFLUSH) = range(100, 110)
(TWALK, RWALK, TOPEN, ROPEN, TCREATE, RCREATE, TREAD, RREAD, TWRITE, RWRITE) = range(110, 120)
(TCLUNK, RCLUNK, TREMOVE, RREMOVE, TSTAT, RSTAT, TWSTAT, RWSTAT) = range(120, 128)
OREAD, OWRITE, ORDWR, OEXEC, OTRUNC, OCEXEC, ORCLOSE = 0, 1, 2, 3, 0x10, 0x20, 0x40
QTDIR, DMDIR = 0x80, 0x80000000
PATIENCE = 20.0
"""Seconds that a test waits for something before it fails."""

ORIGIN = Origin(user="glenda", group="sys", mtime=1_000_000_000)


class Bytes(File):
    """A file in memory."""

    def __init__(self, name: str, qid: int, data: bytes, *, mode: int = 0o444) -> None:
        super().__init__(name, qid, ORIGIN, size=len(data), mode=mode)
        self.data = data

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


class Gate(Bytes):
    """A file that is slow: a read stops until `open` is set."""

    def __init__(self, name: str, qid: int) -> None:
        super().__init__(name, qid, b"slow")
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def read(self, offset: int, count: int) -> bytes:
        self.entered.release()
        assert self.open.wait(PATIENCE)
        return super().read(offset, count)


class Folder(Directory):
    """A directory in memory."""

    def __init__(self, name: str, qid: int, nodes: Sequence[Node]) -> None:
        super().__init__(name, qid, ORIGIN)
        self.nodes = tuple(nodes)

    def entries(self) -> Sequence[Node]:
        return self.nodes


TEXT = bytes(range(256)) * 40
PROGRAM = Bytes("program", 6, b"#!", mode=0o555)


def tree(*more: Node) -> Tree:
    """`/empty/`, `/text`, `/link`, `/program` (0555), `/1/task/2/regs`, and what else is given."""
    regs = Bytes("regs", 13, b"r" * 216)
    one = Folder("1", 10, [Folder("task", 11, [Folder("2", 12, [regs])]), Bytes("note", 14, b"")])
    link = Link("link", 5, ORIGIN, "../to/somewhere")
    return Tree(Folder("", 1, [Folder("empty", 2, []), Bytes("text", 3, TEXT), link, PROGRAM, one, *more]))


@dataclass(frozen=True)
class Answer:
    """An answer, its body not unpacked."""

    kind: int
    tag: int
    body: bytes

    @property
    def error(self) -> str:
        if self.kind != RERROR:
            return ""
        (size,) = struct.unpack_from("<H", self.body)
        assert len(self.body) == 2 + size
        return self.body[2:].decode()

    @property
    def data(self) -> bytes:
        assert self.kind == RREAD, self.error
        (size,) = struct.unpack_from("<I", self.body)
        assert len(self.body) == 4 + size
        return self.body[4:]


def unpack(data: bytes) -> Answer:
    size, kind, tag = struct.unpack_from("<IBH", data)
    assert size == len(data)
    return Answer(kind, tag, data[7:])


def message(kind: int, tag: int, body: bytes = b"") -> bytes:
    return struct.pack("<IBH", 7 + len(body), kind, tag) + body


def text(string: str | bytes) -> bytes:
    data = string.encode() if isinstance(string, str) else string
    return struct.pack("<H", len(data)) + data


def tversion(msize: int = 8192, version: str = "9P2000", tag: int = NOTAG) -> bytes:
    return message(TVERSION, tag, struct.pack("<I", msize) + text(version))


def tauth(tag: int, afid: int) -> bytes:
    return message(TAUTH, tag, struct.pack("<I", afid) + text("glenda") + text(""))


def tattach(tag: int, fid: int, afid: int = NOFID, aname: str = "") -> bytes:
    return message(TATTACH, tag, struct.pack("<II", fid, afid) + text("glenda") + text(aname))


def tflush(tag: int, oldtag: int) -> bytes:
    return message(TFLUSH, tag, struct.pack("<H", oldtag))


def twalk(tag: int, fid: int, newfid: int, *names: str | bytes) -> bytes:
    return message(TWALK, tag, struct.pack("<IIH", fid, newfid, len(names)) + b"".join(map(text, names)))


def topen(tag: int, fid: int, mode: int = OREAD) -> bytes:
    return message(TOPEN, tag, struct.pack("<IB", fid, mode))


def tcreate(tag: int, fid: int, name: str) -> bytes:
    return message(TCREATE, tag, struct.pack("<I", fid) + text(name) + struct.pack("<IB", 0o644, OWRITE))


def tread(tag: int, fid: int, offset: int, count: int) -> bytes:
    return message(TREAD, tag, struct.pack("<IQI", fid, offset, count))


def twrite(tag: int, fid: int, data: bytes) -> bytes:
    return message(TWRITE, tag, struct.pack("<IQI", fid, 0, len(data)) + data)


def tclunk(tag: int, fid: int) -> bytes:
    return message(TCLUNK, tag, struct.pack("<I", fid))


def tremove(tag: int, fid: int) -> bytes:
    return message(TREMOVE, tag, struct.pack("<I", fid))


def tstat(tag: int, fid: int) -> bytes:
    return message(TSTAT, tag, struct.pack("<I", fid))


def twstat(tag: int, fid: int, stat: bytes) -> bytes:
    return message(TWSTAT, tag, struct.pack("<IH", fid, len(stat)) + stat)


@dataclass(frozen=True)
class Stat:
    """A directory entry, as stat(5) has it."""

    qid: tuple[int, int, int]
    mode: int
    atime: int
    mtime: int
    length: int
    name: str
    uid: str
    gid: str
    muid: str


def unpack_stats(data: bytes) -> list[Stat]:
    """The entries that follow each other in what a directory read gave: whole ones only."""
    found = []
    while data:
        (size,) = struct.unpack_from("<H", data)
        entry, data = data[2 : 2 + size], data[2 + size :]
        assert len(entry) == size
        _, _, *qid, mode, atime, mtime, length = struct.unpack_from("<HIBIQIIIQ", entry)
        rest, names = entry[39:], []
        for _ in range(4):
            (size,) = struct.unpack_from("<H", rest)
            names.append(rest[2 : 2 + size].decode())
            rest = rest[2 + size :]
        assert not rest
        found.append(Stat((qid[0], qid[1], qid[2]), mode, atime, mtime, length, *names))
    return found


class Client:
    """Asks one thing after the other; how, its children know."""

    def ask(self, request: bytes) -> Answer:
        raise NotImplementedError

    def must(self, request: bytes) -> Answer:
        """The answer, which has to be the one for this request and no error."""
        answer = self.ask(request)
        assert not answer.error
        assert (answer.kind, answer.tag) == (request[4] + 1, int.from_bytes(request[5:7], "little"))
        return answer

    def begin(self, msize: int = 8192) -> int:
        """Version, and fid 0 at the root. The msize agreed on."""
        answer = self.must(tversion(msize))
        self.must(tattach(1, 0))
        return int.from_bytes(answer.body[:4], "little")

    def open(self, fid: int, path: str) -> None:
        """Open a file or directory for reading."""
        names = [name for name in path.split("/") if name]
        answer = self.must(twalk(1, 0, fid, *names))
        assert int.from_bytes(answer.body[:2], "little") == len(names)
        self.must(topen(1, fid))

    def list(self, fid: int, count: int = 8192) -> list[Stat]:
        """All entries of an open directory."""
        found: list[Stat] = []
        offset = 0
        while data := self.must(tread(1, fid, offset, count)).data:
            assert len(data) <= count
            found += unpack_stats(data)
            offset += len(data)
        return found

    def stat(self, fid: int) -> Stat:
        body = self.must(tstat(1, fid)).body
        assert int.from_bytes(body[:2], "little") == len(body) - 2
        (stat,) = unpack_stats(body[2:])
        return stat


class SessionClient(Client):
    """Without a socket: bytes into a session, bytes out of it."""

    def __init__(self, served: Tree | None = None) -> None:
        self.session = Session(served or tree())

    def ask(self, request: bytes) -> Answer:
        started = self.session.start(request)
        started.perform()
        return unpack(b"".join(self.session.respond(started)))


class SocketClient(Client):
    """Over a socket; a context manager."""

    def __init__(self, address: str) -> None:
        kind, _, place = address.partition("!")
        if kind == "unix":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(place)
        else:
            host, _, port = place.rpartition("!")
            self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)

    def __enter__(self) -> SocketClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *requests: bytes) -> None:
        self.socket.sendall(b"".join(requests))

    def receive(self) -> Answer:
        """The next answer. Raises EOFError at the end of the connection."""
        head = self._exactly(7)
        return unpack(head + self._exactly(int.from_bytes(head[:4], "little") - 7))

    def ask(self, request: bytes) -> Answer:
        self.send(request)
        return self.receive()

    def is_ended(self) -> bool:
        """Whether the server hangs up; what it says before that does not matter."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; there is nothing to be told by when it changes."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def nothing_left_behind() -> Iterator[None]:
    """No thread and no descriptor more at the end than at the start."""
    gc.collect()
    threads, open_files = threading.active_count(), descriptors()
    yield
    until(lambda: threading.active_count() <= threads and descriptors() <= open_files)


def client_threads() -> int:
    """How many threads of this process serve clients; those of other tests may be ending."""
    return [thread.name for thread in threading.enumerate()].count("9P client")


@contextlib.contextmanager
def serving(directory: Path, served: Tree | None = None) -> Iterator[str]:
    """A server on a UNIX socket in a directory; its address."""
    server = Server(served or tree(), [listen(str(directory / "socket"))])
    server.start()
    try:
        yield server.addresses[0]
    finally:
        server.stop()
