"""Where every thread of a saved process was: its stack, with the frames of Python among those of C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.addresses import AddressMap
from snaptui.engine.inspect.demangle import function_name
from snaptui.engine.inspect.stacks.interpreter import PythonThread, is_loop, is_python, python_threads
from snaptui.engine.inspect.stacks.model import Frame, Local, StackGroup, ThreadStack, group_stacks
from snaptui.engine.inspect.stacks.native import NativeStacks
from snaptui.engine.inspect.symbols import Symbols
from snaptui.engine.inspect.threads import SavedThread, saved_threads
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile import Process

__all__ = ["Frame", "Local", "StackGroup", "ThreadStack", "group_stacks", "read_stacks"]


def read_stacks(
    process: Process,
    tids: Sequence[int] | None = None,
    *,
    with_locals: bool = False,
    cancel: CancelToken | None = None,
) -> tuple[ThreadStack, ...]:
    """The stacks of all threads, the main one first, or of those in `tids`.

    What cannot be read is not an error: the stack is as long as it is known, and says what is missing.
    Raises Cancelled, and FormatError where the file is damaged.
    """
    cancel = cancel or CancelToken()
    threads = [thread for thread in saved_threads(process) if tids is None or thread.tid in tids]
    native, why_not = _native(process, cancel)
    python, why_no_python = _python(process, with_locals, cancel)
    stacks = []
    for thread in threads:
        cancel.check()
        frames, problem = _unwound(process, thread, native, why_not, with_locals)
        if thread.tid in python:
            frames = merge(frames, python[thread.tid])
        said = "; ".join(filter(None, [problem, why_no_python]))
        holds_gil = thread.tid in python and python[thread.tid].holds_gil
        stacks.append(ThreadStack(thread.tid, thread.name, frames, said, holds_gil))
    return tuple(stacks)


def merge(native: Sequence[Frame], python: PythonThread) -> tuple[Frame, ...]:
    """Frames of Python before (inside) the function of C that ran them, the interpreter's loop.

    Where the two do not agree in number, because functions of C have no names, say, those of Python
    that are left come at the end: the order among themselves is right.
    """
    runs = list(python.runs)
    loop = is_loop(python.version)
    frames: list[Frame] = []
    for frame in native:
        if runs and not frame.inlined and loop(frame.function):
            frames += runs.pop(0)
        frames.append(frame)
    return (*frames, *(frame for run in runs for frame in run))


def _native(process: Process, cancel: CancelToken) -> tuple[NativeStacks | None, str]:
    linux = process.linux
    if linux is None:
        return None, "stacks of a process without a Linux record cannot be unwound"
    try:
        return NativeStacks(process, linux, cancel), ""
    except NotCaptured as error:
        return None, str(error)
    except ImportError:
        return None, "drgn, which unwinds stacks, is not installed"


def _python(
    process: Process, with_locals: bool, cancel: CancelToken
) -> tuple[Mapping[int, PythonThread], str]:
    linux = process.linux
    if linux is None or not is_python(process):
        return {}, ""
    try:
        return python_threads(process, linux, with_locals=with_locals, cancel=cancel), ""
    except NotCaptured as error:
        return {}, str(error)
    except ImportError:
        return {}, "pystack, which reads the frames of Python, is not installed"


def _unwound(
    process: Process, thread: SavedThread, native: NativeStacks | None, why_not: str, with_locals: bool
) -> tuple[tuple[Frame, ...], str]:
    if not thread.registers:
        return (), thread.missing or why_not
    if native is not None:
        try:
            return native.frames(thread.tid, with_locals=with_locals), ""
        except NotCaptured as error:
            why_not = str(error)
    return (_innermost(process, thread),), why_not


def _innermost(process: Process, thread: SavedThread) -> Frame:
    """The only frame that is known without unwinding: where the thread was."""
    pc = thread.registers[thread.pc]
    addresses = AddressMap(process.areas())
    symbols = Symbols(process, addresses)
    block = addresses.block_at(pc)
    module = block.name if block is not None else ""
    return Frame(
        pc, function_name(symbols.near(pc).partition("+")[0]), module=module, offset=symbols.in_file(pc)
    )
