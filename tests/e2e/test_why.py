"""Why programs that hang in known ways hang, from their snapshots alone: they are dead, their files gone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import snap, snaptui_command
from tests.helpers.victims import PROGRAMS, running, state_of, threads_of, wait_until

FLAGS = {
    ("-O2", "-g", "-fomit-frame-pointer"): None,
    ("-O0", "-fno-omit-frame-pointer"): ("abba", "condition", "loop", "robust", "server"),
}
"""How the program is built, and the modes that are tried; None: all."""


def build(directory: Path, *flags: str) -> Path:
    source, binary = directory / "hangs.c", directory / "hangs"
    code = (PROGRAMS / "hangs.c").read_text()
    source.write_text(code.replace('#include "victim.h"', (PROGRAMS / "victim.h").read_text()))
    subprocess.run(["cc", *flags, "-pthread", "-o", binary, source], check=True)
    return binary


def tree_of(pid: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(other for child in children for other in tree_of(int(child)))]


def asleep(pids: Sequence[int]) -> bool:
    return all(state_of(pid, tid) in "STZ" for pid in pids for tid in threads_of(pid))


def save(directory: Path, words: Sequence[str | Path], *, busy: bool = False) -> tuple[Path, list[int]]:
    """The snapshot of a program and its children, all dead by then, and their pids."""
    with running(words) as victim:
        wait_until(lambda: busy or asleep(tree_of(victim.pid)), "all threads wait")
        pids = tree_of(victim.pid)
        path = directory / "hung.snap"
        snap("-o", path, *pids).expect(0)
    return path, pids


def why(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(snaptui_command("why", path, "--json").expect(0).out)
    said = snaptui_command("why", path).expect(0).out.decode()
    assert said.startswith(report["verdict"] + "\n")
    return report


SEVERAL = r"thread \d+ \(hangs\)"
MODES = {
    "abba": (
        "deadlock",
        rf"{SEVERAL} waits for mutex [ab] .*, held by {SEVERAL}; {SEVERAL} waits for mutex [ab] ",
    ),
    "ring": ("deadlock", r"mutex a .*mutex [bc] .*mutex [bc] |mutex [bc] .*mutex [abc] .*mutex [abc] "),
    "recursive": ("deadlock", r"waits for recursive mutex special .*, held by thread"),
    "checking": ("deadlock", r"waits for error-checking mutex special .*, held by thread"),
    "inheriting": ("deadlock", r"waits for mutex special .*, held by thread"),
    "robust": ("deadlock", r"waits for mutex special .*, held by thread"),
    "shared": ("deadlock", r"process (\d+) \(hangs\) waits for .*process \d+ \(hangs\)"),
    "itself": ("deadlock", r"thread (\d+) \(hangs\) waits for mutex a .*, held by thread \1"),
    "condition": ("blocked", r"condition variable never .* in consumes\(\), and no thread is left"),
    "pool": ("blocked", r"100 threads: each waits for the condition variable never .* in consumes\(\)"),
    "rwlock": ("deadlock", r"waits for read-write lock readers_writer .*, held by thread"),
    "shared-rwlock": (
        "deadlock",
        r"process (\d+) \(hangs\) waits for .* waits for read-write lock 0x\w+, held by process \1",
    ),
    "leaderless": ("blocked", r"^blocked: thread \d+ \(hangs\) waits for the condition variable never "),
    "timed": ("blocked", r"blocked until a time limit ends it: thread (\d+) .* mutex a .*held by thread \1 "),
    "signalled": ("deadlock", r"waits for mutex b .*, held by thread"),
    "semaphore": (
        "blocked",
        r"waits for the semaphore tickets .* in wants_ticket\(\), and no thread is left",
    ),
    "loop": ("busy", r"busy: thread \d+ \(hangs\) runs in spins\(\)"),
    "server": (
        "idle",
        r"no hang seen: .*epoll_wait\(\) for descriptor 3 \(TCP socket listening at 0.0.0.0:\d+\)",
    ),
    "sleep": ("idle", r"no hang seen: thread \d+ \(hangs\) sleeps for [0-9.]+ s in main\(\)"),
}


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_each_way_to_hang_in_c_is_named(tmp_path: Path, flags: tuple[str, ...]) -> None:
    binary = build(tmp_path, *flags)
    saved = {
        mode: save(tmp_path / mode, [binary, mode], busy=mode == "loop")
        for mode in FLAGS[flags] or MODES
        if _made(tmp_path / mode)
    }
    binary.unlink()
    (tmp_path / "hangs.c").unlink()
    wrong = {}
    for mode, (path, _) in saved.items():
        kind, words = MODES[mode]
        report = why(path)
        if report["kind"] != kind or not re.search(words, report["verdict"]):
            wrong[mode] = report["verdict"]
    assert not wrong


def _made(directory: Path) -> bool:
    directory.mkdir()
    return True


def test_an_owner_is_who_gdb_says(tmp_path: Path) -> None:
    binary = build(tmp_path, "-O2", "-g")
    with running([binary, "abba"]) as victim:
        gdb = ["gdb", "-nx", "-batch", "-p", str(victim.pid), "-ex", "print a.__data.__owner"]
        said = subprocess.run(gdb, capture_output=True, text=True, check=True, timeout=60).stdout
        owner = int(re.findall(r"^\$1 = (\d+)$", said, re.MULTILINE)[0])
        snap("-o", tmp_path / "x.snap", victim.pid).expect(0)
    report = why(tmp_path / "x.snap")
    (edge,) = [edge for edge in report["edges"] if edge["why"].startswith("mutex a ")]
    assert edge["to_tid"] == owner


PIPES = """
import os, sys
a, b = os.pipe(), os.pipe()
child = os.fork()
mine, other = (a, b) if child else (b, a)
os.close(mine[1]); os.close(other[0])
if child:
    print("ready", flush=True)
