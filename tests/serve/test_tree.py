"""The served tree: names, sizes and bytes, against the fixtures' expected values and against /proc."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from snaptui.engine.errors import NotCaptured, SnapError
from snaptui.engine.progress import Event, Warned, ignore
from snaptui.engine.serve.nodes import Directory, File, Link, Node, Tree
from snaptui.engine.serve.tree import build_tree, quote
from snaptui.engine.snapfile import Snapshot, open_snapshot
from tests.helpers.commands import snap
from tests.helpers.mounts import EXPECTED, PARTIAL, TWO_PROCS
from tests.helpers.victims import running_python

SLEEPER = """
import os, signal, sys, threading
threading.Thread(target=signal.pause, daemon=True).start()
print("ready", flush=True)
signal.pause()
"""


@dataclass(frozen=True)
class Saved:
    """A snapshot of a real process, and what /proc said of it while it lived."""

    path: Path
    pid: int
    cmdline: bytes
    executable: str
    threads: tuple[int, ...]
    environ: bytes


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    path = tmp_path_factory.mktemp("saved") / "live.snap"
    with running_python(SLEEPER, "it's", "", "two words", "plain") as victim:
        proc = Path(f"/proc/{victim.pid}")
        snap("-o", path, victim.pid).expect(0)
        return Saved(
            path,
            victim.pid,
            (proc / "cmdline").read_bytes(),
            os.readlink(proc / "exe"),
            tuple(victim.threads()),
            (proc / "environ").read_bytes(),
        )


@pytest.fixture
def live(saved: Saved) -> Iterator[Tree]:
    tree = build_tree([open_snapshot(str(saved.path))], ignore)
    yield tree
    tree.close()


def tree_of(*paths: Path) -> Tree:
    return build_tree([open_snapshot(str(path)) for path in paths], ignore)


def at(tree: Tree, path: str) -> Node:
    node: Node = tree.root
    for name in path.split("/"):
        assert isinstance(node, Directory), f"{node} is no directory, on the way to {path}"
        found = node.lookup(name)
        assert found is not None, f"no {name} on the way to {path}"
        node = found
    return node


def file_at(tree: Tree, path: str) -> File:
    node = at(tree, path)
    assert isinstance(node, File)
    return node


def whole(file: File, piece: int = 1 << 20) -> bytes:
    pieces = []
    offset = 0
    while found := file.read(offset, piece):
        pieces.append(found)
        offset += len(found)
    return b"".join(pieces)


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    yield path, node
    if isinstance(node, Directory):
        for entry in node.entries():
            yield from walk(entry, f"{path}/{entry.name}")


@pytest.mark.parametrize("fixture", [TWO_PROCS, PARTIAL], ids=lambda path: path.stem)
@pytest.mark.parametrize("piece", [1 << 20, 1000])
def test_every_file_and_segment_of_the_originals_snapshots_comes_out(fixture: Path, piece: int) -> None:
    tree = tree_of(fixture)
    for pid, process in EXPECTED[fixture.name].items():
        names = {node.name for node in at(tree, pid).entries()}  # type: ignore[attr-defined]
        assert names == {*process["files"], "ctl"} | ({"mem"} if process["segments"] else set())
        for name, expected in process["files"].items():
            file = file_at(tree, f"{pid}/{name}")
            assert file.size == expected["size"]
            assert hashlib.sha256(whole(file, piece)).hexdigest() == expected["sha256"], name
        for segment in process["segments"]:
            memory = file_at(tree, f"{pid}/mem")
            content, start, length = b"", segment["start"], segment["length"]
            while len(content) < length:
                content += memory.read(start + len(content), min(piece, length - len(content)))
            assert hashlib.sha256(content).hexdigest() == segment["sha256"], segment["name"]
    tree.close()


def test_memory_ends_where_nothing_was_captured() -> None:
    memory = file_at(tree_of(TWO_PROCS), "1201/mem")
    # Bss is the last before a gap: 0x500000, 7168 bytes, by expected.json
    end = 0x500000 + 7168
    assert len(memory.read(end - 100, 4096)) == 100
    for address in (0, end, 0x200000 - 1, 0x7FFFFEFFC000 - 1):
        with pytest.raises(NotCaptured, match=f"{address:#x} is not captured"):
            memory.read(address, 1)
    assert memory.size == 0x7FFFFEFFC000 + 16384  # the end of Stack, the highest
    assert memory.read(memory.size, 1) == b""
    assert memory.read(1 << 64, 1) == b""


def test_owner_and_time_are_those_of_the_snapshot() -> None:
    tree = tree_of(TWO_PROCS)
    header = TWO_PROCS.read_bytes().split(b"\n", 1)[0].split()
    for _, node in walk(at(tree, "1201")):
        assert (node.user, node.group) == ("glenda", "glenda")  # as the file status says
        assert node.mtime == int(header[2])
    tree.close()


def test_numbers_are_unique_and_stay_the_same(saved: Saved) -> None:
    tree, again = tree_of(saved.path, TWO_PROCS), tree_of(saved.path, TWO_PROCS)
    numbers = {path: node.qid for path, node in walk(tree.root)}
    assert len(set(numbers.values())) == len(numbers) > 100
    assert all(0 <= number < 1 << 64 for number in numbers.values())
    assert numbers == {path: node.qid for path, node in walk(again.root)}


def test_modes_allow_no_writing(live: Tree) -> None:
    for _, node in walk(live.root):
        assert node.mode == (0o555 if isinstance(node, Directory) else 0o444)


def test_sizes_are_true(live: Tree) -> None:
    for path, node in walk(live.root):
        if isinstance(node, File) and node.name not in ("mem", "core"):
            assert len(whole(node)) == node.size, path


def test_a_linux_process_has_what_proc_had(saved: Saved, live: Tree) -> None:
    home = str(saved.pid)
    assert whole(file_at(live, f"{home}/linux/cmdline")) == saved.cmdline
    assert whole(file_at(live, f"{home}/linux/environ")) == saved.environ
    link = at(live, f"{home}/linux/exe")
    assert isinstance(link, Link)
    assert link.target == saved.executable
    tasks = at(live, f"{home}/task")
    assert isinstance(tasks, Directory)
    assert {int(task.name) for task in tasks.entries()} == set(saved.threads)
    for tid in saved.threads:
        registers = file_at(live, f"{home}/task/{tid}/regs")
        assert registers.size == 27 * 8  # struct user_regs_struct, <sys/user.h>
        assert whole(registers) == whole(file_at(live, f"{home}/linux/task/{tid}/regs"))


def test_root_has_the_executable_and_libraries_as_they_are_on_disk(saved: Saved, live: Tree) -> None:
    root = at(live, f"{saved.pid}/root")
    files = {path: node for path, node in walk(root) if isinstance(node, File)}
    on_disk = {path: node for path, node in files.items() if os.path.isfile(path)}
    assert os.path.realpath(saved.executable) in {os.path.realpath(path) for path in on_disk}
    assert any("libc.so.6" in path for path in on_disk)
    for path, file in on_disk.items():
        assert whole(file) == Path(path).read_bytes(), path


def test_core_is_an_elf_core(saved: Saved, live: Tree) -> None:
    core = file_at(live, f"{saved.pid}/core")
    assert core.read(0, 4) == b"\x7fELF"
    assert core.read(16, 2) == b"\x04\x00"  # ET_CORE, elf(5)
    assert core.read(core.size, 1) == b""


def test_args_are_quoted_as_rc_does(saved: Saved, live: Tree) -> None:
    args = whole(file_at(live, f"{saved.pid}/args")).decode()
    assert args.endswith(" 'it''s' '' 'two words' plain")


@pytest.mark.parametrize(
    ("argument", "quoted"),
    [  # rc(1): quoted text is in single quotes, a single quote in it is doubled
        (b"plain", b"plain"),
        (b"", b"''"),
        (b"a b", b"'a b'"),
        (b"don't", b"'don''t'"),
        (b"x=1", b"'x=1'"),
        (b"*.c", b"'*.c'"),
        (b"-o", b"-o"),
        (b"\xff/\xc3\xa9", b"\xff/\xc3\xa9"),
    ],
)
def test_quoting(argument: bytes, quoted: bytes) -> None:
    assert quote(argument) == quoted


def test_the_first_snapshot_wins_a_clash_and_a_warning_says_so(tmp_path: Path) -> None:
    other = tmp_path / "other.snap"
    other.write_bytes(TWO_PROCS.read_bytes().replace(b"Pread", b"Await"))
    events: list[Event] = []
    snapshots = [open_snapshot(str(path)) for path in (other, TWO_PROCS, PARTIAL)]
    tree = build_tree(snapshots, events.append)
    assert [node.name for node in tree.root.entries()] == ["1201", "1202", "77"]
    assert b"Await" in whole(file_at(tree, "1201/status"))
    assert [event.pid for event in events if isinstance(event, Warned)] == [1201, 1202]
    tree.close()


def test_a_broken_linux_record_leaves_the_plan_9_files(saved: Saved, tmp_path: Path) -> None:
    broken = tmp_path / "broken.snap"
    content = saved.path.read_bytes()
    assert content.count(b"captured.json") == 1
    broken.write_bytes(content.replace(b"captured.json", b"captured.jsox"))
    tree = tree_of(broken)
    home = at(tree, str(saved.pid))
    assert isinstance(home, Directory)
    names = [node.name for node in home.entries()]
    assert names == [
        "ctl",
        "fd",
        "fpregs",
        "kregs",
        "mem",
        "noteid",
        "ns",
        "proc",
        "regs",
        "segment",
        "status",
        "text",
    ]


def record(content: dict[str, bytes | str]) -> bytes:
    """A tar archive; a str is the target of a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, value in content.items():
            member = tarfile.TarInfo(name)
            if isinstance(value, str):
                member.type, member.linkname = tarfile.SYMTYPE, value
                tar.addfile(member)
            else:
                member.size = len(value)
                tar.addfile(member, io.BytesIO(value))
    return buffer.getvalue()


