"""The text image of a process: its executable and every other ELF file that it has mapped.

Files are read through /proc, so that deleted ones and those of a container are the right ones.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from snaptui.engine import elf
from snaptui.engine.progress import CancelToken, Sink, Warned
from snaptui.engine.snapfile.linux import TextFile
from snaptui.engine.snapfile.mappings import Mapping
from snaptui.engine.snapfile.model import PAGE
from snaptui.engine.snapfile.writer import SnapshotWriter

VDSO: Final = "[vdso]"
_PIECE: Final = 1 << 20
_MACHINE_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

FileKey = tuple[str, int]
"""A file as maps names it: device and inode. (A name can be reused or be hidden by a mount.)"""

FileState = tuple[int, int, int, int]
"""A file as it is: device, inode, size, and time of change in nanoseconds."""

ElfFacts = tuple[str, str]
"""Its architecture, empty if it is no ELF file, and its build-id."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An ELF file that is part of a text image: where it can be read, and how it was when it was."""

    path: str
    access: str
    """Its path in our /proc."""
    text_offset: int
    size: int
    mtime_ns: int
    mode: int
    build_id: str
    deleted: bool
    device: int
    inode: int

    def is_unchanged(self) -> bool:
        """Whether the file still is what was saved (by size and time of change)."""
        try:
            now = os.stat(self.access)
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns)

    def described(self) -> TextFile:
        return TextFile(
            self.path, self.text_offset, self.size, self.build_id, self.mode, self.mtime_ns, self.deleted
        )


@dataclass(slots=True)
class TextImage:
    """What the text image of one process is made of, and how long it is (bytes, whole pages)."""

    pid: int
    tid: int
    """A living thread: the one whose /proc shows the memory, if the main thread has ended."""
    files: dict[FileKey, ImageFile] = field(default_factory=dict)
    vdso: bytes = b""
    vdso_offset: int = 0
    length: int = 0
    architecture: str = ""
    """Of the executable, as `uname -m` has it."""

    def directory(self) -> list[TextFile]:
        """The files in the order in which they stand in the image."""
        described = [file.described() for file in self.files.values()]
        if self.vdso:
            build_id = elf.build_id(lambda offset, size: self.vdso[offset : offset + size])
            described.append(TextFile(VDSO, self.vdso_offset, len(self.vdso), build_id, 0o555, 0, False))
        return described


class ImageWriter:
    """Writes the text images of several processes; a file that two of them map costs references alone."""

    def __init__(self, writer: SnapshotWriter, sink: Sink, cancel: CancelToken) -> None:
        self._writer, self._sink, self._cancel = writer, sink, cancel
        self._written: dict[FileState, tuple[int, int]] = {}

    def write(self, image: TextImage) -> None:
        """Write the text record of a process, unless it has no text at all."""
        if not image.length:
            return
        self._writer.text(image.pid, image.length)
        for file in image.files.values():
            self._write_file(image.pid, file)
        if image.vdso:
            self._writer.pages(_as_pages(image.vdso))

    def _write_file(self, pid: int, file: ImageFile) -> None:
        key = (file.device, file.inode, file.size, file.mtime_ns)
        pages = _whole(file.size) // PAGE
        if key in self._written:
            self._writer.references("t", *self._written[key], pages)
            return
        self._written[key] = (pid, file.text_offset)
        done = 0
        try:
            with open(file.access, "rb", buffering=0) as content:
                while done < pages:
                    self._cancel.check()
                    piece = os.pread(content.fileno(), min(_PIECE, file.size - done * PAGE), done * PAGE)
                    if not piece:
                        raise OSError(errno.ENODATA, "it became shorter while it was read")
                    whole = _as_pages(piece)
                    self._writer.pages(whole)
                    done += len(whole) // PAGE
        except OSError as error:
            self._writer.zeros(pages - done)
            self._sink(
                Warned(f"{file.path} could not be read whole: {error.strerror}", pid=pid, missing=True)
            )


