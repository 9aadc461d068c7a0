"""Reads that compiled code answers: the same answers as Python's, as long as a fid is that of the file."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.engine import compiled
from snaptui.engine.compiled import PURE
from snaptui.engine.progress import ignore
from snaptui.engine.serve.ninep.session import Session
from snaptui.engine.serve.nodes import Directory, Tree
from snaptui.engine.serve.tree import build_tree
from snaptui.engine.snapfile import open_snapshot
from tests.helpers.commands import snap
from tests.helpers.handmade import PID, HandMade
from tests.helpers.victims import program, running
from tests.serve import ninep
from tests.serve.ninep import Gate, SocketClient, client_threads, nothing_left_behind, serving, until

pytestmark = pytest.mark.skipif(compiled.library() is None, reason="there is no compiled code here")

LARGE = (1 << 20) + 24


class Asked:
    """Counts the messages that Python has to answer."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        start = Session.start

        def counted(session: Session, data: bytes) -> object:
            self.count += 1
            return start(session, data)

        patch.setattr(Session, "start", counted)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def tree_of(path: Path) -> Tree:
    return build_tree([open_snapshot(str(path))], ignore)


@contextlib.contextmanager
def client_of(
    path: Path, directory: Path, *, msize: int = 8192, pure: bool = False
) -> Iterator[SocketClient]:
    """A client of a server of the snapshot at `path`, which answers with or without compiled code."""
    directory.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(serving(directory, tree_of(path)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(PURE, str(int(pure)))  # looked at when the server takes the connection
            client = stack.enter_context(SocketClient(address))
            assert client.begin(msize) == msize
        yield client


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A snapshot of a real process with mappings of all kinds."""
    directory = tmp_path_factory.mktemp("live")
    with running([program("mappings.c", "-lrt"), directory]) as victim:
        victim.table()
        snap("-o", directory / "x.snap", victim.pid, "-q")
        return directory / "x.snap", victim.pid


def largest(path: Path, pid: int) -> int:
    """Where the largest range of memory that was saved begins."""
    with open_snapshot(str(path)) as snapshot:
        areas = [area for area in snapshot.process(pid).areas() if area.kind != "left out"]
        return max(areas, key=lambda area: area.size).start


def answers(client: SocketClient, requests: list[bytes]) -> list[tuple[int, int, bytes]]:
    return [(found.kind, found.tag, found.body) for found in map(client.ask, requests)]


@pytest.mark.parametrize("msize", [8192, 65536, LARGE])
@pytest.mark.parametrize("name", ["mem", "core", "text"])
def test_a_real_process_reads_the_same_either_way(
    live: tuple[Path, int], tmp_path: Path, msize: int, name: str, asked: Asked
) -> None:
    path, pid = live
    rng = random.Random(msize)
    with open_snapshot(str(path)) as snapshot:
        process = snapshot.process(pid)
        areas = process.areas() if name == "mem" else ()
        size = process.text_size if name == "text" else 40 << 20
    requests = []
    for area in areas:  # across each border, and inside; what is far too large is seen in parts
        for at in (area.start, area.end - 70_000, area.end - 5, rng.randrange(area.start, area.end)):
            requests.append(ninep.tread(1, 1, max(0, at), rng.choice((1, 64, 4096, 100_000, msize))))
    while not areas and len(requests) < 300:
        requests.append(ninep.tread(2, 1, rng.randrange(size), rng.choice((1, 64, 4096, 100_000, msize))))
    for start in (area.start for area in areas[:20]):  # and in sequence
        requests += [ninep.tread(3, 1, start + k * 5000, 5000) for k in range(5)]
    found = []
    for pure in (True, False):
        with client_of(path, tmp_path / str(pure), msize=msize, pure=pure) as client:
            client.open(1, f"{pid}/{name}")
            asked.count = 0
            found.append(answers(client, requests))
            if pure:
                assert asked.count == len(requests)
            else:
                assert asked.count < len(requests) / 2
    assert found[0] == found[1]


@pytest.mark.parametrize("seed", range(6))
def test_pages_of_every_kind_read_the_same_either_way(tmp_path: Path, seed: int) -> None:
    made = HandMade(seed)
    path = made.write(tmp_path / "x.snap")
    rng = random.Random(seed)
    requests = []
    for start, end in made.ranges[PID]:
        requests += [ninep.tread(1, 1, at, 3000) for at in range(start, end, 3000)]
        places = [rng.randrange(max(0, start - 2000), end) for _ in range(100)]
        requests += [ninep.tread(2, 1, at, rng.choice((1, 64, 5000, 1 << 20))) for at in places]
    with client_of(path, tmp_path / "a", msize=LARGE) as client:
        client.open(1, f"{PID}/mem")
        direct = answers(client, requests)
    with client_of(path, tmp_path / "b", msize=LARGE, pure=True) as client:
        client.open(1, f"{PID}/mem")
        assert answers(client, requests) == direct


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, int, bytes]:
    """A snapshot, where memory is in it, and what is there."""
    made = HandMade(3)
    path = made.write(tmp_path / "x.snap")
    start, end = made.ranges[PID][-1]
    with open_snapshot(str(path)) as snapshot:
        return path, start, snapshot.process(PID).read_memory(start, end - start)


def test_python_is_asked_for_the_first_read_alone(
    made: tuple[Path, int, bytes], tmp_path: Path, asked: Asked
) -> None:
    path, start, content = made
    with client_of(path, tmp_path / "a") as client:
        client.open(1, f"{PID}/mem")
        asked.count = 0
        for at in range(50):
            assert client.must(ninep.tread(1, 1, start + at, 9)).data == content[at : at + 9]
    assert asked.count == 1


def test_requests_that_arrive_together_are_answered_in_order(
    made: tuple[Path, int, bytes], tmp_path: Path
) -> None:
    path, start, content = made
    with client_of(path, tmp_path / "a") as client:
        client.open(1, f"{PID}/mem")
        client.must(ninep.tread(1, 1, start, 1))
        # Many reads, and now and then what only Python answers; messages lie across what is received at once.
        messages = [
            ninep.tread(tag, 1, start + tag % 500, 5) if tag % 7 else ninep.tstat(tag, 1)
            for tag in range(3000)
        ]
        client.send(*messages)
        for tag in range(3000):
            answer = client.receive()
            assert answer.tag == tag
            if tag % 7:
                assert answer.data == content[tag % 500 : tag % 500 + 5]
            else:
                assert answer.kind == ninep.RSTAT


def test_a_fid_that_is_another_file_now_reads_that(made: tuple[Path, int, bytes], tmp_path: Path) -> None:
    path, start, content = made
    with client_of(path, tmp_path / "a") as client:
        for _ in range(3):
            client.open(1, f"{PID}/mem")
            for _ in range(3):
                assert client.must(ninep.tread(1, 1, start, 50)).data == content[:50]
            client.must(ninep.tclunk(1, 1))
            assert client.ask(ninep.tread(1, 1, start, 50)).error == "unknown fid"
            client.open(1, f"{PID}/text")
            assert client.must(ninep.tread(1, 1, start, 50)).data == b""  # there is no text that far
            assert client.ask(ninep.tremove(1, 1)).error == "permission denied"
            assert client.ask(ninep.tread(1, 1, 0, 50)).error == "unknown fid"


def test_after_a_new_version_the_old_fids_are_unknown(made: tuple[Path, int, bytes], tmp_path: Path) -> None:
    path, start, content = made
    with client_of(path, tmp_path / "a") as client:
        client.open(1, f"{PID}/mem")
        for _ in range(3):
            assert client.must(ninep.tread(1, 1, start, 50)).data == content[:50]
        client.begin(4096)
        assert client.ask(ninep.tread(1, 1, start, 50)).error == "unknown fid"
        client.open(1, f"{PID}/mem")
        for _ in range(3):
            assert client.must(ninep.tread(1, 1, start, 50_000)).data == content[: 4096 - 24]


def test_more_files_than_it_knows_at_a_time_are_read_in_turn(
    made: tuple[Path, int, bytes], tmp_path: Path
) -> None:
    path, start, content = made
    with client_of(path, tmp_path / "a") as client:
        for fid in range(1, 40):
            client.open(fid, f"{PID}/mem")
        for at in range(5):
            for fid in range(1, 40):
                assert client.must(ninep.tread(fid, fid, start + at, 9)).data == content[at : at + 9]


def test_a_snapshot_that_has_changed_is_an_error(made: tuple[Path, int, bytes], tmp_path: Path) -> None:
    path, start, content = made
    with client_of(path, tmp_path / "a", msize=LARGE) as client:
        client.open(1, f"{PID}/mem")
        for at in (0, 3000, 6000, 9000):  # on and on: the next bytes are read ahead
            assert client.must(ninep.tread(1, 1, start + at, 3000)).data == content[at : at + 3000]
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!")
        assert "has changed" in client.ask(ninep.tread(1, 1, start + 12000, 3000)).error
        assert "has changed" in client.ask(ninep.tread(1, 1, start, len(content))).error
        client.must(ninep.tstat(1, 1))  # the session goes on


def test_what_the_kernel_has_not_in_memory_is_read_all_the_same(
    made: tuple[Path, int, bytes], tmp_path: Path, asked: Asked
) -> None:
    path, start, content = made
    with client_of(path, tmp_path / "a", msize=LARGE) as client, path.open("rb") as file:
        client.open(1, f"{PID}/mem")
        asked.count = 0
        for _ in range(5):
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert client.must(ninep.tread(1, 1, start, 1 << 20)).data == content[: 1 << 20]
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            for at in range(0, 9000, 1000):
                assert client.must(ninep.tread(1, 1, start + at, 1000)).data == content[at : at + 1000]
        library = compiled.library()
        assert library is not None
        if library.pages_flags(file.fileno()) == os.RWF_NOWAIT:  # else what is written stays in memory
            assert asked.count >= 10  # the long reads, which end behind the memory, and the first ones after


def test_reads_pass_a_slow_one_and_its_tag_stays_taken(made: tuple[Path, int, bytes], tmp_path: Path) -> None:
    path, start, content = made
    tree = tree_of(path)
    assert isinstance(tree.root, Directory)
    gate = Gate("slow", 90)
    both = ninep.Folder("", 1, [gate, *tree.root.entries()])
    with serving(tmp_path, Tree(both, tree.close)) as address, SocketClient(address) as client:
        client.begin()
        client.open(1, f"{PID}/mem")
        client.open(2, "slow")
        for _ in range(3):
            client.must(ninep.tread(1, 1, start, 9))
        client.send(ninep.tread(5, 2, 0, 4))
        assert gate.entered.acquire(timeout=ninep.PATIENCE)
        for at in range(20):
            assert client.must(ninep.tread(6, 1, start + at, 9)).data == content[at : at + 9]
        assert client.ask(ninep.tread(5, 1, start, 9)).error == "duplicate tag"
        gate.open.set()
        assert (answer := client.receive()).data == b"slow"
        assert answer.tag == 5
        for at in range(20):
            assert client.must(ninep.tread(5, 1, start + at, 9)).data == content[at : at + 9]


def test_a_client_that_hangs_up_amid_a_long_answer_leaves_nothing(
    live: tuple[Path, int], tmp_path: Path
) -> None:
    path, pid = live
    start = largest(path, pid)
    with serving(tmp_path, tree_of(path)) as address:
        with SocketClient(address) as client:
            client.begin(8192)
        with nothing_left_behind():
            for _ in range(5):
                with SocketClient(address) as client:
                    client.begin(LARGE)
                    client.open(1, f"{pid}/mem")
                    client.must(ninep.tread(1, 1, start, 1 << 20))
                    client.send(*(ninep.tread(tag, 1, start, 1 << 20) for tag in range(8)))
                    assert client.receive().tag == 0


def test_stop_ends_a_client_that_takes_no_answer(live: tuple[Path, int], tmp_path: Path) -> None:
    path, pid = live
    start = largest(path, pid)
    with contextlib.ExitStack() as stack:
        with serving(tmp_path, tree_of(path)) as address:
            client = stack.enter_context(SocketClient(address))
            client.begin(LARGE)
            client.open(1, f"{pid}/mem")
            client.must(ninep.tread(1, 1, start, 1 << 20))
            client.send(*(ninep.tread(tag, 1, start, 1 << 20) for tag in range(8)))
            sent = client.socket.recv(1, socket.MSG_PEEK)
            assert sent
        assert client.is_ended()
        until(lambda: client_threads() == 0)
