"""The token that stops work."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from snaptui.engine.errors import Cancelled
from snaptui.engine.progress import CancelToken
from tests.helpers.commands import environment

CANCELS_BY_SIGNALS = """
import random, signal
from snaptui.engine.errors import Cancelled
from snaptui.engine.progress import CancelToken

signal.signal(signal.SIGALRM, lambda _number, _frame: token.cancel())
for _ in range(5000):
    token = CancelToken()
    signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-6, 60e-6))
    try:
        while True:
            token.wait(random.uniform(0, 20e-6))
    except Cancelled:
        pass
"""


def test_it_may_be_cancelled_by_a_signal_at_any_moment_of_a_wait() -> None:
    subprocess.run([sys.executable, "-c", CANCELS_BY_SIGNALS], env=environment(), check=True, timeout=60)


def test_who_waits_hears_of_it_at_once_and_all_who_ask_later() -> None:
    token = CancelToken()
    threading.Timer(0.2, token.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        token.wait(60)
    assert time.monotonic() - began < 30
    for ask in (token.check, lambda: token.wait(0), lambda: token.wait(60)):
        with pytest.raises(Cancelled):
            ask()


def test_who_is_not_told_to_stop_waits_for_as_long_as_was_asked() -> None:
    token = CancelToken()
    began = time.monotonic()
    token.wait(0.2)
    assert time.monotonic() - began >= 0.2
    token.check()
