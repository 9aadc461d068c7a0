"""Frames of C, C++, Rust and Go, unwound by drgn on the snapshot itself.

drgn gets a core of notes alone, reads memory by asking the snapshot, and has the executable and libraries
from the text image: nothing is copied but those.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.core import page_size
from snaptui.engine.inspect.demangle import function_name
from snaptui.engine.inspect.notes import MACHINES, build_notes
from snaptui.engine.inspect.stacks.images import open_image
from snaptui.engine.inspect.stacks.model import Frame, Local
from snaptui.engine.inspect.stacks.scopes import Scopes
from snaptui.engine.progress import CancelToken
from snaptui.engine.snapfile import LinuxRecord, Process

if TYPE_CHECKING:
    import drgn

_EHDR64, _PHDR64 = 64, 56  # bytes (elf.h)
_VALUE_MAX: Final = 160
"""Characters of a local's value; what is larger is for the memory view."""
_TYPE_MAX: Final = 4096
"""Bytes of a local that is read: an array of a megabyte on the stack says nothing in a line."""
_MANGLED: Final = ("_Z", "_R")
_ASSEMBLER: Final = (".S", ".s")
_RUST_START: Final = re.compile(r"std::rt::lang_start(?!_)")
"""What main() of a Rust program calls. It is compiled with that, unlike lang_start_internal."""
SIGNAL_HANDLER_CALLED: Final = "<signal handler called>"
_TRAMPOLINES: Final = (
    bytes.fromhex("48c7c00f000000 0f05"),  # x86-64: mov $15,%rax; syscall
    bytes.fromhex("681180d2 010000d4"),  # aarch64: mov x8,#139; svc #0
)
_DEPTH: Final = 1024
"""Frames of one stack: an endless recursion has a hundred thousand, all alike."""


