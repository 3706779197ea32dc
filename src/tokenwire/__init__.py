"""tokenwire: the streaming backbone for LLM applications. ::

import tokenwire

for text in tokenwire.stream("sim/gpt-4o", "Tell me of the sea.").text_stream:
    print(text, end="", flush=True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenwire import errors
    from tokenwire.dialects import deltas
    from tokenwire.library import (
        Answer,
        CallRequest,
        Citation,
        Client,
        Delta,
        Dropped,
        Finished,
        Logprobs,
        Node,
        Notice,
        Opaque,
        ReasoningDelta,
        ReasoningSignature,
        RefusalDelta,
        Reset,
        Resumed,
        Started,
        Stream,
        SyncStream,
        TextDelta,
        Tool,
        ToolCallDelta,
        ToolCallEnded,
        ToolCallStarted,
        ToolContext,
        ToolResult,
        Usage,
        stream,
        tool,
    )

__version__ = "0.1.0"

__all__ = [
    "Answer", "CallRequest", "Citation", "Client", "Delta", "Dropped", "Finished", "Logprobs", "Node", "Notice",
    "Opaque", "ReasoningDelta", "ReasoningSignature", "RefusalDelta", "Reset", "Resumed", "Started", "Stream",
    "SyncStream", "TextDelta", "Tool", "ToolCallDelta", "ToolCallEnded", "ToolCallStarted", "ToolContext", "ToolResult",
    "Usage", "__version__", "deltas", "errors", "stream", "tool",
]  # fmt: skip

#: Modules that are handed out under a shorter name.
_MODULES = {"deltas": "tokenwire.dialects.deltas", "errors": "tokenwire.errors"}


def __getattr__(name: str) -> Any:
    """The library's names, when they are first asked for: whoever wants a part of the house need not load all of it."""
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = _MODULES.get(name)
    value = getattr(import_module("tokenwire.library"), name) if module is None else import_module(module)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
