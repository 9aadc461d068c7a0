"""Who may import whom, and what the engine never does: read from the code itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import snaptui
from snaptui.cli import COMMANDS
from tests.helpers.commands import environment

PACKAGE = Path(snaptui.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

FRONT = ("textual", "rich", "rich_argparse", "shtab", "argparse", "click")
SHELL = (
    *(
        "snaptui.cli",
        "snaptui.commands",
        "snaptui.app",
        "snaptui.flows",
        "snaptui.screens",
        "snaptui.widgets",
    ),
    *("snaptui.children", "snaptui.preferences", "snaptui.sources", "snaptui.polling"),
)
BEHIND = ("snaptui.app", "snaptui.flows", "snaptui.cli", "snaptui.commands")
FORBIDDEN = {
    "snaptui.engine": (*FRONT, *SHELL, "snaptui.explain"),
    "snaptui.engine.snapfile": ("snaptui.engine.take", "snaptui.engine.serve", "snaptui.engine.inspect"),
    "snaptui.engine.take": ("snaptui.engine.serve", "snaptui.engine.inspect"),
    "snaptui.engine.serve": ("snaptui.engine.take",),
    "snaptui.engine.inspect": ("snaptui.engine.take", "snaptui.engine.serve"),
    "snaptui.widgets": (*BEHIND, "snaptui.screens", "os", "struct"),
    "snaptui.screens": (*BEHIND, "os", "struct"),
    "snaptui.flows": ("snaptui.app", "snaptui.cli", "snaptui.commands"),
    "snaptui.children": (*FRONT, *BEHIND, "snaptui.screens", "snaptui.widgets"),
    "snaptui.commands": ("snaptui.widgets", "snaptui.screens", "snaptui.flows", "textual"),
    "snaptui.cli": ("textual", "numpy", "rich"),
}
"""Package or module -> what nothing in it may import."""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    """The full names of all that a module imports; with `top_only` when it is imported itself."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def lies_in(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    name = module_name(path)
    forbidden = [bad for place, list_ in FORBIDDEN.items() if lies_in(name, place) for bad in list_]
    found = {f"{used} (as {bad})" for used in imports(path) for bad in forbidden if lies_in(used, bad)}
    assert not found, f"{name} must not import {', '.join(sorted(found))}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_heavy_libraries_are_imported_only_where_they_are_needed(path: Path) -> None:
    """The command line's modules import rich, shtab and the like inside of functions."""
    front = ("snaptui.engine", "snaptui.app", "snaptui.flows", "snaptui.screens", "snaptui.widgets")
    if module_name(path).startswith(front):
        return
    heavy = ("rich", "rich_argparse", "shtab", "textual", "numpy", "backports")
    found = [used for used in imports(path, top_only=True) if used.split(".")[0] in heavy]
    assert not found, f"{path}: imports {found} at its top"


@pytest.mark.parametrize("path", sorted((PACKAGE / "engine").rglob("*.py")), ids=module_name)
def test_the_engine_prints_nothing_and_ends_nothing(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            assert call not in ("print", "input", "exit", "quit", "sys.exit", "os._exit", "breakpoint"), (
                f"{path}:{node.lineno} calls {call}"
            )
        if isinstance(node, ast.Attribute):
            used = ast.unparse(node)
            assert used not in ("sys.stdout", "sys.stderr", "sys.stdin"), f"{path}:{node.lineno} uses {used}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_and_functions_are_of_a_size_to_review(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 400, f"{path}: more than 400 lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            limit = 250 if isinstance(node, ast.ClassDef) else 60
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= limit, f"{path}: {node.name} has {length} lines, more than {limit}"


def modules_after(code: str) -> set[str]:
    """The modules that are loaded after `code` ran in a new interpreter."""
    report = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = subprocess.run(
        [sys.executable, "-c", f"{report}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("program", ["snap", "snapfs", "snaptui"])
def test_help_loads_nothing_heavy(program: str) -> None:
    code = f"import sys; sys.argv = ['{program}', '--help']; from snaptui.start import {program}; {program}()"
    loaded = modules_after(code)
    assert "snaptui.cli" in loaded
    heavy = {"numpy", "rich", "textual", "backports", "ptrace", "shtab", "rich_argparse"}
    assert not loaded & (heavy | {"asyncio", "tarfile"})
    others = {f"snaptui.commands.{command.name}" for command in COMMANDS} & loaded
    assert len(others) <= 1, f"commands that are not run were imported: {others}"


def test_a_module_of_the_command_line_is_not_loaded_by_the_engine() -> None:
    engine = [module_name(path) for path in (PACKAGE / "engine").rglob("*.py")]
    loaded = modules_after("\n".join(f"import {name}" for name in engine))
    assert set(engine) <= loaded
    assert not loaded & {"argparse", "rich", "textual", "snaptui.cli", "snaptui.explain", "snaptui.commands"}
