"""Whoever comes to be seen hears of it, also on a machine that is busy."""

from __future__ import annotations

import asyncio

from textual import events
from textual.app import App, ComposeResult
from textual.widgets import ContentSwitcher, Static

from snaptui.widgets.tabbed_screen import TabbedScreen


class Heard(Static):
    """Keeps what it hears."""

    def on_mount(self) -> None:
        self.heard: list[type[events.Event]] = []

    def on_show(self) -> None:
        self.heard.append(events.Show)

    def on_resize(self) -> None:
        self.heard.append(events.Resize)


class TwoTabs(TabbedScreen):
    def compose(self) -> ComposeResult:
        with ContentSwitcher(initial="first"):
            yield Static("the first", id="first")
            yield Heard("the second", id="second")


class Tabs(App[None]):
    def get_default_screen(self) -> TwoTabs:
        return TwoTabs()


async def test_who_is_shown_hears_of_it_when_the_places_are_asked_for_in_between() -> None:
    app = Tabs()
    async with app.run_test() as pilot:
        screen = app.screen
        switcher, second = screen.query_one(ContentSwitcher), screen.query_one(Heard)
        first = screen.query_one("#first")
        assert second.heard == []
        busy = asyncio.Event()
        for widget in (switcher, first, second):  # so that the layout comes late
            widget.call_later(busy.wait)
        await asyncio.sleep(0.05)
        switcher.current = "second"
        screen._compositor.update_widgets({second})  # as a timer of the screen does with who is to be drawn
        assert second in screen._compositor.full_map, "asked for in between"
        busy.set()
        await pilot.pause(0.2)
        assert sorted(event.__name__ for event in second.heard) == ["Resize", "Show"]

        switcher.current = "first"
        await pilot.pause(0.1)
        second.heard.clear()
        switcher.current = "second"
        await pilot.pause(0.1)
        assert sorted(event.__name__ for event in second.heard) == ["Resize", "Show"], "each time"
        await pilot.resize_terminal(60, 20)
        await pilot.pause(0.1)
        assert second.heard.count(events.Resize) == 2
        assert second.heard.count(events.Show) == 1
