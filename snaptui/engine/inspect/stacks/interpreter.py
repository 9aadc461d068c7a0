"""Frames of Python, read by pystack from the interpreter's own structures in the saved memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.core import CoreImage
from snaptui.engine.inspect.stacks.images import open_image
from snaptui.engine.inspect.stacks.model import Frame, Local
from snaptui.engine.inspect.symbols import Symbols
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile import LinuxRecord, Process

_PIECE: Final = 4 << 20  # bytes
_SPARE: Final = 256 << 20
"""Bytes that must stay free where the temporary core is written."""
_VALUE_MAX: Final = 160  # characters


@dataclass(frozen=True, slots=True)
class PythonThread:
    """A thread as the interpreter sees it."""

    tid: int
    runs: tuple[tuple[Frame, ...], ...]
    """For each time the interpreter's loop was entered the frames that it ran there; innermost first."""
    holds_gil: bool
    version: tuple[int, int]


def is_python(process: Process) -> bool:
    """Whether an interpreter is in it, as a program of its own or inside another one."""
    symbols = Symbols(process, AddressMap(process.areas()))
    return symbols.address_of("_PyRuntime") is not None


def python_threads(
    process: Process, linux: LinuxRecord, *, with_locals: bool, cancel: CancelToken
) -> Mapping[int, PythonThread]:
    """The threads that the interpreter knows of, by id.

    Raises NotCaptured where they cannot be read, and ImportError if pystack is not installed.
    """
    from pystack.engine import NativeReportingMode, get_process_threads_for_core

    with _temporary_core(process, cancel) as core, _executable(process, linux) as (program, libraries):
        try:
            threads = get_process_threads_for_core(
                core, program, libraries, native_mode=NativeReportingMode.OFF, locals=with_locals
            )
        except Exception as error:  # whatever damaged memory makes pystack raise
            raise NotCaptured(f"the frames of Python cannot be read: {error}") from error
    return {thread.tid: _thread(thread) for thread in threads}


def is_loop(version: tuple[int, int]) -> Callable[[str], bool]:
    """Whether a function of that version is the interpreter's loop, which runs frames of Python."""
    from pystack._pystack import is_eval_frame

    return lambda name: bool(is_eval_frame(name, version))


def _thread(found: Any) -> PythonThread:
    runs: list[tuple[Frame, ...]] = []
    run: list[Frame] = []
    for frame in reversed(list(found.frames)):
        if not getattr(frame, "is_shim", False):
            run.append(_frame(frame))
        if getattr(frame, "is_entry", True):
            runs.append(tuple(run))
            run = []
    if run:
        runs.append(tuple(run))
    version = tuple(found.python_version or (0, 0))[:2]
    return PythonThread(found.tid, tuple(runs), found.holds_the_gil == 1, (version[0], version[1]))


def _frame(found: Any) -> Frame:
    values = {**(found.arguments or {}), **(found.locals or {})}
    return Frame(
        0,
        found.code.scope,
        "python",
        found.code.filename,
        found.code.location.lineno,
        locals=tuple(Local(name, _short(str(value))) for name, value in values.items()),
    )


def _short(text: str) -> str:
    return text if len(text) <= _VALUE_MAX else text[: _VALUE_MAX - 3] + "..."


@contextmanager
def _temporary_core(process: Process, cancel: CancelToken) -> Iterator[Path]:
    """A core in a file without a name, holes left out: pystack reads cores by path only."""
    image = CoreImage(process)
    ranges = list(image.data_ranges())
    needed = sum(end - start for start, end in ranges)
    directory = tempfile.gettempdir()
    space = os.statvfs(directory)
    if needed + _SPARE > space.f_bavail * space.f_frsize:
        raise NotCaptured(
            f"the frames of Python need {needed >> 20} MiB of disk in {directory}, and there is less",
            help="name a directory with more space: TMPDIR=/var/tmp",
        )
    with tempfile.TemporaryFile(dir=directory) as file:
        os.ftruncate(file.fileno(), image.size)
        for start, end in ranges:
            for at in range(start, end, _PIECE):
                cancel.check()
                os.pwrite(file.fileno(), image.read(at, min(_PIECE, end - at)), at)
        yield Path(f"/proc/self/fd/{file.fileno()}")


@contextmanager
def _executable(process: Process, linux: LinuxRecord) -> Iterator[tuple[Path, Path]]:
    """The program, and a directory with it and the library of Python: links to copies in memory."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="snaptui-")))
        program: Path | None = None
        for number, file in enumerate(linux.text_files):
            if number and "python" not in file.path:
                continue
            descriptor = open_image(process, file)
            stack.callback(os.close, descriptor)
            link = directory / os.path.basename(file.path)
            if not link.is_symlink():
                link.symlink_to(f"/proc/{os.getpid()}/fd/{descriptor}")
            program = program or link
        if program is None:
            raise NotCaptured("the frames of Python need the executable, which is not in the snapshot")
        yield program, directory
