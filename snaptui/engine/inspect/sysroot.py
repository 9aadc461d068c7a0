"""The executable and libraries of a saved process as a directory tree for debuggers: a sysroot.

Every file of the text image at its own path, and symbolic links for the other names that
the dynamic linker knows them by, and by build-id. Nothing in the tree leads out of it, whatever a
snapshot says.
"""

from __future__ import annotations

import bisect
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NotCaptured, SnapError
from snaptui.engine.inspect.linkmap import LoadedObject, loaded_objects
from snaptui.engine.snapfile import LinuxRecord, Process, TextFile
from snaptui.engine.snapfile.mappings import Mapping, parse_maps

_DELETED: Final = " (deleted)"
_OTHER: Final = "~"
"""Put behind a name that is taken already, as often as it takes."""
_HEAD: Final = 4096
"""Bytes by which two files of one path are told apart: ELF header, program headers, build-id."""


_BY_BUILD_ID: Final = "/usr/lib/debug/.build-id"
"""Where debuggers look for files by build-id. elfutils knows no sysroot; a --debuginfo-path it does."""
_BUILD_ID: Final = re.compile("[0-9a-f]{8,128}")


@dataclass(frozen=True, slots=True)
class SysrootEntry:
    """A file, or a symbolic link with a relative target; directories are those that the paths need."""

    path: str
    """Absolute within the sysroot, without `.` and `..`; no entry's path is a directory of another's."""
    file: TextFile | None
    link: str = ""


def executable(process: Process) -> TextFile | None:
    """The file that the process runs; None if it is not in the snapshot."""
    linux = process.linux
    if linux is None:
        return None
    try:
        path = os.fsdecode(linux.read("exe"))
    except NotCaptured:
        return None
    first = next((file for file in _usable(linux.text_files) if file.offset == 0), None)
    return first if first is not None and first.path == path.removesuffix(_DELETED) else None


def sysroot_entries(process: Process) -> tuple[SysrootEntry, ...]:
    """The entries of the sysroot, sorted by path; none for a snapshot without a Linux record.

    Where two files have one path (a library that was replaced, and loaded again), it goes to the
    executable, else to the one that the dynamic linker names first; the other's name gets a `~`.
    """
    linux = process.linux
    if linux is None:
        return ()
    names = list(_Objects(process, linux).named())
    main = executable(process)
    files = [*([main] if main else []), *(file for _, file in names), *_usable(linux.text_files)]
    tree = _Tree()
    for file in dict.fromkeys(files):
        tree.add_file(file)
    for name, file in names:
        tree.add_alias(name, file)
    for file in files:
        if isinstance(file.build_id, str) and _BUILD_ID.fullmatch(file.build_id):
            tree.add_alias(f"{_BY_BUILD_ID}/{file.build_id[:2]}/{file.build_id[2:]}", file)
    return tree.entries()


def search_directories(process: Process) -> tuple[str, ...]:
    """The directories of the sysroot with libraries that the linker knows by a relative name alone.

    Debuggers do not look for those in the sysroot unless they are told.
    """
    if process.linux is None:
        return ()
    relative = [name for name, _ in _Objects(process, process.linux).named(relative=True)]
    return tuple(dict.fromkeys("/" + "/".join(_parts(name)[:-1]) for name in relative if _is_possible(name)))


