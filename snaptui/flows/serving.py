"""Servers: starting and ending them, and programs that get the terminal for a while."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence

from snaptui.children.commands import start_server
from snaptui.engine.errors import SnapError
from snaptui.engine.serve.registry import Entry, end
from snaptui.flows.desk import Desk, wait_for_enter
from snaptui.screens.ask import Confirm
from snaptui.screens.choose import Choose
from snaptui.screens.mount_dialog import MountDialog
from snaptui.screens.mounts import place_text
from snaptui.screens.progress import ProgressScreen


async def mount(app: Desk, path: str) -> None:
    """Ask where, and serve a snapshot there."""
    request = await app.push_screen_wait(MountDialog(path))
    if request is None:
        return
    before = {(entry.pid, entry.start_ticks) for entry in await asyncio.to_thread(app.sources.servers)}
    try:
        child = start_server(app.sources.command, request)
    except OSError as error:
        app.show_error(error)
        return
    await app.push_screen_wait(ProgressScreen(f"Mounting {os.path.basename(request.path)}", child))
    if child.status != 0:
        app.show_failure(child)
        return
    # In a thread: the list of servers is locked while another program mounts or unmounts.
    now = await asyncio.to_thread(app.sources.servers)
    started = [entry for entry in now if (entry.pid, entry.start_ticks) not in before]
    app.servers.extend(started)
    for entry in started:
        app.notify(f"Served: {place_text(entry)}", markup=False)
    app.show_mounts()


async def end_server(app: Desk, entry: Entry) -> None:
    """End a server, in a thread: it may take seconds."""
    try:
        how = await asyncio.to_thread(end, entry)
    except SnapError as error:
        app.show_error(error)
    else:
        words = {
            "ended": "Unmounted",
            "killed": "It did not end when asked, and was killed",
            "gone": "Gone already",
        }
        app.notify(f"{words[how]}: {place_text(entry)}", markup=False)
    app.show_mounts(look_only=True)


async def settle_servers(app: Desk, servers: Sequence[Entry]) -> bool:
    """Before the app ends: whether servers that it started stay. False: the user does not want to end."""
    alive = [entry for entry in servers if entry.is_alive]
    wish = app.preferences.servers
    if not alive or wish == "stay":
        return True
    if wish == "ask":
        places = "\n".join(f"  {place_text(entry)}" for entry in alive)
        answers = (("stay", "Leave them running"), ("stop", "End them"), ("back", "Don't quit"))
        answer = await app.push_screen_wait(
            Confirm("Quit", f"Servers that you started here still run:\n{places}", answers)
        )
        if answer not in ("stay", "stop"):
            return False
        wish = "stop" if answer == "stop" else "stay"
    if wish == "stop":
        for entry in reversed(alive):
            await end_server(app, entry)
    return True


async def shell(app: Desk, entry: Entry) -> None:
    """A shell in the mount, with the terminal; the app comes back after it."""
    if not entry.mountpoint:
        app.warn("this server has no mount point, only 9P at " + " ".join(entry.services))
        return
    program = os.environ.get("SHELL", "/bin/sh")
    with app.lend_terminal():
        print(f"snaptui: a shell in {entry.mountpoint}\nexit brings the app back", flush=True)  # noqa: T201
        try:
            subprocess.run([program], cwd=entry.mountpoint, check=False)
        except OSError as error:
            problem: OSError | None = error
        else:
            problem = None
    app.refresh(layout=True)
    if problem is not None:
        app.show_error(problem)


async def debugger(app: Desk, path: str, pid: int, pids: Sequence[tuple[int, str]]) -> None:
    """Run gdb on a saved process, with the terminal."""
    if not pid:
        chosen = str(pids[0][0]) if len(pids) == 1 else await _choose(app, pids)
        if not chosen:
            return
        pid = int(chosen)
    with app.lend_terminal():
        done = subprocess.run([*app.sources.command, "gdb", path, str(pid)], check=False)
        if done.returncode:
            wait_for_enter(f"gdb ended with status {done.returncode}")
    app.refresh(layout=True)


async def _choose(app: Desk, pids: Sequence[tuple[int, str]]) -> str | None:
    options = [(str(pid), f"{pid}  {name}") for pid, name in pids]
    return await app.push_screen_wait(Choose("gdb on which process?", options)) if options else None
