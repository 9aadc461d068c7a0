"""Names of C++ and Rust as a person writes them.

LLVM's demanglers (pycxxfilt) know both, and Rust's newer scheme too; where they are not installed names stay
as the linker has them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Final

_HASH: Final = re.compile(r"::h[0-9a-f]{16}$")
"""What Rust's older scheme puts behind a name to tell crates apart; no person wrote it."""
_ESCAPE: Final = re.compile(r"_?\$(u[0-9a-f]{1,5}|[A-Z]{1,2})\$")
_ESCAPED: Final = {"LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ",", "RF": "&", "BP": "*", "SP": "@"}
"""How the older scheme writes what no linker takes (rustc-demangle, legacy.rs); `u7b` is a code point."""
_MANGLED: Final = ("_Z", "_R", "__Z", "___Z")


@functools.lru_cache(maxsize=16384)
def demangle(name: str) -> str:
    """`_ZN4shop4TillIiE4takeEi` as `shop::Till<int>::take(int)`; any other name as it is."""
    name = name.partition("@")[0]  # a version: pthread_cond_wait@@GLIBC_2.3.2
    if not name.startswith(_MANGLED):
        return name
    try:
        found = _demangler()(name)
    except ValueError:
        return name
    if not found:
        return name
    if _HASH.search(found):
        found = _ESCAPE.sub(_unescaped, _HASH.sub("", found)).replace("..", "::")
    return found


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    return chr(int(code[1:], 16)) if code.startswith("u") else _ESCAPED.get(code, escape[0])


def function_name(name: str) -> str:
    """A demangled name without its parameters, and a template's without its type: `shop::Till<int>::take`."""
    mangled, name = name, demangle(name)
    if name == mangled:
        return name
    depth = start = index = 0
    while index < len(name):
        character = name[index]
        if character in "<[{":
            depth += "operator" not in name[max(0, index - 9) : index]
        elif character in ">]}" and depth and name[index - 1 : index] != "-":
            depth -= 1
        elif character == "(" and depth == 0:
            end = _behind(name, index)
            if not _is_part_of_name(name, index, end):
                return name[start:index]
            index = end
            continue
        elif character == " " and depth == 0 and not name[start:index].endswith("operator"):
            start = index + 1
        index += 1
    return name


def _is_part_of_name(name: str, index: int, end: int) -> bool:
    """Whether the bracket belongs to the name: `operator()`, `(anonymous namespace)`, `main::'lambda'()`.

    So do the parameters of a function that the named one is inside of: `Pool::Pool(int)::'lambda'()`.
    """
    return (
        name.startswith("(anonymous", index)
        or name[:index].endswith(("operator", "'"))
        or name.startswith("::", end)
    )


def _behind(name: str, index: int) -> int:
    """Where the text goes on behind a bracket, and behind a `const` of a scope: `f() const::'lambda'()`."""
    depth = 0
    for at in range(index, len(name)):
        depth += (name[at] == "(") - (name[at] == ")")
        if not depth:
            end = at + 1
            return end + len(" const") if name.startswith(" const::", end) else end
    return len(name)


@functools.cache
def _demangler() -> Callable[[str], str | None]:
    try:
        from pycxxfilt import demangle as found
    except ImportError:
        return lambda name: None  # noqa: ARG005
    return found