def find_images(
    pid: int, tid: int, mappings: Sequence[Mapping], sink: Sink, known: dict[FileState, ElfFacts]
) -> TextImage:
    """What the text image of `pid` is to be made of, the executable first. Warns of what cannot be read.

    `tid` is a living thread of the process; `known` is of the processes before it, and completed here.
    """
    image = TextImage(pid, tid)
    executable = _executable_key(tid, mappings)
    code = {_key(mapping) for mapping in mappings if mapping.is_executable}
    seen: set[FileKey] = set()
    for mapping in sorted(mappings, key=lambda m: (_key(m) != executable, m.start)):
        key = _key(mapping)
        if mapping.path == VDSO:
            image.vdso = _read_vdso(tid, mapping)
        if not mapping.is_file or key in seen or not mapping.path.startswith("/"):
            continue
        seen.add(key)
        try:
            _add_file(image, mapping, key == executable, known)
        except OSError as error:
            if key in code or key == executable:
                absent = f"{mapping.path}: its file is not in the snapshot ({error.strerror})"
                sink(Warned(f"{absent}; its mapped pages are", pid=pid, missing=True))
    image.vdso_offset = image.length
    image.length += len(image.vdso)
    return image


def _add_file(
    image: TextImage, mapping: Mapping, is_executable: bool, known: dict[FileState, ElfFacts]
) -> None:
    """Add the file if it is ELF. Raises OSError when it cannot be read."""
    access = _access_path(image.tid, mapping, is_executable)
    if access is None:
        raise FileNotFoundError(errno.ENOENT, "the file is gone, and only root can still read it")
    with open(access, "rb", buffering=0) as content:
        fd = content.fileno()
        status = os.fstat(fd)
        state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if state not in known:
            known[state] = _elf_facts(fd)
    architecture, build_id = known[state]
    if not architecture:
        return
    if is_executable:
        image.architecture = architecture
    image.files[_key(mapping)] = ImageFile(
        path=mapping.path,
        access=access,
        text_offset=image.length,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        mode=status.st_mode & 0o7777,
        build_id=build_id,
        deleted=mapping.deleted,
        device=status.st_dev,
        inode=status.st_ino,
    )
    image.length += _whole(status.st_size)


def _elf_facts(fd: int) -> ElfFacts:
    def pread(offset: int, size: int) -> bytes:
        return os.pread(fd, size, offset)

    architecture = elf.architecture(pread)
    return architecture, elf.build_id(pread) if architecture else ""


def _access_path(tid: int, mapping: Mapping, is_executable: bool) -> str | None:
    """A path in /proc that opens just the file that is mapped, or None."""
    exact = [f"/proc/{tid}/map_files/{mapping.start:x}-{mapping.end:x}"]  # needs CAP_CHECKPOINT_RESTORE
    if is_executable:
        exact.append(f"/proc/{tid}/exe")
    by_name = [] if mapping.deleted else [f"/proc/{tid}/root{mapping.path}"]
    for path in exact + by_name:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                # The device is not compared: on btrfs and overlayfs maps and stat name different ones.
                if path in exact or os.fstat(fd).st_ino == mapping.inode:
                    return path
            finally:
                os.close(fd)
    return None


def _executable_key(tid: int, mappings: Sequence[Mapping]) -> FileKey | None:
    """Which of the mapped files the executable is."""
    try:
        inode = os.stat(f"/proc/{tid}/exe").st_ino
        path = os.readlink(f"/proc/{tid}/exe").removesuffix(" (deleted)")
    except OSError:
        return None
    same_path = [mapping for mapping in mappings if mapping.is_file and mapping.path == path]
    same_inode = [mapping for mapping in same_path if mapping.inode == inode]
    return next((_key(mapping) for mapping in same_inode + same_path), None)


def _key(mapping: Mapping) -> FileKey:
    return mapping.device, mapping.inode


def _read_vdso(tid: int, mapping: Mapping) -> bytes:
    try:
        with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
            return os.pread(memory.fileno(), mapping.size, mapping.start)
    except OSError:
        return b""


def _whole(size: int) -> int:
    return -(-size // _MACHINE_PAGE) * _MACHINE_PAGE


def _as_pages(content: bytes) -> bytes:
    """`content`, up to a whole page of the machine."""
    return content.ljust(_whole(len(content)), b"\0")
