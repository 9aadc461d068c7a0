"""Snapshots that no process was ever like: what tests need and no machine has, or should have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from snaptui.engine.snapfile import Snapshot, open_snapshot
from snaptui.engine.snapfile.fields import field
from snaptui.engine.snapfile.linux import Area, Link, build_record
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.snapfile.writer import SnapshotWriter

PID = 4242
PAGE = 4096


def page(number: int) -> bytes:
    """What the page with that number holds."""
    return number.to_bytes(8, "little") * (PAGE // 8)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def made_up(path: Path, areas: Sequence[Area]) -> Snapshot:
    """A snapshot of a process with these areas, all in one segment; pages hold `page(address // PAGE)`."""
    maps = "".join(f"{a.start:x}-{a.end:x} {a.perms} 00000000 00:00 0\n" for a in areas)
    captured = {
        kind: [[a.start, a.end, *([a.reason] if kind == "left out" else [])] for a in areas if a.kind == kind]
        for kind in ("stored", "text", "zero", "left out")
    }
    members: dict[str, bytes | Link] = {
        "maps": maps.encode(),
        "snapshot.json": as_json({"format": 1, "arch": "x86_64", "page_size": PAGE, "pid": PID}),
        "text.json": as_json({"files": []}),
        "captured.json": as_json({"page_size": PAGE, **captured}),
        f"task/{PID}/regs": bytes(27 * 8),
    }
    start, end = areas[0].start, areas[-1].end
    content = b"".join(page(number) for number in range(start // PAGE, end // PAGE))
    with open_output(str(path)) as output:
        writer = SnapshotWriter(output, "made up")
        writer.memory(PID, [(start, end - start)])
        writer.pages(np.frombuffer(content, dtype=np.uint8).reshape(-1, 1024))
        writer.record(PID, "proc", build_record(members))
        writer.finish()
        output.commit()
    return open_snapshot(str(path))


def with_members(source: Path, target: Path, changed: Mapping[str, bytes | Link]) -> Snapshot:
    """The snapshot `source`, of one process, with other members in its Linux record."""
    with open_snapshot(str(source)) as snapshot:
        (process,) = snapshot.processes.values()
        linux = process.linux
        assert linux is not None
        members: dict[str, bytes | Link] = {}
        for name in linux.names():
            content = linux.read(name)
            is_link = name in ("exe", "cwd", "root") or name.startswith("fd/")
            members[name] = Link(content.decode()) if is_link else content
    record = build_record({**members, **changed})
    # A record that comes again replaces the first.
    again = field(process.pid) + b"proc\n" + field(len(record)) + record
    target.write_bytes(source.read_bytes() + again)
    return open_snapshot(str(target))
