"""Where the programs begin: what must be so before the command line is imported, which takes 25 ms."""

from __future__ import annotations

import gc
import signal
from typing import NoReturn


def snap() -> NoReturn:
    """The program `snap`."""
    _start("snap")


def snapfs() -> NoReturn:
    """The program `snapfs`."""
    _start("snapfs")


def snaptui() -> NoReturn:
    """The program `snaptui`."""
    _start("snaptui")


def _start(program: str) -> NoReturn:
    # Imports make much that lasts, and no garbage: to look for it again and again takes a tenth of a start.
    gc.set_threshold(50_000)
    # ^C ends us without a word until the work begins, unless it is ignored, as in a shell's background job.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from snaptui.cli import main

    main(program)
