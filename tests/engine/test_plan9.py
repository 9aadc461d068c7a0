"""Plan 9's /proc files: their columns are those of a snapshot written by the original `snap`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from snaptui.engine.snapfile import Link
from snaptui.engine.take.plan9 import kregs, ns, plan9_files, segment
from snaptui.engine.take.procfiles import kernel_state, process_files
from snaptui.engine.take.procstat import state_name
from tests.helpers.victims import running_c, running_python

_FIXTURE = Path(__file__).parent.parent / "data" / "plan9" / "two-procs.snap"


def _original(name: str, pid: int = 1201) -> bytes:
    """A data record as the original `snap` wrote it: pid and type, a line's end, 12 bytes of length, data."""
    data = _FIXTURE.read_bytes()
    head = f"{pid:<11d} {name}\n".encode()
    start = data.index(head) + len(head)
    length = int(data[start : start + 12])
    return data[start + 12 : start + 12 + length]


def _stat(**changes: object) -> bytes:
    """A /proc/PID/stat with the fields of proc_pid_stat(5) by number (`f14=...`), all else 0."""
    fields = {f"f{number}": 0 for number in range(4, 53)} | {"f18": 20, "f20": 1} | changes
    state = fields.pop("state", "S")
    comm = fields.pop("comm", "page")
    return (
        f"1201 ({comm}) {state} {' '.join(str(fields[f'f{number}']) for number in range(4, 53))}\n".encode()
    )


def _status(stat: bytes, user: str = "glenda", uptime: float = 30.0, **others: bytes | Link) -> bytes:
    return plan9_files(1201, {"stat": stat, **others}, user=user, uptime=uptime, machine="x86_64")["status"]


def test_status_is_what_the_original_wrote() -> None:
    """The fixture's page: Pread, 10 ms of user and 20 of system time, 30 s old, 512 KiB, priorities 10."""
    line = b"17 0x3 0x7f 0x1 0x0 0x0 0x0 0x7ffe2934cec8 0x7fdfdcde12ad\n"  # pread64 on x86-64
    got = _status(_stat(f14=1, f15=2), status=b"Name:\tpage\nVmRSS:\t     512 kB\n", syscall=line)
    assert got == _original("status").replace(b"Pread  ", b"pread64")
    assert len(got) == 176


def test_status_keeps_its_width_whatever_it_is_given() -> None:
    name = "x" * 26 + "\N{EURO SIGN}" + "y"
    stat = _stat(comm="x" * 15, f14=10**15, f16=70, f17=80, f19=-20, f22=9999)
    got = _status(stat, user="u" * 40, cmdline=f"/bin/{name}".encode() + b"\0-v\0")
    assert len(got) == 176
    assert got[:28] == b"x" * 26 + b"  ", "no half of a character"
    assert got[28:56] == b"u" * 27 + b" "
    numbers = [got[at : at + 12] for at in range(68, 176, 12)]
    assert [int(number) for number in numbers] == [99_999_999_999, 0, 0, 700, 800, 0, 0, 19, 19]
    assert all(number.endswith(b" ") for number in numbers)


def test_names_keep_blanks_and_bytes_but_no_control_characters() -> None:
    stat = _stat().replace(b"(page)", b"(a b) \n\x1b\xff)")
    assert _status(stat)[:28] == b"a b) ??\xff".ljust(28)


@pytest.mark.parametrize(
    ("letter", "syscall", "wchan", "expected"),
    [
        ("R", "", "", "Running"),
        ("S", "futex", "futex_wait", "futex"),
        ("S", "", "futex_wait", "Wakeme"),
        ("D", "vfork", "rpc_wait", "rpc_wait"),
        ("D", "vfork", "", "Wakeme"),
        ("T", "read", "", "Stopped"),
        ("t", "read", "", "Stopped"),
        ("Z", "", "", "Moribund"),
        ("X", "", "", "Moribund"),
        ("I", "", "", "Idle"),
    ],
)
def test_states(letter: str, syscall: str, wchan: str, expected: str) -> None:
    assert state_name(letter, syscall, wchan) == expected


def test_a_state_longer_than_its_column_is_cut() -> None:
    line = b"230 0x0 0x0 0x1 0x2 0x0 0x0 0x7ffe2934cec8 0x7fdfdcde12ad\n"  # clock_nanosleep
    assert _status(_stat(), syscall=line)[56:68] == b"clock_nanos "


_MAPS = b"""\
00200000-00203000 r--p 00000000 fe:00 11 /usr/bin/page
00203000-00205000 r-xp 00003000 fe:00 11 /usr/bin/page
00400000-00403000 rw-p 00005000 fe:00 11 /usr/bin/page
00500000-00501c00 rw-p 00000000 00:00 0 [heap]
7ffffeff8000-7fffff000000 rw-p 00000000 00:00 0 [stack]
"""


