"""The functions that an address of a saved process is in, by the debug information of its files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from snaptui.engine.elf import Pread
from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.stacks.dwarf import DebugInfo, Scope
from snaptui.engine.snapfile import LinuxRecord, Process, TextFile

if TYPE_CHECKING:
    import drgn

_GARBLED = (ValueError, IndexError, KeyError, struct.error, SnapError, OSError)


class Scopes:
    """The debug information of the files of a process; each is read when an address in it is asked about."""

    def __init__(self, process: Process, linux: LinuxRecord) -> None:
        self._process = process
        self._files = {file.build_id: file for file in linux.text_files if file.build_id}
        self._read: dict[str, DebugInfo | None] = {}
        self._known: dict[int, tuple[Scope, ...]] = {}

    def of(self, module: drgn.Module, address: int) -> tuple[Scope, ...]:
        """The functions that an address is in, innermost first; none where that is not known."""
        if address not in self._known:  # threads of a pool stand in the same places
            self._known[address] = self._found(module, address)
        return self._known[address]

    def _found(self, module: drgn.Module, address: int) -> tuple[Scope, ...]:
        bias, path = module.debug_file_bias, module.debug_file_path
        if bias is None or path is None:
            return ()
        try:
            if module.name not in self._read:
                self._read[module.name] = None
                self._read[module.name] = DebugInfo(self._pread(module, path))
            debug = self._read[module.name]
            return debug.scopes(address - bias) if debug is not None else ()
        except _GARBLED:
            return ()

    def _pread(self, module: drgn.Module, path: str) -> Pread:
        """Reads the file that drgn has the debug information from: the saved one, or one of this machine."""
        file = self._files.get((module.build_id or b"").hex())
        # The copies in memory have no path of their own.
        if file is not None and (path == file.path or path.startswith("/memfd:")):
            return _of_image(self._process, file)
        content = Path(path).read_bytes()
        return lambda offset, size: content[offset : offset + size]


def _of_image(process: Process, file: TextFile) -> Pread:
    def pread(offset: int, size: int) -> bytes:
        size = min(size, file.size - offset)
        return process.read_text(file.offset + offset, size) if size > 0 else b""

    return pread
