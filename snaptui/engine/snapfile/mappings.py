"""A process's mappings, as /proc/PID/maps and smaps tell them (proc_pid_maps(5), proc_pid_smaps(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(
    rb"([0-9a-f]+)-([0-9a-f]+) ([-r][-w][-x][-ps]) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) ([0-9]+) *(.*)"
)
_NO_DEVICE: Final = "00:00"
_DELETED: Final = " (deleted)"
_ANONYMOUS: Final = ("/dev/zero", "/anon_hugepage")


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of maps; `flags` and the sizes in bytes come from smaps and are empty without it."""

    start: int
    end: int
    perms: str
    """Like `rw-p`."""
    offset: int
    device: str
    inode: int
    path: str
    """The file, `[heap]` and the like, or empty; as the kernel shows it, ` (deleted)` taken off."""
    deleted: bool
    flags: frozenset[str] = frozenset()
    """VmFlags, like `io`, `dd`."""
    resident: int = 0
    swapped: int = 0
    shared: int = 0
    """Bytes of it that other processes have mapped too."""

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def is_readable(self) -> bool:
        return self.perms[0] == "r"

    @property
    def is_writable(self) -> bool:
        return self.perms[1] == "w"

    @property
    def is_executable(self) -> bool:
        return self.perms[2] == "x"

    @property
    def is_shared(self) -> bool:
        return self.perms[3] == "s"

    @property
    def is_anonymous(self) -> bool:
        """Private memory that nothing backs; private /dev/zero and large pages only look like files."""
        return not self.is_file or (not self.is_shared and self.path in _ANONYMOUS)

    @property
    def is_file(self) -> bool:
        """Backed by something of a device: a file, or memory that several can share.

        The inode alone does not tell: the number of System V shared memory is its id, and the first id is 0.
        """
        return self.device != _NO_DEVICE

    def contains(self, address: int) -> bool:
        return self.start <= address < self.end

    def __repr__(self) -> str:
        return f"Mapping({self.start:#x}-{self.end:#x} {self.perms} {self.path})"


def parse_maps(content: bytes) -> tuple[Mapping, ...]:
    """The mappings in the text of a maps or smaps file, by address. Lines that are neither are skipped."""
    mappings: list[Mapping] = []
    head: re.Match[bytes] | None = None
    details: dict[bytes, bytes] = {}
    for line in content.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            name, _, value = line.partition(b":")
            details[name] = value
            continue
        if head is not None:
            mappings.append(_mapping(head, details))
        head, details = match, {}
    if head is not None:
        mappings.append(_mapping(head, details))
    return tuple(mappings)


def _mapping(head: re.Match[bytes], details: dict[bytes, bytes]) -> Mapping:
    path = head[7].decode("utf-8", "surrogateescape").replace("\\012", "\n")
    deleted = path.endswith(_DELETED)
    return Mapping(
        start=int(head[1], 16),
        end=int(head[2], 16),
        perms=head[3].decode(),
        offset=int(head[4], 16),
        device=head[5].decode(),
        inode=int(head[6]),
        path=path.removesuffix(_DELETED),
        deleted=deleted,
        flags=frozenset(details.get(b"VmFlags", b"").decode().split()),
        resident=_kibibytes(details.get(b"Rss", b"")),
        swapped=_kibibytes(details.get(b"Swap", b"")),
        shared=sum(_kibibytes(details.get(name, b"")) for name in (b"Shared_Clean", b"Shared_Dirty")),
    )


def _kibibytes(value: bytes) -> int:
    words = value.split()
    return int(words[0]) * 1024 if words else 0