def test_segment_is_what_the_original_wrote() -> None:
    """The fixture's page as a Linux process would have it."""
    assert segment(_MAPS, "/usr/bin/page") == _original("segment")


def test_every_kind_of_mapping_has_its_type() -> None:
    maps = b"""\
555500000000-555500001000 r-xp 00000000 fe:00 11 /usr/bin/two words (deleted)
555500001000-555500002000 rw-p 00001000 fe:00 11 /usr/bin/two words (deleted)
555500002000-555500003000 rw-p 00000000 00:00 0
7f0000000000-7f0000001000 ---p 00000000 00:00 0
7f0000001000-7f0000800000 rw-p 00000000 00:00 0
7f0000800000-7f0000900000 rw-p 00000000 00:00 0 [anon: a pool]
7f0001000000-7f0001001000 r--p 00000000 fe:00 12 /usr/lib/libc.so.6
7f0001001000-7f0001002000 r-xp 00001000 fe:00 12 /usr/lib/libc.so.6
7f0001002000-7f0001003000 rw-p 00002000 fe:00 12 /usr/lib/libc.so.6
7f0002000000-7f0002001000 r--p 00000000 fe:00 13 /usr/share/locale.dat
7f0003000000-7f0003001000 rw-s 00000000 00:01 14 /dev/shm/pool
7f0004000000-7f0004001000 rw-s 00000000 00:05 15 /dev/dri/card0
7ffe00000000-7ffe00021000 rw-p 00000000 00:00 0 [stack]
7ffe00100000-7ffe00102000 r-xp 00000000 00:00 0 [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
"""
    assert segment(maps, "/usr/bin/two words (deleted)").decode().splitlines() == [
        "Text   R  555500000000 555500001000    1",
        "Data      555500001000 555500002000    1",
        "Bss       555500002000 555500003000    1",
        "Stack     7ffe00000000 7ffe00021000    1",
        "Bss    R  7f0000000000 7f0000001000    1",
        "Bss       7f0000001000 7f0000900000    1",
        "Text   R  7f0001000000 7f0001002000    1",
        "Data      7f0001002000 7f0001003000    1",
        "Data   R  7f0002000000 7f0002001000    1",
        "Shared    7f0003000000 7f0003001000    1",
        "Phys      7f0004000000 7f0004001000    1",
        "Map    R  7ffe00100000 7ffe00102000    1",
        "Map    R  ffffffffff600000 ffffffffff601000    1",
    ]


def test_the_first_128_lines_have_what_matters() -> None:
    lines = [
        f"{0x1000000 + at * 0x2000:08x}-{0x1001000 + at * 0x2000:08x} rw-p 00000000 00:00 0 \n"
        for at in range(500)
    ]
    text = segment(b"".join(line.encode() for line in lines) + _MAPS, "/usr/bin/page")
    assert text.startswith(_original("segment"))
    assert len(text.splitlines()) == 504


def test_fd_has_the_original_columns() -> None:
    record: dict[str, bytes | Link] = {
        "cwd": Link("/usr/glenda"),
        "fd/10": Link("/a\nfile"),
        "fd/2": Link("/dev/cons"),
        "fd/3": Link("/home"),
        "fdinfo/2": b"pos:\t0\nflags:\t0100001\nmnt_id:\t27\nino:\t255\n",
        "fdinfo/3": b"pos:\t0\nflags:\t0300000\nmnt_id:\t27\nino:\t2\n",
        "fdinfo/10": b"pos:\t17\nflags:\t02\nmnt_id:\t12345\nino:\t3\nlock:\t1: POSIX\n",
    }
    files = plan9_files(1201, record, user="glenda", uptime=0, machine="x86_64")
    assert files["fd"].decode() == (
        "/usr/glenda\n"
        "  2 w  c   27 (00000000000000ff 0 00)     0        0 /dev/cons\n"
        "  3 r  c   27 (0000000000000002 0 80)     0        0 /home\n"
        " 10 rw c 12345 (0000000000000003 0 00)     0       17 /a?file\n"
    )
    ours, original = files["fd"].splitlines()[1], _original("fd").splitlines()[1]
    for mark in (b" c ", b"(", b" 0 00)", b"/dev/cons"):
        assert ours.index(mark) == original.index(mark)


def test_ns_has_mounts_and_the_directory_quoted_as_rc_does() -> None:
    mountinfo = rb"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
