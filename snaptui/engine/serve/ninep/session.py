"""One client's conversation: requests come as bytes, answers leave as bytes. No sockets here.

As in Plan 9's lib9p, each request has a pair of handlers, one that checks and starts it and one that
applies it and makes the answer, and there is one `respond`, which every answer passes. Between the
two, without the lock, the request's job does what may take long (it reads the tree):

    with session.lock: request = session.start(data)
    request.perform()
    with session.lock: send(session.respond(request))

Whoever sends does so before giving the lock back. So no answer can follow the Rflush that said there
would be none: what `respond` has let through is sent, and what was flushed first is not let through.
"""

from __future__ import annotations

import threading

import py9p.constants as p9c

from snaptui.engine.serve.ninep import errors, messages
from snaptui.engine.serve.ninep.errors import RequestError
from snaptui.engine.serve.ninep.handlers import STARTERS, start_read
from snaptui.engine.serve.ninep.messages import Buffers
from snaptui.engine.serve.ninep.state import FileRead, Request, State
from snaptui.engine.serve.nodes import Tree


class Session(State):
    """The protocol's side of one connection."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.lock = threading.Lock()
        """Held by the caller of `start` and `respond`, and while the answer is sent."""

    def start(self, data: bytes) -> Request:
        """Take one message, whole; what is wrong with the request will be its answer.

        Raises Malformed: the connection must end.
        """
        if (read := self._start_file_read(data)) is not None:
            return read
        kind, tag = messages.kind_and_tag(data)
        request = Request(kind, tag)
        try:
            self._admit(request)
            if kind == messages.TREAD:
                start_read(self, request, data)
            else:
                request.message = messages.decode(data)
                STARTERS[kind](self, request)
        except RequestError as error:
            request.error = str(error)
            request.job = None
        return request

    def _start_file_read(self, data: bytes) -> FileRead | None:
        """The short way for what is asked most: a good Tread of an open file. None if it is not one."""
        if len(data) != messages.TREAD_FIELDS.size or data[4] != messages.TREAD:
            return None
        size, _, tag, number, offset, count = messages.TREAD_FIELDS.unpack(data)
        fid = self.fids.get(number)
        if (
            fid is None
            or fid.file is None
            or tag in self.pending
            or tag == messages.NO_TAG
            or size != len(data)
        ):
            return None
        largest = self.msize - messages.READ_OVERHEAD
        if number not in self.being_read:
            self.note_read(number, fid.file)
        request = FileRead(tag, fid.file, offset, count if count < largest else largest)
        self.pending[tag] = request
        return request

    def _admit(self, request: Request) -> None:
        """Check the type and the tag, and take the tag. Raises RequestError."""
        if request.kind not in messages.REQUESTS:
            raise RequestError(errors.UNKNOWN_MESSAGE)
        if request.tag in self.pending:
            raise RequestError(errors.DUPLICATE_TAG)
        # NOTAG is for Tversion alone (intro(5)), which comes first (version(5)).
        if request.kind != p9c.TVERSION and (request.tag == messages.NO_TAG or not self.negotiated):
            raise RequestError(errors.BOTCH)
        self.pending[request.tag] = request
        request.tracked = True

    def respond(self, request: Request) -> Buffers:
        """Apply the request; its answer is to be sent at once. Empty when it was flushed."""
        if request.flushed:
            return ()
        if request.tracked:
            del self.pending[request.tag]
        if request.error is None and request.answer is not None:
            try:
                buffers = request.answer()
            except RequestError as error:
                request.error = str(error)
            else:
                if len(buffers[0]) <= self.msize:  # data, a second piece, were asked for to fit
                    return buffers
                request.error = errors.LONG_ANSWER
        return messages.rerror(request.tag, request.error or errors.BOTCH)
