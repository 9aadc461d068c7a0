"""What each 9P request means: Plan 9's section 5 of the manual, for a tree that cannot be written.

Each `start_...` checks its request, and leaves in it a job (what may take long) and an answer (what
applies it and makes its reply). Both may be told to fail, by RequestError.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final

import py9p.constants as p9c
import py9p.messages as p9

from snaptui.engine.serve.ninep import errors, messages
from snaptui.engine.serve.ninep.errors import Malformed, RequestError
from snaptui.engine.serve.ninep.messages import Buffers
from snaptui.engine.serve.ninep.state import Fid, Request, State
from snaptui.engine.serve.nodes import Directory, File, Link, Node, Opened, Tree

SMALLEST_MSIZE: Final = 256
"""As fossil has it: Rwalk with 16 qids (217 bytes) and the longest Rerror (137) fit."""
LARGEST_MSIZE: Final = (1 << 20) + messages.READ_OVERHEAD
"""A read can fetch 1 MiB. More is not faster, and every client may have several such answers under way."""

_VERSION: Final = p9c.VERSION9P
_OPEN_KIND: Final = 3
_OPEN_HARMLESS: Final = int(p9c.OCEXEC)  # close on exec: the client's own business
_OPEN_WRITING: Final = int(p9c.OTRUNC | p9c.ORCLOSE)
_EXECUTE: Final = 0o111

Starter = Callable[[State, Request], None]


def _reply(message: p9.Message) -> Buffers:
    return (message.to_bytes(),)


def start_version(state: State, request: Request) -> None:
    """Tversion: agree on msize and version, and start anew."""
    message = request.message
    assert isinstance(message, p9.Tversion)
    state.reset(request)
    if message.msize < SMALLEST_MSIZE:
        raise RequestError(errors.SMALL_MSIZE)
    # version(5): what follows a period is a variant (.u, .L), and the answer to it may leave it out.
    known = message.version.split(".", 1)[0] == _VERSION
    msize = min(message.msize, LARGEST_MSIZE)

    def apply() -> Buffers:
        if known:
            state.negotiated = True
            state.msize = msize
        return _reply(p9.Rversion(msize=msize, version=_VERSION if known else "unknown", tag=request.tag))

    request.answer = apply


def start_auth(_state: State, _request: Request) -> None:
    """Tauth: who may connect is decided by the transport."""
    raise RequestError(errors.NO_AUTH)


def start_attach(state: State, request: Request) -> None:
    """Tattach: a fid for the root. There is one tree only, so `aname` has nothing to choose from."""
    message = request.message
    assert isinstance(message, p9.Tattach)
    if message.afid != messages.NO_FID:
        raise RequestError(errors.UNKNOWN_FID)  # no Tauth ever made one
    state.check_free(message.fid)
    if message.aname not in ("", "/"):
        raise RequestError(errors.ATTACH_NAME)
    root = state.tree.root

    def apply() -> Buffers:
        state.fids[message.fid] = Fid((root,))
        return _reply(p9.Rattach(qid=messages.qid(root), tag=request.tag))

    request.answer = apply


def start_flush(state: State, request: Request) -> None:
    """Tflush: no answer to the old request after this one's."""
    message = request.message
    assert isinstance(message, p9.Tflush)
    if message.oldtag != request.tag:
        state.flush(message.oldtag)
    request.answer = partial(_reply, p9.Rflush(tag=request.tag))


def _walk(path: tuple[Node, ...], names: tuple[str, ...]) -> tuple[tuple[Node, ...], list[p9.Qid]]:
    """Follow the names as far as they lead. Raises RequestError if not even the first does."""
    qids: list[p9.Qid] = []
    for name in names:
        here = path[-1]
        if not isinstance(here, Directory):
            break
        if name == "..":
            path = path[:-1] or path
        else:
            found = messages.find(here, name)
            if found is None:
                break
            path = (*path, found)
        qids.append(messages.qid(path[-1]))
    if names and not qids:
        raise RequestError(errors.NOT_FOUND)
    return path, qids


def start_walk(state: State, request: Request) -> None:
    """Twalk: a new fid, or the same one elsewhere; neither when not all names could be followed."""
    message = request.message
    assert isinstance(message, p9.Twalk)
    fid = state.fid(message.fid)
    if fid.opened:
        raise RequestError(errors.WALK_OPEN_FID)
    if message.newfid != message.fid:
        state.check_free(message.newfid)
    if message.wname and not isinstance(fid.node, Directory):
        raise RequestError(errors.WALK_IN_FILE)

    def apply() -> Buffers:
        path, qids = request.result
        if len(qids) == len(message.wname):
            # Asked again, for while this was under way another request may have taken or opened it.
            if state.fid(message.fid) is not fid or fid.opened:
                raise RequestError(errors.BOTCH)
            if message.newfid != message.fid:
                state.check_free(message.newfid)
            state.fids[message.newfid] = Fid(path)
        return _reply(p9.Rwalk(wqid=tuple(qids), tag=request.tag))

    request.job = partial(_walk, fid.path, message.wname)
    request.answer = apply


