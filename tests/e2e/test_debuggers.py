"""What debuggers say of a saved process whose files are gone, against gdb on the live one."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.commands import finish, snap, snaptui_command, start
from tests.helpers.victims import PROGRAMS, running, running_python, wait_until

OWN = ("waits_in_alpha", "waits_in_beta", "waits_in_the_library")
"""The functions that the threads wait in."""
BACKTRACES = ("-nx", "-batch", "-ex", "set width 0", "-ex", "thread apply all bt full")


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(tool), reason=f"needs {tool}")


def needs_module(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"needs {name}")


@dataclass(frozen=True)
class Saved:
    """A snapshot of a process with threads, whose executable and library are nowhere any more."""

    snapshot: Path
    pid: int
    tids: tuple[int, ...]
    program: Path
    live: str
    """What gdb said, attached to the process."""

    def extract(self, directory: Path) -> tuple[Path, Path, Path]:
        """The executable, the core and the sysroot as `core` and `sysroot` write them."""
        core, root = directory / "core", directory / "root"
        snaptui_command("core", self.snapshot, self.pid, "-o", core).expect(0)
        snaptui_command("sysroot", self.snapshot, self.pid, root).expect(0)
        return Path(f"{root}{self.program}"), core, root


def run(*command: str | int | Path) -> str:
    """The output of a debugger that must succeed; started where no file of the program lies."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(directory: Path) -> Path:
    """waiting.c and its library, built in `directory`."""
    code = (PROGRAMS / "waiting.c").read_text()
    source = directory / "waiting.c"
    source.write_text(code.replace('#include "victim.h"', (PROGRAMS / "victim.h").read_text()))
    shutil.copy(PROGRAMS / "waiting_library.c", directory)
    library, binary = directory / "libwaiting.so.1", directory / "waiting"
    flags = ("-g", "-O0")
    subprocess.run(
        ["cc", *flags, "-shared", "-fPIC", "-o", library, directory / "waiting_library.c"], check=True
    )
    subprocess.run(["cc", *flags, "-pthread", "-o", binary, source, library], check=True)
    return binary


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """Built once, for no test changes it."""
    directory = tmp_path_factory.mktemp("debuggers")
    (directory / "bin").mkdir()
    binary = build(directory / "bin")
    with running([binary]) as victim:
        victim.wait_asleep()
        live = run("gdb", *BACKTRACES, "-p", victim.pid) if shutil.which("gdb") else ""
        snap("-o", directory / "x.snap", victim.pid).expect(0)
        tids = tuple(victim.threads())
    shutil.rmtree(directory / "bin")
    yield Saved(directory / "x.snap", victim.pid, tids, binary, live)


def frames(said: str) -> list[list[str]]:
    """The frames of each thread in gdb's `bt full`, with lines and locals; addresses are the same anyway.

    Without libc's debug information frames name its file: in the sysroot, or where it lives.
    """
    said = re.sub(r"from \S*/root/(?=lib|usr)", "from /", said)
    threads = [part.splitlines() for part in said.split("\nThread ")[1:]]
    return [
        [line.strip() for line in lines if line.startswith(("#", "  ", "No locals"))] for lines in threads
    ]


@needs("gdb")
@pytest.mark.parametrize("how", ["mounted", "extracted"])
def test_gdb_says_the_same_as_of_the_live_process(how: str, saved: Saved) -> None:
    if how == "mounted" and not (shutil.which("fusermount3") and os.access("/dev/fuse", os.W_OK)):
        pytest.skip("needs FUSE")
    options = ["--extract"] if how == "extracted" else []
    result = snaptui_command("gdb", saved.snapshot, saved.pid, *options, "--", *BACKTRACES, cwd="/")
    said = result.expect(0).out.decode()
    assert frames(said) == frames(saved.live)
    assert len(frames(said)) == 3
    for detail in (*OWN, "waiting.c:", "waiting_library.c:", "local_alpha = 42", "local_beta = 1.75"):
        assert detail in said


@needs("gdb")
def test_plain_gdb_says_it_too_with_the_sysroot_set_afterwards(saved: Saved, tmp_path: Path) -> None:
    binary, core, root = saved.extract(tmp_path)
    said = run("gdb", "-nx", "-batch", binary, core, "-ex", f"set sysroot {root}", *BACKTRACES[2:])
    assert frames(said) == frames(saved.live)
    assert len(frames(said)) == 3


@needs("gdb")
def test_gdb_shows_the_registers_that_were_saved(saved: Saved) -> None:
    asked = ["-ex", "thread apply all -q p/x $rip", "-ex", "thread apply all -q p/x $xmm0.uint128"]
    result = snaptui_command("gdb", saved.snapshot, saved.pid, "--", "-nx", "-batch", *asked).expect(0)
    assert "too small" not in result.err
    assert "unavailable" not in result.out.decode()
    values = re.findall(r"= (0x\w+)", result.out.decode())
    assert len(values) == 6
    for tid, value in zip(sorted(saved.tids, reverse=True), values, strict=False):
        shown = snaptui_command("regs", saved.snapshot, saved.pid, "--thread", tid).expect(0).out.decode()
        assert value in shown


