"""Names and values of registers against python-ptrace's structures and the kernel's own."""

from __future__ import annotations

import platform
import subprocess

import pytest

from snaptui.engine.inspect.registers import AARCH64, ARM, I386, X86_64, layout_of
from tests.helpers.victims import compile_c

OFFSETS = r"""
#include <stddef.h>
#include <stdio.h>
#include <sys/user.h>
#define SHOW(name) printf(#name " %zu\n", offsetof(struct user_regs_struct, name))
int main(void) {
    SHOW(r15); SHOW(r14); SHOW(r13); SHOW(r12); SHOW(rbp); SHOW(rbx); SHOW(r11); SHOW(r10); SHOW(r9);
    SHOW(r8); SHOW(rax); SHOW(rcx); SHOW(rdx); SHOW(rsi); SHOW(rdi); SHOW(orig_rax); SHOW(rip); SHOW(cs);
    SHOW(eflags); SHOW(rsp); SHOW(ss); SHOW(fs_base); SHOW(gs_base); SHOW(ds); SHOW(es); SHOW(fs); SHOW(gs);
    printf("size %zu\n", sizeof(struct user_regs_struct));
    return 0;
}
"""

x86_64_only = pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86-64 machine")


@x86_64_only
def test_x86_64_lies_as_in_the_c_library() -> None:
    lines = subprocess.check_output([compile_c(OFFSETS)], text=True).splitlines()
    want = {name: int(offset) for name, offset in (line.split() for line in lines)}
    assert X86_64.size == want.pop("size")
    assert {name: 8 * number for number, name in enumerate(X86_64.names)} == want


@x86_64_only
def test_x86_64_decodes_as_python_ptrace_does() -> None:
    from ptrace.binding.linux_struct import user_regs_struct

    raw = bytes(range(X86_64.size))
    theirs = user_regs_struct.from_buffer_copy(raw)
    ours = X86_64.decode(raw)
    assert {name: getattr(theirs, name) for name, _ in user_regs_struct._fields_} == ours


@pytest.mark.parametrize(
    ("layout", "size"), [(X86_64, 216), (I386, 68), (AARCH64, 272), (ARM, 72)], ids=lambda x: str(x)[:20]
)
def test_a_register_set_has_the_size_that_the_kernel_gives(layout: object, size: int) -> None:
    assert layout.size == size  # type: ignore[attr-defined]
    assert {layout.pc, layout.sp} <= set(layout.names)  # type: ignore[attr-defined]


def test_the_size_tells_a_32_bit_process_on_a_64_bit_kernel() -> None:
    assert layout_of("x86_64", 216) is X86_64
    assert layout_of("x86_64", 68) is I386
    assert layout_of("i386", 68) is I386
    assert layout_of("aarch64", 272) is AARCH64
    assert layout_of("aarch64", 72) is ARM


@pytest.mark.parametrize(("machine", "size"), [("x86_64", 192), ("amd64", 216), ("", 216), ("x86_64", 0)])
def test_an_unknown_machine_or_size_has_no_layout(machine: str, size: int) -> None:
    assert layout_of(machine, size) is None
