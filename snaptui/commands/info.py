"""Say what is in a snapshot.

When, where and by whom it was taken, its processes, and how many bytes of each process's address
space are stored, are equal to a saved text image, were never touched (zero), or were left out.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from snaptui.commands.options import JSON_OUTPUT, SNAPSHOT_FILE
from snaptui.commands.output import Column, print_fields, print_json, print_table, size_text
from snaptui.engine.snapfile import Process, Snapshot, open_snapshot
from snaptui.engine.snapfile.linux import KINDS
from snaptui.explain import visible

NAME = "info"
PARENTS = (SNAPSHOT_FILE, JSON_OUTPUT)


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add info's arguments: none but the shared ones."""


def run(arguments: argparse.Namespace) -> int:
    """Print what is in the snapshot. Raises SnapError."""
    with open_snapshot(arguments.file) as snapshot:
        summary = snapshot_summary(snapshot)
    if arguments.json:
        print_json(summary)
    else:
        _print(summary)
    return 0


def snapshot_summary(snapshot: Snapshot) -> dict[str, Any]:
    """What is in the snapshot, as JSON has it; sizes in bytes."""
    return {
        "file": snapshot.path,
        "size": snapshot.size,
        "stored_size": snapshot.stored_size,
        "compressed": snapshot.compressed,
        **_origin(snapshot),
        "processes": [_process_summary(process) for process in snapshot.processes.values()],
    }


def _origin(snapshot: Snapshot) -> dict[str, Any]:
    """When, by whom and where, by the first line as Plan 9's snap writes it; what is not there is empty."""
    words = snapshot.header.removeprefix("process snapshot").split()
    user, _, system = words[1].partition("@") if len(words) > 1 else ("", "", "")
    return {
        "header": snapshot.header,
        "time": int(words[0]) if words and words[0].isascii() and words[0].isdigit() else None,
        "user": user,
        "system": system,
        "arch": words[2] if len(words) > 2 else "",
    }


def _process_summary(process: Process) -> dict[str, Any]:
    memory = dict.fromkeys(KINDS, 0)
    for area in process.areas():
        memory[area.kind] += area.size
    linux = process.linux
    return {
        "pid": process.pid,
        "name": process.name,
        "user": process.user,
        "state": process.state,
        "threads": None if linux is None else len(linux.threads()),
        "memory": {kind.replace(" ", "_"): size for kind, size in memory.items()},
        "text_size": process.text_size,
        "text_files": None if linux is None else len(linux.text_files),
        "records": list(process.records),
        "linux": None if linux is None else linux.info,
    }


def _print(summary: dict[str, Any]) -> None:
    size = f"{size_text(summary['size'])} ({summary['size']} bytes)"
    if summary["compressed"]:
        size += f", compressed to {size_text(summary['stored_size'])} ({summary['stored_size']} bytes)"
    when = summary["time"]
    print_fields(
        [
            ("File", summary["file"]),
            ("Size", size),
            ("Taken", _local_time(when) if when is not None else "at an unknown time"),
            ("By", f"{summary['user']} on {summary['system']}" if summary["user"] else summary["header"]),
            ("Machine", _machine(summary)),
            *_pause(summary),
        ]
    )
    print()
    columns = [
        *(
            Column("PID", "right"),
            Column("NAME"),
            Column("USER"),
            Column("STATE"),
            Column("THREADS", "right"),
        ),
        *(Column(kind.upper(), "right") for kind in KINDS),
        *(Column("TEXT IMAGE", "right"), Column("FILES", "right")),
    ]
    print_table(columns, [_row(process) for process in summary["processes"]])
    for process in summary["processes"]:
        for warning in _warnings(process):
            print(f"{process['pid']}: {visible(warning)}")


def _row(process: dict[str, Any]) -> list[str]:
    return [
        *(str(process["pid"]), process["name"], process["user"], process["state"]),
        _count(process["threads"]),
        *(str(size) for size in process["memory"].values()),
        *(str(process["text_size"]), _count(process["text_files"])),
    ]


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)


def _machine(summary: dict[str, Any]) -> str:
    for process in summary["processes"]:
        if process["linux"] is not None:
            info = process["linux"]
            return f"{info.get('arch', summary['arch'])}, Linux {info.get('kernel', '')}".rstrip()
    return f"{summary['arch']}, no Linux record" if summary["arch"] else "unknown"


def _pause(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """How long the processes stood still, if the snapshot knows."""
    pauses = [process["linux"].get("pause_seconds") for process in summary["processes"] if process["linux"]]
    known = [pause for pause in pauses if isinstance(pause, int | float)]
    copied = any(
        process["linux"] and process["linux"].get("read_from") == "copy" for process in summary["processes"]
    )
    how = ", to copy themselves (--fork)" if copied else ""
    return [("Stopped", f"for {max(known) * 1000:.1f} ms{how}")] if known else []


def _warnings(process: dict[str, Any]) -> list[str]:
    """What snap warned of when it took the process: first what is missing."""
    info = process["linux"] or {}
    lists = [found for name in ("missing", "warnings") if isinstance(found := info.get(name), list)]
    return [str(warning) for found in lists for warning in found]


def _local_time(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return str(seconds)
