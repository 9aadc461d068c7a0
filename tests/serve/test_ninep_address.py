"""Where the 9P server listens: names, paths and TCP; who may connect; sockets of dead servers."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snaptui.engine.errors import AccessDenied, ArgumentError, SnapError
from snaptui.engine.serve.ninep import Listener, Server, listen
from snaptui.engine.serve.ninep.address import TcpAddress, UnixAddress, namespace_directory, parse
from tests.serve import ninep
from tests.serve.ninep import SocketClient

NOBODY = 65534
ROOT = os.geteuid() == 0


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "ns"
    monkeypatch.setenv("NAMESPACE", str(directory))
    return directory


@contextlib.contextmanager
def running(listener: Listener) -> Iterator[Server]:
    server = Server(ninep.tree(), [listener])
    server.start()
    try:
        yield server
    finally:
        server.stop()


# What an address means


@pytest.mark.parametrize(
    "display, directory",
    [
        (None, "/tmp/ns.{user}.:0"),
        ("", "/tmp/ns.{user}.:0"),
        (":0", "/tmp/ns.{user}.:0"),
        (":0.0", "/tmp/ns.{user}.:0"),
        (":1.0", "/tmp/ns.{user}.:1"),
        (":1.1", "/tmp/ns.{user}.:1.1"),
        ("host.0", "/tmp/ns.{user}.host.0"),
        ("host:10.0", "/tmp/ns.{user}.host:10"),
        ("/tmp/launch/:0", "/tmp/ns.{user}._tmp_launch_:0"),
    ],
)
def test_namespace_directory_is_plan9ports(display: str | None, directory: str) -> None:
    # Expected values: getns(3) of plan9port, "canonicalize: xxx:0.0 => xxx:0", "turn /tmp/launch/:0 into ..."
    environment = {} if display is None else {"DISPLAY": display}
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert namespace_directory(environment) == directory.format(user=user)
    assert namespace_directory({**environment, "NAMESPACE": "/some/where"}) == "/some/where"


def test_addresses_are_told_apart(namespace: Path) -> None:
    assert parse("page") == UnixAddress(f"{namespace}/page", in_namespace=True)
    assert parse("./page") == UnixAddress("./page")
    assert parse("/run/page") == UnixAddress("/run/page")
    assert parse("unix!/run/page") == UnixAddress("/run/page")
    assert parse("tcp!localhost!5640") == TcpAddress("localhost", "5640")
    assert parse("tcp!::1!5640") == TcpAddress("::1", "5640")
    assert parse("tcp![::1]!5640") == TcpAddress("::1", "5640")
    assert parse("tcp!*!9pfs") == TcpAddress("*", "9pfs")


@pytest.mark.parametrize(
    "address",
    ["", ".", "..", "dir/", "tcp!", "tcp!host", "tcp!!5640", "tcp!host!", "udp!host!1", "unix!a", "a\0b"],
)
def test_addresses_that_make_no_sense_are_refused(address: str) -> None:
    with pytest.raises(ArgumentError):
        listen(address)


# UNIX sockets


def test_name_becomes_a_socket_for_its_user_alone(namespace: Path) -> None:
    with running(listen("page")) as server:
        path = namespace / "page"
        assert server.addresses == (f"unix!{path}",)
        assert stat.S_IMODE(namespace.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with SocketClient(server.addresses[0]) as client:
            client.begin()
    assert not path.exists()
    assert namespace.exists()


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_namespace_that_others_may_write_to_is_refused(namespace: Path, mode: int) -> None:
    namespace.mkdir()
    namespace.chmod(mode)
    with pytest.raises(AccessDenied, match="can be written by others"):
        listen("page")


@pytest.mark.skipif(not ROOT, reason="gives a directory away")
def test_namespace_of_somebody_else_is_refused(namespace: Path) -> None:
    namespace.mkdir(mode=0o700)
    os.chown(namespace, NOBODY, NOBODY)
    with pytest.raises(AccessDenied, match="belongs to another user"):
        listen("page")


def test_default_namespace_is_not_taken_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NAMESPACE", raising=False)
    monkeypatch.setenv("DISPLAY", f":test{os.getpid()}")
    link = Path(namespace_directory())
    link.symlink_to(tmp_path)
    try:
        with pytest.raises(SnapError, match="is not a directory"):
            listen("page")
    finally:
        link.unlink()


def test_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with running(listen("./page")):
        assert stat.S_IMODE(Path("page").stat().st_mode) == 0o600
    tmp_path.chmod(0o777)
    with pytest.raises(AccessDenied, match="can be written by others"):
        listen("./page")
    tmp_path.chmod(0o1777)  # like /tmp, where none can remove what is another's
    listen("./page").remove()


def test_path_too_long_for_a_socket_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="107 bytes"):
        listen(str(tmp_path / ("x" * 108)))


def test_socket_of_a_dead_server_is_replaced(namespace: Path) -> None:
    listen("page").close()  # as after SIGKILL: the socket stays
    assert (namespace / "page").is_socket()
    with running(listen("page")) as server, SocketClient(server.addresses[0]) as client:
        client.begin()


def test_socket_in_use_is_refused_and_left_alone(namespace: Path) -> None:
    with running(listen("page")) as server:
        with pytest.raises(SnapError, match="in use"):
            listen("page")
        with SocketClient(server.addresses[0]) as client:
            client.begin()


def test_socket_that_listens_but_accepts_nobody_is_in_use_too(namespace: Path) -> None:
    listener = listen("page")
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    try:
        for client in waiting:  # its queue overflows
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(namespace / "page"))
        with pytest.raises(SnapError, match="in use"):
            listen("page")
    finally:
        for client in waiting:
            client.close()
        listener.remove()


def test_file_in_the_place_of_the_socket_is_left_alone(namespace: Path) -> None:
    namespace.mkdir(mode=0o700)
    (namespace / "page").write_text("precious")
    with pytest.raises(SnapError, match="not a socket"):
        listen("page")
    assert (namespace / "page").read_text() == "precious"


def test_server_removes_its_own_socket_only(namespace: Path) -> None:
    listener = listen("page")
    (namespace / "page").unlink()
    other = listen("page")
    listener.remove()
    assert (namespace / "page").is_socket()
    other.remove()
    assert not (namespace / "page").exists()


CONNECT_AS_NOBODY = f"""
import encodings.idna, os, socket, sys
os.setgid({NOBODY}); os.setuid({NOBODY})
if sys.argv[1] == "unix":
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[2])
else:
    client = socket.create_connection((sys.argv[2], int(sys.argv[3])))
