"""Where a 9P server listens: a UNIX socket that only its user can open, or TCP when asked for.

9P as spoken here has neither authentication nor encryption, and what is served are other programs'
memories, with the keys and passwords in them. So a UNIX socket is 0600 in a directory that nobody
else may write to; only this user and root may connect, to a loopback address of TCP too; and other
machines reach it only when the caller insists.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import re
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import AccessDenied, ArgumentError, SnapError
from snaptui.engine.serve.ninep import peers

_BACKLOG: Final = 128
_LONGEST_PATH: Final = 107
"""Bytes: sun_path of unix(7), less its NUL."""
_LAST_PORT: Final = 65535
_LOCK_PATIENCE: Final = 5.0
"""Seconds. The lock is held for as long as a bind takes; only malice holds it longer."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A UNIX socket. `in_namespace`: by a bare name, in plan9port's directory of services."""

    path: str
    in_namespace: bool = False


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP port; the host `*` is every address of this machine."""

    host: str
    port: str


def namespace_directory(environment: Mapping[str, str] | None = None) -> str:
    """plan9port's directory of services: `$NAMESPACE`, else `/tmp/ns.USER.DISPLAY` (its getns(3)).

    USER is the name of the effective user; DISPLAY is without a `.0` at its end, `/` in it becomes
    `_`, and is `:0` when there is none (where plan9port gives up).
    """
    variables = os.environ if environment is None else environment
    if directory := variables.get("NAMESPACE"):
        return directory
    display = re.sub(r"(:\d*)\.0$", r"\1", variables.get("DISPLAY") or ":0").replace("/", "_")
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = variables.get("USER") or str(os.geteuid())
    return f"/tmp/ns.{user}.{display}"


def parse(address: str) -> UnixAddress | TcpAddress:
    """What an address means: `NAME`, a path (anything with a `/`), `unix!PATH` or `tcp!HOST!PORT`.

    Raises ArgumentError.
    """
    if "\0" in address:
        raise ArgumentError(f"{address!r} is no address")
    network, mark, rest = address.partition("!")
    if mark and network == "tcp":
        host, _, port = rest.rpartition("!")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port:
            raise ArgumentError(f"{address!r} is no TCP address", help="write it as tcp!HOST!PORT")
        if port.isascii() and port.isdigit() and int(port) > _LAST_PORT:  # which the C library cuts
            raise ArgumentError(f"there is no port {port}: {_LAST_PORT} is the last")
        return TcpAddress(host, port)
    path = rest if mark and network == "unix" else address
    if "/" in path and not path.endswith("/"):
        return UnixAddress(path)
    if mark:
        raise ArgumentError(
            f"{address!r} is no address", help="write NAME, a path with a /, unix!PATH or tcp!HOST!PORT"
        )
    if path in ("", ".", "..") or "/" in path:
        raise ArgumentError(
            f"{address!r} is no name for a socket", help="choose a plain name, such as `page`"
        )
    return UnixAddress(os.path.join(namespace_directory(), path), in_namespace=True)


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens. A server on it removes it when it ends."""

    sock: socket.socket
    address: str
    """As a 9P client dials it: `unix!PATH` or `tcp!HOST!PORT`, with the port that was really taken."""
    path: str = ""
    """Of a UNIX socket."""
    identity: tuple[int, int] = (0, 0)
    """Device and inode of the socket in the file system: another server may have taken its place."""
    insecure: bool = False
    """Everybody may connect."""

    def close(self) -> None:
        """Let go of it in this process; another that has inherited it may serve it still."""
        self.sock.close()

    def remove(self) -> None:
        """Close it, and remove the UNIX socket from the file system if it still is this one."""
        if self.path:
            with contextlib.suppress(OSError):
                found = os.lstat(self.path)
                if (found.st_dev, found.st_ino) == self.identity:
                    os.unlink(self.path)
        self.close()

    def allows(self, client: socket.socket) -> bool:
        """Whether who connected may: this user and root, as far as the kernel knows. Raises OSError."""
        if self.insecure:
            return True
        uid = peers.unix_peer(client) if self.path else peers.tcp_peer(client)
        return uid in (None, 0, os.geteuid())


def listen(address: str, insecure: bool = False) -> Listener:
    """Listen at an address (see `parse`).

    `insecure`: even at TCP addresses that other machines reach. Raises SnapError: ArgumentError for an
    address that makes no sense or may not be, AccessDenied, or SnapError when it is in use.
    """
    target = parse(address)
    if isinstance(target, TcpAddress):
        return _listen_tcp(target, insecure)
    _check_directory(target)
    return _listen_unix(target.path)


