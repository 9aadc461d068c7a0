"""Stopping real programs, all threads together, and letting them run on as if nothing had been."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snaptui.engine.errors import Cancelled
from snaptui.engine.progress import CancelToken
from snaptui.engine.take import ptracing
from snaptui.engine.take.stop import StoppedThread, StopSession
from snaptui.engine.take.tracee import Tracee, seize
from tests.engine.stopping import (
    CHURN,
    EXEC,
    LEADER_ENDS,
    MANY_THREADS,
    SESSION,
    SIGNALS,
    VFORK,
    counter,
    family,
    in_a_thread,
    instruction_pointer,
    is_pending,
    mapped,
    status_line,
    thread_states,
    wait_until,
)
from tests.helpers.victims import compile_c, running_c, running_python


def test_200_threads_stop_together_and_run_on() -> None:
    with running_c(MANY_THREADS, "-pthread", arguments=["200"]) as victim:
        with StopSession([victim.pid]) as session:
            found = session.stop()
            assert thread_states(victim.pid) == "t" * 200
            assert [thread.tid for thread in found] == sorted(
                map(int, os.listdir(f"/proc/{victim.pid}/task"))
            )
            assert found[0].tid == victim.pid
            assert {thread.why_not for thread in found} == {""}
            assert all(mapped(victim.pid, instruction_pointer(thread)) for thread in found)
        assert "t" not in thread_states(victim.pid)
        before = counter(victim)
        wait_until(lambda: counter(victim) > before)


def test_two_processes_stop_together_in_the_order_asked_for() -> None:
    with (
        running_c(MANY_THREADS, "-pthread", arguments=["5"]) as one,
        running_c(MANY_THREADS, "-pthread", arguments=["3"]) as two,
        StopSession([two.pid, one.pid, two.pid, 2**22 + 1]) as session,  # the last is no process
    ):
        assert [thread.pid for thread in session.stop()] == [two.pid] * 3 + [one.pid] * 5
        assert thread_states(one.pid) + thread_states(two.pid) == "t" * 8


def test_release_may_be_called_twice_and_a_session_used_again() -> None:
    with running_c(MANY_THREADS, "-pthread", arguments=["3"]) as victim:
        session = StopSession([victim.pid])
        session.release()
        for _ in range(3):
            assert len(session.stop()) == 3
            session.release()
            session.release()
            wait_until(lambda: "t" not in thread_states(victim.pid))
        session.stop()
        with pytest.raises(RuntimeError, match="belongs to the thread"):
            in_a_thread(session.release)
        session.release()


def test_a_process_that_was_stopped_before_stays_stopped() -> None:
    with running_c(MANY_THREADS, "-pthread", arguments=["4"]) as victim:
        victim.popen.send_signal(signal.SIGSTOP)
        wait_until(lambda: thread_states(victim.pid) == "TTTT")
        for _ in range(3):
            with StopSession([victim.pid]) as session:
                assert all(thread.registers for thread in session.stop())
            wait_until(lambda: thread_states(victim.pid) == "TTTT")
        victim.popen.send_signal(signal.SIGCONT)
        before = counter(victim)
        wait_until(lambda: counter(victim) > before)


def test_the_parent_hears_nothing_of_our_stops() -> None:
    with family(compile_c(MANY_THREADS, "-pthread"), "4") as (parent, child):

        def heard() -> str:
            parent.send("heard?")
            return parent.readline()

        for _ in range(3):
            with StopSession([child]) as session:
                session.stop()
                assert heard() == "(0, 0) 0"
        assert heard() == "(0, 0) 0"
        os.kill(child, signal.SIGSTOP)
        wait_until(lambda: thread_states(child) == "TTTT")
        assert heard() == f"({child}, {signal.SIGSTOP << 8 | 0x7F}) 1"
        for _ in range(3):
            with StopSession([child]) as session:
                session.stop()
                assert heard() == "(0, 0) 1"
            wait_until(lambda: thread_states(child) == "TTTT")
        assert heard() == "(0, 0) 1"


def test_a_process_stopped_or_continued_while_it_stands_obeys_afterwards() -> None:
    with family(compile_c(MANY_THREADS, "-pthread"), "4") as (_, child):
        with StopSession([child]) as session:
            session.stop()
            os.kill(child, signal.SIGSTOP)
            assert thread_states(child) == "tttt"
        wait_until(lambda: thread_states(child) == "TTTT")
        with StopSession([child]) as session:
            session.stop()
            os.kill(child, signal.SIGCONT)
        wait_until(lambda: set(thread_states(child)) <= set("SR"))


def test_signals_and_timers_of_the_meantime_arrive() -> None:
    """Given five queued signals and a timer that expires while stopped, then each is handled, once."""
    with running_c(SIGNALS) as victim:
        victim.send("timer")
        assert victim.readline() == "0 0"
        with StopSession([victim.pid]) as session:
            session.stop()
            for _ in range(5):
                os.kill(victim.pid, signal.SIGRTMIN)
            wait_until(lambda: is_pending(victim.pid, signal.SIGALRM))
        victim.send("counts?")
        assert victim.readline() == "5 1"


def test_a_thread_about_to_take_a_signal_shows_it_and_takes_it() -> None:
    with running_c(SIGNALS) as victim:
        ptracing.load()
        assert seize(victim.pid, victim.pid) == ""
        tracee = Tracee(victim.pid, victim.pid, own_child=True)
        os.kill(victim.pid, signal.SIGRTMIN)
        wait_until(tracee.poll)
        assert tracee.registers is not None
        siginfo = tracee.registers.siginfo
        assert len(siginfo) == 128
        assert int.from_bytes(siginfo[:4], "little") == signal.SIGRTMIN  # si_signo
        assert int.from_bytes(siginfo[16:20], "little") == os.getpid()  # si_pid
        tracee.let_go()
        victim.send("counts?")
        assert victim.readline() == "1 0"


def test_no_signal_is_lost_or_doubled_while_we_stop_again_and_again() -> None:
    sender = "import os, sys\nprint('ready')\nfor _ in range(3000): os.kill(int(sys.argv[1]), 34)\n"
    with running_c(SIGNALS) as victim, running_python(sender, str(victim.pid)) as hammer:
        stops = 0
        while hammer.popen.poll() is None or stops < 20:
            with StopSession([victim.pid]) as session:
                session.stop()
            stops += 1
        victim.send("counts?")
        assert victim.readline() == "3000 0"


def test_a_vfork_parent_is_given_up_soon_and_goes_on_when_its_child_ends() -> None:
    with running_c(VFORK) as victim:

        def stop() -> tuple[tuple[StoppedThread, ...], float]:
            begin = time.monotonic()
            with StopSession([victim.pid]) as session:
                return session.stop(), time.monotonic() - begin

        (thread,), took = in_a_thread(stop)
        assert thread.registers is None
        assert thread.why_not == "is in uninterruptible sleep (vfork)"
        assert took < 3
        # The kernel detaches when our thread has ended, which is a moment after Python has joined it.
        wait_until(lambda: status_line(victim.pid, "TracerPid") == "0")
        victim.send("end, child")
        assert victim.readline() == "goes on"


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
def test_a_process_under_gdb_is_told_from_others() -> None:
    with running_c(MANY_THREADS, "-pthread", arguments=["3"]) as victim:
        gdb = subprocess.Popen(
            ["gdb", "-q", "-nx", "-p", str(victim.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: thread_states(victim.pid) == "ttt")
            with StopSession([victim.pid]) as session:
                found = session.stop()
            assert [(t.registers, t.is_refused) for t in found] == [(None, False)] * 3
            assert {t.why_not for t in found} == {f"is already traced by gdb (pid {gdb.pid})"}
        finally:
            gdb.communicate(b"detach\nquit\n", timeout=20)


def test_another_users_process_is_refused() -> None:
    if os.getuid() != 0:
        with StopSession([1]) as session:
            assert {thread.is_refused for thread in session.stop()} == {True}
        return
    with running_c(MANY_THREADS, "-pthread", arguments=["3"]) as victim:
        ptracing.load()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.write(writing, pickle.dumps(StopSession([victim.pid]).stop()))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            found: tuple[StoppedThread, ...] = pickle.load(pipe)
        os.waitpid(child, 0)
    assert [thread.is_refused for thread in found] == [True] * 3
    assert {thread.why_not for thread in found} == {"may not be traced: permission denied"}


def test_a_program_that_makes_and_ends_threads_all_the_time() -> None:
    with running_c(CHURN, "-pthread") as victim:
        for _ in range(100):
            with StopSession([victim.pid]) as session:
                found = session.stop()
                assert set(thread_states(victim.pid)) == {"t"}
                tids = sorted(map(int, os.listdir(f"/proc/{victim.pid}/task")))
                assert sorted(thread.tid for thread in found) == tids
                assert all(thread.registers for thread in found)
        wait_until(lambda: not set(thread_states(victim.pid)) & set("tZ"))


@pytest.mark.parametrize("threads", ["0", "20"])
def test_a_program_that_calls_execve_all_the_time(threads: str) -> None:
    """Given execve(2) that waits for the threads we trace to be reaped, then neither hangs."""
    with running_c(EXEC, "-pthread", arguments=[threads]) as victim:
        for _ in range(100):
            with StopSession([victim.pid]) as session:
                found = session.stop()
                assert found
                assert all(thread.registers for thread in found)
                assert set(thread_states(victim.pid)) == {"t"}
        assert victim.popen.poll() is None


def test_a_main_thread_that_has_ended_is_left_out() -> None:
    with running_c(LEADER_ENDS, "-pthread") as victim:
        with StopSession([victim.pid]) as session:
            (thread,) = session.stop()
            assert thread.tid != victim.pid
            assert thread.registers is not None
        wait_until(lambda: sorted(thread_states(victim.pid)) == ["S", "Z"])


def test_if_we_are_killed_the_targets_run_on() -> None:
    with running_c(MANY_THREADS, "-pthread", arguments=["50"]) as victim:
        with running_python(SESSION, str(victim.pid)) as tracer:
            assert tracer.readline() == "50"
            assert thread_states(victim.pid) == "t" * 50
            tracer.popen.kill()
            tracer.popen.wait()
        wait_until(lambda: "t" not in thread_states(victim.pid))
        assert status_line(victim.pid, "TracerPid") == "0"
        before = counter(victim)
        wait_until(lambda: counter(victim) > before)


def test_a_target_killed_while_it_stands_leaves_no_zombie_thread() -> None:
    with family(compile_c(MANY_THREADS, "-pthread"), "20") as (parent, child):
        with running_python(SESSION, str(child)) as tracer:
            assert tracer.readline() == "20"
            os.kill(child, signal.SIGKILL)
            tracer.send("release")
            assert tracer.readline() == "released"
            # The tracer still lives, so it is release() that let the parent see the end.
            parent.send("heard?")
            assert parent.readline().startswith(f"({child}, {signal.SIGKILL:d}) ")
        assert not Path(f"/proc/{child}").exists()


def test_our_own_child_killed_while_it_stands_is_left_to_whoever_started_it() -> None:
    with running_c(MANY_THREADS, "-pthread", arguments=["5"]) as victim:
        with StopSession([victim.pid]) as session:
            session.stop()
            victim.popen.kill()
        assert victim.popen.wait(timeout=5) == -signal.SIGKILL


def test_cancelling_lets_all_run_on() -> None:
    token = CancelToken()
    with running_c(VFORK) as sleeping, running_c(MANY_THREADS, "-pthread", arguments=["9"]) as victim:

        def stop() -> None:
            with StopSession([victim.pid, sleeping.pid], cancel=token, patience=600) as session:
                session.stop()

        with ThreadPoolExecutor(max_workers=1) as pool:
            work = pool.submit(stop)
            wait_until(lambda: thread_states(victim.pid) == "t" * 9)
            token.cancel()
            with pytest.raises(Cancelled):
                work.result(timeout=5)
        assert "t" not in thread_states(victim.pid)
        with pytest.raises(Cancelled):
            StopSession([victim.pid], cancel=token).stop()


def test_stopping_uses_no_thread_and_imports_nothing_until_needed() -> None:
    """Given only an import, then python-ptrace (30 ms) is not loaded; stop() leaves no helper thread."""
    code = "import sys, snaptui.engine.take.stop; sys.exit('ptrace' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    before = threading.active_count()
    with running_c(MANY_THREADS, "-pthread", arguments=["2"]) as victim, StopSession([victim.pid]) as session:
        session.stop()
        assert threading.active_count() == before
