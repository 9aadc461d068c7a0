"""A real terminal for the app: tmux, driven by keys alone and read as a person reads it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.commands import environment
from tests.helpers.victims import wait_until


@dataclass(frozen=True)
class Terminal:
    """A tmux server of its own with one window, and the app in it."""

    socket: Path
    status_file: Path

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), *words], capture_output=True, text=True, check=False
        )
        return done.stdout

    def screen(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Send keys by tmux's names: `Enter`, `Escape`, `C-o`, `a`."""
        for key in keys:
            self._tmux("send-keys", key)

    def type(self, text: str) -> None:
        """Send text as it is."""
        self._tmux("send-keys", "-l", text)

    def wait_for(self, *words: str) -> str:
        """The screen, when all the words are on it."""
        seen = ""

        def shown() -> bool:
            nonlocal seen
            seen = self.screen()
            return all(word in seen for word in words)

        try:
            wait_until(shown, f"{words} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{seen}") from None
        return seen

    def wait_without(self, word: str) -> str:
        """The screen, when the word is not on it (any more)."""
        wait_until(lambda: word not in self.screen(), f"{word!r} vanishes")
        return self.screen()

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))
        tty = self._tmux("list-panes", "-F", "#{pane_tty}").strip()

        def told() -> bool:
            # Tmux 3.3a tells the tty later, and on a busy machine only when something happens there:
            # opening it is enough.
            descriptor = os.open(tty, os.O_RDONLY | os.O_NOCTTY)
            with contextlib.closing(os.fdopen(descriptor)):
                return os.get_terminal_size(descriptor) == (width, height)

        wait_until(told, f"tmux makes its window {width}x{height}")

    def pids(self) -> list[int]:
        """What the shell of the window runs."""
        shell = self._tmux("list-panes", "-F", "#{pane_pid}").strip()
        try:
            return [int(pid) for pid in Path(f"/proc/{shell}/task/{shell}/children").read_text().split()]
        except FileNotFoundError:  # it has ended
            return []

    def pid(self) -> int:
        """The app's process."""
        return self.pids()[0]

    def status(self) -> int:
        """The app's exit status, when it has ended."""
        wait_until(
            lambda: self.status_file.exists() and self.status_file.read_text().strip(), "the app's end"
        )
        return int(self.status_file.read_text())


@contextlib.contextmanager
def app_in_terminal(
    directory: Path,
    width: int,
    height: int,
    *arguments: str | Path,
    program: Sequence[str] = ("-m", "snaptui"),
    in_background: bool = False,
    term: str = "",
    **variables: str,
) -> Iterator[Terminal]:
    """`snaptui ARGUMENTS` in a terminal of that size; its files are in `directory`.

    `in_background`: a shell starts it so, and gives it the terminal when it has been stopped for want of one.
    `program`: what Python runs in its place.
    """
    assert shutil.which("tmux"), "tmux is needed: apt-get install tmux"
    (directory / "run").mkdir(mode=0o700, exist_ok=True)
    values = {
        **environment(),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "XDG_DATA_HOME": str(directory / "data"),
        "XDG_RUNTIME_DIR": str(directory / "run"),
        "COLORTERM": "truecolor",
        "PS1": "shell> ",
        **variables,
        "SHELL": "/bin/sh",
    }
    values.pop("COLUMNS", None)
    status = directory / "status"
    words = " ".join(shlex.quote(str(word)) for word in (sys.executable, *program, *arguments))
    # Tmux sets TERM itself, and SHELL is what it runs the line with.
    own = {"TERM": term, "SHELL": variables.get("SHELL", "")}
    prefix = "".join(f"{name}={value} " for name, value in own.items() if value)
    # ^C goes to the shell of the window too, which is to live on, as one with job control does.
    end = f"echo $? > {shlex.quote(str(status))}; echo the app has ended; exec sleep 1000"
    start = f"{prefix}{words}"
    if in_background:
        start = f"set -m; {start} & until grep -q 'T (stopped)' /proc/$!/status; do sleep 0.1; done; fg"
    line = f"trap : INT; {start}; {end}"
    # A path for a socket may be 107 bytes long, and pytest's directories are deep.
    socket = Path(f"/tmp/snaptui-test-{os.getpid()}-{id(status):x}")
    terminal = Terminal(socket, status)
    size = ("-x", str(width), "-y", str(height))
    try:
        subprocess.run(
            ["tmux", "-S", str(socket), "-f", "/dev/null", "new-session", "-d", *size, line],
            env={key: value for key, value in values.items() if key != "TMUX"},
            check=True,
        )  # fmt: skip
        yield terminal
    finally:
        started = terminal.pids()
        subprocess.run(["tmux", "-S", str(socket), "kill-server"], capture_output=True, check=False)
        socket.unlink(missing_ok=True)
        see_to_the_end_of(started)
        # A test that fails may have started some, which outlive the app.
        servers = [sys.executable, "-m", "snaptui", "umount", "--all"]
        subprocess.run(servers, env=values, capture_output=True, check=False)


def see_to_the_end_of(pids: Sequence[int]) -> None:
    """Wait for the end of those whose terminal vanished; one that hangs is killed, or it would outlive us."""
    try:
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the app ends by SIGHUP")
    except AssertionError:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise
