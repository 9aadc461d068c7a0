"""The 9P server over real sockets: many clients, slow ones, rude ones; and what is left afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snaptui.engine.serve.ninep import Server, listen
from tests.helpers.victims import wait_until
from tests.serve import ninep
from tests.serve.ninep import (
    Bytes,
    Gate,
    SocketClient,
    client_threads,
    descriptors,
    nothing_left_behind,
    serving,
    until,
)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as found:
        yield found


# One client


def test_client_reads_a_file(address: str) -> None:
    with SocketClient(address) as client:
        client.begin()
        client.open(1, "text")
        assert client.must(ninep.tread(1, 1, 100, 5000)).data == ninep.TEXT[100:5100]


def test_reads_of_one_mebibyte_arrive_whole(tmp_path: Path) -> None:
    data = os.urandom((5 << 20) + 77)
    with serving(tmp_path, ninep.tree(Bytes("large", 90, data))) as address, SocketClient(address) as client:
        assert client.begin(msize=(1 << 20) + 24) == (1 << 20) + 24
        client.open(1, "large")
        read = bytearray()
        while piece := client.must(ninep.tread(1, 1, len(read), 1 << 20)).data:
            assert len(piece) == min(1 << 20, len(data) - len(read))
            read += piece
        assert read == data


def test_requests_that_come_in_pieces_or_together_are_answered_in_order(address: str) -> None:
    with SocketClient(address) as client:
        for byte in ninep.tversion() + ninep.tattach(1, 0):
            client.send(bytes([byte]))
        assert client.receive().kind == ninep.RVERSION
        assert client.receive().kind == ninep.RATTACH
        client.open(1, "text")
        # More than the server receives at a time, so that messages lie across its borders.
        count = 2000
        client.send(*(ninep.tread(tag, 1, tag, 3) for tag in range(count)))
        for tag in range(count):
            answer = client.receive()
            assert (answer.tag, answer.data) == (tag, ninep.TEXT[tag : tag + 3])


def test_refused_write_as_large_as_msize_leaves_the_session_whole(address: str) -> None:
    with SocketClient(address) as client:
        msize = client.begin(msize=1 << 20)
        client.open(1, "text")
        assert client.ask(ninep.twrite(2, 1, bytes(msize - 23))).error == "permission denied"
        assert client.must(ninep.tread(1, 1, 0, 3)).data == b"\0\1\2"


def test_client_that_has_no_more_to_ask_gets_all_its_answers(tmp_path: Path) -> None:
    gate = Gate("slow", 90)
    with serving(tmp_path, ninep.tree(gate)) as address, SocketClient(address) as client:
        client.begin()
        client.open(1, "slow")
        client.send(ninep.tread(5, 1, 0, 4), ninep.tstat(6, 0))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive().tag == 6  # the quick one passes
        gate.open.set()
        assert (answer := client.receive()).data == b"slow"
        assert answer.tag == 5
        with pytest.raises(EOFError):
            client.receive()


# Slow reads


def test_quick_request_passes_a_slow_one(tmp_path: Path) -> None:
    gate = Gate("slow", 90)
    with serving(tmp_path, ninep.tree(gate)) as address, SocketClient(address) as client:
        client.begin()
        client.open(1, "slow")
        client.open(2, "text")
        client.send(ninep.tread(5, 1, 0, 4))
        assert gate.entered.acquire(timeout=ninep.PATIENCE)
        for _ in range(3):
            assert client.must(ninep.tread(6, 2, 0, 3)).data == b"\0\1\2"
        gate.open.set()
        assert (answer := client.receive()).data == b"slow"
        assert answer.tag == 5
        assert client.must(ninep.tread(6, 2, 0, 3)).data == b"\0\1\2"


def test_many_slow_reads_are_under_way_at_once_and_their_number_is_bounded(tmp_path: Path) -> None:
    gate = Gate("slow", 90)
    with serving(tmp_path, ninep.tree(gate)) as address, SocketClient(address) as client:
        client.begin()
        client.open(1, "slow")
        until(lambda: client_threads() == 1)
        client.send(*(ninep.tread(tag, 1, 0, 4) for tag in range(100)))
        for _ in range(16):
            assert gate.entered.acquire(timeout=ninep.PATIENCE)
        assert not gate.entered.acquire(timeout=0.2)
        assert client_threads() == 16
        gate.open.set()
        assert {client.receive().tag for _ in range(100)} == set(range(100))
        until(lambda: client_threads() == 1)


def test_large_answers_under_way_are_fewer(tmp_path: Path) -> None:
    gate = Gate("slow", 90)
    with serving(tmp_path, ninep.tree(gate)) as address, SocketClient(address) as client:
        client.begin(msize=1 << 20)
        client.open(1, "slow")
        client.send(*(ninep.tread(tag, 1, 0, 4) for tag in range(20)))
        for _ in range(4):
            assert gate.entered.acquire(timeout=ninep.PATIENCE)
        assert not gate.entered.acquire(timeout=0.2)
        gate.open.set()
        assert {client.receive().tag for _ in range(20)} == set(range(20))


def test_flush_of_a_slow_read_is_answered_at_once_and_the_read_never(tmp_path: Path) -> None:
    gate = Gate("slow", 90)
    with serving(tmp_path, ninep.tree(gate)) as address, SocketClient(address) as client:
        client.begin()
        client.open(1, "slow")
        client.send(ninep.tread(5, 1, 0, 4))
        assert gate.entered.acquire(timeout=ninep.PATIENCE)
        client.must(ninep.tflush(6, 5))
        gate.open.set()
        assert client.must(ninep.tread(5, 1, 1, 3)).data == b"low"
        client.send(ninep.tflush(7, 5))
        assert client.receive().tag == 7


def test_no_answer_follows_its_flush_however_they_race(tmp_path: Path) -> None:
    class Nap(Bytes):
        def read(self, offset: int, count: int) -> bytes:
            time.sleep(0.015)  # about as long as it takes until another thread leads
            return super().read(offset, count)

    with (
        serving(tmp_path, ninep.tree(Nap("nap", 90, b"12345678"))) as address,
        SocketClient(address) as client,
    ):
        client.begin()
        client.open(1, "nap")
        for _ in range(40):
            client.send(ninep.tread(5, 1, 0, 8), ninep.tflush(6, 5), ninep.tstat(7, 0))
            tags = [client.receive().tag for _ in range(2)]
            if 7 not in tags:
                tags.append(client.receive().tag)
            assert tags in ([5, 6, 7], [6, 7])


def test_slow_read_of_one_client_does_not_hold_up_another(tmp_path: Path) -> None:
    gate = Gate("slow", 90)
    served = ninep.tree(gate)
    with serving(tmp_path, served) as address, SocketClient(address) as slow, SocketClient(address) as quick:
        slow.begin()
        slow.open(1, "slow")
        slow.send(ninep.tread(5, 1, 0, 4))
        assert gate.entered.acquire(timeout=ninep.PATIENCE)
        quick.begin()
        quick.open(1, "text")
        assert quick.must(ninep.tread(1, 1, 0, 3)).data == b"\0\1\2"
        gate.open.set()
        assert slow.receive().data == b"slow"


def test_client_that_hangs_up_during_a_slow_read_leaves_nothing(tmp_path: Path) -> None:
    gate = Gate("slow", 90)
    with serving(tmp_path, ninep.tree(gate)) as address, nothing_left_behind():
        with SocketClient(address) as client:
            client.begin()
            client.open(1, "slow")
            client.send(ninep.tread(5, 1, 0, 4))
            assert gate.entered.acquire(timeout=ninep.PATIENCE)
        gate.open.set()


# Rude clients


def test_client_that_does_not_read_its_answers_holds_up_nobody(tmp_path: Path) -> None:
    large = ninep.tree(Bytes("large", 90, bytes(1 << 20)))
    with serving(tmp_path, large) as address, SocketClient(address) as rude, SocketClient(address) as other:
        rude.begin(msize=1 << 20)
        rude.open(1, "large")
        rude.socket.settimeout(0.2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(TimeoutError):  # in the end the server takes no more from it
            for tag in range(1_000_000):
                rude.send(ninep.tread(tag % 0xFFFF, 1, 0, 1 << 20))
        other.begin()
        other.open(1, "text")
        assert other.must(ninep.tread(1, 1, 0, 3)).data == b"\0\1\2"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\0\0\0",
        b"\6\0\0\0\0\0",
        b"\xff\xff\xff\xff\x64\xff\xff",
        (8193).to_bytes(4, "little"),
        ninep.message(ninep.TWALK, 1, b"\0"),
        ninep.tread(1, 0, 0, 1)[:-1].replace(b"\x17", b"\x16", 1),
        b"GET / HTTP/1.0\r\n\r\n",
    ],
)
def test_malformed_message_ends_its_connection_and_no_other(address: str, garbage: bytes) -> None:
    with SocketClient(address) as other, SocketClient(address) as client:
        other.begin()
        client.begin()
        client.send(garbage)
        assert client.is_ended()
        assert other.stat(0).name == "/"
        with SocketClient(address) as late:
            late.begin()


def test_first_message_is_limited_too(address: str) -> None:
    with SocketClient(address) as client:
        client.send((1 << 20).to_bytes(4, "little") + b"\x64\xff\xff")
        assert client.is_ended()


def test_error_in_a_file_of_ours_ends_that_connection_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Buggy(Bytes):
        def read(self, offset: int, count: int) -> bytes:  # noqa: ARG002
            raise ZeroDivisionError

    reported: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    served = ninep.tree(Buggy("buggy", 90, b""))
    with (
        serving(tmp_path, served) as address,
        SocketClient(address) as other,
        SocketClient(address) as client,
    ):
        other.begin()
        client.begin()
        client.open(1, "buggy")
        client.send(ninep.tread(1, 1, 0, 1))
        assert client.is_ended()
        assert other.stat(0).name == "/"
        # A thread reports its error last: after the connection's end, which the client sees.
        wait_until(lambda: reported == [ZeroDivisionError], "the error is reported")


# Many clients


def test_fifty_clients_read_at_once_and_each_gets_its_own_bytes(tmp_path: Path) -> None:
    files = [Bytes(f"file{index}", 100 + index, os.urandom(300_000 + index)) for index in range(50)]

    def digest(index: int) -> bytes:
        with SocketClient(address) as client:
            client.begin(msize=16384)
            client.open(1, f"file{index}")
            hasher, offset = hashlib.sha256(), 0
            while piece := client.must(ninep.tread(1, 1, offset, 16384)).data:
                hasher.update(piece)
                offset += len(piece)
            return hasher.digest()

    with (
        serving(tmp_path, ninep.tree(*files)) as address,
        nothing_left_behind(),
        ThreadPoolExecutor(50) as pool,
    ):
        assert list(pool.map(digest, range(50))) == [hashlib.sha256(file.data).digest() for file in files]


def test_connections_that_come_and_go_leave_no_thread_descriptor_or_memory(address: str) -> None:
    def come_and_go(times: int) -> None:
        for index in range(times):
            with SocketClient(address) as client:
                if index % 3:
                    client.begin()
                if index % 3 == 2:
                    client.open(1, "text")
                    client.send(ninep.tread(1, 1, 0, 4096))  # gone before the answer

    with nothing_left_behind():
        come_and_go(100)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        come_and_go(1000)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10  # KiB


def test_too_many_connections_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snaptui.engine.serve.ninep.server._MOST_CONNECTIONS", 3)
    with serving(tmp_path) as address, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(SocketClient(address)) for _ in range(3)]
        for client in clients:
            client.begin()
        with nothing_left_behind():
            for _ in range(100):
                with SocketClient(address) as refused:
                    answer = refused.ask(ninep.tversion())
                    assert (answer.tag, answer.error) == (ninep.NOTAG, "too many connections")
                    with pytest.raises(EOFError):
                        refused.receive()
        clients.pop().socket.close()
        until(lambda: is_welcome(address))


def is_welcome(address: str) -> bool:
    with SocketClient(address) as client:
        return client.ask(ninep.tversion()).kind == ninep.RVERSION


def test_refused_clients_that_stay_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snaptui.engine.serve.ninep.server._MOST_CONNECTIONS", 0)
    monkeypatch.setattr("snaptui.engine.serve.ninep.server._REFUSED_SECONDS", 0.1)
    with serving(tmp_path) as address, contextlib.ExitStack() as stack:
        before = descriptors()
        for _ in range(50):
            stack.enter_context(SocketClient(address)).send(ninep.tversion())
        until(lambda: descriptors() == before + 50)


def test_server_out_of_descriptors_serves_again_when_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path) as address:
        waiting = socket.socket(socket.AF_UNIX)
        waiting.settimeout(ninep.PATIENCE)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), limit[1]))
        hogs = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    hogs.append(os.open("/dev/null", os.O_RDONLY))
            waiting.connect(address.removeprefix("unix!"))
            waiting.sendall(ninep.tversion())
            waiting.settimeout(0.3)
            with pytest.raises(TimeoutError):
                waiting.recv(100)
            used = time.process_time()
            with pytest.raises(TimeoutError):
                waiting.recv(100)
            assert time.process_time() - used < 0.25  # it does not spin
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            for hog in hogs:
                os.close(hog)
        waiting.settimeout(ninep.PATIENCE)
        assert ninep.unpack(waiting.recv(100)).kind == ninep.RVERSION
        waiting.close()


# The server's own life


def test_stop_ends_connections_and_removes_the_socket(tmp_path: Path) -> None:
    with nothing_left_behind():
        gate = Gate("slow", 90)
        server = Server(ninep.tree(gate), [listen(str(tmp_path / "a")), listen(str(tmp_path / "b"))])
        server.start()
        with SocketClient(server.addresses[0]) as idle, SocketClient(server.addresses[1]) as busy:
            idle.begin()
            busy.begin()
            busy.open(1, "slow")
            busy.send(ninep.tread(1, 1, 0, 4))
            assert gate.entered.acquire(timeout=ninep.PATIENCE)
            threading.Timer(0.1, gate.open.set).start()
            server.stop()
            assert idle.is_ended()
            assert busy.is_ended()
        assert list(tmp_path.iterdir()) == []


def test_stop_does_not_wait_for_a_read_that_hangs(tmp_path: Path) -> None:
    gate = Gate("slow", 90)
    with nothing_left_behind():
        with serving(tmp_path, ninep.tree(gate)) as address, SocketClient(address) as client:
            client.begin()
            client.open(1, "slow")
            client.send(ninep.tread(1, 1, 0, 4))
            assert gate.entered.acquire(timeout=ninep.PATIENCE)
            started = time.monotonic()
        assert time.monotonic() - started < 5
        gate.open.set()


def test_interrupt_ends_the_wait(tmp_path: Path) -> None:
    server = Server(ninep.tree(), [listen(str(tmp_path / "socket"))])
    server.start()
    threading.Timer(0.05, server.interrupt).start()
    server.wait()
    assert list(tmp_path.iterdir()) == []
    server.stop()  # again: nothing happens


def test_server_that_never_started_is_stopped_too(tmp_path: Path) -> None:
    with nothing_left_behind():
        Server(ninep.tree(), [listen(str(tmp_path / "socket"))]).stop()
        assert list(tmp_path.iterdir()) == []


def test_server_made_before_a_fork_serves_after_it(tmp_path: Path) -> None:
    listener = listen(str(tmp_path / "socket"))
    server = Server(ninep.tree(), [listener])
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        server.start()
        os.write(told, b"r")
        server.wait()
        os._exit(0)
    try:
        listener.close()
        assert os.read(ready, 1) == b"r"
        with SocketClient(listener.address) as client:
            client.begin()
            assert client.stat(0).name == "/"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)


def test_idle_server_sleeps(address: str) -> None:
    with SocketClient(address) as client:
        client.begin()
        client.open(1, "text")
        client.must(ninep.tread(1, 1, 0, 3))
        (server,) = (thread for thread in threading.enumerate() if thread.name == "9P server")
        until(lambda: switches(server) == switches_later(server))


def switches(thread: threading.Thread) -> int:
    """How often a thread went to sleep, proc(5): an idle one does not."""
    lines = Path(f"/proc/self/task/{thread.native_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def switches_later(thread: threading.Thread) -> int:
    time.sleep(0.1)
    return switches(thread)
