"""Waits for any of several descriptors: poll(2), select(2), epoll_wait(2)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from snaptui.engine.inspect.waits.descriptors import Descriptors, Other, Use
from snaptui.engine.inspect.waits.facts import Thread, call_text, timespec
from snaptui.engine.inspect.waits.finding import Finding

_EPOLLS: Final = ("epoll_wait", "epoll_pwait", "epoll_pwait2")
CALLS: Final = ("poll", "ppoll", "select", "pselect6", "_newselect", *_EPOLLS)
_POLLFD: Final = struct.Struct("<ihh")
_POLL_MAX: Final = 64  # descriptors that are named
_POLLOUT: Final = 0x4 | 0x100  # and POLLWRNORM
_POLLIN: Final = 0x1 | 0x2 | 0x40 | 0x80  # and POLLPRI, POLLRDNORM, POLLRDBAND; epoll(7) has the same bits
_WATCHED: Final = re.compile(r"^tfd:\s*(\d+) events:\s*([0-9a-f]+)", re.MULTILINE)
_TOLD: Final = 4  # descriptors that a sentence names
_EXPLAINED: Final = 2  # descriptors whose other ends it tells


@dataclass(frozen=True, slots=True)
class _Watch:
    """A descriptor, and what it is watched for."""

    number: int
    uses: tuple[Use, ...]


def poll_finding(thread: Thread, descriptors: Descriptors) -> Finding:
    """What a thread that polls waits for."""
    assert thread.call is not None
    program, name = thread.process, thread.call.name
    place = f" in {thread.place}" if thread.place else ""
    watches = _watches(thread)
    timed, seconds = _limit(thread)
    if not watches:
        length = f" for {seconds:.6g} s" if seconds is not None else ""
        words = f"sleeps{length}{place}" if timed else f"waits in {name}(){place}"
        sentence = f"{words}, watching no descriptor"
        kind = "sleep" if timed else "poll"
        return Finding(kind, sentence, call_text(thread), timed=timed, outside=True)
    ends = [_ends(thread, watch, descriptors) for watch in watches]
    said = [
        descriptors.name(program, watch.number)
        + (f": {end.said}" if end.said and len(watches) <= _EXPLAINED else "")
        for watch, end in zip(watches[:_TOLD], ends, strict=False)
    ]
    more = f" and {len(watches) - _TOLD} more" if len(watches) > _TOLD else ""
    limit = f", for at most {seconds:.6g} s" if seconds is not None else ""
    return Finding(
        "poll",
        f"waits in {name}() for {', '.join(said)}{more}{limit}",
        call_text(thread),
        tuple(dict.fromkeys(target for end in ends for target in end.targets)),
        timed=timed or any(end.timed for end in ends),
        outside=any(end.outside for end in ends),
        anyone=any(end.anyone for end in ends),
    )


def _ends(thread: Thread, watch: _Watch, descriptors: Descriptors) -> Other:
    """Who can end the wait for one descriptor, in any way."""
    found = [descriptors.other_end(thread.process, watch.number, use) for use in watch.uses]
    return Other(
        ", and ".join(dict.fromkeys(end.said for end in found if end.said)),
        tuple(target for end in found for target in end.targets),
        not found or any(end.outside for end in found),
        any(end.timed for end in found),
        any(end.anyone for end in found),
    )


def _watches(thread: Thread) -> tuple[_Watch, ...]:
    assert thread.call is not None
    call, program = thread.call, thread.process
    if call.name in _EPOLLS:
        found = _WATCHED.findall(program.text(f"fdinfo/{call.arguments[0]}"))
        return tuple(_Watch(int(number), _uses(int(events, 16))) for number, events in found)
    if call.name in ("poll", "ppoll"):
        count = min(call.arguments[1], _POLL_MAX)
        content = program.memory(call.arguments[0], count * _POLLFD.size)
        return tuple(
            _Watch(number, _uses(events)) for number, events, _ in _POLLFD.iter_unpack(content) if number >= 0
        )
    count = min(call.arguments[0], 1024)
    sets = [
        int.from_bytes(program.memory(address, -(-count // 8)), "little") if address else 0
        for address in call.arguments[1:4]
    ]
    # While select waits its sets are still those that were asked for.
    reads, writes = sets[0] | sets[2], sets[1]
    return tuple(
        _Watch(number, _uses(bool(reads >> number & 1) | (_POLLOUT if writes >> number & 1 else 0)))
        for number in range(count)
        if (reads | writes) >> number & 1
    )


def _uses(events: int) -> tuple[Use, ...]:
    uses: list[Use] = ["read"] if events & _POLLIN else []
    return (*uses, "write") if events & _POLLOUT else tuple(uses)


def _limit(thread: Thread) -> tuple[bool, float | None]:
    """Whether the wait ends by itself, and how many seconds it lasts at most, where that is known."""
    assert thread.call is not None
    call = thread.call
    if call.name in ("epoll_wait", "epoll_pwait", "poll"):
        milliseconds = call.arguments[2 if call.name == "poll" else 3] & 0xFFFFFFFF
        return (True, milliseconds / 1000) if milliseconds < 1 << 31 else (False, None)
    where = {"ppoll": 2, "epoll_pwait2": 3}.get(call.name, 4)
    at = call.arguments[where] if len(call.arguments) > where else 0
    # select(2)'s own has microseconds; libraries call pselect6.
    known = at and call.name not in ("select", "_newselect")
    return at != 0, timespec(thread.process, at) if known else None
