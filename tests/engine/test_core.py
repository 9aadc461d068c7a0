"""The ELF core of a saved process: compared with the kernel's and gdb's own, with /proc, and by readelf."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from snaptui.engine.errors import NotCaptured
from snaptui.engine.inspect.core import CoreImage
from snaptui.engine.inspect.notes import NT_AUXV, NT_FILE, NT_FPREGSET, NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO
from snaptui.engine.inspect.xsave import intel_layout
from snaptui.engine.snapfile import open_snapshot
from snaptui.engine.snapfile.linux import Area
from tests.helpers import synthetic
from tests.helpers.commands import snap, snaptui_command
from tests.helpers.live import read_memory
from tests.helpers.victims import Victim, program, running, running_program

PLAN9 = Path(__file__).parent.parent / "data" / "plan9" / "two-procs.snap"
TIB = 1 << 40

Notes = list[tuple[int, bytes]]
"""Type and contents of each, in order."""


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(tool), reason=f"needs {tool}")


def take(victim: Victim, path: Path) -> Path:
    snap("-o", path, victim.pid).expect(0)
    return path


def core_of(victim: Victim, directory: Path) -> Path:
    """The core that snaptui makes of a process."""
    take(victim, directory / "x.snap")
    snaptui_command("core", directory / "x.snap", victim.pid, "-o", directory / "core").expect(0)
    return directory / "core"


def notes_of(core: Path) -> Notes:
    """As pyelftools reads them."""
    with core.open("rb") as file:
        segments = [s for s in ELFFile(file).iter_segments() if isinstance(s, NoteSegment)]
        found = []
        for segment in segments:
            at, end = segment["p_offset"], segment["p_offset"] + segment["p_filesz"]
            while at < end:
                file.seek(at)
                name, size, kind = struct.unpack("<III", file.read(12))
                file.seek(at + 12 + -(-name // 4) * 4)
                found.append((kind, file.read(size)))
                at += 12 + -(-name // 4) * 4 + -(-size // 4) * 4
        return found


def of_kind(notes: Notes, kind: int) -> list[bytes]:
    return [content for number, content in notes if number == kind]


def by_thread(notes: Notes, kind: int) -> dict[int, bytes]:
    """The notes of a kind by the thread that they are about: that of the NT_PRSTATUS before."""
    found, tid = {}, 0
    for number, content in notes:
        if number == NT_PRSTATUS:
            (tid,) = struct.unpack_from("<I", content, 32)
        if number == kind:
            found[tid] = content
    return found


def mapped_files(notes: Notes) -> list[tuple[int, int, int, bytes]]:
    """Start, end, offset in bytes and name of each file of NT_FILE; gdb counts offsets in pages of 1 byte."""
    (note,) = of_kind(notes, NT_FILE)
    count, page = struct.unpack_from("<QQ", note)
    rows = [struct.unpack_from("<QQQ", note, 16 + k * 24) for k in range(count)]
    names = note[16 + count * 24 :].split(b"\0")
    return [
        (start, end, offset * page, name) for (start, end, offset), name in zip(rows, names, strict=False)
    ]


def gcore(victim: Victim, directory: Path) -> Path:
    subprocess.run(["gcore", "-o", directory / "gcore", str(victim.pid)], check=True, capture_output=True)
    return directory / f"gcore.{victim.pid}"


def kernel_core(victim: Victim, directory: Path) -> Path:
    """The kernel's own, which the process leaves in its directory when it dies."""
    os.kill(victim.pid, signal.SIGCONT)
    os.kill(victim.pid, signal.SIGABRT)  # a shell's background jobs ignore SIGQUIT
    victim.popen.wait()
    (core,) = directory.glob("core*")
    return core


@pytest.fixture
def threads(tmp_path: Path) -> Iterator[Victim]:
    def unlimited() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    (tmp_path / "cwd").mkdir()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    raise_limit = unlimited if hard == resource.RLIM_INFINITY else None
    with running([program("threads.c"), "4"], cwd=tmp_path / "cwd", preexec_fn=raise_limit) as victim:
        victim.wait_asleep()
        yield victim


@needs("gcore")
def test_registers_and_files_are_those_that_gdb_saves(threads: Victim, tmp_path: Path) -> None:
    threads.stop()
    ours, theirs = notes_of(core_of(threads, tmp_path)), notes_of(gcore(threads, tmp_path))

    # struct elf_prstatus: the ids from byte 32 on, the registers from 112 to 328 (linux/elfcore.h).
    registers = {tid: note[112:328] for tid, note in by_thread(ours, NT_PRSTATUS).items()}
    assert registers == {tid: note[112:328] for tid, note in by_thread(theirs, NT_PRSTATUS).items()}
    assert list(registers) == threads.threads()
    # The FXSAVE area up to its reserved part, but for the mask of mxcsr, which gdb does not write.
    for tid, note in by_thread(theirs, NT_FPREGSET).items():
        mine = by_thread(ours, NT_FPREGSET)[tid]
        assert (mine[:28], mine[32:416]) == (note[:28], note[32:416])
    assert of_kind(ours, NT_AUXV) == of_kind(theirs, NT_AUXV)
    assert mapped_files(ours) == mapped_files(theirs)
    assert [len(note) for note in of_kind(ours, NT_SIGINFO)] == [128] * 5


