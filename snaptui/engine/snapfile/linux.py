"""The Linux record: what Linux's /proc/PID has and Plan 9's has not, in the opaque record `proc`.

It is a tar archive laid out like /proc/PID, with three files of our own: `snapshot.json` (how it
was taken), `text.json` (which files the text image is made of) and `captured.json` (what became
of every address). A snapshot without one, or with a broken one, is read as one from Plan 9.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from snaptui.engine.errors import FormatError, NotCaptured
from snaptui.engine.snapfile.mappings import parse_maps

SNAPSHOT_JSON: Final = "snapshot.json"
TEXT_JSON: Final = "text.json"
CAPTURED_JSON: Final = "captured.json"

UNREADABLE: Final = "the kernel could not read it"
"""Why an area is left out that should have been saved; all other reasons are by design."""

_THREAD: Final = re.compile(r"task/([0-9]{1,18})/", re.ASCII)

AreaKind = Literal["stored", "text", "zero", "left out"]
KINDS: Final[tuple[AreaKind, ...]] = ("stored", "text", "zero", "left out")


@dataclass(frozen=True, slots=True)
class Area:
    """A range of addresses that share a fate.

    `stored` and `text` (equal to a page of the text image) are in the memory image; `zero` was
    never touched and reads as zeros; `left out` cannot be read back, for the `reason` given.
    """

    start: int
    end: int
    kind: AreaKind
    reason: str = ""
    perms: str = ""
    """As in /proc/PID/maps; empty where not known."""
    name: str = ""
    """The file or `[heap]` and the like; in a snapshot from Plan 9 `Text`, `Data`, `Bss`, `Stack`."""

    @property
    def size(self) -> int:
        return self.end - self.start

    def __repr__(self) -> str:
        return f"Area({self.start:#x}-{self.end:#x} {self.kind} {self.name})"


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file in the text image: `size` bytes from `offset` on; the executable is the one at 0."""

    path: str
    offset: int
    size: int
    build_id: str
    """In hex; empty if it has none."""
    mode: int
    mtime_ns: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class DataFile:
    """A mapped file whose unmodified pages were left out, as it was then: size in bytes, time of change."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link of /proc, like `exe` or `fd/3`."""

    target: str


Members = Mapping[str, bytes | Link]


class LinuxRecord:
    """A Linux record, opened. Raises `FormatError` when it is none, or broken."""

    def __init__(self, content: bytes) -> None:
        self._archive = content
        try:
            tar = tarfile.TarFile(fileobj=io.BytesIO(content), errorlevel=1)
            self._members = {member.name: member for member in tar.getmembers()}
            self.info: dict[str, Any] = dict(json.loads(self._content(SNAPSHOT_JSON)))
            self.text_files = _text_files(json.loads(self._content(TEXT_JSON)))
            self.captured = self._areas(json.loads(self._content(CAPTURED_JSON)))
        except _BROKEN as error:
            raise FormatError(f"the Linux record is missing or broken: {error}") from error

    def names(self) -> tuple[str, ...]:
        """The files and links of the record, as in /proc/PID."""
        return tuple(self._members)

    def is_link(self, name: str) -> bool:
        """Whether that is a symbolic link, whose target `read` gives."""
        return name in self._members and self._members[name].issym()

    def read(self, name: str) -> bytes:
        """The contents of a file, or the target of a link; from any thread. Raises `NotCaptured`."""
        try:
            return self._content(name)
        except (KeyError, tarfile.TarError) as error:
            raise NotCaptured(f"no file {name} was saved") from error

    def threads(self) -> tuple[int, ...]:
        """The ids of all threads that were found, the main thread first."""
        found = (_THREAD.match(name) for name in self._members)
        tids = {int(match[1]) for match in found if match}
        return tuple(sorted(tids, key=lambda tid: (tid != self.info.get("pid"), tid)))

    def _content(self, name: str) -> bytes:
        member = self._members[name]
        if member.issym():
            return member.linkname.encode("utf-8", "surrogateescape")
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise KeyError(name)
        # Not by extractfile: that moves the one position of the one file, and threads share it.
        found = self._archive[member.offset_data : member.offset_data + member.size]
        if len(found) != member.size:
            raise tarfile.ReadError(f"{name} is cut short")
        return found

    def _areas(self, captured: dict[str, Any]) -> tuple[Area, ...]:
        mappings = parse_maps(self._content("maps"))
        ranges = sorted((row[0], row[1], kind, *row[2:]) for kind in KINDS for row in captured[kind])
        areas = []
        at = 0
        for start, end, kind, *reason in ranges:
            while at < len(mappings) and mappings[at].end <= start:
                at += 1
            here = mappings[at] if at < len(mappings) and mappings[at].contains(start) else None
            areas.append(
                Area(
                    int(start),
                    int(end),
                    kind,
                    str(reason[0]) if reason else "",
                    here.perms if here else "",
                    here.path if here else "",
                )
            )
        return tuple(areas)


# Whatever the tar and JSON libraries raise at arbitrary bytes.
_BROKEN: Final = (
    tarfile.TarError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    EOFError,
    RecursionError,
)


def build_record(members: Members) -> bytes:
    """A Linux record of these files and links, in this order."""
    now = int(time.time())
    blocks = bytearray()
    for name, content in members.items():
        member = tarfile.TarInfo(name)
        member.mtime, member.mode = now, 0o444
        data = b""
        if isinstance(content, Link):
            member.type, member.linkname = tarfile.SYMTYPE, content.target
        else:
            data = content
        member.size = len(data)
        # As TarFile.addfile does, in half the time: a process of 1,000 threads has 9,000 members.
        blocks += member.tobuf(tarfile.GNU_FORMAT, tarfile.ENCODING, "surrogateescape")
        blocks += data + bytes(-len(data) % tarfile.BLOCKSIZE)
    blocks += bytes(2 * tarfile.BLOCKSIZE)
    return bytes(blocks + bytes(-len(blocks) % tarfile.RECORDSIZE))


def text_json(files: Sequence[TextFile], data_files: Sequence[DataFile]) -> bytes:
    """The directory of the text image, and the files that are in no image."""
    return _json(
        {
            "files": [asdict(file) for file in files],
            "data_files": [asdict(file) for file in data_files],
        }
    )


def captured_json(areas: Sequence[Area], page_size: int) -> bytes:
    """What became of every address: ranges by kind, and for those left out the reason."""
    table: dict[str, Any] = {"page_size": page_size}
    for kind in KINDS:
        reason = kind == "left out"
        table[kind] = [
            [a.start, a.end, a.reason] if reason else [a.start, a.end] for a in areas if a.kind == kind
        ]
    return _json(table)


def snapshot_json(info: Mapping[str, object]) -> bytes:
    """How the snapshot was taken."""
    return _json(info)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def _text_files(table: dict[str, Any]) -> tuple[TextFile, ...]:
    return tuple(TextFile(**row) for row in table["files"])
