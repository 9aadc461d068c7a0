"""Makes the pictures of the app, on real data: programs that hang, saved, looked into and mounted.

    python docs/screenshots.py DIRECTORY

As root it does so among processes of its own alone (a PID namespace); otherwise the list of processes
is that of this machine. PNGs need rsvg-convert and the font DejaVu Sans Mono.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from textual.pilot import Pilot

from snaptui.app import SnaptuiApp
from snaptui.preferences import PreferencesFile
from snaptui.sources import real_sources
from snaptui.widgets.row_table import RowTable

REPOSITORY: Final = Path(__file__).resolve().parent.parent
SIZE: Final = (110, 30)
SMALL: Final = (80, 24)
PATIENCE: Final = 30.0
TO_FIND: Final = "show % line"
"""What demo/page-demo.c writes into its heap, again and again."""
_INSIDE: Final = "SNAPTUI_SCREENSHOTS_INSIDE"

Take = Callable[[str], Awaitable[None]]


@contextlib.contextmanager
def hanging(directory: Path, names: Sequence[str]) -> Iterator[list[int]]:
    """The demonstration's program that hangs, under these names."""
    program = directory / "page-demo"
    source = REPOSITORY / "demo/page-demo.c"
    subprocess.run(["cc", "-g", "-o", program, source, "-lpthread", "-lm", "-ldl"], check=True)
    running = []
    try:
        for name in names:
            shutil.copy(program, directory / name)
            running.append(subprocess.Popen([directory / name], stdout=subprocess.PIPE, cwd=directory))
        for popen in running:
            assert popen.stdout is not None
            assert popen.stdout.readline() == b"ready\n"
        yield [popen.pid for popen in running]
    finally:
        for popen in running:
            popen.kill()
            popen.wait()


