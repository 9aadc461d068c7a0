"""The stacks of saved threads, whose files are gone, against what gdb said of the live ones."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import snap, snaptui_command
from tests.helpers.victims import PROGRAMS, Victim, running

pytestmark = [
    pytest.mark.skipif(not shutil.which("gdb"), reason="needs gdb"),
    pytest.mark.skipif(not importlib.util.find_spec("drgn"), reason="needs drgn"),
]
# Without the frames that gdb makes up for tail calls: the stack does not hold them.
GDB = """
import json
def names(frame):
    while frame is not None:
        if frame.type() != gdb.TAILCALL_FRAME:
            yield "<signal handler called>" if frame.type() == gdb.SIGTRAMP_FRAME else frame.name() or ""
        frame = frame.older()
stacks = {}
for thread in gdb.selected_inferior().threads():
    thread.switch()
    stacks[thread.ptid[1]] = list(names(gdb.newest_frame()))
print("stacks:", json.dumps(stacks))
"""
_VERSIONS = Path("/root/.pyenv/versions")

CPP = """
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
namespace shop {
template <class T> struct Till {
    std::mutex lock; std::condition_variable enough; T total{};
    __attribute__((noinline)) void take(T amount) {
        std::unique_lock<std::mutex> held(lock);
        total += amount;
        enough.wait(held, [&] { return total > 1000; });
    }
};
struct Clerk {
    Till<long> &till;
    __attribute__((noinline)) void operator()() { till.take(5); till.total++; }
};
}
int main() {
    shop::Till<long> till;
    std::thread clerk(shop::Clerk{till});
    puts("ready"); fflush(stdout);
    till.take(3);
    clerk.join();
}
"""
NESTED = """
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
int main(void)
{
    int waits(int depth) { return depth ? waits(depth - 1) + 1 : pause(); }
    void *works(void *unused)
    {
        pthread_mutex_lock(&lock);
        return (char *)unused + waits(0);
    }
    pthread_t thread;
    pthread_mutex_lock(&lock);
    pthread_create(&thread, NULL, works, NULL);
    puts("ready"); fflush(stdout);
    return waits(3);
}
"""
LAMBDA = """
#include <cstdio>
#include <mutex>
#include <unistd.h>
int main() {
    static std::once_flag once;
    std::call_once(once, [] {
        auto deeper = [] { puts("ready"); fflush(stdout); for (;;) pause(); };
        deeper();
    });
}
"""
RUST = """
use std::sync::{Arc, Condvar, Mutex};
#[inline(never)] fn waits(pair: &(Mutex<bool>, Condvar)) -> bool {
    let mut done = pair.0.lock().unwrap();
    while !*done { done = pair.1.wait(done).unwrap(); }
    *done
}
#[inline(never)] fn works(pair: Arc<(Mutex<bool>, Condvar)>) -> u32 { waits(&pair) as u32 + 1 }
fn main() {
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = pair.clone();
    let thread = std::thread::spawn(move || works(other) + 1);
    println!("ready");
    thread.join().unwrap();
}
"""
PYTHON = """
import threading
first, second = threading.Lock(), threading.Lock()
both = threading.Barrier(3)

def lock_second(held, wanted, colour):
    with held:
        both.wait()
        with wanted:
            pass

def worker(held, wanted):
    sorted([2, 1], key=lambda number: lock_second(held, wanted, "blue"))

threads = [threading.Thread(target=worker, args=pair) for pair in ((first, second), (second, first))]
for thread in threads:
    thread.start()
both.wait()
while any(thread.is_alive() for thread in threads):
    print("ready", flush=True)
    threads[0].join()
"""


def plain(name: str) -> str:
    """A function's name without what tells the aliases of one function apart, parameters and namespaces."""
    name = name.replace("operator()", "operator call").removeprefix("__GI_")
    before = ""
    while name != before:
        before, name = name, re.sub(r"<[^<>]*>|\([^()]*\)|\{[^{}]*\}", "", name)
    return name.removesuffix(" const").rpartition("::")[2].strip("_")


def gdb_stacks(victim: Victim) -> dict[int, list[str]]:
    """What gdb, attached to the live process, says of each thread: function names, innermost first."""
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-p", str(victim.pid), "-ex", f"python exec({GDB!r})"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("stacks: "))
    return {int(tid): names for tid, names in json.loads(line.removeprefix("stacks: ")).items()}


def saved_stacks(path: Path, *options: str) -> dict[int, list[dict[str, Any]]]:
    found = snaptui_command("stack", path, "--json", *options).expect(0)
    (process,) = json.loads(found.out)["processes"]
    return {thread["tid"]: thread["frames"] for thread in process["threads"]}