os.read(mine[0], 1)
"""
UNIX = """
import os, socket
mine, other = socket.socketpair()
child = os.fork()
if child:
    other.close()
    print("ready", flush=True)
    mine.recv(1)
else:
    mine.close()
    other.recv(1)
"""
CHILD = """
import os, signal
child = os.fork()
if not child:
    signal.pause()
print("ready", flush=True)
os.waitpid(child, 0)
"""
STOPPED_SERVER = """
import os, signal, socket
listener = socket.create_server(("127.0.0.1", 0))
server = os.fork()
if not server:
    connection, _ = listener.accept()
    os.kill(os.getpid(), signal.SIGSTOP)
address = listener.getsockname()
listener.close()
client = socket.create_connection(address)
client.sendall(b"hello")
print("ready", flush=True)
client.recv(1)
"""
LOCK_FILE = """
import fcntl, os, sys, time
own = open(sys.argv[1], "w")
fcntl.FUNC(own, fcntl.LOCK_EX)
read, write = os.pipe()
child = os.fork()
if not child:
    own.close()
    other = open(sys.argv[1], "w")
    os.write(write, b"x")
    fcntl.FUNC(other, fcntl.LOCK_EX)
os.read(read, 1)
print("ready", flush=True)
time.sleep(1000)
"""
LOCKS = """
import threading
first, second = threading.KIND(), threading.KIND()
both = threading.Barrier(3)
def lock_second(held, wanted):
    with held:
        both.wait()
        with wanted:
            pass
threads = [threading.Thread(target=lock_second, args=pair) for pair in ((first, second), (second, first))]
for thread in threads:
    thread.start()
both.wait()
print("ready", flush=True)
threads[0].join()
"""
GLOBAL_LOCKS = """
import threading
first, second, both = threading.Lock(), threading.Lock(), threading.Barrier(3)
def first_second():
    with first:
        both.wait()
        with second:
            pass
def second_first():
    with second:
        both.wait()
        with first:
            pass
for function in (first_second, second_first):
    threading.Thread(target=function).start()
both.wait()
print("ready", flush=True)
"""
OBJECT_LOCKS = """
import threading
class Account:
    def __init__(self):
        self.lock = threading.Lock()
    def pay(self, other):
        with self.lock:
            both.wait()
            with other.lock:
                pass
one, other, both = Account(), Account(), threading.Barrier(3)
for pair in ((one, other), (other, one)):
    threading.Thread(target=Account.pay, args=pair).start()
both.wait()
print("ready", flush=True)
"""
SLEEPING_HOLDER = """
import threading, time
lock, held = threading.Lock(), threading.Event()
def sleeps():
    with lock:
        held.set()
        time.sleep(1000)
threading.Thread(target=sleeps).start()
held.wait()
print("ready", flush=True)
lock.acquire()
"""
QUEUE = """
import queue, threading
def consumes():
    items.get()
items = queue.Queue()
thread = threading.Thread(target=consumes)
thread.start()
print("ready", flush=True)
thread.join()
"""
EVENT = """
import threading
def waits():
    never.wait()
never = threading.Event()
for _ in range(8):
    threading.Thread(target=waits).start()