def _listen_tcp(target: TcpAddress, insecure: bool) -> Listener:
    shown = f"tcp!{target.host}!{target.port}"
    host = None if target.host == "*" else target.host
    try:
        found = socket.getaddrinfo(host, target.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ArgumentError(f"{shown}: {error.args[-1]}") from error
    if not insecure and not all(peers.is_loopback(str(entry[4][0])) for entry in found):
        raise ArgumentError(
            f"{shown} can be reached from other machines, and 9P has neither passwords nor encryption here: "
            "whoever connects reads the saved memory, with the keys and passwords in it",
            help="listen at tcp!127.0.0.1!PORT and let `ssh -L` carry it, "
            "or say --insecure-listen if everybody on that network may read it",
        )
    # With a wildcard, IPv6 first: on Linux such a socket takes IPv4 connections too.
    family, kind, protocol, _, place = max(
        found, key=lambda entry: host is None and entry[0] == socket.AF_INET6
    )
    server = socket.socket(family, kind, protocol)
    try:
        # Connections of a server that ended just now do not hold the port for a minute; a live one does.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(place)
        server.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        server.close()
        raise _cannot_listen(shown, error) from error
    name = server.getsockname()
    return Listener(server, f"tcp!{name[0]}!{name[1]}", insecure=insecure)


def _cannot_listen(shown: str, error: Exception) -> SnapError:
    number = error.errno if isinstance(error, OSError) else 0
    if number == errno.EADDRINUSE:
        return SnapError(f"{shown} is in use", help="choose another, or end the server that has it")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if number in (errno.EACCES, errno.EPERM):
        return AccessDenied(f"cannot listen at {shown}: {reason}")
    return SnapError(f"cannot listen at {shown}: {reason}")


def _check_directory(target: UnixAddress) -> None:
    """See that the socket's directory is there (0700 when it has to be made) and nobody else's."""
    directory = os.path.dirname(target.path)
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise SnapError(f"cannot make the directory {directory}: {error.strerror}") from error
    # In /tmp a link may be somebody else's; a directory that the user names may well be a link.
    default = target.in_namespace and not os.environ.get("NAMESPACE")
    try:
        found = os.lstat(directory) if default else os.stat(directory)
    except OSError as error:
        raise SnapError(f"cannot use the directory {directory}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise SnapError(f"{directory} is not a directory")
    open_to_all = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if target.in_namespace:
        foreign = found.st_uid != os.geteuid()
    else:
        # A path that the user chose may be in /tmp, where only a file's owner can replace it.
        foreign = False
        open_to_all = 0 if found.st_mode & stat.S_ISVTX else open_to_all
    if foreign or open_to_all:
        why = "belongs to another user" if foreign else "can be written by others"
        raise AccessDenied(
            f"{directory} {why}, who could put another socket in place of this one",
            help=f"set NAMESPACE to a directory of yours with mode 0700, or `chmod go-w {directory}`",
        )


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """One process at a time: between finding a socket dead and replacing it, nobody else does."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise SnapError(f"another process has {directory} locked") from error
                time.sleep(0.02)  # flock(2) has no timeout of its own
        yield
    finally:
        os.close(descriptor)


def _listen_unix(path: str) -> Listener:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ArgumentError(
            f"{path} is too long for a socket: {_LONGEST_PATH} bytes at most",
            help="choose a shorter path, or a shorter NAMESPACE",
        )
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # unix(7): bind gives the file the socket's own mode. No moment is left when others can open it.
        os.fchmod(server.fileno(), 0o600)
        with _locked(os.path.dirname(path)):
            _remove_stale(path)
            server.bind(path)
            found = os.lstat(path)
            server.listen(_BACKLOG)
    except OSError as error:
        server.close()
        raise _cannot_listen(path, error) from error
    except SnapError:
        server.close()
        raise
    return Listener(server, f"unix!{path}", path, (found.st_dev, found.st_ino))


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that is no more. Raises SnapError when there is something else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise SnapError(f"{path} exists, and is not a socket", help="choose another name, or remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # so many wait to be accepted that there is no room for one more: a live server
    raise SnapError(
        f"{path} is in use: a server answers there", help="choose another name, or end that server"
    )
