"""Who serves what: a small file for each running server, where all servers of a user find them."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import select
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from snaptui.engine.errors import AccessDenied, SnapError
from snaptui.engine.serve.mountpoints import is_dead, mount_table, topmost, unmount

_LOCK_PATIENCE: Final = 30.0
"""Seconds. Mounting takes 20 at the worst; whoever holds the lock for longer is stuck."""
_END_PATIENCE: Final = 10.0
"""Seconds for a server to end when asked; it takes about one at most."""
_KILL_PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A running server."""

    pid: int
    start_ticks: int
    """When it started, of proc_pid_stat(5): tells it from another process that got its pid later."""
    files: tuple[str, ...]
    mountpoint: str
    """Empty: none."""
    device: str
    """Of the mounted file system, `MAJOR:MINOR`."""
    services: tuple[str, ...]
    """Addresses, as a 9P client dials them."""
    started: int
    """Seconds since 1970."""

    @property
    def is_alive(self) -> bool:
        return start_ticks(self.pid) == self.start_ticks

    def is_called(self, target: str) -> bool:
        """Whether a user may mean this server by `target`: a mount point or a service, by name or address."""
        if self.mountpoint and self.mountpoint == canonical_path(target):
            return True
        for service in self.services:
            network, _, where = service.partition("!")
            if target in (service, where):
                return True
            if network == "unix" and (os.path.abspath(target) == where or target == os.path.basename(where)):
                return True
        return False


def runtime_directory() -> str:
    """Our directory for this user, made when missing: `$XDG_RUNTIME_DIR/snapfs`, else `/tmp/snapfs-UID`.

    Raises AccessDenied when somebody else made it, or may write to it.
    """
    uid = os.geteuid()
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    with contextlib.suppress(OSError):
        # It may be another user's: su and sudo may leave the variable as it is.
        if os.path.isabs(base) and os.stat(base).st_uid == uid:
            return _private_directory(os.path.join(base, "snapfs"))
    return _private_directory(f"/tmp/snapfs-{uid}")


def default_mountpoint() -> str:
    """Where snapfs mounts unless told otherwise; made when missing."""
    path = os.path.join(runtime_directory(), "proc")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    return path


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc_pid_stat(5), field 22); 0: there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


class Registry:
    """The servers of this user."""

    def __init__(self, directory: str | None = None) -> None:
        self.directory = directory or runtime_directory()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time: to mount and say so, or to find a mount dead and unmount it."""
        fd = os.open(os.path.join(self.directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + _LOCK_PATIENCE
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        message = f"another snapfs has held {self.directory}/lock for {_LOCK_PATIENCE:.0f} s"
                        raise SnapError(message, help="`snaptui mounts` lists those that run") from error
                    time.sleep(0.01)  # flock(2) has no timeout of its own
            yield
        finally:
            os.close(fd)

    def add(self, entry: Entry) -> None:
        """Make a server known, or say anew what it serves."""
        fd, draft = tempfile.mkstemp(dir=self.directory, prefix=".entry-")
        with os.fdopen(fd, "w", encoding="ascii") as file:
            json.dump(dataclasses.asdict(entry), file)
        os.rename(draft, self._file(entry.pid))

    def remove(self, pid: int) -> None:
        """Forget a server."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._file(pid))

    def entries(self) -> list[Entry]:
        """The servers that run, the oldest first."""
        return sorted((e for e in self._stored() if e.is_alive), key=lambda e: (e.started, e.start_ticks))

    def clean(self) -> list[str]:
        """Remove what killed servers left: entries, and dead mounts, whose paths it returns.

        The caller holds the lock. A dead mount under a live one stays, until that one has ended.
        """
        for entry in self._stored():
            if not entry.is_alive:
                self.remove(entry.pid)
        cleaned = []
        # As many rounds as there are mounts: each takes the topmost one off, and there may be one below.
        for _ in mount_table():
            path = self._dead_mount()
            if path is None:
                break
            unmount(path, lazy=True)
            cleaned.append(path)
        return cleaned

    def _dead_mount(self) -> str | None:
        """A mount of ours that is seen at its place and has no server any more."""
        alive = {entry.device for entry in self.entries()}
        for mount in mount_table():
            # Not even looked at while its server lives: one that hangs would have us hang too.
            unclaimed = mount.is_ours and mount.device not in alive
            if unclaimed and topmost(mount.path) == mount and is_dead(mount.path):
                return mount.path
        return None

    def _stored(self) -> list[Entry]:
        found = []
        for name in sorted(os.listdir(self.directory)):
            if name.endswith(".json"):
                # It may vanish this moment; what is no entry (of another version, say) is not ours to judge.
                with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                    found.append(_read_entry(os.path.join(self.directory, name)))
        return found

    def _file(self, pid: int) -> str:
        return os.path.join(self.directory, f"{pid}.json")


def end(entry: Entry) -> Literal["ended", "killed", "gone"]:
    """Have a server end, and wait until it has; one that does not end when asked is killed.

    Raises AccessDenied or SnapError when it lives on.
    """
    try:
        fd = os.pidfd_open(entry.pid)
    except ProcessLookupError:
        return "gone"
    try:
        # Asked after opening: from here on the descriptor means this process, whoever gets its pid.
        if not entry.is_alive:
            return "gone"
        try:
            signal.pidfd_send_signal(fd, signal.SIGTERM)
            signal.pidfd_send_signal(fd, signal.SIGCONT)  # one that is stopped could not obey
            if _wait(fd, _END_PATIENCE):
                return "ended"
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            return "ended"
        except PermissionError as error:
            raise AccessDenied(f"may not end snapfs, process {entry.pid}") from error
        if not _wait(fd, _KILL_PATIENCE):
            raise SnapError(f"snapfs, process {entry.pid}, does not end, not even when killed")
        return "killed"
    finally:
        os.close(fd)


def _wait(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _read_entry(path: str) -> Entry:
    with open(path, encoding="ascii") as file:
        record = json.load(file)
    return Entry(**{**record, "files": tuple(record["files"]), "services": tuple(record["services"])})


def canonical_path(path: str) -> str:
    """A path without links in it. Its last component is asked for nothing but a link's target.

    It may be a mount point whose server is stopped, and stat(2) would wait for that for ever.
    """
    parent, name = os.path.split(os.path.abspath(path))
    path = os.path.join(os.path.realpath(parent), name)
    with contextlib.suppress(OSError):
        if not any(mount.path == path for mount in mount_table()) and os.path.islink(path):
            return os.path.realpath(path)
    return path


def _private_directory(path: str) -> str:
    with contextlib.suppress(FileExistsError):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            raise
        except OSError as error:
            raise SnapError(f"cannot make the directory {path}: {error.strerror}") from error
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise AccessDenied(
            f"{path} is not a directory that only you can use",
            help="remove it, or set XDG_RUNTIME_DIR to a directory of yours",
        )
    return path