def test_names_in_a_strange_record_lead_nowhere(tmp_path: Path) -> None:
    """Given a snapshot that somebody made by hand, when it is served, then no name leaves the tree."""
    proc = record(
        {
            "snapshot.json": b"{}",
            "text.json": b'{"files": []}',
            "captured.json": b'{"stored": [], "text": [], "zero": [], "left out": []}',
            "maps": b"",
            "../evil": b"x",
            "/absolute": b"x",
            "a/./b": b"x",
            "a//b": b"x",
            "a": b"x",
            "fd/1": "../../../etc",
        }
    )
    path = tmp_path / "strange.snap"
    path.write_bytes(b"process snapshot\n%-11d proc\n%-11d %s" % (7, len(proc), proc))
    tree = tree_of(path)
    found = {path for path, _ in walk(at(tree, "7/linux"))}
    names = {part for path in found for part in path.split("/")[1:]}
    assert not names & {"", ".", "..", "evil"}
    assert found >= {"/a/b", "/absolute", "/fd/1"}
    tree.close()


def test_a_file_that_changes_gives_errors_and_no_bytes(tmp_path: Path) -> None:
    copy = tmp_path / "copy.snap"
    shutil.copy(TWO_PROCS, copy)
    os.utime(copy, (1, 1))
    tree = tree_of(copy)
    status = file_at(tree, "1201/status")
    memory = file_at(tree, "1201/mem")
    before = whole(status)
    with copy.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    for file_, offset in ((status, 0), (memory, 0x200000)):
        with pytest.raises(SnapError, match="has changed"):
            file_.read(offset, 100)
    assert before
    tree.close()


