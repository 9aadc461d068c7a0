"""The tab Files: what /proc had of a saved process, as text."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.containers import Horizontal

from snaptui.engine.errors import SnapError
from snaptui.engine.inspect.files import SavedFile, as_lines, read_file, saved_files
from snaptui.engine.inspect.opened import Opened
from snaptui.explain import explain
from snaptui.screens.inside.lists import FilteredList
from snaptui.widgets.columns import Column
from snaptui.widgets.row_table import RowTable
from snaptui.widgets.textview import TextView
from snaptui.widgets.units import short_size

_COLUMNS: Final[tuple[Column[SavedFile], ...]] = (
    Column(
        "size", "SIZE", 5, lambda f: "->" if f.is_link else short_size(f.size), lambda f: f.size, right=True
    ),
    Column("name", "FILE", 0, lambda f: f.name, lambda f: f.name),
)


class FilesPane(Horizontal):
    """A list of files, and the contents of the chosen one."""

    DEFAULT_CSS = """
    FilesPane {
        & > FilteredList { width: 30; border-right: solid $panel; }
        & > TextView { width: 1fr; }
    }
    """
    HELP: ClassVar[str] = (
        "The files that /proc had: first those that Plan 9 knows, then Linux's. What is no text is shown in "
        "hexadecimal. Enter goes to the contents, tab comes back."
    )
    SHELL: ClassVar[tuple[str, ...]] = ("snaptui cat FILE PID NAME",)

    def __init__(self, opened: Opened) -> None:
        super().__init__(id="files-pane")
        self._process = opened.process
        self._shown = ""

    def compose(self) -> ComposeResult:
        """The list and the contents."""
        yield FilteredList[SavedFile](
            _COLUMNS,
            lambda file: file.name,
            lambda file: file.name,
            table_id="file-names",
            placeholder="a part of the name",
        )
        yield TextView(id="file-text")

    def on_mount(self) -> None:
        """Show the names."""
        self.query_one(FilteredList).show(saved_files(self._process))

    def show_file(self, name: str) -> None:
        """Put the cursor on a file."""
        self.query_one(RowTable).go_to(name)

    def on_filtered_list_moved(self, event: FilteredList.Moved) -> None:
        """Show the contents of another file."""
        event.stop()
        file = self.query_one(RowTable).current
        if isinstance(file, SavedFile) and file.name != self._shown:
            self._shown = file.name
            self._show(file)

    def _show(self, file: SavedFile) -> None:
        view = self.query_one(TextView)
        try:
            content = read_file(self._process, file)
        except SnapError as error:
            view.show([explain(error).message])
            return
        lines = as_lines(file.name, content)
        view.show(["(empty)"] if not content else lines, content)

    def on_filtered_list_chosen(self, event: FilteredList.Chosen) -> None:
        """To the contents."""
        event.stop()
        self.screen.set_focus(self.query_one(TextView))
