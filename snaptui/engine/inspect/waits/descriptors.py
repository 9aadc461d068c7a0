"""What a descriptor is, and who holds its other end: proc_pid_fd(5), proc_pid_fdinfo(5), proc_net(5)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.waits.facts import Program, signal_names
from snaptui.engine.inspect.waits.finding import Target

_INODE: Final = re.compile(r"^(pipe|socket):\[(\d+)\]$")
_LINK_STATES: Final = {"0A": "listening", "02": "connecting", "08": "closed by its peer", "01": "connected"}
"""Of net/tcp (net/tcp_states.h)."""
_TIMER: Final = re.compile(r"^it_value: \((\d+), (\d+)\)", re.MULTILINE)
_OF_PIDFD: Final = re.compile(r"^Pid:\s*(\d+)", re.MULTILINE)
_OF_EVENTFD: Final = re.compile(r"^eventfd-id:\s*(\d+)", re.MULTILINE)
_MASK: Final = re.compile(r"^sigmask:\s*([0-9a-f]+)", re.MULTILINE)
_ACCESS: Final = 0o3  # O_ACCMODE: 0 reads, 1 writes, 2 does both

Use = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Other:
    """The other end of a pipe or socket."""

    said: str
    """Who has it, in words; empty where there is no other end."""
    targets: tuple[Target, ...] = ()
    outside: bool = False
    """Whether it may be held outside of the snapshot."""
    timed: bool = False
    """Whether it is a timer, which runs off."""
    anyone: bool = False
    """Whether the process that asks has it itself: another thread of it may act."""


@dataclass(frozen=True, slots=True)
class Socket:
    """A line of net/tcp or net/unix."""

    kind: str
    local: str
    remote: str
    state: str
    inode: str


class Descriptors:
    """The descriptors of all processes of a snapshot."""

    def __init__(self, programs: Mapping[int, Program]) -> None:
        self._programs = programs
        self._links = {pid: dict(_links(program)) for pid, program in programs.items()}
        self._sockets = {
            socket.inode: socket for program in programs.values() for socket in _sockets(program)
        }

    def name(self, program: Program, number: int) -> str:
        """`descriptor 3 (/tmp/x)`, with what a socket is connected to."""
        link = self._links[program.pid].get(number, "")
        inode = _INODE.match(link)
        if inode and inode[1] == "socket" and (socket := self._sockets.get(inode[2])):
            link = _socket_name(socket)
        elif inode:
            link = f"a {inode[1]}"
        link = link.removeprefix("anon_inode:").strip("[]") if link.startswith("anon_inode:") else link
        return f"descriptor {number} ({link})" if link else f"descriptor {number}"

    def link(self, program: Program, number: int) -> str:
        """What the descriptor's link in /proc says; empty if it is not there."""
        return self._links[program.pid].get(number, "")

    def is_terminal(self, program: Program, number: int) -> bool:
        """Whether somebody may type into it."""
        return self.link(program, number).startswith(("/dev/pts/", "/dev/tty", "/dev/console"))

    def other_end(self, program: Program, number: int, use: Use) -> Other:
        """Who has to act when a thread waits to read from a descriptor, or to write to it."""
        link = self.link(program, number)
        inode = _INODE.match(link)
        if inode is None:
            if link.startswith("/"):
                return self._named_pipe(program, link, use)
            return self._of_kernel(program, link, program.text(f"fdinfo/{number}"))
        if inode[1] == "pipe":
            return self._pipe_end(program, link, use)
        return self._peer(program, inode[2])

    def listener(self, program: Program, address: str) -> Other:
        """Who listens at an address; nobody known, if it is none of the snapshot's processes."""
        pids = self._with_sockets(
            one.inode
            for one in self._sockets.values()
            if one.state == "listening" and address and _listens_at(one, address)
        )
        holders = [self._programs[pid] for pid in pids if pid != program.pid]
        if not holders:
            itself = self._own(program, "this process itself listens there")
            return itself if pids else Other("", outside=True)
        verb = "listens" if len(holders) == 1 else "listen"
        targets = tuple(Target(holder.pid, 0, f"a connection to {address}") for holder in holders)
        return Other(f"{_names(holders)} {verb} there", targets)

    def _of_kernel(self, program: Program, link: str, info: str) -> Other:
        """What the kernel itself ends: a timer, the end of a process, a signal; or a counter, who has it."""
        if link == "anon_inode:[timerfd]" and (timer := _TIMER.search(info)):
            left = int(timer[1]) + int(timer[2]) / 1e9
            return (
                Other(f"it runs off in {left:.3f} s", timed=True)
                if left
                else self._own(program, "it is not set")
            )
        if link == "anon_inode:[eventfd]" and (counter := _OF_EVENTFD.search(info)):
            others = self._with_info(program, link, counter[0])
            if not others:
                return self._own(program, "")
            targets = tuple(Target(other.pid, 0, "an eventfd") for other in others)
            verb = "has it too" if len(others) == 1 else "have it too"
            return Other(f"{_names(others)} {verb}", targets, program.handles_signals, anyone=True)
        if link == "anon_inode:[pidfd]" and (process := _OF_PIDFD.search(info)):
            other = self._programs.get(int(process[1]))
            if other is not None:
                return Other(f"it is of {_names([other])}", (Target(other.pid, 0, "its end"),))
            return Other(f"it is of process {process[1]}, which is not in the snapshot", outside=True)
        if link == "anon_inode:[signalfd]" and (mask := _MASK.search(info)):
            return Other(f"it is for {signal_names(int(mask[1], 16))}", outside=True)
        return Other("", outside=True)

    def _own(self, program: Program, said: str) -> Other:
        """What only the process itself can act on: its threads, and its handlers of signals."""
        return Other(said, outside=program.handles_signals, anyone=True)

    def _with_info(self, program: Program, link: str, line: str) -> list[Program]:
        """The other processes with a descriptor of that link, about which the kernel says that line."""
        return [
            self._programs[pid]
            for pid, links in self._links.items()
            if pid != program.pid
            and any(
                target == link and line in self._programs[pid].text(f"fdinfo/{number}").splitlines()
                for number, target in links.items()
            )
        ]

    def holders(self, link: str, access: tuple[int, ...]) -> Iterator[tuple[Program, int]]:
        """The processes that have a file open for that: 0 to read, 1 to write, 2 for both."""
        for pid, links in self._links.items():
            for number, target in links.items():
                if target == link and self._access(pid, number) in access:
                    yield self._programs[pid], number

    def _access(self, pid: int, number: int) -> int:
        found = re.search(r"^flags:\s*([0-7]+)", self._programs[pid].text(f"fdinfo/{number}"), re.MULTILINE)
        return int(found[1], 8) & _ACCESS if found else -1

    def _pipe_end(self, program: Program, link: str, use: Use) -> Other:
        wanted = (1, 2) if use == "read" else (0, 2)
        verb = "write to" if use == "read" else "read from"
        pids = dict.fromkeys(holder.pid for holder, _ in self.holders(link, wanted))
        others = [self._programs[pid] for pid in pids if pid != program.pid]
        targets = tuple(Target(other.pid, 0, "a pipe") for other in others)
        if targets:
            itself = program.pid in pids
            said = f"only {_names(others)}{' and this process itself' if itself else ''} can {verb} it"
            return Other(said, targets, anyone=itself)
        if program.pid in pids:
            return self._own(program, f"of the processes saved only this one itself can {verb} it")
        return Other(f"no process of the snapshot can {verb} it", outside=True)

    def _named_pipe(self, program: Program, link: str, use: Use) -> Other:
        wanted = (1, 2) if use == "read" else (0, 2)
        others = {holder.pid: holder for holder, _ in self.holders(link, wanted) if holder.pid != program.pid}
        if link.startswith("/dev/") or not others:
            return Other("", outside=True)
        targets = tuple(Target(pid, 0, link) for pid in others)
        verb = "writing" if use == "read" else "reading"
        return Other(f"{_names(list(others.values()))} has it open for {verb}", targets)

    def _peer(self, program: Program, inode: str) -> Other:
        socket = self._sockets.get(inode)
        if socket is None:
            return Other("its peer is not recorded", outside=True)
        peers = {one.inode for one in self._sockets.values() if _are_connected(socket, one)}
        pids = self._with_sockets(peers)
        if not pids and socket.remote:
            # Connected, and not accepted yet: the one that listens has to.
            pids = self._with_sockets(
                one.inode
                for one in self._sockets.values()
                if one.state == "listening"
                and _same_port(one.local, socket.remote)
                and one.kind == socket.kind
            )
        others = [self._programs[pid] for pid in pids if pid != program.pid]
        if others:
            targets = tuple(Target(other.pid, 0, _socket_name(socket)) for other in others)
            return Other(f"the other end is {_names(others)}", targets)
        if pids:
            return self._own(program, "of the processes saved only this one itself has the other end")
        return Other("the other end is not in the snapshot" if socket.remote else "", outside=True)

    def _with_sockets(self, inodes: Iterable[str]) -> list[int]:
        """The processes that have one of these sockets open."""
        wanted = {f"socket:[{inode}]" for inode in inodes}
        return [pid for pid, links in self._links.items() if wanted & set(links.values())]


