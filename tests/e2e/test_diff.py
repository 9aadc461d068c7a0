"""Two snapshots of real programs: which threads moved, what came and went, and which pages changed."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snaptui.engine.errors import Cancelled
from snaptui.engine.inspect.diff import Comparison
from snaptui.engine.progress import CancelToken, Event, Progress
from snaptui.engine.snapfile import open_snapshot
from tests.helpers.commands import environment, snap, snaptui_command
from tests.helpers.synthetic import with_members
from tests.helpers.victims import Victim, program, running, state_of, wait_until

PLAN9 = Path(__file__).parent.parent / "data" / "plan9" / "two-procs.snap"


def diff(before: Path, after: Path, *words: str | int, status: int = 0) -> dict[str, Any]:
    """What `snaptui diff` says, with the ranges of changed pages."""
    said = snaptui_command("diff", before, after, *words, "-v", "--json").expect(status)
    report: dict[str, Any] = json.loads(said.out)
    return report


def movements(report: dict[str, Any]) -> dict[int, str]:
    return {thread["tid"]: thread["movement"] for thread in report["threads"]}


@dataclass(frozen=True)
class Changed:
    """A program before and after what it says it did: words by the first of each line."""

    pid: int
    report: dict[str, Any]
    did: list[list[str]]
    tids: list[int]
    """Of its threads at first."""
    paths: tuple[Path, Path]

    def all(self, what: str) -> list[tuple[int, int]]:
        """The ranges of addresses that it did that to."""
        return [(int(words[1], 16), int(words[2], 16)) for words in self.did if words[0] == what]

    def one(self, what: str) -> int:
        """The number with which it did that."""
        (number,) = [int(words[1]) for words in self.did if words[0] == what]
        return number


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changed]:
    folder = tmp_path_factory.mktemp("changed")
    (folder / "a file").write_text("nothing of interest")
    with running([program("changes.c"), folder / "a file"]) as victim:
        victim.wait_asleep()
        tids = victim.threads()
        snap("-o", folder / "1.snap", victim.pid).expect(0)
        did = [line for word in ("write", "map", "threads") for line in victim.ask(word)]
        victim.wait_asleep()
        snap("-o", folder / "2.snap.zst", victim.pid).expect(0)
    paths = folder / "1.snap", folder / "2.snap.zst"
    yield Changed(victim.pid, diff(*paths), did, tids, paths)


# memory


def test_exactly_the_pages_that_were_changed_are_named(changed: Changed) -> None:
    wrote = changed.all("wrote")
    assert len(wrote) == 6
    pieces = [(wrote[0][0], 64), (wrote[4][0] - 2 * 4096, 64), (wrote[5][0] - 7 * 4096, 64)]
    for start, pages in pieces:
        end = start + pages * 4096
        inside = [
            tuple(found)
            for mapping in changed.report["memory"]
            for found in mapping["ranges"]
            if start <= found[0] < end
        ]
        assert inside == [one for one in wrote if start <= one[0] < end]


def test_the_counts_are_those_of_the_ranges_and_every_mapping_is_accounted_for(changed: Changed) -> None:
    for mapping in changed.report["memory"]:
        assert mapping["page_size"] == 4096
        sizes = sum(end - start for start, end in mapping["ranges"])
        assert mapping["changed"] * 4096 == sizes
        assert mapping["range_count"] == len(mapping["ranges"])
        assert mapping["compared"] * 4096 + mapping["not_compared"] <= mapping["end"] - mapping["start"]
        assert bool(mapping["not_compared"]) == bool(mapping["reasons"])


def test_text_says_in_which_unit_and_names_ranges_with_v_alone(changed: Changed) -> None:
    start, end = changed.all("wrote")[0]
    brief = snaptui_command("diff", *changed.paths).expect(0).out.decode()
    full = snaptui_command("diff", *changed.paths, "-v").expect(0).out.decode()
    assert brief.startswith(changed.report["verdict"] + "\n\nprocess ")
    assert re.search(rf"^memory of process {changed.pid}: \d+ of \d+ pages of 4.0 KiB changed; ", brief, re.M)
    assert f"    {start:x}-{end:x}\n" in full
    assert f"{start:x}-{end:x}\n" not in brief
    assert "not captured before: " in full


# mappings, descriptors, threads


def test_what_was_mapped_unmapped_and_protected(changed: Changed) -> None:
    found = {(one["start"], one["end"]): one for one in changed.report["mappings"]}
    (mapped,), (unmapped,), (protected,) = (changed.all(what) for what in ("mapped", "unmapped", "protected"))
    assert (found[protected]["change"], found[protected]["perms"]) == ("changed", "r--s")
    assert "had the permissions rw-s" in found[protected]["sentence"]
    # The kernel may put the new one where the old one was.
    if mapped == unmapped:
        assert "is mapped in the place of" in found[mapped]["sentence"]
    else:
        assert found[mapped]["change"] == "came"
        assert found[unmapped]["change"] == "went"


def test_what_was_opened_closed_and_moved_in(changed: Changed) -> None:
    found = {one["number"]: one for one in changed.report["descriptors"]}
    closed, opened, (seeked, position) = (
        changed.one("closed"),
        changed.one("opened"),
        next(map(int, words[1:]) for words in changed.did if words[0] == "seeked"),
    )
    assert opened == closed, "the lowest free number is given first"
    assert found[opened]["change"] == "changed"
    assert found[opened]["target"] == "/dev/zero"
    assert "was /" in found[opened]["sentence"]
    assert f"position 0 -> {position}" in found[seeked]["sentence"]
    assert set(found) == {opened, seeked}


def test_threads_that_came_and_went_and_those_that_stayed(changed: Changed) -> None:
    main, waiting, leaving = changed.tids
    assert changed.one("ended") == leaving
    found = movements(changed.report)
    assert found == {
        main: found[main],
        waiting: "still",
        leaving: "went",
        changed.one("started"): "came",
    }
    assert found[main] in ("moved", "returned")
    assert changed.report["kind"] == "slow"
    assert changed.report["verdict"].startswith("slow, not hung: thread ")


# hung, slow


@pytest.mark.parametrize("mode", ["abba", "sleep", "server"])
def test_what_stands_still_is_said_to_and_for_how_long(tmp_path: Path, mode: str) -> None:
    with running([program("hangs.c"), mode]) as victim:
        victim.wait_asleep()
        began = time.monotonic()
        snap("--every", "300ms", "--count", 3, "-o", tmp_path / "h-%n.snap", victim.pid).expect(0)
        longest = time.monotonic() - began
        tids = victim.threads()
    seconds = []
    for before, after in ((1, 2), (2, 3), (1, 3)):
        report = diff(tmp_path / f"h-{before}.snap", tmp_path / f"h-{after}.snap")
        assert report["kind"] == "hung", report["verdict"]
        assert re.fullmatch(r"hung or idle: no thread has moved in \d+\.\d s", report["verdict"])
        assert movements(report) == dict.fromkeys(tids, "still")
        seconds.append(report["seconds"])
    assert min(seconds) > 0
    assert seconds[2] == pytest.approx(seconds[0] + seconds[1])
    assert seconds[2] < longest
    assert report["mappings"] == report["descriptors"] == []


def test_a_thread_that_counts_is_told_from_those_that_hang(tmp_path: Path) -> None:
    with running([program("hangs.c"), "loop"]) as victim:
        main, spinning = victim.threads()
        wait_until(lambda: state_of(victim.pid, main) == "S", "the main thread waits")
        snap("--every", "500ms", "--count", 2, "-o", tmp_path / "l-%n.snap", victim.pid).expect(0)
    report = diff(tmp_path / "l-1.snap", tmp_path / "l-2.snap")
    found = movements(report)
    assert found[main] == "still"
    assert found[spinning] in ("moved", "returned")
    (thread,) = [one for one in report["threads"] if one["tid"] == spinning]
    assert 0.05 < thread["cpu"] <= report["seconds"] + 0.02
    assert report["verdict"].startswith(f"slow, not hung: thread {spinning} (")
    assert "s of CPU time" in report["verdict"]
    assert "; 1 thread has not moved in 0." in report["verdict"]


TICKS = """
import threading, time
hold = threading.Lock()
hold.acquire()
threading.Thread(target=hold.acquire, daemon=True).start()
print("ready", flush=True)
while True:
    time.sleep(0.02)
