"""`python -m snaptui`."""

from __future__ import annotations

from snaptui.start import snaptui

snaptui()
