"""The XSAVE area of x86 in the layout that debuggers know.

Where the parts of the area lie is the processor's choice (CPUID leaf 0xD), and a core does not tell it.
gdb before 14 takes Intel's for granted, later ones guess from the size; what AMD's processors
make they refuse, so that no floating point or vector register can be read. Intel's layout all of them read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_XCR0: Final = 464
"""Where the kernel puts the mask of the parts that there are (sw_reserved, arch/x86/include/asm/user.h)."""
_AVX: Final = 0x7
_AVX512: Final = 0xE7
_PKRU: Final = 0x200


@dataclass(frozen=True, slots=True)
class _Compact:
    """An AMD layout: the mask, its parts (offset, Intel's offset, size), and the size in Intel's."""

    xcr0: int
    parts: tuple[tuple[int, int, int], ...]
    size: int


_VECTORS: Final = ((832, 1088, 64), (896, 1152, 512), (1408, 1664, 1024))  # k0-7, zmm0-15 high, zmm16-31
_COMPACT: Final = {
    840: _Compact(_AVX | _PKRU, ((832, 2688, 8),), 2696),
    2432: _Compact(_AVX512, _VECTORS, 2688),
    2440: _Compact(_AVX512 | _PKRU, (*_VECTORS, (2432, 2688, 8)), 2696),
}
"""By the size of the area: Zen 3; Zen 4 and later, without and with protection keys."""
_COMMON: Final = 832
"""Up to there (x87, SSE, AVX) all processors agree."""


def intel_layout(xstate: bytes) -> bytes:
    """An XSAVE area in Intel's layout; as it is if it is none of the others that are known."""
    compact = _COMPACT.get(len(xstate))
    if compact is None or struct.unpack_from("<Q", xstate, _XCR0)[0] != compact.xcr0:
        return xstate
    area = bytearray(compact.size)
    area[:_COMMON] = xstate[:_COMMON]
    for here, there, size in compact.parts:
        area[there : there + size] = xstate[here : here + size]
    return bytes(area)