class NativeStacks:
    """The stacks of a process's threads. Raises NotCaptured where drgn cannot know the machine.

    ImportError means that drgn is not installed.
    """

    def __init__(self, process: Process, linux: LinuxRecord, cancel: CancelToken) -> None:
        import drgn

        # What drgn says of debug information that it cannot read is for its authors; it reads the rest.
        logging.getLogger("drgn").addHandler(logging.NullHandler())
        self._drgn = drgn
        self._process, self._cancel = process, cancel
        self._program = drgn.Program()
        core = _core_of_notes(linux)
        try:
            self._program.set_core_dump(core)
        finally:
            os.close(core)
        for start, end in _readable(process):
            self._program.add_memory_segment(start, end - start, self._read)
        self._load(linux)
        self._scopes = Scopes(process, linux)

    def frames(self, tid: int, *, with_locals: bool) -> tuple[Frame, ...]:
        """The frames of a thread, innermost first. Raises SnapError if it cannot be unwound."""
        try:
            trace = self._program.stack_trace(tid)
        except (LookupError, ValueError, NotImplementedError, self._drgn.FaultError) as error:
            raise NotCaptured(f"the stack cannot be unwound: {error}") from error
        found: list[Frame] = []
        for index in range(min(len(trace), _DEPTH)):
            frame = self._frame(trace[index], with_locals=with_locals)
            if frame is None:
                break
            found += self._with_inlined(trace[index], frame)
            frame = found[-1]
            if frame.function == "main" and not frame.inlined and not _is_of_rust(found):
                break  # what called main is the same in every program; gdb leaves it out too
        return tuple(found)

    def _frame(self, found: drgn.StackFrame, *, with_locals: bool) -> Frame | None:
        try:
            pc = found.pc
        except LookupError:
            return None  # the end of the stack
        is_trampoline = self._is_trampoline(pc)
        module, offset = self._module(pc)
        source, line = "", 0
        with contextlib.suppress(LookupError):
            source, line, _ = found.source()
        function = SIGNAL_HANDLER_CALLED if is_trampoline else self._function(found, source)
        return Frame(
            pc,
            function,
            source=source,
            line=line,
            module=module,
            offset=offset,
            inlined=found.is_inline,
            signal=is_trampoline,
            locals=self._locals(found) if with_locals else (),
        )

    def _with_inlined(self, found: drgn.StackFrame, frame: Frame) -> tuple[Frame, ...]:
        """A frame, with those that were inlined into it before it, where drgn does not know its function."""
        if not frame.source or frame.inlined or frame.signal or found.function_name is not None:
            return (frame,)
        scopes = self._scopes.of(self._program.module(frame.pc), frame.pc - (not found.interrupted))
        source, line = frame.source, frame.line
        frames = []
        for scope in scopes:
            function = scope.name or ("" if scope.is_inlined else frame.function)
            frames.append(
                replace(frame, function=function, source=source, line=line, inlined=scope.is_inlined)
            )
            source, line = scope.caller
        return tuple(frames) or (frame,)

    def _is_trampoline(self, pc: int) -> bool:
        """Whether a signal handler returns to there: to rt_sigreturn(2), which has no name in libc."""
        try:
            return any(self._process.read_memory(pc, len(code)) == code for code in _TRAMPOLINES)
        except NotCaptured:
            return False

    def _function(self, found: drgn.StackFrame, source: str) -> str:
        """As gdb has it: with its namespace and class, which the linker's name tells."""
        plain = found.function_name or ""
        if found.is_inline:
            return plain
        linked = self._linked(found)
        if source.endswith(_ASSEMBLER) and linked == plain.lstrip("_"):
            return linked  # labels are all that there is: `clone3`, and `__clone3` for the same place
        if not linked:
            return plain
        qualified = function_name(linked)
        # The linker may have folded equal functions into one: then the name is another's.
        return qualified if not plain or qualified.endswith(plain) else plain

    def _linked(self, found: drgn.StackFrame) -> str:
        """The linker's name; of several the one that people use: `puts`, not `_IO_puts`."""
        try:
            symbol = found.symbol()
        except LookupError:
            return ""
        every = (one for one in self._program.symbols(symbol.address) if one.address == symbol.address)
        names = {str(one.name) for one in every if one.size == symbol.size} or {str(symbol.name)}
        if any(name.startswith(_MANGLED) for name in names):
            return str(symbol.name)
        return min(names, key=lambda name: (name.startswith("_"), len(name), name))

    def _module(self, pc: int) -> tuple[str, int]:
        try:
            module = self._program.module(pc)
        except LookupError:
            return "", 0
        bias = module.loaded_file_bias
        return module.name, pc - (bias if bias is not None else 0)

    def _locals(self, found: drgn.StackFrame) -> tuple[Local, ...]:
        return tuple(Local(name, self._value(found, name)) for name in found.locals())

    def _value(self, found: drgn.StackFrame, name: str) -> str:
        try:
            value = found[name]
            if value.absent_:
                return "<optimized out>"
            size = self._drgn.sizeof(value)
            if size > _TYPE_MAX:
                return f"({value.type_.type_name()}) {size:,} bytes"
            text = value.format_(dereference=False, symbolize=False, type_name=False, member_type_names=False)
        except Exception as error:  # noqa: BLE001 - whatever a type or a damaged frame makes drgn say
            return f"<{error}>"
        text = " ".join(text.split())
        return text if len(text) <= _VALUE_MAX else text[: _VALUE_MAX - 3] + "..."

    def _read(self, address: int, count: int, offset: int, physical: bool) -> bytes:  # noqa: ARG002
        self._cancel.check()
        try:
            return self._process.read_memory(address, count)
        except NotCaptured as error:
            raise self._drgn.FaultError(str(error), address) from None

    def _load(self, linux: LinuxRecord) -> None:
        """Have modules use the files in the snapshot; debug information is looked for here too.

        Each is known by its build id, so that no file of this machine can stand for another one.
        """
        files = {file.build_id: file for file in linux.text_files if file.build_id}
        for module, _ in self._program.loaded_modules():
            self._cancel.check()
            file = files.get((module.build_id or b"").hex())
            if file is not None:
                module.try_file(file.path, fd=open_image(self._process, file))
        # The network only for those who ask for it, as gdb does.
        online = ["debuginfod"] if os.environ.get("DEBUGINFOD_URLS") else []
        known = self._program.registered_debug_info_finders()
        self._program.set_enabled_debug_info_finders(
            ["standard", *(name for name in online if name in known)]
        )
        options = self._program.debug_info_options
        options.try_procfs = options.try_embedded_vdso = False
        # Most have none: names then come from their symbol tables.
        with contextlib.suppress(self._drgn.MissingDebugInfoError):
            self._program.load_module_debug_info(*self._program.modules())


def _is_of_rust(frames: Sequence[Frame]) -> bool:
    """Whether a Rust main called this one: with debug information gdb shows all that is behind it."""
    return any(frame.source and _RUST_START.match(frame.function) for frame in frames)


def _readable(process: Process) -> Iterator[tuple[int, int]]:
    """Start and end of what can be read back, neighbours joined."""
    start = end = 0
    for area in process.areas():
        if area.kind == "left out":
            continue
        if area.start != end:
            if start < end:
                yield start, end
            start = area.start
        end = area.end
    if start < end:
        yield start, end


def _core_of_notes(linux: LinuxRecord) -> int:
    """A descriptor of an ELF core without memory. Raises NotCaptured."""
    arch = str(linux.info.get("arch", ""))
    if arch not in MACHINES or MACHINES[arch].width != 8:
        raise NotCaptured(f"stacks of {arch or 'an unknown machine'} cannot be unwound")
    machine = MACHINES[arch]
    notes = build_notes(linux, machine, page_size(linux.info.get("page_size")))
    head = struct.pack("<4s5B7x", b"\x7fELF", 2, 1, 1, 0, 0)
    head += struct.pack("<HHI3QI6H", 4, machine.number, 1, 0, _EHDR64, 0, 0, _EHDR64, _PHDR64, 1, 0, 0, 0)
    head += struct.pack("<2I6Q", 4, 0, _EHDR64 + _PHDR64, 0, 0, len(notes), 0, 4)  # PT_NOTE
    core = os.memfd_create("core")
    os.write(core, head + notes)
    return core
