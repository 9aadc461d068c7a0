"""Snapshots that no process was ever like: what tests need and no machine has, or should have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from snaptui.engine.snapfile import Snapshot, open_snapshot
from snaptui.engine.snapfile.fields import field
from snaptui.engine.snapfile.linux import Area, Link, build_record, captured_json, text_json
from snaptui.engine.snapfile.output import open_output
from snaptui.engine.snapfile.writer import SnapshotWriter

PID = 4242
PAGE = 4096


def page(number: int) -> bytes:
    """What the page with that number holds."""
    return number.to_bytes(8, "little") * (PAGE // 8)


def made_up(path: Path, areas: Sequence[Area]) -> Snapshot:
    """A snapshot of a process with these areas; their `stored` pages hold `page(address // PAGE)`."""
    maps = "".join(f"{a.start:x}-{a.end:x} {a.perms} 00000000 00:00 0\n" for a in areas)
    info = json.dumps({"format": 1, "arch": "x86_64", "page_size": PAGE, "pid": PID}).encode()
    members: dict[str, bytes | Link] = {
        "maps": maps.encode(),
        "snapshot.json": info,
        "text.json": text_json([]),
        "captured.json": captured_json(areas, [], PAGE),
    }
    stored = [area for area in areas if area.kind == "stored"]
    with open_output(str(path)) as output:
        writer = SnapshotWriter(output, "made up")
        writer.memory(PID, [(area.start, area.size) for area in stored])
        for area in stored:
            content = b"".join(page(number) for number in range(area.start // PAGE, area.end // PAGE))
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