@pytest.mark.skipif(
    Path("/proc/sys/kernel/core_pattern").read_text() != "core\n"
    or resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY,
    reason="the kernel here does not leave cores in the directory",
)
def test_process_notes_are_those_of_the_kernel(threads: Victim, tmp_path: Path) -> None:
    ours = notes_of(core_of(threads, tmp_path))
    theirs = notes_of(kernel_core(threads, tmp_path / "cwd"))

    assert of_kind(ours, NT_FILE) == of_kind(theirs, NT_FILE)
    assert of_kind(ours, NT_AUXV) == of_kind(theirs, NT_AUXV)
    # struct elf_prpsinfo but for its first 16 bytes: what it was doing, and flags (it is now dying).
    assert [note[16:] for note in of_kind(ours, NT_PRPSINFO)] == [
        note[16:] for note in of_kind(theirs, NT_PRPSINFO)
    ]
    # pr_sighold and the four ids; the signal that it died of is its own.
    mine, kernels = by_thread(ours, NT_PRSTATUS), by_thread(theirs, NT_PRSTATUS)
    assert {tid: note[24:48] for tid, note in mine.items()} == {
        tid: note[24:48] for tid, note in kernels.items()
    }
    assert {len(note) for note in mine.values()} == {len(note) for note in kernels.values()}


def test_memory_is_that_of_the_process(threads: Victim, tmp_path: Path) -> None:
    threads.stop()
    core = core_of(threads, tmp_path)
    with open_snapshot(str(tmp_path / "x.snap")) as snapshot:
        left_out = [a for a in snapshot.process(threads.pid).areas() if a.kind == "left out"]
    mapped = 0
    with core.open("rb") as file:
        for segment in ELFFile(file).iter_segments("PT_LOAD"):
            start, size = segment["p_vaddr"], segment["p_filesz"]
            mapped += segment["p_memsz"]
            assert segment["p_offset"] % segment["p_align"] == 0
            file.seek(segment["p_offset"])
            assert file.read(size) == (read_memory(threads.pid, start, size) if size else b"")
            assert size in (0, segment["p_memsz"])
            if not size:
                assert any(a.start <= start < a.end for a in left_out)
    lines = Path(f"/proc/{threads.pid}/maps").read_text().splitlines()
    ends = [re.match("([0-9a-f]+)-([0-9a-f]+)", line) for line in lines]
    assert mapped == sum(int(m[2], 16) - int(m[1], 16) for m in ends if m)


def test_flags_are_the_permissions(threads: Victim, tmp_path: Path) -> None:
    lines = [line.split() for line in Path(f"/proc/{threads.pid}/maps").read_text().splitlines()]
    expected = {
        int(words[0].split("-")[0], 16): sum({"r": 4, "w": 2, "x": 1}.get(c, 0) for c in words[1])
        for words in lines
    }
    with core_of(threads, tmp_path).open("rb") as file:
        segments = {s["p_vaddr"]: s["p_flags"] for s in ELFFile(file).iter_segments("PT_LOAD")}
    assert {start: segments[start] for start in expected} == expected


@pytest.mark.parametrize("tool", [pytest.param(t, marks=needs(t)) for t in ("readelf", "eu-readelf")])
def test_readelf_has_nothing_to_say_against_it(tool: str, threads: Victim, tmp_path: Path) -> None:
    core = core_of(threads, tmp_path)
    done = subprocess.run([tool, "-a", core], capture_output=True, text=True, check=True)
    assert not done.stderr
    assert done.stdout.count("PRSTATUS") == 5


def test_any_piece_of_it_is_that_piece_of_the_whole(threads: Victim, tmp_path: Path) -> None:
    take(threads, tmp_path / "x.snap")
    random_numbers = random.Random(3)
    with open_snapshot(str(tmp_path / "x.snap")) as snapshot:
        image = CoreImage(snapshot.process(threads.pid))
        whole = image.read(0, image.size + 1)
        assert len(whole) == image.size
        assert image.read(image.size, 10) == b""
        for _ in range(300):
            at, count = random_numbers.randrange(image.size), random_numbers.choice((1, 100, 5000, 300_000))
            assert image.read(at, count) == whole[at : at + count]
        holes = bytearray(whole)
        for start, end in image.data_ranges():
            holes[start:end] = bytes(end - start)
        assert not any(holes), "what is no data is zeros"