def test_a_compressed_file_that_changes_gives_errors(tmp_path: Path) -> None:
    from snaptui.engine.snapfile.container import convert

    packed = tmp_path / "copy.snap.zst"
    convert(str(TWO_PROCS), str(packed), compress=True)
    tree = tree_of(packed)
    assert whole(file_at(tree, "1201/status"))
    os.utime(packed, (1, 1))
    with pytest.raises(SnapError, match="has changed"):
        file_at(tree, "1201/status").read(0, 100)
    tree.close()


def test_a_file_that_vanishes_is_served_on(tmp_path: Path) -> None:
    copy = tmp_path / "copy.snap"
    shutil.copy(TWO_PROCS, copy)
    tree = tree_of(copy)
    copy.unlink()
    shutil.copy(PARTIAL, copy)  # another in its place
    expected = EXPECTED["two-procs.snap"]["1202"]["files"]["text"]["sha256"]
    assert hashlib.sha256(whole(file_at(tree, "1202/text"))).hexdigest() == expected
    tree.close()


def test_many_threads_read_the_right_bytes(saved: Saved) -> None:
    with open_snapshot(str(saved.path)) as snapshot:
        tree = build_tree([snapshot], ignore)
        assert isinstance(snapshot, Snapshot)
        files = [
            node for _, node in walk(tree.root) if isinstance(node, File) and node.name not in ("mem", "core")
        ]
        expected = [hashlib.sha256(whole(file)).digest() for file in files]
        with ThreadPoolExecutor(8) as pool:
            for _ in range(3):
                found = pool.map(lambda file: hashlib.sha256(whole(file, 4096)).digest(), files[::-1])
                assert list(found) == expected[::-1]