def compare(theirs: dict[int, list[str]], ours: dict[int, list[dict[str, Any]]]) -> None:
    assert ours.keys() == theirs.keys()
    for tid, frames in ours.items():
        found = [plain(frame["function"]) for frame in frames if frame["language"] == "native"]
        assert found == [plain(name) for name in theirs[tid]]


def save_and_lose(victim: Victim, directory: Path, *files: Path) -> tuple[Path, dict[int, list[str]]]:
    """The snapshot of a process that is dead by then, its files gone; and gdb's words before."""
    live = gdb_stacks(victim)
    path = directory / "hung.snap"
    snap("-o", path, victim.pid).expect(0)
    victim.popen.kill()
    victim.popen.wait()
    for file in files:
        file.unlink()
    return path, live


def own(frames: Sequence[dict[str, Any]], source: str) -> list[str]:
    return [frame["function"] for frame in frames if frame["source"].endswith(source)]


def nested(directory: Path) -> tuple[Path, Path]:
    """The source of nested.c as a file of its own, and where its binary shall be."""
    source = directory / "nested.c"
    code = (PROGRAMS / "nested.c").read_text()
    source.write_text(code.replace('#include "victim.h"', (PROGRAMS / "victim.h").read_text()))
    return source, directory / "nested"


@pytest.mark.parametrize(
    "flags", [("-O2", "-fomit-frame-pointer"), ("-O2", "-fno-omit-frame-pointer"), ("-O0",)], ids=" ".join
)
def test_threads_of_c_with_inlined_functions_callbacks_and_signals(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    source, binary = nested(tmp_path)
    text = source.read_text()
    subprocess.run(["cc", "-g", *flags, "-pthread", "-o", binary, source], check=True)
    with running([binary]) as victim:
        path, live = save_and_lose(victim, tmp_path, binary, source)
    ours = saved_stacks(path)
    compare(live, ours)
    by_own = [own(frames, "nested.c") for frames in ours.values()]
    assert by_own[0] == ["main"]
    callback = ["waits_inlined", *["descends"] * 3, "compares", "sorts", "by_callback"]
    assert callback in by_own
    assert ["handles", "interrupted", "by_signal"] in by_own
    assert by_own.count(["waits_inlined", *["descends"] * 6, "by_descent"]) == 4
    deepest = next(frames for frames in ours.values() if own(frames, "nested.c") == callback)
    inlined = next(frame for frame in deepest if frame["function"] == "waits_inlined")
    assert inlined["inlined"]
    assert "pthread_cond_wait(&never" in text.splitlines()[inlined["line"] - 1]


def test_equal_stacks_are_one_group(tmp_path: Path) -> None:
    source, binary = nested(tmp_path)
    subprocess.run(["cc", "-O2", "-pthread", "-o", binary, source], check=True)
    subprocess.run(["strip", "--strip-debug", binary], check=True)
    with running([binary]) as victim:
        workers = victim.threads()[3:]
        path, _ = save_and_lose(victim, tmp_path, binary, source)
    said = snaptui_command("stack", path).expect(0).out.decode()
    assert f"4 threads: {', '.join(map(str, workers))}\n" in said
    # Without debug information: the name of the symbol, the file and the address in it.
    assert re.search(rf"#\d+ +by_descent in {re.escape(str(binary))}\+0x[0-9a-f]+\n", said)
    one = snaptui_command("stack", path, "--thread", workers[1]).expect(0).out.decode()
    assert f"thread {workers[1]} " in one
    assert str(workers[0]) not in one


def test_symbols_name_places_in_memory_and_registers(tmp_path: Path) -> None:
    source, binary = nested(tmp_path)
    subprocess.run(["cc", "-O2", "-pthread", "-o", binary, source], check=True)
    symbols = subprocess.run(["nm", "-S", binary], capture_output=True, text=True, check=True).stdout
    with running([binary]) as victim:
        base = int(Path(f"/proc/{victim.pid}/maps").read_text().partition("-")[0], 16)
        pid, interrupted = victim.pid, victim.threads()[2]
        path, _ = save_and_lose(victim, tmp_path, binary, source)
    rows = [words for words in map(str.split, symbols.splitlines()) if len(words) == 4]
    at = {words[3]: base + int(words[0], 16) for words in rows}
    first = snaptui_command("hexdump", path, pid, "sorts+16", "-l").expect(0).out.decode().splitlines()
    assert first[0] == f"{at['sorts']:08x} <sorts>:"
    assert first[1].startswith(f"{at['sorts']:08x}  ")
    plain_rows = snaptui_command("hexdump", path, pid, f"{at['sorts']:x}+16").expect(0).out.decode()
    assert plain_rows.splitlines() == first[1:]
    two = snaptui_command("hexdump", path, pid, f"{min(at['handles'], at['descends']):x}+4K", "--labels")
    assert f"{at['handles']:08x} <handles>:\n" in two.expect(0).out.decode()
    said = snaptui_command("regs", path, pid, "--thread", interrupted, "--json").expect(0).out
    registers = json.loads(said)
    assert registers["threads"][0]["points_to"]["rip"].startswith(("pause", "__libc_pause", "__pause"))
    lost = snaptui_command("hexdump", path, pid, "no_such_symbol").expect(2)
    assert "nothing here is called 'no_such_symbol'" in lost.err


def test_cpp_names_have_their_namespaces_and_no_parameters(tmp_path: Path) -> None:
    if not shutil.which("c++"):
        pytest.skip("needs a C++ compiler")
    source, binary = tmp_path / "till.cpp", tmp_path / "till"
    source.write_text(CPP)
    subprocess.run(["c++", "-g", "-O2", "-pthread", "-o", binary, source], check=True)
    with running([binary]) as victim:
        path, live = save_and_lose(victim, tmp_path, binary, source)
    ours = saved_stacks(path)
    compare(live, ours)
    main, clerk = ([frame["function"] for frame in frames] for frames in ours.values())
    assert "shop::Till<long>::take" in main
    assert "shop::Till<long>::take" in clerk
    assert "shop::Clerk::operator()" in clerk


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_functions_inside_of_functions_and_what_was_inlined_into_them(tmp_path: Path, language: str) -> None:
    compiler = {"c": "cc", "cpp": "c++"}[language]
    if not shutil.which(compiler):
        pytest.skip("needs a compiler")
    source, binary = tmp_path / f"nested.{language}", tmp_path / "nested"
    source.write_text({"c": NESTED, "cpp": LAMBDA}[language])
    subprocess.run([compiler, "-g", "-O2", "-pthread", "-o", binary, source], check=True)
    with running([binary]) as victim:
        victim.wait_asleep()
        path, live = save_and_lose(victim, tmp_path, binary, source)
    ours = saved_stacks(path)
    compare(live, ours)
    names = [frame["function"] for frames in ours.values() for frame in frames]
    assert {"c": "works", "cpp": "_FUN"}[language] in names
    assert not [name for name in names if "." in name]  # `works.0` is the linker's


def test_rust_names_are_as_in_the_source(tmp_path: Path) -> None:
    if not shutil.which("rustc"):
        pytest.skip("needs rustc")
    source, binary = tmp_path / "waits.rs", tmp_path / "waits"
    source.write_text(RUST)
    subprocess.run(["rustc", "-g", "-C", "opt-level=2", "-o", binary, source], check=True, cwd=tmp_path)
    with running([binary]) as victim:
        path, live = save_and_lose(victim, tmp_path, binary, source)
    ours = saved_stacks(path)
    compare(live, ours)  # all that was inlined, too
    main, worker = ([frame["function"] for frame in frames] for frames in ours.values())
    assert "waits::main" in main
    at = worker.index("waits::waits")
    assert worker[at + 1] == "waits::works"
    inlined = next(frame for frame in ours[max(ours)] if frame["function"].endswith("Condvar::wait<bool>"))
    assert inlined["inlined"]
    closure = next(frame for frame in ours[max(ours)] if "main::{closure" in frame["function"])
    assert (closure["source"], closure["line"]) == (str(source), 12)
    assert not [name for name in (*main, *worker) if "$" in name]


@pytest.mark.parametrize(
    "interpreter",
    [Path(sys.executable), *sorted(_VERSIONS.glob("3.1[123]*/bin/python3"))],
    ids=lambda path: path.parent.parent.name,
)
def test_frames_of_python_stand_among_those_of_c(tmp_path: Path, interpreter: Path) -> None:
    pytest.importorskip("pystack")
    script = tmp_path / "abba.py"
    script.write_text(PYTHON)
    with running([interpreter, script]) as victim:
        path, live = save_and_lose(victim, tmp_path, script)
    ours = saved_stacks(path, "--locals")
    compare(live, ours)
    main, *workers = ours.values()
    assert len(workers) == 2
    assert [frame["function"] for frame in main if frame["language"] == "python"][-1] == "<module>"
    for frames in workers:
        python = [
            frame for frame in frames if frame["language"] == "python" and frame["source"] == str(script)
        ]
        assert [frame["function"] for frame in python] == ["lock_second", "<lambda>", "worker"]
        assert [frame["line"] for frame in python] == [9, 13, 13]
        assert python[0]["locals"]["colour"] == '"blue"'
        # sorted() is C, between the lambda that it calls and the function that calls it.
        order = [frame["function"] for frame in frames]
        between = order[order.index("<lambda>") : order.index("worker")]
        assert any("sort" in name for name in between)
