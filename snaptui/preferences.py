"""What the app remembers from one run to the next, in a small JSON file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

_RECENT: Final = 20
"""Snapshots outside of the folder that are remembered."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """The settings; whatever is not in the file, or is no sensible value there, is as here."""

    theme: str = ""
    """Empty: chosen by what the terminal can show."""
    order: str = "pid"
    descending: bool = False
    only_mine: bool = True
    hidden_columns: tuple[str, ...] = ()
    folder: str = ""
    """Where snapshots are kept; empty: the default place."""
    recent: tuple[str, ...] = ()
    """Snapshots elsewhere that were opened, the last one first."""
    snapshots_order: str = "date"
    snapshots_descending: bool = True
    compress: bool = False
    servers: Literal["ask", "stay", "stop"] = "ask"
    """What becomes of servers started in the app when it ends."""

    def with_recent(self, path: str) -> Preferences:
        """These, with `path` as the one opened last."""
        recent = (path, *(other for other in self.recent if other != path))
        return dataclasses.replace(self, recent=recent[:_RECENT])


class PreferencesFile:
    """The file. Without it, or if it cannot be written, all works, and nothing is remembered."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: remember nothing."""
        self._path = path

    def load(self) -> Preferences:
        """What is remembered."""
        if self._path is None:
            return Preferences()
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Preferences()
        return _sensible(found) if isinstance(found, dict) else Preferences()

    def save(self, preferences: Preferences) -> None:
        """Remember."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, draft = tempfile.mkstemp(dir=self._path.parent, prefix=".settings-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(preferences), file, indent=1)
            os.replace(draft, self._path)


def default_file() -> PreferencesFile:
    """The user's, under XDG_CONFIG_HOME."""
    from platformdirs import user_config_path

    return PreferencesFile(user_config_path("snaptui", appauthor=False) / "settings.json")


def default_folder() -> Path:
    """Where snapshots are kept unless told otherwise, under XDG_DATA_HOME."""
    from platformdirs import user_data_path

    return user_data_path("snaptui", appauthor=False)


def _sensible(found: dict[str, Any]) -> Preferences:
    kept: dict[str, Any] = {}
    for field in dataclasses.fields(Preferences):
        value = found.get(field.name)
        default = field.default
        if isinstance(default, tuple) and isinstance(value, list):
            kept[field.name] = tuple(word for word in value if isinstance(word, str))
        elif type(value) is type(default) and (field.name != "servers" or value in ("ask", "stay", "stop")):
            kept[field.name] = value
    return Preferences(**kept)
