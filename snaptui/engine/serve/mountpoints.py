"""What is mounted where, by the kernel's table (proc_pid_mountinfo(5)), and taking it down again."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import SnapError

FILE_SYSTEM: Final = "fuse.snapfs"
"""What the kernel's table calls our mounts: FUSE, with our name as subtype."""

_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8  # <sys/mount.h>, umount(2)
_ANSWER_PATIENCE: Final = 1.0
"""Seconds for a mount to say that it is dead, which takes microseconds."""
_PATIENCE: Final = 10.0
"""Seconds for fusermount3, which takes milliseconds."""


@dataclass(frozen=True, slots=True)
class MountEntry:
    """A line of mountinfo. Where several are at one place, the last one is what a user sees."""

    device: str
    """`MAJOR:MINOR`, the file system's own, as long as it is mounted."""
    path: str
    kind: str
    options: str
    """Of the file system; those of FUSE name the owner, `user_id=UID`."""

    @property
    def is_ours(self) -> bool:
        """Whether a snapfs of this user made it."""
        return self.kind == FILE_SYSTEM and f"user_id={os.geteuid()}" in self.options.split(",")


def mount_table() -> list[MountEntry]:
    """All mounts that this process sees, each after what it covers."""
    entries = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for line in file:
            before, _, after = line.rstrip("\n").partition(" - ")
            fields, (kind, _source, options, *_) = before.split(" "), after.split(" ")
            entries.append(MountEntry(fields[2], _unescape(fields[4]), kind, options))
    return entries


def topmost(path: str) -> MountEntry | None:
    """What is mounted at `path` itself and seen there; None if nothing is."""
    return next((entry for entry in reversed(mount_table()) if entry.path == path), None)


def is_dead(path: str) -> bool:
    """Whether the mount at `path` has lost its server: "Transport endpoint is not connected"."""
    dead = threading.Event()

    def ask() -> None:
        try:
            os.statvfs(path)  # stat(2) may be answered from the kernel's cache for a second more
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                dead.set()

    # The kernel knows at once that a mount is dead; a server that is stopped (by ^Z, say) never answers.
    thread = threading.Thread(target=ask, name="is it dead?", daemon=True)
    thread.start()
    thread.join(_ANSWER_PATIENCE)
    return dead.is_set()


def unmount(path: str, *, lazy: bool = False) -> None:
    """Take down the mount that is seen at `path`.

    `lazy`: whatever still uses it. Raises SnapError, saying why not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    if libc.umount2(os.fsencode(path), flags) == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EPERM:
        _fusermount(path, lazy=lazy)
        return
    if number == errno.EINVAL:  # umount(2): not a mount point, which is what was asked for
        return
    raise SnapError(f"cannot unmount {path}: {os.strerror(number)}")


def _fusermount(path: str, *, lazy: bool) -> None:
    """Unmount as an ordinary user, who needs the help of a program with rights."""
    program = shutil.which("fusermount3") or shutil.which("fusermount")
    if program is None:
        raise SnapError(f"cannot unmount {path}: there is no fusermount3", help="apt-get install fuse3")
    argv = [program, "-u", "-q", *(["-z"] if lazy else []), "--", path]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SnapError(f"cannot unmount {path}: {error}") from error
    if done.returncode != 0 and (left := topmost(path)) is not None and left.kind == FILE_SYSTEM:
        said = os.fsdecode(done.stderr).strip() or "it is in use"
        raise SnapError(f"cannot unmount {path}: {said}")


def _unescape(field: str) -> str:
    """A path as it is: mountinfo has blank, tab, line feed and backslash as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