def text_of(app: SnaptuiApp) -> str:
    """What is on the screen."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def until(pilot: Pilot[Any], *words: str) -> None:
    """Let the app run until the words are on the screen."""
    deadline = time.monotonic() + PATIENCE
    while not all(word in text_of(pilot.app) for word in words):  # type: ignore[arg-type]
        if time.monotonic() > deadline:
            raise SystemExit(f"{words} did not appear on:\n{text_of(pilot.app)}")  # type: ignore[arg-type]
        await pilot.pause(0.02)


async def type_text(pilot: Pilot[Any], text: str) -> None:
    """Type."""
    from textual.keys import _character_to_key

    await pilot.press(*(_character_to_key(character) for character in text))


def save(app: SnaptuiApp, target: Path) -> None:
    """The screen as SVG, and as PNG where that can be made."""
    # What rsvg-convert does not know of the SVG: its font, and blanks at the beginning of a text.
    svg = app.export_screenshot(title="snaptui", simplify=True)
    target.with_suffix(".svg").write_text(svg)
    if shutil.which("rsvg-convert") is None:
        return
    plain = (
        svg.replace("<text ", '<text xml:space="preserve" ')
        .replace("&#160;", " ")
        .replace("Fira Code", "DejaVu Sans Mono")
        .replace("font-size: 20px", "font-size: 20.266px")
    )
    subprocess.run(
        ["rsvg-convert", "-z", "0.75", "-o", target.with_suffix(".png")], input=plain.encode(), check=True
    )


async def take_all(folder: Path, target: Path, pids: Sequence[int], size: tuple[int, int]) -> None:
    """Go through the app and take a picture of each screen."""
    sources = dataclasses.replace(
        real_sources(), folder=folder / "snapshots", preferences=PreferencesFile(None), uid=os.getuid()
    )
    app = SnaptuiApp(sources)
    async with app.run_test(size=size) as pilot:
        app.theme = "snaptui-dark"

        async def take(name: str) -> None:
            await pilot.pause(0.3)
            save(app, target / name)

        await processes(pilot, take)
        await capture(pilot, take)
        await inside(pilot, take, pids[0])
        await others(pilot, take, folder)


async def processes(pilot: Pilot[Any], take: Take) -> None:
    """The list, a process, the help."""
    await until(pilot, "page", "gs", "futex")
    await pilot.press("h")
    await pilot.pause(3)  # until they are seen to stand still
    await until(pilot, "STILL")
    for number, name in enumerate(("page", "gs"), 1):
        await type_text(pilot, f"//^{name}$/")
        await until(pilot, "1 of")
        await pilot.press("enter", "space")
        await until(pilot, f"{number} marked")
        await pilot.press("escape")
    await pilot.press("home")
    await take("processes")
    table = pilot.app.screen.query_one("#process-table", RowTable)
    page = next(row for row in table.rows if row.process.name == "page")
    table.go_to(page.key)
    await pilot.press("enter")
    await until(pilot, "Threads (4)")
    await take("process")
    await pilot.press("escape", "question_mark")
    await until(pilot, "Help: Processes")
    await take("help")
    await pilot.press("escape")


async def capture(pilot: Pilot[Any], take: Take) -> None:
    """The dialog and the result."""
    await pilot.press("s")
    await until(pilot, "Save as")
    await take("capture")
    await pilot.press("enter")
    await until(pilot, "stopped for")
    await take("saved")


async def inside(pilot: Pilot[Any], take: Take, pid: int) -> None:
    """The tabs of an opened snapshot."""
    await pilot.press("enter")
    await until(pilot, "Memory", "Segments", f"{pid} page")
    await pilot.press("slash")
    await until(pilot, "what to look for")
    await type_text(pilot, TO_FIND)
    await pilot.press("enter")
    await until(pilot, "hit 1", "of page 2"[:4])
    await take("memory")
    for key, name in (("2", "segments"), ("3", "threads"), ("4", "files"), ("5", "strings")):
        await pilot.press(key)
        await pilot.pause(1)
        await take(name)
    await pilot.press("6")
    await until(pilot, "STAND IN", "main")
    await pilot.press("enter")
    await take("stacks")
    await pilot.press("7")
    await until(pilot, "deadlock")
    await take("why")
    await pilot.press("1", "q")
    await until(pilot, "1 Processes")


async def others(pilot: Pilot[Any], take: Take, folder: Path) -> None:
    """Snapshots and mounts."""
    await pilot.press("2")
    await until(pilot, "1 snapshot")
    await take("snapshots")
    await pilot.press("m")
    await until(pilot, "Mount point")
    await type_text(pilot, str(folder / "mnt"))
    await pilot.press("enter")
    await until(pilot, "1 server")
    await pilot.pause(6)  # until the notice has gone
    await take("mounts")
    await pilot.press("u")
    await until(pilot, "0 servers")


def main() -> None:
    """Make them all."""
    target = Path(sys.argv[1]).resolve()
    if os.geteuid() == 0 and _INSIDE not in os.environ:
        # Only the processes that are started here shall be in the pictures.
        again = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, *sys.argv]
        os.execvpe(again[0], again, {**os.environ, _INSIDE: "1"})
    target.mkdir(exist_ok=True)
    os.environ.setdefault("COLORTERM", "truecolor")
    with tempfile.TemporaryDirectory(prefix="snaptui-") as name:
        folder = Path(name)
        os.environ["XDG_RUNTIME_DIR"] = name
        os.chmod(name, 0o700)
        with hanging(folder, ["page", "gs"]) as pids, contextlib.ExitStack() as stack:
            for words in (["sleep", "1000"], ["cat"], ["bash", "-c", "while :; do :; done"]):
                popen = subprocess.Popen(words, stdin=subprocess.PIPE)
                stack.callback(popen.wait)
                stack.callback(popen.kill)
            asyncio.run(take_all(folder, target, pids, SIZE))
            shutil.rmtree(folder / "snapshots")
            (target / "80x24").mkdir(exist_ok=True)
            asyncio.run(take_all(folder, target / "80x24", pids, SMALL))


if __name__ == "__main__":
    main()
