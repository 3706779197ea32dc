"""The Python library: streams as pleasant as lists. ``tokenwire`` itself hands out what is here."""

from tokenwire.client import Client, Dropped, Notice, Reset, Resumed
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.library.answer import Answer
from tokenwire.library.begin import stream
from tokenwire.library.node import Node
from tokenwire.library.streams import Stream
from tokenwire.library.sync import SyncStream

__all__ = [
    "Answer", "Citation", "Client", "Delta", "Dropped", "Finished", "Logprobs", "Node", "Notice", "Opaque",
    "ReasoningDelta", "ReasoningSignature", "RefusalDelta", "Reset", "Resumed", "Started", "Stream", "SyncStream",
    "TextDelta", "ToolCallDelta", "ToolCallEnded", "ToolCallStarted", "Usage", "stream",
]  # fmt: skip
