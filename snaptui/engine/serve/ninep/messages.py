"""9P2000 messages between bytes and values, by py9p; the hot pair Tread and Rread by hand.

The format is in Plan 9's intro(5): size[4] type[1] tag[2], then what the type has; all numbers
little-endian; strings are size[2] and UTF-8. py9p costs 8 to 25 microseconds for a message; a read
of 64 bytes costs less than that in all, so Tread is unpacked and Rread packed here.
"""

from __future__ import annotations

import struct
from typing import Final

import py9p.constants as p9c
import py9p.messages as p9
from py9p import native

from snaptui.engine.serve.ninep import errors
from snaptui.engine.serve.ninep.errors import Malformed, RequestError
from snaptui.engine.serve.nodes import Directory, Node

HEADER_SIZE: Final = 7
NO_TAG: Final = p9c.NOTAG
NO_FID: Final = p9c.NOFID
MAX_NAMES: Final = p9c.MAXWELEM
"""Of one walk."""
READ_OVERHEAD: Final = p9c.IOHDRSZ
"""Bytes of msize that no data get: 24, as everywhere (fcall.h), although Rread itself takes only 11."""

TREAD: Final = int(p9c.TREAD)
TREAD_FIELDS: Final = struct.Struct("<IBHIQI")  # size type tag fid offset count
_RREAD_FIELDS: Final = struct.Struct("<IBHI")  # size type tag count; the data follow
_RREAD: Final = int(p9c.RREAD)

_HEADER: Final = struct.Struct("<IBH")
_WALK_COUNT: Final = struct.Struct("<H")
_WALK_COUNT_AT: Final = 15

REQUESTS: Final = frozenset(int(kind) for kind in p9c.MessageType if kind % 2 == 0) - {int(p9c.TERROR)}
"""The types a client may send. Even numbers are requests; Terror is illegal."""

_WITH_TEXT: Final = (p9.Tversion, p9.Tauth, p9.Tattach, p9.Twalk, p9.Tcreate)

_MAX_LENGTH: Final = (1 << 63) - 1  # a stat's length is signed (fcall.h); `mem` may end above
_MAX_TIME: Final = (1 << 32) - 1

Buffers = tuple[bytes | memoryview, ...]
"""The bytes of one answer, in pieces that are sent one after the other."""


def kind_and_tag(data: bytes) -> tuple[int, int]:
    """The type and the tag of a message, which may be no good beyond them. Raises Malformed."""
    if len(data) < HEADER_SIZE:
        raise Malformed
    size, kind, tag = _HEADER.unpack_from(data)
    if size != len(data):
        raise Malformed
    return kind, tag


def decode(data: bytes) -> p9.Message:
    """The request in `data`.

    Raises Malformed when its fields do not fill it exactly, and RequestError when only a name in it
    is bad: a user's odd bytes must not end the connection of all that is mounted over it.
    """
    kind = data[4]
    try:
        message = native.decode_message(data)
    except p9.CodecError as error:
        if kind == p9c.TWALK and len(data) > _WALK_COUNT_AT + 2:
            (count,) = _WALK_COUNT.unpack_from(data, _WALK_COUNT_AT)
            if count > MAX_NAMES:
                raise RequestError(errors.MANY_NAMES) from error
        raise Malformed from error
    except UnicodeDecodeError as error:
        raise _bad_text(kind) from error
    # py9p's strings end at a NUL: one that held any is shorter now than it was in the message.
    if isinstance(message, _WITH_TEXT) and native.message_size(message) != len(data):
        raise _bad_text(kind)
    return message


def _bad_text(kind: int) -> RequestError:
    """No file has such a name: names that are not UTF-8 are served escaped."""
    return RequestError(errors.NOT_FOUND if kind == p9c.TWALK else errors.BOTCH)


def rread(tag: int, data: bytes | memoryview) -> Buffers:
    """Rread, its data not copied."""
    return _RREAD_FIELDS.pack(11 + len(data), _RREAD, tag, len(data)), data


def rerror(tag: int, text: str) -> Buffers:
    """Rerror, its text cut to what clients have room for."""
    clean = text.replace("\0", " ").encode("utf-8", "replace")
    cut = clean[: errors.LONGEST].decode("utf-8", "ignore")
    return (p9.Rerror(cut, tag=tag).to_bytes(),)


def wire_name(name: str) -> str:
    """A name as 9P has it: UTF-8; the odd bytes of a Linux name (surrogates) are written `\\xNN`."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def find(directory: Directory, name: str) -> Node | None:
    """The entry whose name on the wire is `name`."""
    found = directory.lookup(name)
    if found is None and "\\x" in name:
        return next((entry for entry in directory.entries() if wire_name(entry.name) == name), None)
    return found


def qid(node: Node) -> p9.Qid:
    """A node's qid. Nothing here changes, so the version is always 0."""
    return p9.Qid(type=int(p9c.QTDIR) if isinstance(node, Directory) else 0, vers=0, path=node.qid)


def stat(node: Node) -> bytes:
    """A node's machine-independent directory entry, stat(5)."""
    is_directory = isinstance(node, Directory)
    mtime = min(max(0, node.mtime), _MAX_TIME)
    return native.encode_dir(
        p9.Dir(
            qid=qid(node),
            mode=node.mode | (int(p9c.DMDIR) if is_directory else 0),
            atime=mtime,
            mtime=mtime,
            length=0 if is_directory else min(node.size, _MAX_LENGTH),
            name=wire_name(node.name) or "/",
            uid=wire_name(node.user),
            gid=wire_name(node.group),
            muid=wire_name(node.user),
        )
    )