def start_open(state: State, request: Request) -> None:
    """Topen: for reading, or for execution where the mode has it; nothing here is written or removed."""
    message = request.message
    assert isinstance(message, p9.Topen)
    fid = state.fid(message.fid)
    if fid.opened:
        raise RequestError(errors.BOTCH)
    kind = message.mode & _OPEN_KIND
    rest = message.mode & ~(_OPEN_KIND | _OPEN_HARMLESS)
    if rest & ~_OPEN_WRITING:
        raise RequestError(errors.ILLEGAL_MODE)
    if kind != p9c.OREAD and isinstance(fid.node, Directory):
        raise RequestError(errors.IS_DIRECTORY)
    executable = kind == p9c.OEXEC and fid.node.mode & _EXECUTE
    if rest or not (kind == p9c.OREAD or executable):
        raise RequestError(errors.PERMISSION)

    def apply() -> Buffers:
        fid.opened = True
        fid.file = _file(fid.node, state.tree)
        qid = messages.qid(fid.node)
        return _reply(p9.Ropen(qid=qid, iounit=state.largest_read, tag=request.tag))

    request.answer = apply


def _file(node: Node, tree: Tree) -> Opened | None:
    """What reads a file. A link is one that holds its target."""
    if isinstance(node, File):
        return node.opened(tree.ahead, prepares=True)
    return _LinkFile(node) if isinstance(node, Link) else None


class _LinkFile:
    """A link, as a file that holds its target."""

    def __init__(self, link: Link) -> None:
        self._target = os.fsencode(link.target)

    def read(self, offset: int, count: int) -> bytes:
        return self._target[offset : offset + count]

    def preparation(self) -> None:
        return None

    def direct(self) -> None:
        return None


def start_read(state: State, request: Request, data: bytes) -> None:
    """Tread of a directory: whole entries, from its start, or on from where the last read ended (read(5)).

    Files are read by the session's short way. Raises Malformed.
    """
    if len(data) != messages.TREAD_FIELDS.size:
        raise Malformed
    _, _, _, number, offset, count = messages.TREAD_FIELDS.unpack(data)
    fid = state.fid(number)
    if not fid.opened:
        raise RequestError(errors.BOTCH)
    count = min(count, state.largest_read)
    node = fid.node
    assert isinstance(node, Directory)
    if offset not in (0, fid.offset):
        raise RequestError(errors.BAD_OFFSET)
    index = fid.index if offset else 0

    def entries() -> tuple[bytes, int]:
        if not offset:
            fid.listing = node.entries()
        return _pack_entries(fid, index, count)

    def apply() -> Buffers:
        data, fid.index = request.result
        fid.offset = offset + len(data)
        return messages.rread(request.tag, data)

    request.job = entries
    request.answer = apply


def _pack_entries(fid: Fid, index: int, count: int) -> tuple[bytes, int]:
    """As many entries as fit in `count` bytes, and the index of the one after. Raises RequestError."""
    pieces: list[bytes] = []
    room = count
    while index < len(fid.listing):
        entry = messages.stat(fid.listing[index])
        if len(entry) > room:
            if not pieces:
                raise RequestError(errors.SHORT_COUNT)  # no bytes would say: the directory ends here
            break
        pieces.append(entry)
        room -= len(entry)
        index += 1
    return b"".join(pieces), index


def start_stat(state: State, request: Request) -> None:
    """Tstat."""
    message = request.message
    assert isinstance(message, p9.Tstat)
    node = state.fid(message.fid).node
    request.job = partial(messages.stat, node)
    request.answer = lambda: _reply(p9.Rstat(stat=request.result, tag=request.tag))


def start_clunk(state: State, request: Request) -> None:
    """Tclunk: the fid is free again."""
    message = request.message
    assert isinstance(message, p9.Tclunk)
    state.fid(message.fid)

    def apply() -> Buffers:
        state.forget(message.fid)
        return _reply(p9.Rclunk(tag=request.tag))

    request.answer = apply


def start_remove(state: State, request: Request) -> None:
    """Tremove: refused, and yet the fid is free again (remove(5))."""
    message = request.message
    assert isinstance(message, p9.Tremove)
    state.fid(message.fid)
    state.forget(message.fid)
    raise RequestError(errors.PERMISSION)


def start_create(state: State, request: Request) -> None:
    """Tcreate: refused."""
    message = request.message
    assert isinstance(message, p9.Tcreate)
    fid = state.fid(message.fid)
    if fid.opened:
        raise RequestError(errors.BOTCH)
    raise RequestError(errors.PERMISSION if isinstance(fid.node, Directory) else errors.CREATE_IN_FILE)


def start_write(state: State, request: Request) -> None:
    """Twrite: refused."""
    message = request.message
    assert isinstance(message, p9.Twrite)
    state.fid(message.fid)
    raise RequestError(errors.PERMISSION)


def start_wstat(state: State, request: Request) -> None:
    """Twstat: refused."""
    message = request.message
    assert isinstance(message, p9.Twstat)
    state.fid(message.fid)
    raise RequestError(errors.NO_WSTAT)


STARTERS: Final[dict[int, Starter]] = {
    int(p9c.TVERSION): start_version,
    int(p9c.TAUTH): start_auth,
    int(p9c.TATTACH): start_attach,
    int(p9c.TFLUSH): start_flush,
    int(p9c.TWALK): start_walk,
    int(p9c.TOPEN): start_open,
    int(p9c.TCREATE): start_create,
    int(p9c.TWRITE): start_write,
    int(p9c.TCLUNK): start_clunk,
    int(p9c.TREMOVE): start_remove,
    int(p9c.TSTAT): start_stat,
    int(p9c.TWSTAT): start_wstat,
}
"""What starts each request, by its type; Tread, the hot one, has `start_read`."""
