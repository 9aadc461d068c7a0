"""The words of the commands that the app runs, and capturing through sudo."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final

from snaptui.children.child import Child, environment, start
from snaptui.engine.errors import SnapError
from snaptui.engine.snapfile.output import open_output

_PIECE: Final = 1 << 20
_POLL_MS: Final = 100
"""Between looks at whether a capture is still wanted."""


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """What the user asked for in the dialog."""

    pids: tuple[int, ...]
    path: str
    compress: bool = False
    tree: bool = False
    all_memory: bool = False
    fork: bool = False
    sudo: bool = False

    def words(self) -> list[str]:
        """The options and pids of `snap`, without the file."""
        flags = {
            "-z": self.compress,
            "--tree": self.tree,
            "--all": self.all_memory,
            "--fork": self.fork,
        }
        return [*(flag for flag, wanted in flags.items() if wanted), *map(str, self.pids)]


def start_capture(command: Sequence[str], request: CaptureRequest) -> Child:
    """Run `snap`. Raises OSError, SnapError."""
    reporting = ["snap", "--json", "--progress", "json"]
    os.makedirs(os.path.dirname(request.path) or ".", mode=0o700, exist_ok=True)
    if request.sudo:
        return _SudoCapture([*command, *reporting, *request.words()], request.path)
    return start([*command, *reporting, "-o", request.path, *request.words()])


def start_verify(command: Sequence[str], path: str) -> Child:
    """Run `snaptui verify`."""
    return start([*command, "verify", "--progress", "json", path])


def start_compress(command: Sequence[str], path: str, target: str, *, unpack: bool) -> Child:
    """Run `snaptui compress` or `decompress`."""
    return start([*command, "decompress" if unpack else "compress", "--progress", "json", "-o", target, path])


@dataclass(frozen=True, slots=True)
class MountRequest:
    """What the user asked for in the dialog; no mount point and no service is the default place."""

    path: str
    mountpoint: str = ""
    service: str = ""
    after: bool = False


def start_server(command: Sequence[str], request: MountRequest) -> Child:
    """Run `snapfs`, which ends with status 0 as soon as its child serves."""
    words = [*command, "fs", *(["-a"] if request.after else [])]
    if request.mountpoint:
        os.makedirs(request.mountpoint, exist_ok=True)
        words += ["-m", request.mountpoint]
    if request.service:
        words += ["-s", request.service]
    return start([*words, "--", request.path])


def sudo_is_there() -> bool:
    """Whether there is a sudo to ask."""
    return shutil.which("sudo") is not None


def sudo_needs_password() -> bool:
    """Whether sudo would ask; it then has to have the terminal."""
    done = subprocess.run(
        ["sudo", "-n", "-v"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode != 0


def ask_for_password() -> bool:
    """Have sudo ask on the terminal, which the app has given up for the moment; whether it was content."""
    return subprocess.run(["sudo", "-v"], check=False).returncode == 0


class _SudoCapture(Child):
    """A capture as root that writes into a file of ours.

    Root's process writes to a pipe and we to the file: so the file is the user's, and readable by the
    app. We may not signal root's process either; it ends when the pipe is closed.
    """

    def __init__(self, words: Sequence[str], path: str) -> None:
        self._path = path
        self._problem: SnapError | None = None
        popen = subprocess.Popen(
            ["sudo", "-n", "--", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            env=environment(),
        )
        pipe, popen.stdout = popen.stdout, None  # it holds bytes, not lines
        super().__init__(popen)
        copier = threading.Thread(target=self._copy, args=(pipe,), name="copy", daemon=True)
        self._threads.append(copier)
        copier.start()

    @property
    def status(self) -> int | None:
        """As that of any child; 1 if the file could not be written."""
        status = super().status
        return 1 if status == 0 and self._problem is not None else status

    def _copy(self, pipe: IO[bytes]) -> None:
        try:
            with open_output(self._path) as output:
                for piece in self._pieces(pipe):
                    output.write(piece)
                if self.cancelled:
                    return  # and the pipe is closed: nobody reads any more what it writes
                self._popen.wait()
                # Status 1: something is missing, and the rest is there; `done` says whether there is any.
                result = self.report.result
                if self._popen.returncode in (0, 1) and not self.cancelled and self._said_done():
                    output.commit()
                    if result is not None:
                        result["file"] = self._path
        except SnapError as error:
            self._problem = error
            self.report.error, self.report.help = str(error), error.help
        finally:
            pipe.close()

    def _pieces(self, pipe: IO[bytes]) -> Iterator[bytes]:
        """What comes, until it ends or is not wanted any more."""
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while not self.cancelled:
            if poll.poll(_POLL_MS):
                if not (piece := os.read(pipe.fileno(), _PIECE)):
                    return
                yield piece

    def _said_done(self) -> bool:
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        result = self.report.result
        return result is not None and bool(result["pids"])