def _listens_at(socket: Socket, address: str) -> bool:
    if socket.kind == "unix":
        return socket.local == address
    anywhere = socket.local.startswith(("0.0.0.0:", "[::]:"))
    return _plain(socket.local) == _plain(address) or (anywhere and _same_port(socket.local, address))


def _names(programs: list[Program]) -> str:
    return " and ".join(f"process {program.pid} ({program.name})" for program in programs)


def _links(program: Program) -> Iterator[tuple[int, str]]:
    for name in program.linux.names():
        if name.startswith("fd/") and name[3:].isdigit():
            try:
                yield int(name[3:]), program.linux.read(name).decode("utf-8", "backslashreplace")
            except NotCaptured:
                continue


def _sockets(program: Program) -> Iterator[Socket]:
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in program.text(f"net/{kind}").splitlines()[1:]:
            words = line.split()
            if len(words) > 9:
                state = _LINK_STATES.get(words[3], "") if kind.startswith("tcp") else ""
                remote = _address(words[2])
                yield Socket(kind[:3], _address(words[1]), remote, state, words[9])
    peers = dict(line.split()[:2] for line in program.text("net/peers").splitlines() if len(line.split()) > 1)
    for line in program.text("net/unix").splitlines()[1:]:
        words = line.split(None, 7)
        if len(words) > 6:
            state = "listening" if int(words[3], 16) & 0x10000 else ""  # SO_ACCEPTCON
            path = words[7] if len(words) > 7 else ""
            yield Socket("unix", path or words[6], peers.get(words[6], ""), state, words[6])


