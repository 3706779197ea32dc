"""A chat chunk as nearly all are, read at a third of the cost: by a typed decoder that takes nothing else.

What it takes means the same to ``Decoder`` in its full reading (tested); whatever it refuses goes there.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec


class PlainDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``tool_calls`` is checked where it is read, like every list of calls."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Any = None
    role: Any = None
    refusal: None = None
    function_call: None = None
    reasoning_details: None = None
    annotations: None = None


class PlainChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: PlainDelta
    index: Annotated[int, msgspec.Meta(ge=0)] = 0
    finish_reason: Literal[""] | None = None
    logprobs: None = None
    usage: None = None
    error: None = None
    native_finish_reason: None = None
    stop_reason: None = None
    token_ids: None = None


class PlainChunk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A chunk of one choice and no news of an end, usage or error; no member in it that may be unknown."""

    choices: tuple[PlainChoice]
    id: Any = None
    model: Any = None
    created: Any = None
    object: Any = None
    usage: None = None
    error: None = None
    obfuscation: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None
    provider: Any = None


#: The chunk of a text. Raises ValueError or RecursionError where it is no such chunk.
read_plain: Final = msgspec.json.Decoder(PlainChunk).decode
