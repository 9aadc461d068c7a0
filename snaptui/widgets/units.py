"""Numbers for people, in few cells."""

from __future__ import annotations

from typing import Final

_UNITS: Final = "BKMGTPE"


def short_size(size: int) -> str:
    """A size in bytes, in five cells at most: `812K`, `1.5M`, `10.3G`."""
    unit = 0
    value = float(size)
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    digits = 1 if unit and value < 99.95 else 0
    return f"{value:.{digits}f}{_UNITS[unit]}"


def full_size(size: int) -> str:
    """A size in bytes, in words: `1.5 MiB`."""
    if size < 1024:
        return f"{size} B"
    unit = min((size.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{size / (1 << 10 * unit):.1f} {_UNITS[unit]}iB"


def short_time(seconds: float) -> str:
    """A time in five cells at most: `0:07`, `12:30`, `5h02`, `3d04`, `400d`."""
    whole = int(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if not hours:
        return f"{minutes}:{second:02d}"
    if not days:
        return f"{hours}h{minute:02d}"
    return f"{days}d{hour:02d}" if days < 100 else f"{days}d"


def pause_text(seconds: float) -> str:
    """How long processes stood: `3.2 ms`, `1.4 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def counted(number: int, thing: str, things: str = "") -> str:
    """`1 process`, `2 processes`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
