"""The line of keys at the foot of a screen: those most needed, and of the others what there is room for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget

IF_ROOM: Final = Binding.Group("if there is room")
"""The group of keys that are shown when those of no group leave room for them."""


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key as the line shows it: `space Mark`, and a blank."""

    binding: Binding
    display: str
    enabled: bool = True

    @property
    def width(self) -> int:
        """Its cells."""
        return cell_len(self.display) + 1 + cell_len(self.binding.description) + 1


def fitting(keys: Iterable[ShownKey], room: int) -> list[ShownKey]:
    """Those that `room` cells hold: all of no group, and of IF_ROOM one after the other while they fit."""
    first: dict[str, ShownKey] = {}
    for key in keys:
        if key.binding.show:
            first.setdefault(key.binding.action, key)
    left = room - sum(key.width for key in first.values() if key.binding.group is not IF_ROOM)
    found = []
    for key in first.values():
        if key.binding.group is IF_ROOM:
            left -= key.width
            if left < 0:
                continue
        found.append(key)
    return found


class KeyLine(Widget, can_focus=False):
    """The keys of what has the focus, and of all around it. A click is the key."""

    DEFAULT_CSS = """
    KeyLine {
        dock: bottom; height: 1;
        color: $footer-description-foreground; background: $footer-background;
        & > .key-line--key { color: $footer-key-foreground; text-style: bold; }
        & > .key-line--disabled { text-style: dim; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-line--key", "key-line--disabled"}
    ALLOW_SELECT = False

    def on_mount(self) -> None:
        """Other keys, when something else has the focus."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        # In a terminal without the focus nothing has it; the keys are as before when it comes back.
        if screen.app.app_focus:
            self.refresh()

    @property
    def keys(self) -> list[ShownKey]:
        """What is shown."""
        return fitting(
            (
                ShownKey(active.binding, self.app.get_key_display(active.binding), active.enabled)
                for active in self.screen.active_bindings.values()
            ),
            self.size.width,
        )

    def render(self) -> Text:
        """The line."""
        text = Text(no_wrap=True)
        key_style = self.get_component_rich_style("key-line--key", partial=True)
        disabled = self.get_component_rich_style("key-line--disabled", partial=True)
        for key in self.keys:
            text.append(key.display, key_style)
            text.append(f" {key.binding.description} ", "" if key.enabled else disabled)
        return text

    def _key_at(self, x: int) -> ShownKey | None:
        for key in self.keys:
            x -= key.width
            if x < 0:
                return key
        return None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """What the key under the mouse does."""
        key = self._key_at(event.x)
        self.tooltip = key.binding.tooltip if key is not None else None

    def on_click(self, event: events.Click) -> None:
        """Press the key."""
        if (key := self._key_at(event.x)) is not None:
            self.app.simulate_key(key.binding.key)