"""


def test_a_thread_that_comes_back_to_the_same_place_has_been_woken(tmp_path: Path) -> None:
    with running([sys.executable, "-c", TICKS]) as victim:
        victim.wait_asleep()
        snap("--every", "1200ms", "--count", 2, "-o", tmp_path / "t-%n.snap", victim.pid).expect(0)
        main, other = victim.threads()
    report = diff(tmp_path / "t-1.snap", tmp_path / "t-2.snap")
    assert movements(report)[other] == "still"
    assert movements(report)[main] in ("moved", "returned")
    (thread,) = [one for one in report["threads"] if one["tid"] == main]
    assert thread["wakeups"] >= 3
    assert report["kind"] == "slow"


# the same process, or another one


def test_a_process_that_executed_its_program_anew(tmp_path: Path) -> None:
    with running([program("changes.c"), "/dev/null"]) as victim:
        snap("-o", tmp_path / "1.snap", victim.pid).expect(0)
        victim.send("exec")
        assert victim.readline() == "ready"
        snap("-o", tmp_path / "2.snap", victim.pid).expect(0)
    report = diff(tmp_path / "1.snap", tmp_path / "2.snap")
    (process,) = report["processes"]
    assert (process["fate"], process["sentence"]) == ("executed", "executed its program anew")
    assert report["kind"] == "slow"


def test_a_process_that_executed_another_program(tmp_path: Path) -> None:
    code = "import os, sys; print('ready', flush=True); sys.stdin.readline(); os.execv('/bin/cat', ['cat'])"
    with running([sys.executable, "-c", code]) as victim:
        snap("-o", tmp_path / "1.snap", victim.pid).expect(0)
        victim.send("go")
        wait_until(lambda: _program_of(victim) == "cat", "cat runs")
        victim.wait_asleep()
        snap("-o", tmp_path / "2.snap", victim.pid).expect(0)
    (process,) = diff(tmp_path / "1.snap", tmp_path / "2.snap")["processes"]
    assert process["fate"] == "executed"
    assert re.fullmatch(r"executed another program: .*/cat, was .*/python\S*", process["sentence"])


def _program_of(victim: Victim) -> str:
    return Path(f"/proc/{victim.pid}/comm").read_text().strip()


REUSED = """
import subprocess, sys, time
def start():
    one = subprocess.Popen(["sleep", "1000"])
    while open(f"/proc/{one.pid}/comm").read() != "sleep\\n":
        pass
    return one
