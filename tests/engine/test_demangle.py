"""Names as c++filt(1) and rustc have them."""

from __future__ import annotations

import pytest

from snaptui.engine.inspect.demangle import demangle, function_name

pytest.importorskip("pycxxfilt")


@pytest.mark.parametrize(
    ("linked", "whole", "short"),
    [
        ("main", "main", "main"),
        ("pthread_cond_wait@@GLIBC_2.3.2", "pthread_cond_wait", "pthread_cond_wait"),
        ("_ZN4shop4TillIiE4takeEi", "shop::Till<int>::take(int)", "shop::Till<int>::take"),
        ("_ZN3FooclEi", "Foo::operator()(int)", "Foo::operator()"),
        ("_ZN3FooltERKS_", "Foo::operator<(Foo const&)", "Foo::operator<"),
        ("_ZN3FoocvbEv", "Foo::operator bool()", "Foo::operator bool"),
        ("_Z1fIiET_S0_", "int f<int>(int)", "f<int>"),
        ("_ZN12_GLOBAL__N_11fEv", "(anonymous namespace)::f()", "(anonymous namespace)::f"),
        (
            "_ZZN4PoolC4EiENKUlvE_clEv",
            "Pool::Pool(int)::'lambda'()::operator()() const",
            "Pool::Pool(int)::'lambda'()::operator()",
        ),
        (
            "_ZZ4mainENKUlicE_clEic",
            "main::'lambda'(int, char)::operator()(int, char) const",
            "main::'lambda'(int, char)::operator()",
        ),
        ("_ZZNK3Foo3barEvE5local", "Foo::bar() const::local", "Foo::bar() const::local"),
        ("_Z3fooi.cold", "foo(int) (.cold)", "foo"),
        ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar", "mycrate::foo::bar"),
        ("_ZN3std2io5stdio6_print17h0123456789abcdefE", "std::io::stdio::_print", "std::io::stdio::_print"),
        (
            "_ZN4core3ptr42drop_in_place$LT$alloc..string..String$GT$17h74fcf9daa27717aeE",
            "core::ptr::drop_in_place<alloc::string::String>",
            "core::ptr::drop_in_place<alloc::string::String>",
        ),
        ("_Znot a name", "_Znot a name", "_Znot a name"),
        ("", "", ""),
    ],
)
def test_names(linked: str, whole: str, short: str) -> None:
    assert demangle(linked) == whole
    assert function_name(linked) == short
