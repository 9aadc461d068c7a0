"""A screen some of whose widgets come to be seen later, and hear of it."""

from __future__ import annotations

from typing import Any

from textual._compositor import Compositor, CompositorMap, ReflowResult
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget


class TabbedScreen(Screen[None]):
    """A screen that tells each widget when it is shown or gets another size."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._compositor = _TellingCompositor()


class _TellingCompositor(Compositor):
    """Finds out who is shown and who is resized by comparing with what it last told.

    Textual's own compares with where the widgets were when somebody last asked. When that is between a change
    and its layout, as on a busy machine, whoever came to be seen gets neither Show nor Resize: a tab stays
    empty (as in Textual's issue 5024).
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: CompositorMap = {}

    def clear(self) -> None:
        """Forget all widgets."""
        super().clear()
        self._told = {}

    def reflow(self, parent: Widget, size: Size) -> ReflowResult:
        """Lay out; the widgets that are hidden, shown and resized by it."""
        self._full_map = self._told
        changes = super().reflow(parent, size)
        self._told = self._full_map
        return changes