client.sendall(bytes.fromhex(sys.argv[-1]))
answer = b""
while piece := client.recv(1000):
    answer += piece
    if len(answer) > 6 and len(answer) == int.from_bytes(answer[:4], "little"):
        break
print(answer.hex())
"""


def answer_for_nobody(*address: str) -> ninep.Answer:
    script = [sys.executable, "-c", CONNECT_AS_NOBODY, *address, ninep.tversion().hex()]
    output = subprocess.run(script, check=True, capture_output=True, text=True, timeout=ninep.PATIENCE).stdout
    return ninep.unpack(bytes.fromhex(output))


@pytest.mark.skipif(not ROOT, reason="becomes another user")
def test_other_users_are_turned_away_even_if_the_modes_let_them_in(namespace: Path) -> None:
    # The directories above are pytest's, which only their user can enter: the socket moves to /tmp.
    path = f"/tmp/snaptui-test-{os.getpid()}.socket"
    with running(listen(path)) as server:
        os.chmod(path, 0o666)
        assert answer_for_nobody("unix", path).error == "permission denied"
        with SocketClient(server.addresses[0]) as client:
            client.begin()


# TCP


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_address_is_served(host: str) -> None:
    with running(listen(f"tcp!{host}!0")) as server, SocketClient(server.addresses[0]) as client:
        client.begin()
        client.open(1, "text")
        assert client.must(ninep.tread(1, 1, 0, 3)).data == b"\0\1\2"


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "::", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_address_that_others_reach_is_refused_with_the_reason(host: str) -> None:
    with pytest.raises(ArgumentError, match="keys and passwords") as caught:
        listen(f"tcp!{host}!0")
    assert "--insecure-listen" in caught.value.help


@pytest.mark.parametrize("host", ["*", "0.0.0.0"])
def test_address_that_others_reach_is_served_when_insisted_on(host: str) -> None:
    with running(listen(f"tcp!{host}!0", insecure=True)) as server:
        port = server.addresses[0].rpartition("!")[2]
        with SocketClient(f"tcp!127.0.0.1!{port}") as client:
            client.begin()


def test_tcp_port_in_use_is_refused() -> None:
    with running(listen("tcp!127.0.0.1!0")) as server, pytest.raises(SnapError, match="in use"):
        listen(server.addresses[0])


@pytest.mark.parametrize("port", ["99999999999", "-1", "no-such-service"])
def test_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(SnapError):
        listen(f"tcp!127.0.0.1!{port}")


@pytest.mark.skipif(not ROOT, reason="becomes another user")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_other_users_are_turned_away_from_the_loopback_address(host: str) -> None:
    with running(listen(f"tcp!{host}!0")) as server:
        port = server.addresses[0].rpartition("!")[2]
        assert answer_for_nobody("tcp", host, port).error == "permission denied"


@pytest.mark.skipif(not ROOT, reason="becomes another user")
def test_insecure_address_serves_every_user() -> None:
    with running(listen("tcp!*!0", insecure=True)) as server:
        port = server.addresses[0].rpartition("!")[2]
        assert answer_for_nobody("tcp", "127.0.0.1", port).kind == ninep.RVERSION
