"""The notes of an ELF core: registers, signals, process data, auxiliary vector, mapped files.

The layouts are the kernel's: struct elf_prstatus and elf_prpsinfo of <linux/elfcore.h> (and their
compat forms for 32-bit processes), NT_FILE of fs/binfmt_elf.c, the note types of <linux/elf.h>.
"""

from __future__ import annotations

import signal
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.registers import layout_of
from snaptui.engine.inspect.xsave import intel_layout
from snaptui.engine.snapfile.linux import LinuxRecord
from snaptui.engine.snapfile.mappings import parse_maps

NT_PRSTATUS: Final = 1
NT_FPREGSET: Final = 2
NT_PRPSINFO: Final = 3
NT_AUXV: Final = 6
NT_X86_XSTATE: Final = 0x202
NT_FILE: Final = 0x46494C45
NT_SIGINFO: Final = 0x53494749

_CORE: Final = b"CORE\0"
_LINUX: Final = b"LINUX\0"

_SIGINFO_SIZE: Final = 128  # SI_MAX_SIZE, asm-generic/siginfo.h
_TICKS: Final = 100  # USER_HZ, the unit of the times in /proc/PID/stat, is 100 on all machines that we know
_FAULTS: Final = (
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE),
    *(signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS),
)
_STATES: Final = "RSDTZW"
"""pr_state is the index of pr_sname in this (fill_psinfo in fs/binfmt_elf.c)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """How the cores of a machine are laid out; all are little endian."""

    number: int
    """e_machine (elf.h)."""
    width: int
    """Bytes in a long and in an address."""
    prstatus: str
    """struct elf_prstatus up to the registers: siginfo, cursig; sigpend, sighold; ids; four timevals."""
    prpsinfo: str
    """struct elf_prpsinfo: state, sname, zomb, nice; flag; uid, gid; ids; fname; psargs."""


_LONG_64: Final = ("<3IHxx2Q4I8Q", "<4B4xQ2I4I16s80s")
# 32-bit ids of users were born too late: pr_uid and pr_gid have 16 bits there.
_LONG_32: Final = ("<3IHxx2I4I8I", "<4BI2H4I16s80s")
_I386: Final = Machine(3, 4, *_LONG_32)
MACHINES: Final = {
    "x86_64": Machine(62, 8, *_LONG_64),
    "aarch64": Machine(183, 8, *_LONG_64),
    "i386": _I386,
    "i686": _I386,
}
"""By the name in snapshot.json."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """stat and status of a process or thread (proc_pid_stat(5), proc_pid_status(5)); what is missing is 0."""

    stat: tuple[str, ...]
    """The fields from the state on: `stat[0]` is field 3 of the manual page."""
    status: dict[str, str]

    def field(self, number: int) -> int:
        """A field of stat, by the manual page's number."""
        return _number(self.stat[number - 3]) if number - 3 < len(self.stat) else 0

    def mask(self, name: str) -> int:
        """A set of signals of status."""
        return _number(self.status.get(name, ""), 16)

    def first(self, name: str) -> int:
        """The first number of a line of status: of Uid and Gid, the real one."""
        return _number(self.status.get(name, "").partition("\t")[0])


def thread_ids(linux: LinuxRecord) -> tuple[int, ...]:
    """The threads whose registers are there: one that met a fault first, else the main one.

    Debuggers show the first thread of a core to begin with.
    """
    arch = str(linux.info.get("arch", ""))
    with_registers = [
        tid for tid in linux.threads() if layout_of(arch, len(_read(linux, f"task/{tid}/regs"))) is not None
    ]
    return tuple(sorted(with_registers, key=lambda tid: _signal(linux, tid) not in _FAULTS))


def build_notes(linux: LinuxRecord, machine: Machine, page_size: int) -> bytes:
    """The contents of the PT_NOTE segment, as the kernel orders it: a thread, the process, more threads."""
    threads = thread_ids(linux)
    notes = [_prstatus(linux, machine, tid) for tid in threads[:1]]
    notes.append(_note(_CORE, NT_PRPSINFO, _prpsinfo(linux, machine)))
    if auxv := _read(linux, "auxv"):
        notes.append(_note(_CORE, NT_AUXV, auxv))
    notes.append(_note(_CORE, NT_FILE, _files(linux, machine, page_size)))
    for number, tid in enumerate(threads):
        if number:
            notes.append(_prstatus(linux, machine, tid))
        notes += _registers(linux, tid)
    return b"".join(notes)


def _registers(linux: LinuxRecord, tid: int) -> Iterator[bytes]:
    siginfo = _read(linux, f"task/{tid}/siginfo")
    yield _note(_CORE, NT_SIGINFO, siginfo.ljust(_SIGINFO_SIZE, b"\0"))
    if fpregs := _read(linux, f"task/{tid}/fpregs"):
        yield _note(_CORE, NT_FPREGSET, fpregs)
    if xstate := _read(linux, f"task/{tid}/xstate"):
        yield _note(_LINUX, NT_X86_XSTATE, intel_layout(xstate))


