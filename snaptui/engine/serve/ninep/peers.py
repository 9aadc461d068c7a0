"""Who is at the other end of a connection, as the kernel knows it."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid

# sock_diag(7), linux/inet_diag.h
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_MESSAGE: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_QUESTION: Final = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_SOCKET_ID: Final = struct.Struct("=2s2s16s16sIII")  # ports and addresses of both ends, interface, cookie
_ANSWER: Final = struct.Struct("=BBBB48sIIIII")  # ..., socket id, expires, queues (2), uid, inode
_ALL_STATES: Final = 0xFFFFFFFF
_NO_COOKIE: Final = 0xFFFFFFFF
_ANSWER_SIZE: Final = 4096
_PATIENCE: Final = 0.1
"""Seconds; the kernel answers at once."""


def unix_peer(client: socket.socket) -> int:
    """The uid that connected to a UNIX socket, SO_PEERCRED of unix(7). Raises OSError."""
    packed = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(packed)[1])


def tcp_peer(client: socket.socket) -> int | None:
    """The uid that has the other end of a TCP connection, when that is on this machine; else None.

    The kernel is asked, by sock_diag(7), for the socket whose ends are ours the other way round.
    """
    try:
        there, here = client.getpeername(), client.getsockname()
        addresses = [_plain(end[0]) for end in (there, here)]
        family = socket.AF_INET if addresses[0].version == 4 else socket.AF_INET6
        ports = [struct.pack("!H", end[1]) for end in (there, here)]
        packed = [address.packed for address in addresses]
        question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES)
        question += _SOCKET_ID.pack(*ports, *packed, 0, _NO_COOKIE, _NO_COOKIE)
        header = _MESSAGE.pack(_MESSAGE.size + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(_PATIENCE)
            kernel.send(header + question)
            answer = kernel.recv(_ANSWER_SIZE)
    except OSError:
        return None
    if len(answer) < _MESSAGE.size + _ANSWER.size or _MESSAGE.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    return int(_ANSWER.unpack_from(answer, _MESSAGE.size)[8])


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address, an IPv4 one that an IPv6 socket shows as ::ffff:1.2.3.4 being itself."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_loopback(host: str) -> bool:
    """Whether a numeric address is this machine's own, which no other machine reaches."""
    return _plain(host).is_loopback