def test_a_terabyte_never_touched_is_readable_and_costs_nothing(tmp_path: Path) -> None:
    with running_program("reserve.c", "noreserve", "1024") as victim:
        (start,) = (int(victim.readline(), 16),)
        core = core_of(victim, tmp_path)
        touched = read_memory(victim.pid, start + TIB // 2, 16)
    assert core.stat().st_size < 1 << 30
    assert core.stat().st_blocks * 512 < 16 << 20
    with core.open("rb") as file:
        segments = [s for s in ELFFile(file).iter_segments("PT_LOAD") if start <= s["p_vaddr"] < start + TIB]
        assert sum(s["p_filesz"] for s in segments) == TIB
        assert len(segments) < 10_000
        middle = next(s for s in segments if s["p_vaddr"] <= start + TIB // 2 < s["p_vaddr"] + s["p_memsz"])
        file.seek(middle["p_offset"] + start + TIB // 2 - middle["p_vaddr"])
        assert file.read(16) == touched
        file.seek(segments[-1]["p_offset"])
        assert not any(file.read(segments[-1]["p_filesz"]))


@needs("readelf")
def test_more_segments_than_the_elf_header_can_count(tmp_path: Path) -> None:
    count, base = 70_000, 0x10000000
    areas = [
        Area(base + k * 4096, base + (k + 1) * 4096, "stored", perms=("r--p", "rw-p")[k % 2])
        for k in range(count)
    ]
    with synthetic.made_up(tmp_path / "many.snap", areas) as snapshot:
        image = CoreImage(snapshot.process(synthetic.PID))
        with (tmp_path / "core").open("wb") as file:
            file.write(image.read(0, 4096 * 1100))
            file.truncate(image.size)
        listed = subprocess.run(
            ["readelf", "-hlW", tmp_path / "core"], capture_output=True, text=True, check=True
        ).stdout
        assert f"65535 ({count + 1})" in listed
        loads = [line.split() for line in listed.splitlines() if line.startswith("  LOAD")]
        assert len(loads) == count
        for words in (loads[0], loads[65_534], loads[-1]):
            assert image.read(int(words[1], 16), 4096) == synthetic.page(int(words[2], 16) // 4096)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs a machine that runs i386 programs")
def test_a_32_bit_process_has_a_32_bit_core(tmp_path: Path) -> None:
    try:
        small = program("small32.s", "-m32", "-static", "-nostdlib")
    except subprocess.CalledProcessError:
        pytest.skip("the compiler makes no 32-bit programs")
    with running([small]) as victim:
        core = core_of(victim, tmp_path)
    with core.open("rb") as file:
        elf = ELFFile(file)
        assert (elf.elfclass, elf["e_machine"], elf["e_type"]) == (32, "EM_386", "ET_CORE")
    if shutil.which("gdb"):
        command = ["gdb", "-nx", "-batch", "-ex", "p/x $esi", "-ex", "x/2xw &marked", small, core]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "$1 = 0x5eed3232" in said
        assert "0x00c0ffee\t0x0badcafe" in said


def test_a_snapshot_from_plan_9_has_no_core() -> None:
    with open_snapshot(str(PLAN9)) as snapshot:
        process = next(iter(snapshot.processes.values()))
        with pytest.raises(NotCaptured, match=f"process {process.pid} has no Linux record"):
            CoreImage(process)
    line = snaptui_command("core", PLAN9, process.pid, "-o", "/nonexistent/core").expect_clear_failure()
    assert "no Linux record" in line


def test_a_core_is_not_replaced_unless_asked_for(threads: Victim, tmp_path: Path) -> None:
    core = core_of(threads, tmp_path)
    before = core.stat().st_ino
    again = ("core", tmp_path / "x.snap", threads.pid, "-o", core)
    assert "is there already" in snaptui_command(*again).expect_clear_failure()
    assert core.stat().st_ino == before
    snaptui_command(*again, "--force").expect(0)
    assert core.stat().st_ino != before
    assert core.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["core", "cwd", "x.snap"]


AMD_ZEN4 = {1088: 832, 1152: 896, 1664: 1408, 2688: 2432}
"""Where k0, the upper zmm0, zmm16 and PKRU lie on Intel, and on Zen 4 (CPUID leaf 0xD, by cpuid(1))."""


@pytest.mark.parametrize(("size", "xcr0", "intel"), [(2440, 0x2E7, 2696), (2432, 0xE7, 2688)])
def test_amd_vector_registers_move_to_where_gdb_looks(size: int, xcr0: int, intel: int) -> None:
    area = bytearray(random.Random(4).randbytes(size))
    struct.pack_into("<Q", area, 464, xcr0)
    moved = intel_layout(bytes(area))
    assert len(moved) == intel
    assert moved[:832] == area[:832]
    for there, here in AMD_ZEN4.items():
        assert moved[there : there + 8] == area[here : here + 8]
    assert intel_layout(moved) == moved
