"""Memory with known contents, as a space or as a snapshot, and the app to look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from textual.app import App
from textual.pilot import Pilot

from snaptui.engine.errors import NotCaptured
from snaptui.engine.snapfile import Area, Snapshot, open_snapshot
from snaptui.engine.snapfile.linux import Link, build_record
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.snapfile.writer import SnapshotWriter
from snaptui.screens.inside.memory import MemoryPane
from snaptui.screens.messages import OpenMount, RunDebugger
from snaptui.screens.snapshot import SnapshotScreen
from snaptui.widgets.hex.view import HexView
from tests.helpers.synthetic import PID, as_json

PLAN9 = Path(__file__).parent.parent / "data" / "plan9"


@dataclass(frozen=True)
class Piece:
    """A range of memory: its bytes, or None for what is left out."""

    start: int
    data: bytes | None
    size: int = 0
    kind: str = "stored"
    name: str = ""
    perms: str = "rw-p"
    reason: str = "no read permission"

    @property
    def end(self) -> int:
        return self.start + (self.size if self.data is None else len(self.data))

    @property
    def area(self) -> Area:
        if self.data is None:
            return Area(self.start, self.end, "left out", self.reason, self.perms, self.name)
        kind: Any = self.kind
        return Area(self.start, self.end, kind, "", self.perms, self.name)


class FakeSpace:
    """A space of pieces, which counts how often it is read."""

    def __init__(self, *pieces: Piece) -> None:
        self.pieces = sorted(pieces, key=lambda piece: piece.start)
        self.reads: list[tuple[int, int]] = []

    def areas(self) -> tuple[Area, ...]:
        return tuple(piece.area for piece in self.pieces)

    def read_memory(self, address: int, length: int) -> bytes:
        self.reads.append((address, length))
        found = b""
        for piece in self.pieces:
            at = address + len(found)
            if piece.data is not None and piece.start <= at < piece.end and len(found) < length:
                found += piece.data[at - piece.start :][: length - len(found)]
        if len(found) < length:
            raise NotCaptured(f"{address + len(found):#x} is not captured")
        return found

    def read_memory_into(self, address: int, target: npt.NDArray[np.uint8]) -> None:
        target[:] = np.frombuffer(self.read_memory(address, len(target)), dtype=np.uint8)


def snapshot_of(
    path: Path, pieces: Sequence[Piece], members: Mapping[str, bytes | Link] | None = None, **info: Any
) -> Snapshot:
    """A snapshot of one Linux process with these pieces of memory; their sizes are whole pages of 1 KiB."""
    rows = [
        (piece.start, piece.end, piece.kind if piece.data is not None else "left out", piece)
        for piece in pieces
    ]
    captured = {
        kind: [[a, b, *([p.reason] if kind == "left out" else [])] for a, b, k, p in rows if k == kind]
        for kind in ("stored", "text", "zero", "left out")
    }
    maps = "".join(f"{p.start:x}-{p.end:x} {p.perms} 00000000 00:00 0 {p.name}\n" for p in pieces)
    content: dict[str, bytes | Link] = {
        "maps": maps.encode(),
        "snapshot.json": as_json({"format": 1, "arch": "x86_64", "pid": PID, **info}),
        "text.json": as_json({"files": []}),
        "captured.json": as_json({"page_size": 4096, **captured}),
        f"task/{PID}/comm": b"victim\n",
        f"task/{PID}/stat": f"{PID} (victim) S 1 1".encode(),
        f"task/{PID}/regs": bytes(27 * 8),
        **(members or {}),
    }
    stored = [piece for piece in pieces if piece.data is not None and piece.kind == "stored"]
    with open_output(str(path)) as output:
        writer = SnapshotWriter(output, "1770000000 glenda@gnot amd64 0")
        writer.memory(PID, [(piece.start, piece.end - piece.start) for piece in stored])
        for piece in stored:
            assert piece.data is not None
            writer.pages(np.frombuffer(piece.data, dtype=np.uint8).reshape(-1, 1024))
        writer.record(PID, "proc", build_record(content))
        writer.record(PID, "status", f"{'victim':<28}{'glenda':<28}{'Read':<12}".encode().ljust(176))
        writer.finish()
        output.commit()
    return open_snapshot(str(path))


class InsideApp(App[None]):
    """Nothing but the screen of one snapshot; ends when that is left."""

    def __init__(self, snapshot: Snapshot, pid: int | None = None) -> None:
        super().__init__()
        self._snapshot, self._pid = snapshot, pid
        self.copied: list[str] = []
        self.requests: list[Any] = []

    def on_mount(self) -> None:
        self.push_screen(SnapshotScreen(self._snapshot, self._pid), lambda _: self.exit())

    def copy_to_clipboard(self, text: str) -> None:
        self.copied.append(text)

    def on_open_mount(self, request: OpenMount) -> None:
        self.requests.append(request)

    def on_run_debugger(self, request: RunDebugger) -> None:
        self.requests.append(request)

    @property
    def pane(self) -> MemoryPane:
        return self.screen_stack[1].query_one(MemoryPane)

    @property
    def view(self) -> HexView:
        return self.pane.view


async def opened(pilot: Pilot[Any]) -> InsideApp:
    """The app, once the process is shown."""
    from tests.helpers.desk import until

    app = pilot.app
    assert isinstance(app, InsideApp)
    # The last thing that opening does.
    await until(pilot, lambda: app.focused is not None and app.focused.id == "hex", "the hex view")
    await pilot.pause()
    return app