@needs("lldb")
@pytest.mark.parametrize("options", [(), ("--extract",)], ids=["mounted", "extracted"])
def test_lldb_shows_functions_lines_and_locals(options: tuple[str, ...], saved: Saved) -> None:
    asked = ("--no-lldbinit", "--batch", "-o", "thread backtrace all", "-o", "frame select 1", "-o", "fr var")
    # Debian 12's lldb writes tracebacks of a Python that it cannot find, and goes on without.
    result = snaptui_command("lldb", saved.snapshot, saved.pid, *options, "--", *asked, cwd="/")
    assert result.status == 0
    said = result.out.decode()
    for function in (*OWN, "library_wait", "main"):
        assert re.search(rf"`{function}\b.* at waiting(_library)?\.c:\d+", said), said
    assert said.count("thread #") >= 3
    assert "local_depth = 700" in said


@needs("eu-stack")
def test_eu_stack_names_the_functions(saved: Saved, tmp_path: Path) -> None:
    _, core, root = saved.extract(tmp_path)
    said = run("eu-stack", "--core", core, f"--debuginfo-path=:.debug:/usr/lib/debug:{root}/usr/lib/debug")
    assert re.findall(r"TID (\d+)", said) == [str(tid) for tid in saved.tids]
    for function in (*OWN, "library_wait", "main"):
        assert re.search(rf"{function}\b", said), said


DRGN = """
import drgn, os, sys
core, root, *tids = sys.argv[1:]
program = drgn.Program()
program.set_core_dump(core)
files = [os.path.join(at, name) for at, _, names in os.walk(root) for name in names]
program.load_debug_info([file for file in files if not os.path.islink(file)])
for tid in tids:
    print(tid, *(frame.name for frame in program.stack_trace(int(tid))))
"""


@needs_module("drgn")
def test_drgn_walks_the_stacks(saved: Saved, tmp_path: Path) -> None:
    _, core, root = saved.extract(tmp_path)
    lines = run(sys.executable, "-c", DRGN, core, root, *saved.tids).splitlines()
    said = {int(words[0]): words[1:] for words in (line.split() for line in lines)}
    assert list(said) == list(saved.tids)
    for tid, function in zip(
        saved.tids, ("waits_in_the_library", "waits_in_alpha", "waits_in_beta"), strict=True
    ):
        assert function in said[tid]


PYTHON = """
import threading
def waits_in_python():
    threading.Event().wait()
threading.Thread(target=waits_in_python, daemon=True).start()
print("ready", flush=True)
waits_in_python()
"""


@needs_module("pystack")
def test_pystack_shows_the_python_stacks(tmp_path: Path) -> None:
    with running_python(PYTHON) as victim:
        victim.wait_asleep()
        snap("-o", tmp_path / "x.snap", victim.pid).expect(0)
    snaptui_command("core", tmp_path / "x.snap", victim.pid, "-o", tmp_path / "core").expect(0)
    snaptui_command("sysroot", tmp_path / "x.snap", victim.pid, tmp_path / "root").expect(0)
    binary = Path(f"{tmp_path}/root{Path(sys.executable).resolve()}")
    said = run(
        sys.executable,
        "-m",
        "pystack",
        "core",
        tmp_path / "core",
        binary,
        "--lib-search-root",
        tmp_path / "root",
    )
    assert said.count("in waits_in_python") == 2


@needs("gdb")
def test_the_exit_status_is_the_debuggers_and_nothing_is_left(saved: Saved, tmp_path: Path) -> None:
    options = ("--extract", "--", "-nx", "-batch", "-ex", "quit 7")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = start("gdb", saved.snapshot, saved.pid, *options, env=environment)
    finish(command).expect(7)
    assert not list(tmp_path.iterdir())


@needs("gdb")
@pytest.mark.parametrize("options", [(), ("--extract",)], ids=["mounted", "extracted"])
def test_an_order_to_end_reaches_the_debugger_and_cleans_up(
    options: tuple[str, ...], saved: Saved, tmp_path: Path
) -> None:
    waits = ("--", "-nx", "-q", "-ex", "shell touch $HERE/there && exec sleep 60")
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "HERE": str(tmp_path)}
    (tmp_path / "tmp").mkdir()
    command = start(
        "gdb", saved.snapshot, saved.pid, *options, *waits, env=environment, start_new_session=True
    )
    try:
        wait_until((tmp_path / "there").exists, "gdb runs")
        os.killpg(command.pid, signal.SIGTERM)
        result = finish(command)  # gdb may say things of its Python when it is ended
    finally:
        command.kill()
    # gdb's choice; gdb 13 crashes now and then when it is told to end at this moment.
    assert result.status in (0, 128 + signal.SIGTERM, 128 + signal.SIGSEGV)
    assert "snaptui" not in result.err
    assert not list((tmp_path / "tmp").iterdir())


def test_a_debugger_that_is_not_there_is_named(saved: Saved) -> None:
    line = snaptui_command(
        "lldb", saved.snapshot, saved.pid, env={**os.environ, "PATH": ""}
    ).expect_clear_failure()
    assert "lldb is not installed" in line
