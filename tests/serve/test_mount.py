"""Real FUSE mounts: what any program sees there, stacked ones, and how they end."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.commands import as_nobody, snap
from tests.helpers.mounts import (
    EXPECTED,
    PARTIAL,
    TWO_PROCS,
    Servers,
    is_mounted,
    is_running,
    mounts_at,
    needs_fuse,
    servers,
)
from tests.helpers.victims import running_python, wait_until

pytestmark = needs_fuse

SLEEPER = """
import signal
held = bytes(range(256)) * 4096 * 8
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Servers]:
    with servers(tmp_path) as group:
        yield group


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A snapshot of a real process, and its pid."""
    path = tmp_path_factory.mktemp("saved") / "live.snap"
    with running_python(SLEEPER) as victim:
        snap("-o", path, victim.pid).expect(0)
        return path, victim.pid


@pytest.fixture
def mtpt(tmp_path: Path) -> Path:
    path = tmp_path / "mtpt"
    path.mkdir()
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copied(file: Path, folder: Path) -> bytes:
    """All of a file, as cp(1) gets it."""
    subprocess.run(["cp", file, folder / "copy"], check=True)
    content = (folder / "copy").read_bytes()
    assert len(content) == file.stat().st_size
    return content


def errno_of(path: Path) -> int:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno or 0
    return 0


@pytest.mark.parametrize("fixture", [TWO_PROCS, PARTIAL], ids=lambda path: path.stem)
def test_the_originals_snapshots_come_out_byte_for_byte(group: Servers, mtpt: Path, fixture: Path) -> None:
    group.snapfs("-m", mtpt, fixture)
    for pid, process in EXPECTED[fixture.name].items():
        for name, expected in process["files"].items():
            path = mtpt / pid / name
            assert path.stat().st_size == expected["size"]
            assert sha256(path) == expected["sha256"], name
        for segment in process["segments"]:
            with (mtpt / pid / "mem").open("rb", buffering=0) as memory:
                content = os.pread(memory.fileno(), segment["length"], segment["start"])
            assert hashlib.sha256(content).hexdigest() == segment["sha256"], segment["name"]


def test_what_was_not_captured_is_an_io_error(group: Servers, mtpt: Path) -> None:
    group.snapfs("-m", mtpt, TWO_PROCS)
    with (mtpt / "1201" / "mem").open("rb", buffering=0) as memory:
        for address in (0, 0x200000 - 1, 0x500000 + 7168):
            with pytest.raises(OSError) as raised:
                os.pread(memory.fileno(), 100, address)
            assert raised.value.errno == errno.EIO
        # up to the border, as with Linux's /proc/PID/mem
        assert len(os.pread(memory.fileno(), 100, 0x500000 + 7168 - 10)) == 10
    assert subprocess.run(["cat", mtpt / "1201" / "mem"], capture_output=True, check=False).returncode == 1


def test_nothing_can_be_written(group: Servers, mtpt: Path) -> None:
    group.snapfs("-m", mtpt, TWO_PROCS)
    for attempt in (
        lambda: (mtpt / "1201" / "mem").open("r+b"),
        lambda: (mtpt / "1201" / "new").touch(),
        lambda: (mtpt / "1201" / "fd").unlink(),
        lambda: (mtpt / "1201").chmod(0o777),
    ):
        with pytest.raises(OSError) as raised:
            attempt()
        assert raised.value.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


def test_two_checks_of_all_files_agree(group: Servers, mtpt: Path, saved: tuple[Path, int]) -> None:
    group.snapfs("-m", mtpt, saved[0], TWO_PROCS)
    command = f"find {mtpt} -type f | LC_ALL=C sort | xargs sha256sum"
    first, second = (
        subprocess.run(command, shell=True, capture_output=True, text=True, check=False) for _ in range(2)
    )
    assert first.stdout == second.stdout
    files = [path for path in mtpt.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(first.stdout.splitlines()) == len(files) - 3 > 60
    # The one kind of file that cannot be read from its beginning: nothing is mapped at address 0.
    assert all("/mem: Input/output error" in line for line in first.stderr.splitlines())
    assert len(first.stderr.splitlines()) == 3


def test_core_can_be_copied_read_at_random_and_mapped(
    group: Servers, mtpt: Path, saved: tuple[Path, int], tmp_path: Path
) -> None:
    group.snapfs("-m", mtpt, saved[0])
    core = mtpt / str(saved[1]) / "core"
    whole = copied(core, tmp_path)
    assert bytes(range(256)) * 4096 * 8 in whole
    with core.open("rb") as file:
        for offset in range(0, len(whole), len(whole) // 97):
            assert os.pread(file.fileno(), 5000, offset) == whole[offset : offset + 5000]
        for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
            with mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as mapped:
                assert mapped[: 1 << 20] == whole[: 1 << 20]
                assert mapped[-4096:] == whole[-4096:]
                assert hashlib.sha256(mapped).digest() == hashlib.sha256(whole).digest()


def test_core_is_whole_however_much_of_it_the_kernel_has(
    group: Servers, mtpt: Path, saved: tuple[Path, int], tmp_path: Path
) -> None:
    """Around pages that it has, the kernel asks for pieces of any size, and a short answer ends the file."""
    group.snapfs("-m", mtpt, saved[0])
    core = mtpt / str(saved[1]) / "core"
    whole = copied(core, tmp_path)
    rng = random.Random(3)
    for _ in range(30):
        with core.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            for _ in range(rng.randrange(40)):
                offset = rng.randrange(len(whole))
                assert os.pread(file.fileno(), 4096, offset) == whole[offset : offset + 4096]
            at = 0
            while piece := os.pread(file.fileno(), rng.choice([100_000, 1 << 20, 3 << 20]), at):
                assert piece == whole[at : at + len(piece)]
                at += len(piece)
            assert at == len(whole)


def test_twenty_readers_at_once(group: Servers, mtpt: Path, saved: tuple[Path, int]) -> None:
    group.snapfs("-m", mtpt, saved[0])
    files = [path for path in mtpt.rglob("*") if path.is_file() and path.name != "mem"][:40]
    files += [mtpt / str(saved[1]) / "core"] * 5
    expected = [sha256(path) for path in files]
    with ThreadPoolExecutor(20) as pool:
        readers = [
            subprocess.Popen(["sha256sum", path], stdout=subprocess.PIPE, text=True) for path in files[-20:]
        ]
        assert list(pool.map(sha256, files)) == expected
        for reader, digest in zip(readers, expected[-20:], strict=True):
            out, _ = reader.communicate(timeout=60)
            assert out.split()[0] == digest


def test_links_lead_where_they_led(group: Servers, mtpt: Path, saved: tuple[Path, int]) -> None:
    group.snapfs("-m", mtpt, saved[0])
    link = mtpt / str(saved[1]) / "linux" / "exe"
    assert link.is_symlink()
    assert link.resolve().exists()


def test_what_was_there_before_is_seen_behind_the_snapshot(group: Servers, mtpt: Path) -> None:
    (mtpt / "1201").mkdir()
    (mtpt / "1201" / "old").write_text("old")
    (mtpt / "notes").write_text("mine")
    (mtpt / "deep" / "er").mkdir(parents=True)
    (mtpt / "deep" / "er" / "file").write_text("x" * 100_000)
    (mtpt / "link").symlink_to("notes")
    group.snapfs("-m", mtpt, TWO_PROCS)
    assert sorted(os.listdir(mtpt)) == ["1201", "1202", "deep", "link", "notes"]
    assert os.listdir(mtpt)[:2] == ["1201", "1202"]
    assert not (mtpt / "1201" / "old").exists()
    assert (mtpt / "1201" / "status").read_bytes()
    assert (mtpt / "notes").read_text() == "mine"
    assert (mtpt / "link").read_text() == "mine"
    assert (mtpt / "deep" / "er" / "file").read_text() == "x" * 100_000
    assert (mtpt / "notes").stat().st_mode & 0o777 == 0o644 & ~_umask()
    with pytest.raises(FileNotFoundError):
        (mtpt / "nothing").stat()


def test_with_a_what_was_there_before_comes_first(group: Servers, mtpt: Path) -> None:
    (mtpt / "1201").mkdir()
    (mtpt / "1201" / "old").write_text("old")
    (mtpt / "notes").write_text("mine")
    group.snapfs("-a", "-m", mtpt, TWO_PROCS)
    assert os.listdir(mtpt) == ["1201", "notes", "1202"]
    assert os.listdir(mtpt / "1201") == ["old"]
    assert (mtpt / "1201" / "old").read_text() == "old"
    assert (mtpt / "1202" / "status").stat().st_size == 176


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_two_at_one_mount_point_stack(group: Servers, mtpt: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.snap"
    other.write_bytes(TWO_PROCS.read_bytes().replace(b"Pread", b"Await"))
    group.snapfs("-m", mtpt, TWO_PROCS)
    group.snapfs("-m", mtpt, PARTIAL)
    assert sorted(os.listdir(mtpt)) == ["1201", "1202", "77"]
    group.snapfs("-m", mtpt, other)
    assert b"Await" in (mtpt / "1201" / "status").read_bytes()
    text = EXPECTED["two-procs.snap"]["1201"]["files"]["text"]["sha256"]
    assert sha256(mtpt / "1201" / "text") == text
    # ended one by one, each shows again what it covered
    group.umount(mtpt)
    assert b"Pread" in (mtpt / "1201" / "status").read_bytes()
    assert (mtpt / "77" / "status").exists()
    group.umount(mtpt)
    assert sorted(os.listdir(mtpt)) == ["1201", "1202"]
    group.umount(mtpt)
    assert not is_mounted(mtpt)
    assert os.listdir(mtpt) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_lower_of_two_may_end_first(group: Servers, mtpt: Path, how: signal.Signals) -> None:
    group.snapfs("-m", mtpt, TWO_PROCS)
    lower = group.listed()[0]["pid"]
    group.snapfs("-m", mtpt, PARTIAL)
    os.kill(lower, how)
    wait_until(lambda: not is_running(lower), "the lower server ends")
    # the upper one is served on, without what the lower one had
    assert os.listdir(mtpt) == ["77"]
    assert sha256(mtpt / "77" / "text") == EXPECTED["partial.snap"]["77"]["files"]["text"]["sha256"]
    assert errno_of(mtpt / "1201") == errno.ENOENT
    group.umount(mtpt)
    assert not is_mounted(mtpt)
    assert errno_of(mtpt) == 0


def test_unmounting_by_hand_ends_the_server(group: Servers, mtpt: Path) -> None:
    group.snapfs("-m", mtpt, TWO_PROCS)
    pid = group.listed()[0]["pid"]
    subprocess.run(["fusermount3", "-u", mtpt], check=True)
    wait_until(lambda: not is_running(pid), "the server ends")
    assert group.listed() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts_and_ends(group: Servers, mtpt: Path, number: signal.Signals) -> None:
    group.snapfs("-m", mtpt, TWO_PROCS)
    pid = group.listed()[0]["pid"]
    os.kill(pid, number)
    wait_until(lambda: not is_running(pid), "the server ends")
    assert not is_mounted(mtpt)
    assert group.listed() == []


def test_a_mount_in_use_ends_all_the_same(group: Servers, mtpt: Path) -> None:
    group.snapfs("-m", mtpt, TWO_PROCS)
    memory = os.open(mtpt / "1201" / "mem", os.O_RDONLY)
    try:
        group.umount(mtpt)
        assert not is_mounted(mtpt)
        with pytest.raises(OSError):
            os.pread(memory, 10, 0x200000)
    finally:
        with contextlib.suppress(OSError):  # close(2) says that the server is gone
            os.close(memory)


def test_a_changed_snapshot_is_an_error_and_no_wrong_byte(group: Servers, mtpt: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.snap"
    shutil.copy(TWO_PROCS, copy)
    os.utime(copy, (1, 1))
    group.snapfs("-m", mtpt, copy)
    before = (mtpt / "1201" / "status").read_bytes()
    with copy.open("r+b") as file:
        file.write(b"process snapshot!")
    for name in ("regs", "text", "status"):
        try:
            found = (mtpt / "1201" / name).read_bytes()
        except OSError as error:
            assert error.errno == errno.EIO
        else:
            assert (name, found) == ("status", before)  # the kernel remembers it


def test_a_mount_point_that_is_none_is_one_line(group: Servers, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    for path, why in ((tmp_path / "missing", "No such file or directory"), (plain, "Not a directory")):
        assert why in group.snapfs("-m", path, TWO_PROCS, status=1).expect_clear_failure()
    assert group.listed() == []


def test_a_relative_and_a_linked_mount_point(group: Servers, mtpt: Path, tmp_path: Path) -> None:
    (tmp_path / "a b\n,\\").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a b\n,\\")
    group.snapfs("-m", "link", TWO_PROCS, cwd=tmp_path)
    assert (tmp_path / "a b\n,\\" / "1201").is_dir()
    group.umount(tmp_path / "link")
    assert os.listdir(tmp_path / "a b\n,\\") == []


def test_a_compressed_snapshot_is_mounted_as_well(group: Servers, mtpt: Path, tmp_path: Path) -> None:
    packed = tmp_path / "two.snap.zst"
    group.run("compress", TWO_PROCS, "-o", packed).expect(0)
    group.snapfs("-m", mtpt, packed)
    with ThreadPoolExecutor(8) as pool:
        paths = [mtpt / pid / "text" for pid in ("1201", "1202")] * 10
        digests = set(pool.map(sha256, paths))
    assert digests == {EXPECTED["two-procs.snap"]["1201"]["files"]["text"]["sha256"]}


def test_a_user_without_rights_can_mount(tmp_path: Path) -> None:
    prefix = as_nobody()
    usable = os.stat("/dev/fuse").st_mode & 0o006 == 0o006
    if os.geteuid() != 0 or not prefix or not usable:
        pytest.skip("needs root, to become a user without rights, and a /dev/fuse that such a user may open")
    path = Path("/tmp") / f"snapfs-test-{os.getpid()}"
    path.mkdir()
    try:
        shutil.copy(TWO_PROCS, path)
        (path / "mtpt").mkdir()
        for made in (path, path / "mtpt", path / TWO_PROCS.name):
            os.chown(made, 65534, 65534)
        with servers(path, prefix) as group:
            os.chown(group.runtime, 65534, 65534)
            group.snapfs("-m", path / "mtpt", path / TWO_PROCS.name)
            seen = subprocess.run(
                [*prefix, "sha256sum", path / "mtpt" / "1201" / "text"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert seen.stdout.split()[0] == EXPECTED["two-procs.snap"]["1201"]["files"]["text"]["sha256"]
            group.kill()
            group.umount("--all")
            assert mounts_at(path / "mtpt") == 0
    finally:
        shutil.rmtree(path)
