"""Where the programs begin: until the command line is there, ^C ends them without a word."""

from __future__ import annotations

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
    # Not where interrupts are ignored, as in a shell's background job.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from snaptui.cli import main

    main(program)