folder = sys.argv[1]
def snap(name, *pids):
    words = ["snap", "-q", "-o", f"{folder}/{name}", *map(str, pids)]
    subprocess.run([sys.executable, "-m", "snaptui", *words], check=True)
one, other = start(), start()
snap("1.snap", one.pid, other.pid)
from snaptui.engine.take.followed import Followed
said = []
followed = Followed([one.pid, other.pid], missing=True, sink=said.append)
assert followed.look() == [one.pid, other.pid]
one.kill(); one.wait()
open("/proc/sys/kernel/ns_last_pid", "w").write(str(one.pid - 1))
time.sleep(0.02)  # the start time has 1/100 s: it is the one thing that tells them apart
again = start()
assert again.pid == one.pid, (again.pid, one.pid)
assert followed.look() == [other.pid]
print(one.pid, other.pid, said[0].message, sep="\\n")
snap("2.snap", again.pid, other.pid)
"""


def test_a_process_that_got_the_id_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    """In a namespace of process ids of its own, where the next id can be chosen."""
    words = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    done = subprocess.run(
        [*words, sys.executable, "-c", REUSED, tmp_path],
        env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pid, other, said = done.stdout.splitlines()
    assert said == f"process {pid} has ended; its id is now that of another process (sleep)"
    report = diff(tmp_path / "1.snap", tmp_path / "2.snap")
    fates = {str(one["pid"]): one["fate"] for one in report["processes"]}
    assert fates == {pid: "other", other: "same"}
    assert {str(one["pid"]) for one in (*report["threads"], *report["memory"])} == {other}
    alone = diff(tmp_path / "1.snap", tmp_path / "2.snap", pid, status=1)
    assert alone["verdict"].startswith("nothing to compare: no process is in both")


def test_processes_that_are_in_one_snapshot_alone(tmp_path: Path) -> None:
    with running([program("hangs.c"), "sleep"]) as one, running([program("hangs.c"), "sleep"]) as other:
        snap("-o", tmp_path / "1.snap", one.pid).expect(0)
        snap("-o", tmp_path / "2.snap", other.pid).expect(0)
    report = diff(tmp_path / "1.snap", tmp_path / "2.snap", status=1)
    assert {found["pid"]: found["fate"] for found in report["processes"]} == {
        one.pid: "went",
        other.pid: "came",
    }


# what is asked for


def test_snapshots_in_the_wrong_order_and_processes_that_are_in_none(changed: Changed) -> None:
    before, after = changed.paths
    line = snaptui_command("diff", after, before).expect_clear_failure()
    assert re.search(r"2\.snap\.zst was taken [0-9.]+ s after .*1\.snap", line)
    line = snaptui_command("diff", before, after, 1).expect_clear_failure()
    assert "process 1 is in neither snapshot" in line


def test_snapshots_of_two_machines_have_no_process_in_common(changed: Changed, tmp_path: Path) -> None:
    before, _ = changed.paths
    with_members(before, tmp_path / "x.snap", {}).close()
    assert diff(before, tmp_path / "x.snap")["kind"] == "hung"
    with open_snapshot(str(before)) as snapshot:
        linux = snapshot.process(changed.pid).linux
        assert linux is not None
        info = {**linux.info, "boot_id": "another"}
    with_members(before, tmp_path / "y.snap", {"snapshot.json": json.dumps(info).encode()}).close()
    verdict = diff(before, tmp_path / "y.snap", status=1)["verdict"]
    assert "the machine was started anew" in verdict


def test_text_pages_of_files_that_differ_are_compared(changed: Changed, tmp_path: Path) -> None:
    """Given another build-id nothing is known to be equal any more: all is read, and found to be."""
    before, _ = changed.paths
    with open_snapshot(str(before)) as snapshot:
        linux = snapshot.process(changed.pid).linux
        assert linux is not None
        table = json.loads(linux.read("text.json"))
    for file in table["files"]:
        file["build_id"] = "00"
    read = {}
    with with_members(before, tmp_path / "x.snap", {"text.json": json.dumps(table).encode()}) as other:
        for name, second in (("same", before), ("other", None)):
            with contextlib.ExitStack() as files:
                first = files.enter_context(open_snapshot(str(before)))
                later = files.enter_context(open_snapshot(str(second))) if second else other
                totals: list[Any] = []
                memory = list(Comparison(first, later).memory(sink=totals.append))
                assert sum(one.changed for one in memory) == 0
                read[name] = (totals[-1].total, totals[-1].done, sum(one.compared for one in memory))
    assert read["same"][2] == read["other"][2]
    assert read["other"][0] == read["other"][1] > read["same"][0] + (1 << 20)


def test_of_a_thread_without_counters_it_is_not_claimed_to_stand_still(
    changed: Changed, tmp_path: Path
) -> None:
    before, _ = changed.paths
    main, waiting, leaving = changed.tids
    lacking: dict[str, Any] = {f"task/{waiting}/{name}": b"" for name in ("stat", "status")}
    with_members(before, tmp_path / "x.snap", lacking).close()
    report = diff(before, tmp_path / "x.snap", status=1)
    assert movements(report) == {main: "still", waiting: "unknown", leaving: "still"}
    assert report["kind"] == "unknown"
    assert re.match(
        r"not known: of 1 thread it is not recorded whether it ran .*; 2 threads", report["verdict"]
    )
    (thread,) = [one for one in report["threads"] if one["tid"] == waiting]
    assert thread["sentence"].startswith("is in futex with the same registers; ")
    with_members(before, tmp_path / "y.snap", {**lacking, f"task/{waiting}/regs": b""}).close()
    (thread,) = [
        one for one in diff(before, tmp_path / "y.snap", status=1)["threads"] if one["tid"] == waiting
    ]
    assert thread["sentence"].startswith("is in futex, its registers were not saved; ")


# Plan 9


def plan9_later(path: Path, *edits: tuple[bytes, bytes]) -> Path:
    """The snapshot from Plan 9 five seconds later, with these edits; none changes a length."""
    content = PLAN9.read_bytes()
    edits = ((b"snapshot 1795384188", b"snapshot 1795384193"), *edits)
    for old, new in edits:
        assert len(old) == len(new)
        assert old in content
        content = content.replace(old, new, 1)
    path.write_bytes(content.replace(b"       30000 ", b"       35000 "))
    return path


def test_snapshots_from_plan9(tmp_path: Path) -> None:
    report = diff(PLAN9, plan9_later(tmp_path / "x.snap"))
    assert report["verdict"] == "hung or idle: no thread has moved in 5.0 s"
    assert [thread["movement"] for thread in report["threads"]] == ["still", "still"]
    assert {mapping["page_size"] for mapping in report["memory"]} == {1024}
    assert sum(mapping["changed"] for mapping in report["memory"]) == 0


def test_what_changed_on_plan9(tmp_path: Path) -> None:
    edits = (
        (b"Pread                10 ", b"Pread               210 "),
        (b"8192       17 /dev/cons", b"8192       99 /dev/cons"),
        (b"Bss         500000   501c00", b"Bss         500000   502000"),
    )
    report = diff(PLAN9, plan9_later(tmp_path / "x.snap", *edits))
    first, second = report["threads"]
    assert (first["pid"], first["movement"], first["cpu"]) == (1201, "returned", 0.2)
    assert (second["pid"], second["movement"]) == (1202, "still")
    assert report["verdict"].startswith("slow, not hung: thread 1201 (page) of process 1201 came back")
    assert report["verdict"].endswith("all of process 1202 among them")
    (descriptor,) = report["descriptors"]
    assert (descriptor["number"], descriptor["sentence"]) == (0, "position 17 -> 99")
    (mapping,) = report["mappings"]
    assert (mapping["start"], mapping["end"], mapping["sentence"]) == (
        0x501C00,
        0x502000,
        "has grown by 1,024 bytes",
    )


def test_a_process_of_plan9_that_is_too_young_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "x.snap"
    path.write_bytes(plan9_later(path).read_bytes().replace(b"       35000 ", b"        1000 "))
    assert {one["fate"] for one in diff(PLAN9, path, status=1)["processes"]} == {"other"}


def test_stopping_it_leaves_at_once(changed: Changed) -> None:
    cancel = CancelToken()
    seen: list[Progress] = []

    def stop(event: Event) -> None:
        assert isinstance(event, Progress)
        seen.append(event)
        cancel.cancel()

    with open_snapshot(str(changed.paths[0])) as before, open_snapshot(str(changed.paths[1])) as after:
        comparison = Comparison(before, after, cancel=cancel)
        with pytest.raises(Cancelled):
            list(comparison.memory(sink=stop))
    assert len(seen) == 1
    assert 0 < seen[0].done < seen[0].total
