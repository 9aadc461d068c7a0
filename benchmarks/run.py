"""Run all benchmarks, print their tables, and write them to RESULTS.md beside this file.

    python benchmarks/run.py [GROUP...]

Groups: capture, reading, serving, search, app. Exit status 1 if a bar was missed. See README.md.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rows import Row, table

GROUPS = {
    "capture": "Saving processes",
    "reading": "Opening and reading back",
    "serving": "Serving",
    "search": "Searching",
    "app": "The application",
}
_RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    """Run the groups that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP")
    groups = parser.parse_args().groups or list(GROUPS)
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    parts, missed = [_machine()], 0
    for group in groups:
        began = time.monotonic()
        found = _rows(group)
        missed += sum(not row.holds for row in found)
        parts.append(f"## {GROUPS[group]}\n\n{table(found)}")
        print(f"\n{parts[-1]}({time.monotonic() - began:.0f} s)", flush=True)
    if set(groups) == set(GROUPS):
        _RESULTS.write_text("\n".join(parts))
    return 1 if missed else 0


def _rows(group: str) -> list[Row]:
    module = importlib.import_module(group)
    with tempfile.TemporaryDirectory(prefix="snaptui-bench-") as directory:
        return list(module.rows(Path(directory)))


def _machine() -> str:
    """What the figures are of."""
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith(("model name", "CPU part"))
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    disk = shutil.disk_usage(tempfile.gettempdir())
    gdb = subprocess.run(
        ["gdb", "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    facts = (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        f"{os.cpu_count()} x {cpu}, {memory:.0f} GiB, Linux {platform.release()}",
        f"Python {platform.python_version()}, {gdb}",
        f"load {os.getloadavg()[0]:.1f} at the start, {disk.free >> 30} GiB free in {tempfile.gettempdir()}",
    )
    return (
        "# Results\n\nMade by `make bench`; see README.md.\n\n"
        + "\n".join(f"- {fact}" for fact in facts)
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