def _are_connected(one: Socket, other: Socket) -> bool:
    if one.kind != other.kind or other.state == "listening" or one is other:
        return False
    if one.kind == "unix":
        return one.remote == other.inode or other.remote == one.inode
    return (
        bool(one.remote)
        and _plain(one.remote) == _plain(other.local)
        and _plain(one.local) == _plain(other.remote)
    )


def _same_port(listening: str, remote: str) -> bool:
    return listening.rpartition(":")[2] == remote.rpartition(":")[2]


def _plain(address: str) -> str:
    """An address without the prefix of IPv4 in IPv6."""
    return address.replace("[::ffff:", "").replace("]", "") if address.startswith("[::ffff:") else address


def _address(text: str) -> str:
    """`0100007F:1F90` as `127.0.0.1:8080`; empty if it is nowhere."""
    host, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
    if not any(raw) and port == "0000":
        return ""
    found = ipaddress.ip_address(raw)
    return f"{f'[{found}]' if found.version == 6 else found}:{int(port, 16)}"


def _socket_name(socket: Socket) -> str:
    kind = {"tcp": "TCP", "udp": "UDP", "unix": "UNIX"}[socket.kind]
    if socket.state == "listening":
        return f"{kind} socket listening at {socket.local}"
    if socket.kind == "unix":
        return (
            f"UNIX socket {socket.local}" if "/" in socket.local or "@" in socket.local else "a UNIX socket"
        )
    return f"{kind} {socket.local} to {socket.remote}" if socket.remote else f"{kind} socket {socket.local}"
