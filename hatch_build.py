"""Compiles the package's C files where there is a compiler; without one snaptui does the same with numpy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAMES = ("encoder", "hash", "take", "scan", "pages", "inbox", "files")
SOURCES = tuple(f"snaptui/engine/compiled/{name}.c" for name in NAMES)
LIBRARY = "snaptui/engine/compiled/libsnaptui.so"
FLAGS = ("-O3", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra")


class CompileHook(BuildHookInterface):
    """Makes the library beside its source, for editable installations too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile it before the wheel is built."""
        if self.target_name != "wheel" or not self._compile(Path(self.root)):
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["artifacts"].append(LIBRARY)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"  # it calls nothing of Python's

    def _compile(self, root: Path) -> bool:
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        draft = root / f"{LIBRARY}.{os.getpid()}"
        if compiler:
            command = [*compiler.split(), *FLAGS, "-o", draft, *(root / source for source in SOURCES)]
            if subprocess.run(command, check=False).returncode == 0:
                draft.replace(root / LIBRARY)
                return True
        self.app.display_warning("no C compiler that works: numpy will do its work, half as fast")
        return False
