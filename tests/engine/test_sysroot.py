"""The sysroot of a saved process: its files under every name that debuggers look for, and nothing outside."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snaptui.engine.errors import OutputError
from snaptui.engine.inspect.extract import extract_sysroot
from snaptui.engine.inspect.linkmap import loaded_objects
from snaptui.engine.inspect.sysroot import executable, search_directories, sysroot_entries
from snaptui.engine.snapfile import Process, open_snapshot
from tests.helpers import synthetic
from tests.helpers.commands import snap, snaptui_command
from tests.helpers.victims import PROGRAMS, Victim, program, running, running_c

PLAN9 = Path(__file__).parent.parent / "data" / "plan9" / "two-procs.snap"
MARKER = b"MARKER-00000000"


@contextmanager
def saved(victim: Victim, directory: Path) -> Iterator[Process]:
    path = directory / "x.snap"
    snap("-o", path, victim.pid).expect(0)
    with open_snapshot(str(path)) as snapshot:
        yield snapshot.process(victim.pid)


def library(path: Path, marker: bytes = MARKER) -> Path:
    """A shared library with a soname of its own and a marker that tells it from others."""
    source = (PROGRAMS / "library.c").read_bytes().replace(MARKER, marker)
    code = path.parent / "library.c"
    code.write_bytes(source)
    subprocess.run(["cc", "-g", "-shared", "-fPIC", "-o", path, code], check=True)
    return path


def inside(root: Path) -> dict[str, Path]:
    """Every file and link below `root`, by its path there; each must lead to a file inside."""
    found = {f"/{path.relative_to(root)}": path for path in root.rglob("*") if not path.is_dir()}
    for path in found.values():
        assert path.resolve(strict=True).is_relative_to(root.resolve())
        assert path.is_symlink() or path.is_file()
    return found


def test_every_name_that_the_linker_uses_leads_to_the_file(tmp_path: Path) -> None:
    binary = program("threads.c")
    said = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    expected = set(re.findall(r"(/\S+) \(0x", said))
    assert len(expected) >= 2
    with running([binary]) as victim, saved(victim, tmp_path) as process:
        extract_sysroot(process, str(tmp_path / "root"))
    found = inside(tmp_path / "root")
    for name in {*expected, str(binary)}:
        assert found[name].read_bytes() == Path(name).read_bytes(), name
        assert found[name].stat().st_mode & 0o7055 == Path(name).stat().st_mode & 0o0055
    assert executable(process).path == str(binary)  # type: ignore[union-attr]


def test_versioned_and_relative_names_lead_to_the_library(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    real = library(tmp_path / "lib" / "libx.so.1.2.3")
    (tmp_path / "lib" / "libx.so.1").symlink_to(real.name)
    other = library(tmp_path / "lib" / "relative.so")
    names = [tmp_path / "lib" / "libx.so.1", "./lib/relative.so"]
    with (
        running([program("libraries.c"), *names], cwd=tmp_path) as victim,
        saved(victim, tmp_path) as process,
    ):
        entries = {entry.path: entry for entry in sysroot_entries(process)}
        assert search_directories(process) == (f"{tmp_path}/lib",)
    assert entries[f"{real.parent}/libx.so.1"].link == real.name
    assert entries[str(real)].file is not None
    assert entries[str(other)].file is not None


def test_deleted_files_keep_their_names_and_their_contents(tmp_path: Path) -> None:
    binary = tmp_path / "program"
    binary.write_bytes(program("libraries.c").read_bytes())
    binary.chmod(0o4755)
    lib = library(tmp_path / "libx.so")
    contents = {str(path): path.read_bytes() for path in (binary, lib)}
    with running([binary, lib]) as victim:
        binary.unlink()
        lib.unlink()
        with saved(victim, tmp_path) as process:
            extract_sysroot(process, str(tmp_path / "root"))
    found = inside(tmp_path / "root")
    assert {name: found[name].read_bytes() for name in contents} == contents
    assert found[str(binary)].stat().st_mode & 0o7777 == 0o755, "no setuid bit of another machine"


def test_a_library_that_was_replaced_and_loaded_again_is_there_twice(tmp_path: Path) -> None:
    source = """
    #include <dlfcn.h>
    #include <stdio.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        dlopen(argv[1], RTLD_NOW);
        rename(argv[2], argv[1]);
        dlopen(argv[3], RTLD_NOW);
        puts("ready"); fflush(stdout); pause();
    }
    """
    old, new = (library(tmp_path / name, marker) for name, marker in (("x.so", b"OLD"), ("y.so", b"NEW")))
    with (
        # By another name: one that it knows already the linker does not look up again.
        running_c(source, "-ldl", arguments=[str(old), str(new), f"{tmp_path}/./x.so"]) as victim,
        saved(victim, tmp_path) as process,
    ):
        extract_sysroot(process, str(tmp_path / "root"))
    found = inside(tmp_path / "root")
    assert b"OLD" in found[str(old)].read_bytes(), "gdb gives both that name; it goes to the first"
    assert b"NEW" in found[f"{old}~"].read_bytes()


@pytest.mark.parametrize("garbage", ["circle", "wild"])
def test_garbage_in_the_linkers_list_ends_it(garbage: str, tmp_path: Path) -> None:
    source = """
    #define _GNU_SOURCE
    #include <link.h>
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        struct link_map *first = _r_debug.r_map->l_next;
        puts("ready"); fflush(stdout);
        first->l_next = strcmp(argv[1], "wild") ? _r_debug.r_map : (void *)0x123456;
        first->l_name = (char *)first;
        pause();
    }
    """
    with running_c(source, arguments=[garbage]) as victim:
        victim.wait_asleep()
        with saved(victim, tmp_path) as process:
            assert len(loaded_objects(process)) <= 2
            names = [entry.path for entry in sysroot_entries(process)]
    assert any(name.endswith("/libc.so.6") for name in names), "what maps says is there in any case"


def test_paths_of_a_hostile_snapshot_stay_inside(tmp_path: Path) -> None:
    paths = [
        "/../../escaped",
        "/a/../../b",
        "/a",
        "/a/b/c",
        "//x",
        "/",
        "relative",
        "/n\0l",
        "/dir/f",
        "/dir/.",
    ]
    rows = [
        {
            "path": path,
            "offset": 0,
            "size": 100,
            "build_id": "",
            "mode": 0o7777,
            "mtime_ns": 0,
            "deleted": False,
        }
        for path in [*paths, 7]
    ]
    with running([program("threads.c")]) as victim:
        snap("-o", tmp_path / "x.snap", victim.pid).expect(0)
    changed = {"text.json": synthetic.as_json({"files": rows})}
    with synthetic.with_members(tmp_path / "x.snap", tmp_path / "y.snap", changed) as snapshot:
        (process,) = snapshot.processes.values()
        assert len(list(sysroot_entries(process))) == 7
        (tmp_path / "in").mkdir()
        extract_sysroot(process, str(tmp_path / "in" / "root"))
    found = inside(tmp_path / "in" / "root")
    assert sorted(found) == ["/a", "/a~/b/c", "/b", "/dir/f", "/dir~", "/escaped", "/x"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["root"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "x.snap", "y.snap"]


def test_only_a_new_or_empty_directory_is_written_to(tmp_path: Path) -> None:
    with running([program("threads.c")]) as victim, saved(victim, tmp_path) as process:
        with pytest.raises(OutputError, match="is not empty"):
            extract_sysroot(process, str(tmp_path))
        done = snaptui_command("sysroot", tmp_path / "x.snap", victim.pid, tmp_path / "new")
    done.expect(0)
    assert os.stat(tmp_path / "new").st_mode & 0o777 == 0o700
    assert inside(tmp_path / "new")


def test_a_snapshot_from_plan_9_has_no_sysroot(tmp_path: Path) -> None:
    with open_snapshot(str(PLAN9)) as snapshot:
        process = next(iter(snapshot.processes.values()))
        assert sysroot_entries(process) == ()
    line = snaptui_command("sysroot", PLAN9, process.pid, tmp_path / "new").expect_clear_failure()
    assert "no Linux record" in line
