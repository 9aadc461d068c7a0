"""A tree as a file system, by FUSE: libfuse's own loop in a thread of its own, and how it begins and ends."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

from snaptui.engine.errors import SnapError
from snaptui.engine.serve.filesystem import Operations
from snaptui.engine.serve.mountpoints import FILE_SYSTEM, topmost, unmount
from snaptui.engine.serve.nodes import Tree
from snaptui.engine.serve.underlay import Underlay

INSTALL: Final = "apt-get install fuse3 (or dnf install fuse3); a socket (-s NAME) needs no FUSE"
_NO_DEVICE: Final = (
    "a container needs --device /dev/fuse --cap-add SYS_ADMIN; a socket (-s NAME) needs no FUSE"
)

_PATIENCE: Final = 20.0
"""Seconds for the kernel's first message, which comes at once; a loaded machine may need a few."""

_LINGER: Final = 1.0
"""Seconds for the answers under way when the mount has ended."""

_READ_AHEAD: Final = 1024
"""KiB. cat of a core of 620 MiB takes 1.2 s; 2.5 s with the kernel's 128; and with 4096 it is 1.6 s."""

_STDERR: Final = 2


class Mount:
    """A tree mounted at a directory. `ended` is called, from a thread, when it is mounted no longer."""

    def __init__(self, tree: Tree, path: str, *, after: bool, ended: Callable[[], None]) -> None:
        self.path = os.path.realpath(path)  # as the kernel's table has it
        self.device = ""
        """The kernel's number of the file system, `MAJOR:MINOR`, when it is mounted."""
        self._library = load_library()
        self._underlay = Underlay(self.path)
        self._operations = _Starting(tree, self._underlay, after=after)
        self._ended = ended
        self._thread = threading.Thread(target=self._serve, name="FUSE", daemon=True)
        self._error = ""

    def start(self) -> None:
        """Mount. Returns when the kernel has asked its first question. Raises SnapError, saying why not."""
        with tempfile.TemporaryFile() as said:
            with _errors_go_to(said):
                self._thread.start()
                in_time = self._operations.answered.wait(_PATIENCE)
            if self._operations.mounted:
                mounted = topmost(self.path)
                if mounted is not None and mounted.kind == FILE_SYSTEM:
                    self.device = mounted.device
                    _read_far_ahead(mounted.device)
                    return
            said.seek(0)
            reason = _reason(said.read()) or self._error or ("" if in_time else "the kernel does not answer")
        self._underlay.close()
        raise SnapError(
            f"cannot mount at {self.path}: {reason or 'libfuse does not say why'}", help=_remedy(reason)
        )

    def stop(self) -> None:
        """Unmount, if nothing is mounted on top of it. Raises SnapError when that fails.

        What lies under another mount cannot be taken down; it then dies with this process.
        """
        seen = topmost(self.path)
        if seen is not None and seen.device == self.device:
            try:
                unmount(self.path)
            except SnapError:  # in use: who uses it keeps it until he lets go
                unmount(self.path, lazy=True)
        self._thread.join(_LINGER)

    def _serve(self) -> None:
        try:
            self._library.FUSE(self._operations, self.path, **_options(self._library))
        except (RuntimeError, OSError) as error:
            self._error = f"libfuse: error {error}"
        finally:
            was_mounted = self._operations.mounted
            self._operations.answered.set()
        if was_mounted:
            self._ended()


class _Starting(Operations):
    """Operations that tell when the kernel begins to ask."""

    def __init__(self, tree: Tree, underlay: Underlay, *, after: bool) -> None:
        super().__init__(tree, underlay, after=after)
        self.answered = threading.Event()
        self.mounted = False

    def init(self, path: str) -> None:  # noqa: ARG002 - libfuse gives it
        """The kernel's first message."""
        self.mounted = True
        self.answered.set()


def load_library() -> Any:
    """mfusepy, which loads libfuse when it is imported. Raises SnapError when there is none."""
    # libfuse 3 reads 1 MiB at a time, libfuse 2 128 KiB; left alone, mfusepy takes 2 where both are there.
    if not {"FUSE_LIBRARY_PATH", "FUSE_LIBRARY_NAME"} & set(os.environ) and ctypes.util.find_library("fuse3"):
        os.environ["FUSE_LIBRARY_NAME"] = "fuse3"
    try:
        import mfusepy
    except (OSError, AttributeError, ImportError) as error:
        raise SnapError("cannot mount: libfuse is not installed", help=INSTALL) from error
    return mfusepy


def _options(library: Any) -> dict[str, Any]:
    """What to ask of libfuse and the kernel (mount.fuse3(8))."""
    options: dict[str, Any] = {
        "foreground": True,  # it must not fork: this is a thread
        "raw_fi": True,
        "fsname": "snapfs",
        "subtype": "snapfs",
        "ro": True,
        "nosuid": True,
        "nodev": True,
        "use_ino": True,
    }
    if library.fuse_version_major == 2:
        options["nonempty"] = True  # libfuse 3 does so by itself
    return options


def _read_far_ahead(device: str) -> None:
    """Have the kernel ask for more at once. Only root may; the library cannot (FUSE_INIT only lowers it)."""
    with contextlib.suppress(OSError), open(f"/sys/class/bdi/{device}/read_ahead_kb", "w") as file:
        file.write(str(_READ_AHEAD))


@contextlib.contextmanager
def _errors_go_to(file: BinaryIO) -> Iterator[None]:
    """Have what libfuse and fusermount3 say on descriptor 2, the only way they say it, in `file`."""
    kept = os.dup(_STDERR)
    os.dup2(file.fileno(), _STDERR)
    try:
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)


def _remedy(reason: str) -> str:
    """What to do about it, where we know."""
    if "exec" in reason:  # there is no fusermount3, without which an ordinary user cannot mount
        return INSTALL
    if "device" in reason or "/dev/fuse" in reason or "not permitted" in reason:
        return _NO_DEVICE
    return ""


def _reason(said: bytes) -> str:
    """The first thing that went wrong, of what libfuse said; what follows is what followed from it."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[0] if lines else ""