print("ready", flush=True)
"""
JOIN = """
import threading, time
thread = threading.Thread(target=time.sleep, args=(1000,))
thread.start(); print("ready", flush=True)
thread.join()
"""
ASYNCIO = """
import asyncio
async def main():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    await asyncio.to_thread(print, "ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
POOL = """
import multiprocessing, signal
if __name__ == "__main__":
    pool = multiprocessing.get_context("fork").Pool(3)
    pool.map(abs, range(10))
    print("ready", flush=True)
    signal.pause()
"""
SCRIPTS = {
    "pipes": (
        PIPES,
        "deadlock",
        r"process (\d+) .* waits for a pipe, from process (\d+) .*process \2 .* waits for a pipe",
    ),
    "child": (
        CHILD,
        "blocked",
        r"all wait for process (\d+) .*, which waits for a signal in pause\(\).* child \1",
    ),
    "stopped server": (
        STOPPED_SERVER,
        "blocked",
        r"process \d+ \(\S+\) is stopped by a signal .*waits to read from descriptor \d+ \(TCP 127.0.0.1",
    ),
    "flock": (
        LOCK_FILE.replace("FUNC", "flock"),
        "blocked",
        r"which sleeps for another 9[0-9.]+ s in .*\(waits for the lock on /.*/the.lock",
    ),
    "lockf": (
        LOCK_FILE.replace("FUNC", "lockf"),
        "blocked",
        r"which sleeps for another 9[0-9.]+ s in .*\(waits for the lock on /.*/the.lock",
    ),
    "Lock": (
        LOCKS.replace("KIND", "Lock"),
        "deadlock",
        r"threading.Lock wanted .*inside of its `with` block in lock_second\(\) at script.py:8",
    ),
    "Lock of a module": (
        GLOBAL_LOCKS,
        "deadlock",
        r"Lock second \(.* second_first\(\) at script.py:12.*Lock first \(.* first_second\(\) at script.py:7",
    ),
    "Lock of an object": (
        OBJECT_LOCKS,
        "deadlock",
        r"Lock 0x\w+ \(thread (\d+) is inside of its `with` block in pay\(\) at script.py:9\), held by .* \1",
    ),
    "Lock of a sleeper": (
        SLEEPING_HOLDER,
        "blocked",
        r"all wait for thread \d+ \(\w+\), which sleeps .*Lock lock .*`with` block in sleeps\(\)",
    ),
    "queue": (QUEUE, "blocked", r"an item in the Queue 0x\w+, in consumes\(\) at script.py:4, and no thread"),
    "event": (
        EVENT,
        "blocked",
        r"8 threads: each waits for the Event 0x\w+ to be set, in waits\(\) at script.py",
    ),
    "join": (
        JOIN,
        "idle",
        r"thread \d+ \(\w+\), which sleeps for .*waits in <module>\(\) at script.py:5 for",
    ),
    "RLock": (
        LOCKS.replace("KIND", "RLock"),
        "deadlock",
        r"threading.RLock wanted .*, held by thread \d+ .*RLock wanted",
    ),
    "asyncio": (ASYNCIO, "idle", r"no hang seen: .*epoll_wait\(\)"),
    "pool": (POOL, "idle", r"no hang seen: "),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_way_to_hang_in_python_is_named(tmp_path: Path, name: str) -> None:
    if "Lock" in name or name in ("queue", "event", "join"):
        pytest.importorskip("pystack")
    code, kind, words = SCRIPTS[name]
    script = tmp_path / "script.py"
    script.write_text(code)
    path, _ = save(tmp_path, [sys.executable, script, tmp_path / "the.lock"])
    script.unlink()
    report = why(path)
    assert (report["kind"], bool(re.search(words, report["verdict"]))) == (kind, True), report["verdict"]


def test_who_holds_a_file_lock_is_known_though_it_is_not_saved(tmp_path: Path) -> None:
    script, lock = tmp_path / "script.py", tmp_path / "the.lock"
    script.write_text(LOCK_FILE.replace("FUNC", "flock"))
    with running([sys.executable, script, lock]) as victim:
        wait_until(lambda: asleep(tree_of(victim.pid)), "all threads wait")
        holder, waiter = tree_of(victim.pid)
        snap("-o", tmp_path / "x.snap", waiter).expect(0)
    name = Path(sys.executable).resolve().name[:15]
    assert re.fullmatch(
        rf"blocked: thread {waiter} \(\w+\) waits for the lock on {lock}, held by process {holder} \(.*\), "
        r"which is not in the snapshot",
        why(tmp_path / "x.snap")["verdict"],
    ), name


def test_a_named_pipe_without_its_other_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    path, _ = save(tmp_path, [build(tmp_path, "-O1"), "fifo", tmp_path / "fifo"])
    assert f"waits to open the named pipe {tmp_path}/fifo" in why(path)["verdict"]


def test_a_stopped_process_is_told_from_one_that_waits(tmp_path: Path) -> None:
    with running([build(tmp_path, "-O1"), "sleep"]) as victim:
        os.kill(victim.pid, signal.SIGSTOP)
        wait_until(lambda: victim.state() == "T", "it stops")
        snap("-o", tmp_path / "x.snap", victim.pid).expect(0)
    report = why(tmp_path / "x.snap")
    assert report["kind"] == "blocked"
    assert "is stopped by a signal" in report["verdict"]


def test_without_a_linux_record_nothing_is_known() -> None:
    plan9 = Path(__file__).parent.parent / "data" / "plan9" / "two-procs.snap"
    said = snaptui_command("why", plan9).expect(1)
    assert said.out.decode().startswith("nothing is known")
