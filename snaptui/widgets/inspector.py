"""The data inspector: what the bytes at the cursor could mean, and where a pointer leads."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

from snaptui.engine.inspect.opened import Link
from snaptui.engine.inspect.values import Value
from snaptui.explain import visible


def narrow_text(values: Sequence[Value], chain: Sequence[Link]) -> Text:
    """All in six lines of 78 cells."""
    by_name = {value.name: value.text for value in values}
    lines = [
        _row((("u8", 5), ("u16", 7), ("u32", 12), ("u64", 20)), by_name),
        _row((("i8", 5), ("i16", 7), ("i32", 12), ("i64", 20)), by_name),
        _row((("f32", 13), ("f64", 21), ("char", 20)), by_name),
        _row((("time", 39),), by_name),
        _row((("pointer", 60),), by_name),
        Text("→ ", style="dim").append(" → ".join(map(_link, chain)), style="not dim") if chain else Text(),
    ]
    return _lines(lines)


def wide_text(values: Sequence[Value], chain: Sequence[Link]) -> Text:
    """One value in each line, then the chain of pointers, one below the other."""
    lines = [_label(f"{value.name:<4} ").append(visible(value.text)) for value in values]
    for depth, link in enumerate(chain):
        lines.append(Text("  " * depth + "→ ", style="dim").append(_link(link), style="not dim"))
    return _lines(lines)


def _lines(lines: Sequence[Text]) -> Text:
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _row(cells: Sequence[tuple[str, int]], values: dict[str, str]) -> Text:
    row = Text()
    for name, width in cells:
        row.append_text(_label(f"{name} ")).append(f"{visible(values.get(name, '-')):<{width}}  ")
    return row


def _label(text: str) -> Text:
    return Text().append(text, style="dim")


def _link(link: Link) -> str:
    return visible(f'{link.place} "{link.text}"' if link.text else link.place)


class Inspector(Static):
    """Shows values; `show` is called as the cursor moves, and lays nothing out anew."""

    DEFAULT_CSS = """
    Inspector {
        height: 6;
        padding: 0 1;
        background: $surface;
        &.-wide { height: 20; }
        &:ansi { background: ansi_default; }
    }
    """

    def __init__(self, *, is_wide: bool = False) -> None:
        super().__init__("", markup=False)
        self._is_wide = is_wide
        self._shown: tuple[Sequence[Value], Sequence[Link]] = ((), ())
        self.set_class(is_wide, "-wide")

    def show(self, values: Sequence[Value], chain: Sequence[Link]) -> None:
        """Show what was found at the cursor."""
        self._shown = values, chain
        if self.size.height:
            self._draw()

    def on_resize(self) -> None:
        """There is room now: show what was found before."""
        self._draw()

    def _draw(self) -> None:
        self.update((wide_text if self._is_wide else narrow_text)(*self._shown), layout=False)
