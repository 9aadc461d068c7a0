"""Waits for one file, pipe or socket: to read, to write, to connect, to open."""

from __future__ import annotations

import ipaddress
from typing import Final

from snaptui.engine.inspect.waits.descriptors import Descriptors, Use
from snaptui.engine.inspect.waits.facts import Thread, call_text
from snaptui.engine.inspect.waits.finding import Finding

READS: Final = ("read", "pread64", "readv", "preadv", "preadv2", "recvfrom", "recvmsg", "recvmmsg", "splice")
WRITES: Final = ("write", "pwrite64", "writev", "pwritev", "sendto", "sendmsg", "sendmmsg", "sendfile")
OPENS: Final = {"open": 0, "openat": 1, "openat2": 1, "creat": 0}
"""Calls that open a file, and the argument that is the path."""
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10  # linux/socket.h
_SOCKADDR_MAX: Final = 128  # sockaddr_storage


class Transfers:
    """Explains these calls, with what is known of descriptors."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors

    def transfer(self, thread: Thread, number: int, use: Use) -> Finding:
        """A wait to read from a descriptor, or to write to it."""
        program = thread.process
        what = self._descriptors.name(program, number)
        verb = "to read from" if use == "read" else "to write to"
        if self._descriptors.is_terminal(program, number):
            kind, words = ("input", "for input at") if use == "read" else ("write", "to write to")
            return Finding(kind, f"waits {words} the terminal, {what}", call_text(thread), outside=True)
        other = self._descriptors.other_end(program, number, use)
        said = f": {other.said}" if other.said else ""
        return Finding(
            "sleep" if other.timed else use,
            f"waits {verb} {what}{said}",
            call_text(thread),
            other.targets,
            timed=other.timed,
            outside=other.outside,
            anyone=other.anyone,
        )

    def connect(self, thread: Thread, number: int) -> Finding:
        """A wait for a connection to be taken."""
        what = self._descriptors.name(thread.process, number)
        address = _address(thread)
        other = self._descriptors.listener(thread.process, address)
        if not other.said:
            other = self._descriptors.other_end(thread.process, number, "read")
        to = f" to {address}" if address else ""
        said = f": {other.said}" if other.said else ""
        sentence = f"waits to connect {what}{to}{said}"
        evidence = call_text(thread)
        return Finding(
            "connect", sentence, evidence, other.targets, outside=other.outside, anyone=other.anyone
        )

    def open(self, thread: Thread) -> Finding:
        """A wait to open a file: of a named pipe somebody has to open the other end."""
        assert thread.call is not None
        path = thread.process.string(thread.call.arguments[OPENS[thread.call.name]])
        kernel = thread.kernel_stack
        if "wait_for_partner" in kernel or "fifo_open" in kernel:
            sentence = f"waits to open the named pipe {path}: nobody has opened its other end"
        else:
            sentence = f"waits to open {path}"
        return Finding("open", sentence, call_text(thread), outside=True)


def _address(thread: Thread) -> str:
    """The address that connect(2) was given, as the lists of sockets have it; empty if of another kind."""
    assert thread.call is not None
    content = thread.process.memory(thread.call.arguments[1], min(thread.call.arguments[2], _SOCKADDR_MAX))
    family = int.from_bytes(content[:2], "little")
    port = int.from_bytes(content[2:4], "big")
    if family == _AF_UNIX and len(content) > 2:
        name = content[2:]
        abstract = name[:1] == b"\0"
        text = b"@" + name[1:] if abstract else name.partition(b"\0")[0]
        return text.decode("utf-8", "backslashreplace")
    if family == _AF_INET and len(content) >= 8:
        return f"{ipaddress.IPv4Address(content[4:8])}:{port}"
    if family == _AF_INET6 and len(content) >= 24:
        return f"[{ipaddress.IPv6Address(content[8:24])}]:{port}"
    return ""
