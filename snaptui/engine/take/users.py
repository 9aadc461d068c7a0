"""The names of users."""

from __future__ import annotations

import functools
import pwd


@functools.cache
def user_name(uid: int) -> str:
    """The login name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
