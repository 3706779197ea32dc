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
    ToolResult,
    Usage,
)
from tokenwire.library.answer import Answer
from tokenwire.library.begin import stream
from tokenwire.library.node import Node
from tokenwire.library.streams import Stream
from tokenwire.library.sync import SyncStream
from tokenwire.library.tool_run import CallRequest
from tokenwire.library.tools import Tool, ToolContext, tool

__all__ = [
    "Answer", "CallRequest", "Citation", "Client", "Delta", "Dropped", "Finished", "Logprobs", "Node", "Notice",
    "Opaque", "ReasoningDelta", "ReasoningSignature", "RefusalDelta", "Reset", "Resumed", "Started", "Stream",
    "SyncStream", "TextDelta", "Tool", "ToolCallDelta", "ToolCallEnded", "ToolCallStarted", "ToolContext", "ToolResult",
    "Usage", "stream", "tool",
]  # fmt: skip
