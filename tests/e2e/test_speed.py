"""The one bar of speed that users meet before anything else."""

from __future__ import annotations

import time

import pytest

from tests.helpers.commands import snap, snaptui_command

BAR = 0.25
"""Seconds; "`time snap --help` is under 0.25 s"."""


@pytest.mark.parametrize(
    "run", [lambda: snap("--help"), lambda: snaptui_command("--help")], ids=["snap", "snaptui"]
)
def test_help_is_there_at_once(run) -> None:  # type: ignore[no-untyped-def]
    # The best of several: other work on the machine must not decide
    best = BAR * 2
    for _ in range(8):
        start = time.monotonic()
        run().expect(0)
        best = min(best, time.monotonic() - start)
        if best < BAR:
            return
    raise AssertionError(f"--help takes {best:.2f} s")