def _prstatus(linux: LinuxRecord, machine: Machine, tid: int) -> bytes:
    facts = _facts(linux, f"task/{tid}/")
    process = _facts(linux, "")
    # The main thread stands for the process: its times are those of all threads (fill_prstatus).
    times = process if tid == linux.info.get("pid") else facts
    number = _signal(linux, tid)
    content = struct.pack(
        machine.prstatus,
        *(number, 0, 0, number & 0xFFFF),
        *(_long(machine, facts.mask(name)) for name in ("SigPnd", "SigBlk")),
        *(_int(value) for value in (tid, process.field(4), process.field(5), process.field(6))),
        *(_long(machine, value) for at in (14, 15, 16, 17) for value in _timeval(times.field(at))),
    )
    fpvalid = int(bool(_read(linux, f"task/{tid}/fpregs")))
    content += _read(linux, f"task/{tid}/regs") + struct.pack("<I", fpvalid)
    return _note(_CORE, NT_PRSTATUS, _aligned(content, machine.width))


def _prpsinfo(linux: LinuxRecord, machine: Machine) -> bytes:
    facts = _facts(linux, "")
    letter = facts.stat[0] if facts.stat else "R"
    letter = "T" if letter == "t" else letter
    state = _STATES.find(letter)
    identity = 0xFFFF if machine.width == 4 else 0xFFFFFFFF
    # As ps(1) shows them; the field ends with a NUL, so that 79 bytes are left.
    arguments = _read(linux, "cmdline")[:79].replace(b"\0", b" ")
    return struct.pack(
        machine.prpsinfo,
        *(state & 0xFF, ord(letter[:1]) & 0xFF if state >= 0 else ord("."), letter == "Z"),
        facts.field(19) & 0xFF,
        _long(machine, facts.field(9)),
        *(facts.first("Uid") & identity, facts.first("Gid") & identity),
        *(_int(value) for value in (_pid(linux), facts.field(4), facts.field(5), facts.field(6))),
        _read(linux, "comm").rstrip(b"\n")[:15],
        arguments,
    )


def _files(linux: LinuxRecord, machine: Machine, page_size: int) -> bytes:
    """NT_FILE: how many, the page size; start, end and offset in pages of each; their names.

    The kernel names a deleted file with ` (deleted)` behind it. That stays where the file is not
    in the snapshot: another one of that name is not it. Those in the snapshot keep their plain name,
    under which the sysroot has them.
    """
    saved = {(file.path, file.deleted) for file in linux.text_files}
    rows, names = [], []
    for mapping in parse_maps(_read(linux, "maps")):
        if not mapping.is_file or not mapping.path:
            continue
        gone = mapping.deleted and (mapping.path, True) not in saved
        rows += [mapping.start, mapping.end, mapping.offset // page_size]
        names.append(mapping.path + (" (deleted)" if gone else ""))
    words = [len(names), page_size, *(_long(machine, value) for value in rows)]
    table = struct.pack(f"<{len(words)}{'Q' if machine.width == 8 else 'I'}", *words)
    return table + b"".join(name.encode("utf-8", "surrogateescape") + b"\0" for name in names)


def _note(owner: bytes, kind: int, content: bytes) -> bytes:
    header = struct.pack("<III", len(owner), len(content), kind)
    return header + _aligned(owner, 4) + _aligned(content, 4)


def _signal(linux: LinuxRecord, tid: int) -> int:
    """The signal that a thread was about to take, 0: none. si_signo comes first in siginfo_t."""
    siginfo = _read(linux, f"task/{tid}/siginfo")
    return int.from_bytes(siginfo[:4], "little")


def _facts(linux: LinuxRecord, directory: str) -> _Facts:
    stat = _read(linux, f"{directory}stat").decode("latin-1").rpartition(") ")[2]
    lines = _read(linux, f"{directory}status").decode("latin-1").splitlines()
    pairs = (line.partition(":\t") for line in lines)
    return _Facts(tuple(stat.split()), {name: value for name, _, value in pairs})


def _pid(linux: LinuxRecord) -> int:
    pid = linux.info.get("pid")
    return pid if isinstance(pid, int) else 0


def _read(linux: LinuxRecord, name: str) -> bytes:
    try:
        return linux.read(name)
    except NotCaptured:
        return b""


def _number(text: str, base: int = 10) -> int:
    try:
        return int(text, base)
    except ValueError:
        return 0


def _timeval(ticks: int) -> tuple[int, int]:
    """Seconds and microseconds."""
    return ticks // _TICKS, ticks % _TICKS * (1_000_000 // _TICKS)


def _int(value: int) -> int:
    return value & 0xFFFFFFFF


def _long(machine: Machine, value: int) -> int:
    return value & ((1 << 8 * machine.width) - 1)


def _aligned(content: bytes, to: int) -> bytes:
    return content + bytes(-len(content) % to)