24 22 254:0 /srv/it's\040here /mnt/a\040b ro - ext4 /dev/vda rw
25 22 0:5 / /two\012lines rw - tmpfs none rw
garbage
"""
    assert ns(mountinfo, "/usr/glenda").decode() == (
        "mount -c /dev/vda /\n"
        "mount -c proc /proc\n"
        "mount /dev/vda '/mnt/a b' '/srv/it''s here'\n"
        "mount -c none '/two?lines'\n"
        "cd /usr/glenda\n"
    )
    assert _original("ns").splitlines()[-1] == b"cd /usr/glenda"


def test_noteid_is_the_process_group() -> None:
    files = plan9_files(1201, {"stat": _stat(f5=1200)}, user="glenda", uptime=0, machine="x86_64")
    assert files["noteid"] == _original("noteid")


def test_kregs_says_where_each_thread_hangs() -> None:
    record: dict[str, bytes | Link] = {
        "task/1202/stat": b"1202 (a) b\n) S " + b"0 " * 49,
        "task/1202/syscall": b"202 0x7f00 0x80 0x2 0x0 0x0 0xffffffff 0x7ffe2934cec8 0x7fdfdcde12ad\n",
        "task/1202/wchan": b"futex_wait_queue",
        "task/1202/stack": b"[<0>] futex_wait_queue+0x64/0x90\n[<0>] do_syscall_64+0x71/0x280\n",
        "task/1201/stat": _stat(state="R"),
        "task/1201/syscall": b"running\n",
        "task/1201/wchan": b"0",
        "task/1203/comm": b"late\n",
    }
    assert kregs(1201, record, "x86_64").decode() == (
        "thread 1201 page\n"
        "state R\n"
        "syscall none: runs\n"
        "\n"
        "thread 1202 a) b?\n"
        "state S\n"
        "syscall 202 futex(0x7f00, 0x80, 0x2, 0x0, 0x0, 0xffffffff) sp 0x7ffe2934cec8 pc 0x7fdfdcde12ad\n"
        "wchan futex_wait_queue\n"
        "stack\n"
        "\tfutex_wait_queue+0x64/0x90\n"
        "\tdo_syscall_64+0x71/0x280\n"
        "\n"
    )


def test_what_is_missing_leaves_out_its_file() -> None:
    assert plan9_files(1201, {}, user="", uptime=0, machine="x86_64") == {"kregs": b""}


def test_a_live_process_agrees_with_ps_and_proc() -> None:
    with running_python(
        "import os; fd = os.open('/etc/passwd', os.O_RDONLY); os.read(fd, 5); print('ready'); input()"
    ) as victim:
        victim.wait_asleep()
        state = kernel_state(victim.pid)
        files = plan9_files(
            victim.pid,
            {**state, **process_files(victim.pid)},
            user="glenda",
            uptime=time.clock_gettime(time.CLOCK_BOOTTIME),
        )
        ps = subprocess.check_output(
            ["ps", "-o", "pgid=,etimes=,rss=,comm=", "-p", str(victim.pid)], text=True
        )
        group, age, resident, comm = ps.split()
        assert files["noteid"] == f"{group:>11s} ".encode()
        numbers = [int(files["status"][at : at + 12]) for at in range(68, 176, 12)]
        assert abs(numbers[2] / 1000 - int(age)) <= 1.5
        assert numbers[6] == int(resident)
        assert files["status"].startswith(comm.encode())
        assert re.search(rb"(?m)^  3 r  c .* +5 /etc/passwd$", files["fd"])
        assert files["fd"].splitlines()[0] == os.fsencode(os.readlink(f"/proc/{victim.pid}/cwd"))
        inode = os.stat("/etc/passwd").st_ino
        assert b"(%016x 0 00)" % inode in files["fd"]
        assert b"read(0x0, " in files["kregs"]
        assert f"thread {victim.pid} ".encode() in files["kregs"]
        text = next(line.split() for line in files["segment"].splitlines() if line.startswith(b"Text"))
        image = os.readlink(f"/proc/{victim.pid}/exe")
        maps = Path(f"/proc/{victim.pid}/maps").read_text().splitlines()
        start = min(int(line.split("-")[0], 16) for line in maps if line.endswith(image))
        assert int(text[2], 16) == start


def test_a_stopped_process_is_stopped() -> None:
    with running_c(
        '#include <stdio.h>\nint main(void) { puts("ready"); fflush(stdout); getchar(); }'
    ) as victim:
        os.kill(victim.pid, signal.SIGSTOP)
        os.waitpid(victim.pid, os.WUNTRACED)
        files = plan9_files(victim.pid, dict(kernel_state(victim.pid)), user="glenda", uptime=0)
        assert files["status"][56:68] == b"Stopped     "
