"""Serving a tree over 9P2000: `listen` at an address, then a `Server` on what listens there."""

from snaptui.engine.serve.ninep.address import Listener, listen
from snaptui.engine.serve.ninep.server import Server

__all__ = ["Listener", "Server", "listen"]
