"""`python -m snaptui`."""

from __future__ import annotations

from snaptui.cli import snaptui

snaptui()
