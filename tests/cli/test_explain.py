"""Errors in words."""

from __future__ import annotations

import signal

import pytest

from snaptui.engine.errors import (
    AccessDenied,
    ArgumentError,
    Cancelled,
    FormatError,
    NotCaptured,
    OutputError,
    SnapError,
)
from snaptui.explain import Interrupted, explain, visible


@pytest.mark.parametrize(
    ("error", "message", "help_", "status"),
    [
        (SnapError("it failed"), "it failed", "", 1),
        (FormatError("x.snap: is cut short"), "x.snap: is cut short", "", 1),
        (NotCaptured("0x10 is not captured"), "0x10 is not captured", "", 1),
        (AccessDenied("no", help="try sudo"), "no", "try sudo", 1),
        (OutputError("disk full", help="elsewhere"), "disk full", "elsewhere", 1),
        (ArgumentError("what?", help="say it"), "what?", "say it", 2),
        (Interrupted(signal.SIGTERM), "interrupted by SIGTERM", "", 143),
        (Interrupted(signal.SIGHUP), "interrupted by SIGHUP", "", 129),
        (Cancelled(), "cancelled", "", 1),
        (KeyboardInterrupt(), "interrupted", "", 130),
        (BrokenPipeError(32, "Broken pipe"), "", "", 141),
        (FileNotFoundError(2, "x", "a/b"), "a/b: No such file or directory", "", 1),
        (OSError(28, "x"), "No space left on device", "", 1),
        (MemoryError(), "out of memory", "", 1),
    ],
)
def test_an_error_has_a_message_a_remedy_and_a_status(
    error: BaseException, message: str, help_: str, status: int
) -> None:
    words = explain(error)
    assert (words.message, words.help, words.status) == (message, help_, status)


def test_a_bug_is_called_one() -> None:
    words = explain(KeyError("x"))
    assert words.message == "internal error: KeyError: 'x'"
    assert "SNAPTUI_DEBUG=1" in words.help
    assert words.status == 1


def test_every_message_is_one_line_without_control_characters() -> None:
    words = explain(SnapError("a\nb\x1b[31m", help="c\r\x07"))
    assert (words.message, words.help) == (r"a\nb\x1b[31m", r"c\r\x07")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [heap] text", "plain [heap] text"),
        ("ünïcode 日本", "ünïcode 日本"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\tb\0", r"a\tb\x00"),
        ("\x9b31m", r"\u009b31m"),
        ("x\u202eevil", r"x\u202eevil"),
        ("caf\udce9 \udcff", r"caf\xe9 \xff"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_what_a_terminal_could_obey_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown
