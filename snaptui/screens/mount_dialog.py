"""The dialog before a server is started."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Checkbox, Input, Static

from snaptui.children.commands import MountRequest
from snaptui.explain import visible
from snaptui.widgets.dialog import Dialog
from snaptui.widgets.tick import Tick


class MountDialog(Dialog[MountRequest]):
    """Which snapshot, where."""

    HELP: ClassVar[str] = (
        "Mount point empty: $XDG_RUNTIME_DIR/snapfs/proc, or /tmp/snapfs-UID/proc. With a service "
        "name the tree is served as 9P at a socket (a name, a path, or tcp!HOST!PORT), and only "
        "mounted if a mount point is given too.\n"
        "Before: the saved processes hide what the directory holds under the same names; after: the "
        "other way round."
    )
    SHELL: ClassVar[tuple[str, ...]] = ("snapfs [-a] [-m MTPT] [-s SERVICE] FILE",)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "go", "Mount", id="mount.go", tooltip="Begin to serve"),
    ]

    def __init__(self, path: str = "", mountpoint: str = "") -> None:
        super().__init__()
        self._path, self._mountpoint = path, mountpoint

    def compose(self) -> ComposeResult:
        """The fields."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Mount a snapshot"
            box.border_subtitle = "space: tick   ctrl+s: mount   escape: back"
            yield Static("Snapshot", classes="label")
            if self._path:
                yield Static(visible(self._path), markup=False)
            else:
                yield Input("", id="path", select_on_focus=False)
            yield Static("Mount point (empty: the usual place)", classes="label")
            yield Input(self._mountpoint, id="mountpoint", select_on_focus=False)
            yield Static("9P service: a name, a path, or tcp!HOST!PORT (empty: none)", classes="label")
            yield Input("", id="service", select_on_focus=False)
            yield Tick("After what the directory holds, not before it", False, id="after")
            yield Static("", id="problem", classes="error", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Mount", variant="primary", id="go", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """Begin at what is still to be said."""
        self.query_one("#mountpoint" if self._path else "#path").focus()

    def on_input_submitted(self) -> None:
        """Enter."""
        self.action_go()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button."""
        if event.button.id == "go":
            self.action_go()
        else:
            self.dismiss(None)

    def action_go(self) -> None:
        """Begin."""
        path = Path(self._path or self._value("path")).expanduser()
        if not path.is_file():
            self.query_one("#problem", Static).update("there is no such file")
            return
        mountpoint = self._value("mountpoint")
        self.dismiss(
            MountRequest(
                str(path.absolute()),
                str(Path(mountpoint).expanduser().absolute()) if mountpoint else "",
                self._value("service"),
                self.query_one("#after", Checkbox).value,
            )
        )

    def _value(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()
