"""What a 9P client is told when a request fails: the words of Plan 9's lib9p where it has any.

Clients know these strings: Linux, for one, turns them into numbers (net/9p/error.c).
"""

from __future__ import annotations

from typing import Final

# lib9p, srv.c
ATTACH_NAME: Final = "unknown specifier in attach"
BAD_OFFSET: Final = "bad offset in directory read"  # u9fs's, which Linux knows; lib9p has "bad offset"
BOTCH: Final = "9P protocol botch"
CREATE_IN_FILE: Final = "create in non-directory"
DUPLICATE_FID: Final = "duplicate fid"
DUPLICATE_TAG: Final = "duplicate tag"
IS_DIRECTORY: Final = "is a directory"
NO_AUTH: Final = "authentication not required"
NOT_FOUND: Final = "file not found"
NO_WSTAT: Final = "wstat prohibited"
PERMISSION: Final = "permission denied"
UNKNOWN_FID: Final = "unknown fid"
UNKNOWN_MESSAGE: Final = "unknown message"
WALK_IN_FILE: Final = "walk in non-directory"
WALK_OPEN_FID: Final = "cannot clone open fid"

# Plan 9's kernel (error.h) and fossil (9p.c)
ILLEGAL_MODE: Final = "illegal mode"
SHORT_COUNT: Final = "i/o count too small"
SMALL_MSIZE: Final = "Tversion: message size too small"

# ours
IO: Final = "i/o error"
LONG_ANSWER: Final = "answer does not fit msize"
MANY_CONNECTIONS: Final = "too many connections"
MANY_FIDS: Final = "too many fids"
MANY_NAMES: Final = "too many names in walk"

LONGEST: Final = 128
"""Bytes: Plan 9's ERRMAX. Clients cut what is longer, not all of them between characters."""


class RequestError(Exception):
    """A request that is answered with Rerror; the session goes on. `str()` is what the client is told."""


class Malformed(Exception):
    """Bytes that are no 9P message: where the next one starts is unknown, so the connection ends."""
