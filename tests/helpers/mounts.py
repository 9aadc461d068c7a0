"""snapfs for tests: every server that a test starts is ended, and every mount taken down at its end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import Result, environment, finish, start
from tests.helpers.victims import wait_until

FIXTURES = Path(__file__).parent.parent / "data" / "plan9"
TWO_PROCS = FIXTURES / "two-procs.snap"
PARTIAL = FIXTURES / "partial.snap"
EXPECTED: dict[str, dict[str, Any]] = json.loads((FIXTURES / "expected.json").read_text())


def why_no_fuse() -> str:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse to use"
    if not (shutil.which("fusermount3") or shutil.which("fusermount")):
        return "there is no fusermount3: apt-get install fuse3"
    return ""


needs_fuse = pytest.mark.skipif(bool(why_no_fuse()), reason=why_no_fuse())


def is_mounted(path: Path) -> bool:
    """By the kernel's table, as mount(8) prints it: a dead mount counts."""
    return mounts_at(path) > 0


def mounts_at(path: Path) -> int:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sum(line.split()[4] == str(path) for line in lines)


@dataclass(frozen=True)
class Servers:
    """The servers of one test, with a runtime directory and a namespace of their own."""

    directory: Path
    prefix: tuple[str, ...] = ()

    @property
    def runtime(self) -> Path:
        return self.directory / "runtime"

    @property
    def environment(self) -> dict[str, str]:
        return environment() | {
            "XDG_RUNTIME_DIR": str(self.runtime),
            "NAMESPACE": str(self.directory / "namespace"),
        }

    def run(self, *arguments: str | int | Path, **options: Any) -> Result:
        """Run `snaptui ARGUMENTS` to its end."""
        return finish(start(*arguments, prefix=self.prefix, **{"env": self.environment, **options}))

    def snapfs(self, *arguments: str | Path, status: int = 0, **options: Any) -> Result:
        return self.run("fs", *arguments, **options).expect(status)

    def listed(self) -> list[dict[str, Any]]:
        """What `snaptui mounts --json` says."""
        result: list[dict[str, Any]] = json.loads(self.run("mounts", "--json").expect(0).out)
        return result

    def umount(self, *arguments: str | Path, status: int = 0) -> Result:
        return self.run("umount", *arguments).expect(status)

    def kill(self) -> list[int]:
        """Kill all servers by SIGKILL; their pids, when all are gone."""
        pids = [entry["pid"] for entry in self.listed()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            wait_until(lambda pid=pid: not is_running(pid), f"{pid} is gone")
        return pids

    def end(self) -> None:
        """End all, by the entries first and by the kernel's table then; fails if anything is left."""
        done = self.run("umount", "--all")
        left = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        left = [path for path in left if path.startswith(str(self.directory))]
        for path in reversed(left):
            subprocess.run(["umount", "-l", path], check=False)
        assert done.status == 0, done.err
        assert not left, f"still mounted: {left}"


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def servers(directory: Path, prefix: Sequence[str] = ()) -> Iterator[Servers]:
    """Servers with their files in `directory`."""
    group = Servers(directory, tuple(prefix))
    group.runtime.mkdir(mode=0o700)
    try:
        yield group
    finally:
        group.end()
