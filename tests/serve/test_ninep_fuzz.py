"""Random and mutated messages: whatever comes, the server answers or ends that connection, and lives.

`SNAPTUI_FUZZ=N` sends N messages each way instead of the few thousand that fit an ordinary run.
"""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

from snaptui.engine.serve.ninep.errors import Malformed
from snaptui.engine.serve.ninep.state import Request
from tests.helpers.victims import wait_until
from tests.serve import ninep
from tests.serve.ninep import SocketClient, client_threads, serving

SEED = 9_2000
ROUNDS = int(os.environ.get("SNAPTUI_FUZZ", "6000"))
FIDS = (0, 1, 2, 3, 4, 5, 99, ninep.NOFID)
NAMES = ("1", "task", "2", "regs", "text", "empty", "..", ".", "", "nothing", b"\xff\xfe", b"a\0b", "x" * 300)
NUMBERS = (0, 1, 7, 64, 255, 256, 8191, 8192, 65535, 1 << 20, 1 << 31, (1 << 32) - 1)
OFFSETS = (*NUMBERS, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def version(rng: random.Random) -> bytes:
    offer = rng.choice(("9P2000", "9P2000.L", "9P", ""))
    return ninep.tversion(rng.choice(NUMBERS), offer, rng.choice((1, ninep.NOTAG)))


def walk(rng: random.Random) -> bytes:
    names = [rng.choice(NAMES) for _ in range(rng.choice((0, 1, 1, 3, 17)))]
    return ninep.twalk(1, rng.choice(FIDS), rng.choice(FIDS), *names)


def sensible(rng: random.Random) -> bytes:
    """A message that is one, though it may ask for nonsense."""
    pick = rng.choice
    if rng.random() < 0.01:  # more often, and no session would get far
        return version(rng)
    tag = pick((1, 1, 1, 2, 3, ninep.NOTAG))
    return pick(
        (
            lambda: ninep.tauth(tag, pick(FIDS)),
            lambda: ninep.tattach(tag, pick(FIDS), pick((ninep.NOFID, *FIDS)), pick(("", "", "/", "x"))),
            lambda: ninep.tattach(tag, 0),
            lambda: ninep.tflush(tag, pick((1, 2, 3, ninep.NOTAG))),
            lambda: walk(rng),
            lambda: ninep.twalk(tag, 0, pick(FIDS), pick(("text", "1", "link"))),
            lambda: ninep.topen(tag, pick(FIDS), pick((0, 0, 0, 1, 3, 16, 64, 255))),
            lambda: ninep.tcreate(tag, pick(FIDS), pick(("new", "", "..", "x" * 300))),
            lambda: ninep.tread(tag, pick(FIDS), pick(OFFSETS), pick(NUMBERS)),
            lambda: ninep.tread(tag, pick(FIDS), 0, 8192),
            lambda: ninep.twrite(tag, pick(FIDS), bytes(pick((0, 1, 1000)))),
            lambda: ninep.tclunk(tag, pick(FIDS)),
            lambda: ninep.tremove(tag, pick(FIDS)),
            lambda: ninep.tstat(tag, pick(FIDS)),
            lambda: ninep.twstat(tag, pick(FIDS), rng.randbytes(pick((0, 2, 49, 60)))),
        )
    )()


def ready() -> ninep.SessionClient:
    """A session with some fids to play with."""
    client = ninep.SessionClient()
    client.begin()
    client.open(1, "text")
    client.open(2, "")
    return client


def mutated(rng: random.Random) -> bytes:
    """A message with bytes changed, added or cut away; its size may be right all the same."""
    data = bytearray(sensible(rng))
    for _ in range(rng.randint(1, 4)):
        where = rng.randrange(len(data)) if data else 0
        match rng.randrange(4):
            case 0:
                data[where : where + 1] = rng.randbytes(1)
            case 1:
                data[where:where] = rng.randbytes(rng.randint(1, 9))
            case 2:
                del data[where : where + rng.randint(1, 9)]
            case _:
                data[where : where + 2] = rng.choice((b"\0\0", b"\xff\xff", b"\x10\0", b"\x11\0"))
    if rng.random() < 0.8:
        data[:4] = len(data).to_bytes(4, "little")
    return bytes(data)


def random_message(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.5:
        return sensible(rng)
    if kind < 0.9:
        return mutated(rng)
    body = rng.randbytes(rng.randint(0, 60))
    return ninep.message(rng.choice((*range(98, 130), 0, 255)), rng.randrange(0x10000), body)


def check(answer: ninep.Answer, request: bytes) -> None:
    """What holds for every answer: the request's tag, the type that fits, and its length is right."""
    assert answer.tag == int.from_bytes(request[5:7], "little")
    if answer.kind == ninep.RERROR:
        assert answer.error
    else:
        assert answer.kind == request[4] + 1
    if answer.kind == ninep.RREAD:
        assert len(answer.data) <= (1 << 20)


def test_session_answers_each_message_or_ends() -> None:
    rng = random.Random(SEED)
    client = ready()
    kinds: set[int] = set()
    for _ in range(ROUNDS):
        request = random_message(rng)
        try:
            answer = client.ask(request)
        except Malformed:
            client = ready()
            continue
        check(answer, request)
        assert len(answer.body) + 7 <= client.session.msize or request[4] == ninep.TVERSION
        kinds.add(answer.kind)
        assert not client.session.pending
    # The messages do reach all that there is; otherwise this test would say little.
    kinds_of_answers = set(range(ninep.RVERSION, ninep.RWSTAT, 2))
    never = {ninep.RAUTH, ninep.RCREATE, ninep.RWRITE, ninep.RREMOVE}
    assert kinds == kinds_of_answers - never


def test_requests_that_overlap_in_any_order_keep_the_session_whole() -> None:
    rng = random.Random(SEED + 1)
    session = ready().session
    under_way: list[tuple[bytes, Request]] = []
    for _ in range(ROUNDS):
        if under_way and (len(under_way) > 8 or rng.random() < 0.5):
            request, started = under_way.pop(rng.randrange(len(under_way)))
            started.perform()
            if buffers := session.respond(started):
                check(ninep.unpack(b"".join(buffers)), request)
        else:
            request = sensible(rng)
            under_way.append((request, session.start(request)))
    assert len(session.pending) <= len(under_way)


def test_server_answers_or_hangs_up_and_goes_on(tmp_path: Path) -> None:
    rng = random.Random(SEED + 2)
    with serving(tmp_path) as address, SocketClient(address) as witness:
        witness.begin()
        sent = 0
        while sent < ROUNDS:
            with SocketClient(address) as client:
                client.begin()
                client.open(1, "text")
                batch = [random_message(rng) for _ in range(rng.randint(1, 60))]
                sent += len(batch)
                ended = False
                try:
                    client.send(*batch)
                    client.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    ended = True  # it has hung up already, on what it could not understand
                try:
                    while True:
                        client.receive()  # checks that each answer is framed right
                except (EOFError, ConnectionError):
                    ended = True
                assert ended
            assert witness.stat(0).name == "/"
        # That the server has hung up is seen before the thread is gone; and one for the witness stays.
        wait_until(lambda: client_threads() <= 1, "the end of the other clients' threads")
