"""What a saved process ran on: how long its pointers are, and in which order their bytes stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.registers import layout_of
from snaptui.engine.inspect.values import Endian
from snaptui.engine.snapfile import Process, Snapshot


@dataclass(frozen=True, slots=True)
class Machine:
    """`width` is that of a pointer, in bytes."""

    name: str
    width: int = 8
    endian: Endian = "little"


_PLAN9: Final[dict[str, tuple[int, Endian]]] = {
    "386": (4, "little"),
    "arm": (4, "little"),
    "spim": (4, "little"),
    "mips": (4, "big"),
    "power": (4, "big"),
    "sparc": (4, "big"),
    "68020": (4, "big"),
    "power64": (8, "big"),
}
"""Plan 9's $objtype (2c(1)); all others are 64 bits, little endian."""


def machine_of(snapshot: Snapshot, process: Process) -> Machine:
    """The machine of a process: from its Linux record, else from the first line of the snapshot."""
    linux = process.linux
    if linux is None:
        words = snapshot.header.removeprefix("process snapshot").split()
        name = words[2] if len(words) > 2 else ""
        width, endian = _PLAN9.get(name, (8, "little"))
        return Machine(name, width, endian)
    name = str(linux.info.get("arch", ""))
    try:
        layout = layout_of(name, len(linux.read(f"task/{process.pid}/regs")))
    except NotCaptured:
        layout = None
    if layout is not None:
        return Machine(layout.arch, layout.width)
    return Machine(name, 4 if name in ("i386", "i686", "arm", "armv7l") else 8)
