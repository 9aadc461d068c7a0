"""The registers of stopped threads: values that a program planted, and what gdb says."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess

import pytest

from snaptui.engine.take.registers import RegisterSets
from snaptui.engine.take.stop import StopSession
from tests.helpers.victims import running_c

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is in x86-64 assembly")

# struct user_regs_struct, sys/user.h, less the segments' at its end
_FIELDS = [
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
    *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base"),
]

_XMM0_AT = 160  # in struct user_fpregs_struct, and in the XSAVE area, which begins with it
_YMM_HIGH_AT = 576  # the AVX component of the XSAVE area: Intel's manual, volume 1, 13.4

PLANTED = r"""
#include <pthread.h>
#include <stdio.h>
static unsigned long long values[4] = {
    0x1111222233334444, 0x5555666677778888, 0x9999aaaabbbbcccc, 0xddddeeeeffff0000};
static void *planted(void *_) {
    __asm__ volatile(
        "mov $0x1212121212121212, %%r12\n"
        "mov $0x1313131313131313, %%r13\n"
        "mov $0x1414141414141414, %%r14\n"
        "mov $0x1515151515151515, %%r15\n"
        "movdqu (%0), %%xmm0\n"
        WIDE
        "movl $1, (%1)\n"
        "1: pause\n"
        "jmp 1b\n"
        : : "r"(values), "r"(_) : "r12", "r13", "r14", "r15", "xmm0", "memory");
    return NULL;
}
int main(void) {
    pthread_t thread;
    volatile int done = 0;
    pthread_create(&thread, NULL, planted, (void *)&done);
    while (!done) ;
    puts("ready");
    fflush(stdout);
    pthread_join(thread, NULL);
}
"""
_VALUES = struct.pack("<4Q", 0x1111222233334444, 0x5555666677778888, 0x9999AAAABBBBCCCC, 0xDDDDEEEEFFFF0000)


def has_avx() -> bool:
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        return " avx " in file.read()


def general(registers: RegisterSets) -> dict[str, int]:
    return dict(zip(_FIELDS, struct.unpack_from("<23Q", registers.regs), strict=True))


def registers_in_gdb(pid: int, tid: int) -> dict[str, int]:
    """The general registers of a thread as gdb prints them."""
    done = subprocess.run(
        ["gdb", "-q", "-nx", "-batch", "-p", str(pid), "-ex", "thread apply all info registers"],
        capture_output=True,
        text=True,
        check=True,
    )
    block = done.stdout.partition(f"(LWP {tid})")[2].partition("\nThread ")[0]
    found = {
        name: int(value, 16) for name, value in re.findall(r"^(\w+) +0x([0-9a-f]+)", block, re.MULTILINE)
    }
    # gdb's name for a thread is its pthread_t, which is where fs points to in the x86-64 ABI for threads.
    (pthread,) = re.findall(rf"^Thread \d+ \(Thread 0x([0-9a-f]+) \(LWP {tid}\)", done.stdout, re.MULTILINE)
    return found | {"fs_base": int(pthread, 16)}


def test_planted_registers_are_read_as_they_are_and_as_gdb_reads_them() -> None:
    avx = has_avx()
    wide = '-DWIDE="vmovdqu (%0), %%ymm0\\n"' if avx else '-DWIDE=""'
    with running_c(PLANTED, "-pthread", "-O1", wide) as victim:
        with StopSession([victim.pid]) as session:
            _, thread = session.stop()
        found = thread.registers
        assert found is not None
        regs = general(found)
        for number in (12, 13, 14, 15):
            assert regs[f"r{number}"] == int(f"{number}" * 8, 16)
        assert found.fpregs[_XMM0_AT : _XMM0_AT + 16] == _VALUES[:16]
        assert found.xstate[: len(found.fpregs) - 96] == found.fpregs[:-96]  # the rest is XSAVE's own
        if avx:
            assert found.xstate[_YMM_HIGH_AT : _YMM_HIGH_AT + 16] == _VALUES[16:]
        assert found.siginfo == b""  # it took no signal

        if not shutil.which("gdb"):
            return
        outside = registers_in_gdb(victim.pid, thread.tid)
        # It spins on two instructions that change nothing else than where it is.
        for name in set(_FIELDS) - {"r11", "eflags", "orig_rax", "rip", "gs_base"}:
            assert regs[name] == outside[name], name
        assert abs(regs["rip"] - outside["rip"]) <= 2


def test_a_register_set_shows_its_sizes_rather_than_its_bytes() -> None:
    shown = repr(RegisterSets(regs=bytes(216), fpregs=bytes(512), xstate=b"", siginfo=b""))
    assert shown == "RegisterSets(regs 216, fpregs 512, xstate 0, siginfo 0 bytes)"
