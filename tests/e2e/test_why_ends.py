"""Who is at the other end, who holds a file's bytes, whose turn it is: told apart from real hangs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_why import save, why
from tests.helpers.commands import snaptui_command

SERVERS = """
import fcntl, os, socket
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    turn = open(LOCK, "w")
    fcntl.flock(turn, fcntl.LOCK_EX)
    listener.accept()
for _ in range(3):
    if not os.fork():
        serve()
print("ready", flush=True)
os.wait()
"""
POOL = """
import queue, socket, threading
jobs, turn = queue.Queue(), threading.Lock()
def works():
    while True:
        with turn:
            jobs.get()
for _ in range(4):
    threading.Thread(target=works).start()
listener = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
listener.accept()
"""
HELD_BY_SERVER = """
import socket, threading
lock = threading.Lock()
def wants():
    with lock:
        pass
listener = socket.create_server(("127.0.0.1", 0))
with lock:
    threading.Thread(target=wants).start()
    print("ready", flush=True)
    listener.accept()
"""
OWN_PAIR = """
import socket
mine, other = socket.socketpair()
print("ready", flush=True)
mine.recv(1)
"""
OWN_PIPE = """
import os, signal
read, write = os.pipe()
signal.signal(signal.SIGTERM, lambda *_: os.write(write, b"x"))
print("ready", flush=True)
os.read(read, 1)
"""
OWN_CONNECTION = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
print("ready", flush=True)
client.recv(1)
"""
FORGOTTEN_END = """
import os
read, write = os.pipe()
child = os.fork()
if not child:
    while os.read(read, 1):
        pass
os.close(read); os.close(write)
print("ready", flush=True)
os.waitpid(child, 0)
"""
COUNTER = """
import os, signal
counter = os.eventfd(0)
if not os.fork():
    signal.pause()
print("ready", flush=True)
os.eventfd_read(counter)
"""
BYTES = """
import fcntl, os, signal, time
file = open(LOCK, "w")
fcntl.lockf(file, fcntl.LOCK_EX, 10, 0)
read, write = os.pipe()
if not os.fork():
    fcntl.lockf(file, fcntl.LOCK_EX, 10, 100)
    os.write(write, b"x")
    time.sleep(1000)
os.read(read, 1)
if not os.fork():
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 105)
print("ready", flush=True)
signal.pause()
"""
READERS = """
import fcntl, os, signal, time
file = open(LOCK, "r+")
fcntl.lockf(file, fcntl.LOCK_SH, 10, 0)
read, write = os.pipe()
if not os.fork():
    fcntl.lockf(file, fcntl.LOCK_EX, 10, 20)
    os.write(write, b"x")
    time.sleep(1000)
os.read(read, 1)
if not os.fork():
    fcntl.lockf(file, fcntl.LOCK_SH, 30, 0)
print("ready", flush=True)
signal.pause()
"""
ACQUIRED = """
import threading
first, second, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
def pays():
    first.acquire(); both.wait(); second.acquire()
def refunds():
    second.acquire(); both.wait(); first.acquire()
threads = [threading.Thread(target=function) for function in (pays, refunds)]
for thread in threads:
    thread.start()
print("ready", flush=True)
threads[0].join()
"""
ITSELF = "of the processes saved only this one itself"
SLEEPER = r"waits for process (\d+) .*, which sleeps .* for the lock on /.*/the.lock, held by process \1"
SCRIPTS = {
    "servers take turns": (SERVERS, "idle", r"waits for a connection at .*waits for the lock on .*/the.lock"),
    "workers take turns": (POOL, "idle", r"waits for an item in the Queue .*, in works\(\)"),
    "a server keeps a lock": (HELD_BY_SERVER, "blocked", r"which waits for a connection .*Lock lock "),
    "own pair": (OWN_PAIR, "blocked", rf"a UNIX socket\): {ITSELF} has the other end, and no thread is left"),
    "own pipe and a handler": (OWN_PIPE, "idle", rf"a pipe\): {ITSELF} can write to it"),
    "own connection": (OWN_CONNECTION, "blocked", rf"TCP 127.* to 127.*\): {ITSELF} has the other end"),
    "an end that was not closed": (FORGOTTEN_END, "blocked", rf"child \d+ .*{ITSELF} can write to it"),
    "a counter of two": (COUNTER, "idle", r"\(eventfd\): process \d+ \(\w+\) has it too"),
    "other bytes are locked": (BYTES, "blocked", SLEEPER),
    "readers share": (READERS, "blocked", SLEEPER),
    "acquired": (
        ACQUIRED,
        "deadlock",
        r"Lock second \(0x\w+\) \(only refunds\(\) of thread (\d+) uses it\), held by thread \1",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_python_does(tmp_path: Path, name: str) -> None:
    if "threading" in SCRIPTS[name][0]:
        pytest.importorskip("pystack")
    code, kind, words = SCRIPTS[name]
    script, lock = tmp_path / "script.py", tmp_path / "the.lock"
    lock.touch()
    script.write_text(code.replace("LOCK,", f"{str(lock)!r},"))
    path, _ = save(tmp_path, [sys.executable, script])
    script.unlink()
    report = why(path)
    said = " ".join([report["verdict"], *(wait["sentence"] for wait in report["waits"])])
    assert (report["kind"], bool(re.search(words, said))) == (kind, True), said


def test_what_is_less_known_without_the_libraries_is_said(tmp_path: Path) -> None:
    script, missing = tmp_path / "script.py", tmp_path / "missing"
    script.write_text(OWN_PAIR)
    path, (pid,) = save(tmp_path, [sys.executable, script])
    for name in ("drgn", "pystack"):
        (missing / name).mkdir(parents=True)
        (missing / name / "__init__.py").write_text("raise ImportError(__name__)")
    said = snaptui_command("why", path, env={**os.environ, "PYTHONPATH": str(missing)}).expect(0)
    assert said.out.decode().startswith("blocked: ")
    assert re.search(rf"^why: process {pid}: drgn, which unwinds stacks, is not installed", said.err, re.M)
    assert "pystack, which reads the frames of Python, is not installed" in said.err
    stack = snaptui_command("stack", path, "--json", env={**os.environ, "PYTHONPATH": str(missing)})
    (process,) = json.loads(stack.expect(1).out)["processes"]
    (frame,) = process["threads"][0]["frames"]
    found = subprocess.run(
        ["nm", "-D", "--defined-only", frame["module"]], capture_output=True, text=True, check=True
    ).stdout
    starts = {int(line.split()[0], 16) for line in found.splitlines() if frame["function"] in line}
    assert any(0 < frame["offset"] - start < 1000 for start in starts)


ASYNC = """
#include <cstdio>
#include <future>
#include <mutex>
std::mutex held;
int main() {
    held.lock();
    auto result = std::async(std::launch::async, [] { std::lock_guard<std::mutex> guard(held); return 1; });
    puts("ready"); fflush(stdout);
    return result.get();
}
"""
RUST = """
use std::sync::{mpsc, Arc, Barrier, Mutex};
use std::{net::TcpListener, thread};
static FIRST: Mutex<u32> = Mutex::new(1);
static SECOND: Mutex<u32> = Mutex::new(2);
#[inline(never)] fn pays(held: &Mutex<u32>, wanted: &Mutex<u32>, both: &Barrier) -> u32 {
    let held = held.lock().unwrap();
    both.wait();
    *held + *wanted.lock().unwrap()
}
fn main() {
    if std::env::args().count() > 1 {
        let both = Arc::new(Barrier::new(3));
        let (one, other) = (both.clone(), both.clone());
        let thread = thread::spawn(move || pays(&FIRST, &SECOND, &one));
        thread::spawn(move || pays(&SECOND, &FIRST, &other));
        both.wait();
        println!("ready");
        thread.join().unwrap();
    } else {
        let (jobs, receiver) = mpsc::channel::<u32>();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..4 {
            let receiver = receiver.clone();
            thread::spawn(move || loop { let _ = receiver.lock().unwrap().recv(); });
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("ready");
        let _ = listener.accept();
        jobs.send(1).unwrap();
    }
}
"""


def test_the_end_of_an_asynchronous_task_is_awaited(tmp_path: Path) -> None:
    if not shutil.which("c++"):
        pytest.skip("needs a C++ compiler")
    source, binary = tmp_path / "task.cpp", tmp_path / "task"
    source.write_text(ASYNC)
    subprocess.run(["c++", "-O2", "-pthread", "-o", binary, source], check=True)
    path, _ = save(tmp_path, [binary])
    binary.unlink()
    verdict = why(path)["verdict"]
    assert re.match(
        r"deadlock: thread (\d+) .* the end of thread (\d+) .*; thread \2 .* mutex held ", verdict
    ), verdict


def test_locks_of_rust_and_whose_turn_it_is(tmp_path: Path) -> None:
    if not shutil.which("rustc"):
        pytest.skip("needs rustc")
    source, binary = tmp_path / "pays.rs", tmp_path / "pays"
    source.write_text(RUST)
    subprocess.run(["rustc", "-O", "-o", binary, source], check=True, cwd=tmp_path)
    (tmp_path / "hung").mkdir()
    path, _ = save(tmp_path / "hung", [binary, "hang"])
    idle, _ = save(tmp_path, [binary])
    binary.unlink()
    report = why(path)
    assert report["kind"] == "deadlock", report["verdict"]
    holders = re.findall(
        r"thread (\d+) \(\w+\) waits for the Mutex pays::(FIRST|SECOND) .*?, held by thread (\d+)",
        report["verdict"],
    )
    (one, lock, other), (*_, back) = holders
    assert (one, other) == (back, holders[1][0])
    assert lock != holders[1][1]
    report = why(idle)
    assert report["kind"] == "idle", report["verdict"]
