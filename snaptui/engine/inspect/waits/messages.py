"""Waits for messages and semaphores that any process may end: sysvipc(7), mq_overview(7)."""

from __future__ import annotations

import struct
from typing import Final

from snaptui.engine.inspect.waits.descriptors import Descriptors
from snaptui.engine.inspect.waits.facts import Thread, call_text
from snaptui.engine.inspect.waits.finding import Finding

CALLS: Final = ("msgrcv", "msgsnd", "semop", "semtimedop", "mq_timedreceive", "mq_timedsend")
_SEMBUF: Final = struct.Struct("<Hhh")  # sys/sem.h
_TOLD: Final = 4  # operations on semaphores that are told


def message_finding(thread: Thread, descriptors: Descriptors) -> Finding:
    """What a thread in one of these calls waits for."""
    assert thread.call is not None
    call, program = thread.call, thread.process
    first = call.arguments[0]
    timed = False
    if call.name.startswith("mq_"):
        what = descriptors.name(program, first)
        words = f"a message in the queue {what}" if "receive" in call.name else f"room in the queue {what}"
        timed = call.arguments[4] != 0
    elif call.name.startswith("msg"):
        what = "a message in" if call.name == "msgrcv" else "room in"
        words = f"{what} the System V message queue {first}"
    else:
        content = program.memory(call.arguments[1], min(call.arguments[2], _TOLD) * _SEMBUF.size)
        operations = [
            f"semaphore {number} to be zero"
            if not change
            else f"semaphore {number} (to change by {change:+})"
            for number, change, _ in _SEMBUF.iter_unpack(content)
        ]
        words = f"{' and '.join(operations) or 'semaphores'} of the System V set {first}"
        timed = call.name == "semtimedop" and call.arguments[3] != 0
    place = f" in {thread.place}" if thread.place else ""
    return Finding("message", f"waits for {words}{place}", call_text(thread), timed=timed, outside=True)
