"""The Python library: streams as pleasant as lists. ``tokenwire`` itself hands out what is here."""

from tokenwire.library.answer import Answer
from tokenwire.library.begin import stream
from tokenwire.library.node import Node
from tokenwire.library.streams import Stream
from tokenwire.library.sync import SyncStream

__all__ = ["Answer", "Node", "Stream", "SyncStream", "stream"]