class _Objects:
    """Which file of the text image is loaded where."""

    def __init__(self, process: Process, linux: LinuxRecord) -> None:
        self._process = process
        self._files: dict[tuple[str, bool], list[TextFile]] = {}
        for file in _usable(linux.text_files):
            self._files.setdefault((file.path, file.deleted), []).append(file)
        self._mappings = parse_maps(_read(linux, "maps"))
        self._cwd = os.fsdecode(_read(linux, "cwd")).removesuffix(_DELETED)

    def named(self, *, relative: bool = False) -> Iterator[tuple[str, TextFile]]:
        """The linker's names, made absolute, and the file that each is; `relative`: only those that were not.

        A relative name (dlopen of ./x.so) began in the directory that the process was in then; that it still
        is there is likely, and otherwise the name is as good as any.
        """
        for loaded in loaded_objects(self._process):
            is_relative = not loaded.name.startswith("/")
            if (is_relative or not relative) and (file := self._file(loaded)) is not None:
                yield posixpath.join("/", self._cwd, loaded.name), file

    def _file(self, loaded: LoadedObject) -> TextFile | None:
        at = bisect.bisect_right(self._mappings, loaded.address, key=lambda mapping: mapping.start) - 1
        mapping = self._mappings[at] if at >= 0 else None
        if mapping is None or not mapping.contains(loaded.address):
            return None
        files = self._files.get((mapping.path, mapping.deleted), [])
        if len(files) > 1:
            return next((file for file in files if self._begins_like(mapping, file)), files[0])
        return files[0] if files else None

    def _begins_like(self, mapping: Mapping, file: TextFile) -> bool:
        """Whether the file's first bytes are those that are mapped."""
        same = (m for m in self._mappings if (m.device, m.inode) == (mapping.device, mapping.inode))
        first = next((m for m in same if m.offset == 0), None)
        if first is None:
            return False
        size = min(_HEAD, file.size)
        try:
            return self._process.read_memory(first.start, size) == self._process.read_text(file.offset, size)
        except SnapError:
            return False


class _Tree:
    """Entries by path; a path is a file or link, or a directory of others, never both."""

    def __init__(self) -> None:
        self._entries: dict[str, SysrootEntry] = {}
        self._directories: set[str] = {"/"}
        self._paths: dict[TextFile, str] = {}

    def add_file(self, file: TextFile) -> None:
        """Put a file at its own path, or next to it."""
        *directories, name = _parts(file.path)
        above = ""
        for part in directories:
            above += f"/{part}"
            while above in self._entries:
                above += _OTHER
        path = f"{above}/{name}"
        while path in self._entries or path in self._directories:
            path += _OTHER
        self._add(SysrootEntry(path, file))
        self._paths[file] = path

    def add_alias(self, name: str, file: TextFile) -> None:
        """Make `name` lead to a file, unless there is something of that name."""
        if not _is_possible(name):
            return
        path = "/" + "/".join(_parts(name))
        if path in self._entries or path in self._directories:
            return
        if any(directory in self._entries for directory in _directories(path)):
            return
        target = posixpath.relpath(self._paths[file], posixpath.dirname(path))
        self._add(SysrootEntry(path, None, target))

    def entries(self) -> tuple[SysrootEntry, ...]:
        return tuple(self._entries[path] for path in sorted(self._entries))

    def _add(self, entry: SysrootEntry) -> None:
        self._entries[entry.path] = entry
        self._directories.update(_directories(entry.path))


def _usable(files: Sequence[TextFile]) -> list[TextFile]:
    """The files that can be in a tree: not [vdso], and none that a broken record made up."""
    return [
        file
        for file in files
        if isinstance(file.path, str)
        and file.path.startswith("/")
        and _is_possible(file.path)
        and all(isinstance(value, int) and value >= 0 for value in (file.offset, file.size, file.mode))
    ]


def _is_possible(path: str) -> bool:
    """Whether a path can be one on Linux, and names something."""
    try:
        os.fsencode(path)
    except UnicodeError:
        return False
    return "\0" not in path and bool(_parts(path))


def _parts(path: str) -> list[str]:
    """The components of an absolute path, `.` and `..` resolved; `..` stops at the root."""
    return [part for part in posixpath.normpath(f"/{path}").split("/") if part]


def _directories(path: str) -> Iterator[str]:
    """The directories above a path, but the root."""
    while (path := posixpath.dirname(path)) != "/":
        yield path


def _read(linux: LinuxRecord, name: str) -> bytes:
    try:
        return linux.read(name)
    except NotCaptured:
        return b""
