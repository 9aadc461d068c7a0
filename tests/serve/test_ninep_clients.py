"""Clients that others wrote read a real snapshot: python-9p's own, and pyroute2's (of which any will do).

The expected sizes and digests are those of expected.json, made with the snapshot by other means.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import py9p
import pytest

from snaptui.engine.serve.ninep import Server, listen
from snaptui.engine.serve.tree import build_tree
from snaptui.engine.snapfile import open_snapshot

DATA = Path(__file__).parent.parent / "data" / "plan9"
SNAPSHOTS = ["two-procs.snap", "partial.snap"]

Expected = dict[str, Any]
Read = Callable[[str, int, int], bytes]


@pytest.fixture(params=SNAPSHOTS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Expected, tuple[str, ...]]]:
    """What a snapshot holds, and the addresses of a server of it: a UNIX socket, and TCP."""
    expected = json.loads((DATA / "expected.json").read_text())[request.param]
    with open_snapshot(str(DATA / request.param)) as snapshot:
        tree = build_tree([snapshot], lambda _: None)
        server = Server(tree, [listen(str(tmp_path / "socket")), listen("tcp!127.0.0.1!0")])
        server.start()
        try:
            yield expected, server.addresses
        finally:
            server.stop()


def check(expected: Expected, read: Read) -> None:
    """Read everything there is, in pieces that fit no border."""
    files = 0
    for pid, process in expected.items():
        for name, file in process["files"].items():
            content = whole(read, f"{pid}/{name}")
            assert (len(content), digest(content)) == (file["size"], file["sha256"]), f"{pid}/{name}"
            files += 1
        for segment in process.get("segments", ()):
            content = part(read, f"{pid}/mem", segment["start"], segment["length"])
            assert digest(content) == segment["sha256"], f"{pid}/mem at {segment['start']:#x}"
            files += 1
    assert files >= 7


def whole(read: Read, path: str) -> bytes:
    content = bytearray()
    while piece := read(path, len(content), 1999):
        content += piece
    return bytes(content)


def part(read: Read, path: str, start: int, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        piece = read(path, start + len(content), min(1999, length - len(content)))
        assert piece
        content += piece
    return bytes(content)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_python_9p_reads_a_snapshot(served: tuple[Expected, tuple[str, ...]]) -> None:
    expected, (address, _) = served
    with py9p.Client.connect_unix(address.removeprefix("unix!"), msize=65536) as client:
        assert client.negotiate().msize == 65536
        assert client.attach().type == py9p.QTDIR
        fids: dict[str, int] = {}

        def fid(path: str) -> int:
            if path not in fids:
                fids[path] = len(fids) + 1
                assert len(client.walk(0, fids[path], path)) == len(
                    [name for name in path.split("/") if name]
                )
                client.open(fids[path])
            return fids[path]

        def names(path: str) -> set[str]:
            data, found = bytearray(), set()
            while piece := client.read(fid(path), offset=len(data)):
                data += piece
            while data:
                size = 2 + int.from_bytes(data[:2], "little")
                found.add(py9p.decode_dir(bytes(data[:size])).name)
                del data[:size]
            return found

        check(expected, lambda path, offset, count: client.read(fid(path), count, offset))
        assert names("/") == set(expected)
        for pid, process in expected.items():
            assert names(pid) >= set(process["files"])
            for name, file in process["files"].items():
                stat = client.stat(fid(f"{pid}/{name}"))
                assert (stat.name, stat.length, stat.mode) == (name, file["size"], 0o444)
            if process.get("segments"):
                with pytest.raises(py9p.RemoteError, match="not captured"):
                    client.read(fid(f"{pid}/mem"), 16, 0)
        with pytest.raises(py9p.RemoteError, match="file not found"):
            client.walk(0, 9999, "nothing")
        with pytest.raises(py9p.RemoteError, match="permission denied"):
            client.create(0, "new", 0o644)
        client.clunk(0)


def test_pyroute2_reads_a_snapshot(served: tuple[Expected, tuple[str, ...]]) -> None:
    plan9 = pytest.importorskip("pyroute2.plan9")
    client_module = pytest.importorskip("pyroute2.plan9.client")
    expected, (_, address) = served
    _, _, port = address.split("!")

    async def session() -> None:
        client = client_module.Plan9ClientSocket(address=("127.0.0.1", int(port)))
        await client.start_session()
        fids: dict[str, int] = {}

        async def read(path: str, offset: int, count: int) -> bytes:
            if path not in fids:
                fids[path] = await client.fid(path)
                opening = plan9.msg_topen()  # it has the message, but no method for it
                opening["fid"], opening["mode"] = fids[path], 0
                await client.request(opening)
            answer = await client.read(fids[path], offset, count)
            return bytes(answer["data"])

        loop = asyncio.get_running_loop()

        def read_from_thread(path: str, offset: int, count: int) -> bytes:
            return asyncio.run_coroutine_threadsafe(read(path, offset, count), loop).result(20)

        try:
            await asyncio.to_thread(check, expected, read_from_thread)
        finally:
            closing = client.close()
            if asyncio.iscoroutine(closing):
                await closing

    asyncio.run(session())


def test_python_9p_that_offers_a_variant_gets_the_plain_one(
    served: tuple[Expected, tuple[str, ...]],
) -> None:
    _, (_, address) = served
    _, host, port = address.split("!")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        client = py9p.Client(connection, version="9P2000.L")
        assert client.negotiate().version == "9P2000"
