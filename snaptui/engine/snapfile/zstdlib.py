"""Python's zstd, under one name: the standard library's, or for older versions the same as a package.

To be imported where something is packed or unpacked, and not by who reads and writes plain files.
"""

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["zstd"]
