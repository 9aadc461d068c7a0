"""What is compiled: for each of it there is Python that does the same, where there was no C compiler.

Here the library is loaded, and its functions are declared; who uses them wraps them: `snapfile.native` what
writes and scans, `snapfile.direct` what reads, `serve.ninep.inbox` what answers,
`take.procfiles` what reads files of /proc.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Final

LIBRARY: Final = os.path.join(os.path.dirname(__file__), "libsnaptui.so")
"""Made of the C files here by `hatch_build.py`, when the package is installed."""

PURE: Final = "SNAPTUI_PURE"
"""Set to 1 in the environment, this has all done by Python."""

U8, U16, U32, U64, INT = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int
POINTER = ctypes.c_void_p


class Columns(ctypes.Structure):
    """Where the columns of runs go: `Runs` of scan.c."""

    _fields_ = tuple((name, POINTER) for name in ("first", "position", "stride", "number_at", "kind"))


class Pages(ctypes.Structure):
    """`Pages` of pages.h."""

    _fields_ = (
        *(("fd", INT), ("flags", INT)),
        *((name, ctypes.c_int64) for name in ("size", "seconds", "nanoseconds")),
        *(("runs", U64), ("first", POINTER), ("position", POINTER)),
        *((name, POINTER) for name in ("stride", "number_at", "kind")),
        *(("images", U64), ("image", POINTER), ("span", POINTER)),
        *(("shorter_count", U64), ("shorter", POINTER)),
    )


class Extents(ctypes.Structure):
    """`Extents` of pages.h."""

    _fields_ = (
        *(("pages", POINTER), ("count", U64)),
        *((name, POINTER) for name in ("start", "end", "place")),
    )


_FUNCTIONS: Final = {
    "encoder_open": (POINTER, (INT, U64, INT)),
    "encoder_close": (None, (POINTER,)),
    "encoder_origin": (INT, (POINTER, U8, U64, U64, U64)),
    "encoder_encode": (U64, (POINTER, POINTER, U64, U64, U64, POINTER, POINTER, POINTER)),
    "encoder_references": (U64, (U8, U64, U64, U64, POINTER)),
    "encoder_take": (
        INT,
        (
            *(POINTER, INT, INT, POINTER, U64, U64, POINTER),
            *(POINTER, U64, POINTER, POINTER, U64, POINTER, POINTER, INT),
        ),
    ),
    "scan_pages": (U64, (ctypes.c_char_p, U64, U64, POINTER, POINTER, POINTER, Columns, U64)),
    "scan_file": (U64, (INT, U64, POINTER, POINTER, POINTER, Columns, U64)),
    "pages_flags": (INT, (INT,)),
    "pages_read": (INT, (POINTER, U64, U64, POINTER)),
    "pages_unchanged": (INT, (POINTER,)),
    "files_read": (U64, (INT, ctypes.c_char_p, U64, POINTER, U64, POINTER)),
    "inbox_open": (POINTER, (INT,)),
    "inbox_close": (None, (POINTER,)),
    "inbox_know": (None, (POINTER, U64, POINTER, POINTER)),
    "inbox_receive": (ctypes.c_int64, (POINTER, POINTER, U64, U32, INT)),
}
"""What each returns and takes; the C files say what it means."""


@functools.cache
def _loaded() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(LIBRARY)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None  # not there, for another machine, or of another version
    return library


def library() -> ctypes.CDLL | None:
    """The library, if it was compiled, fits this machine, and is wanted."""
    return None if os.environ.get(PURE) == "1" else _loaded()
