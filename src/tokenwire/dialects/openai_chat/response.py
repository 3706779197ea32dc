"""Chat answers that are not streamed: a ``chat.completion`` body to deltas, and a transcript to such a body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tokenwire.dialects.openai_chat.choice import NAME
from tokenwire.dialects.openai_chat.decode import Decoder
from tokenwire.dialects.openai_chat.encode import url_citation, word_of
from tokenwire.dialects.openai_chat.tools import GOOGLE
from tokenwire.dialects.openai_chat.usage import usage_object
from tokenwire.dialects.signatures import wrap
from tokenwire.wire.sse import Event

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.transcript import Choice, ToolCall, Transcript


def decode_response(body: bytes) -> list[Delta]:
    """A whole body -> the deltas that a stream would have brought; an error body, HTML or text -> ``Failed``."""
    decoder = Decoder()
    deltas = decoder.feed(Event(data=body.decode("utf-8", "replace")))
    return deltas + decoder.feed(Event(data="[DONE]"))


def fold_response(fold: Transcript, stream: str, created: float, model: str) -> bytes:
    """The ``chat.completion`` object of what *fold* says. Whether it failed is the caller's to see (``error_body``).

    Args:
        stream, created, model: as for the encoder.
    """
    body: dict[str, Any] = {
        "id": "chatcmpl-" + stream.removeprefix("st_"),
        "object": "chat.completion",
        "created": int(created),
        "model": model,
        "choices": [_choice(fold.choice(index)) for index in sorted(fold.choices) or [0]],
    }
    if fold.usage is not None:
        body["usage"] = usage_object(fold.usage)
    return msgspec.json.encode(body)


def _choice(choice: Choice) -> dict[str, Any]:
    text, refusal = choice.text, choice.refusal
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not (refusal or choice.tool_calls) else None,
        "refusal": refusal or None,
    }
    if reasoning := choice.reasoning:
        message["reasoning_content"] = reasoning
    signed = [segment for segment in choice.segments() if segment.kind == "signature"]
    proofs = [wrap(proof.text, proof.dialect, NAME) for proof in signed if proof.block not in choice.tool_calls]
    if proofs:
        message["reasoning_details"] = [
            {"type": "reasoning.text", "signature": proof, "index": index} for index, proof in enumerate(proofs)
        ]
    if choice.tool_calls:
        google = {proof.block: proof.text for proof in signed if proof.dialect == GOOGLE}
        message["tool_calls"] = [_call(call, google.get(call.block)) for call in choice.tool_calls.values()]
    if citations := choice.citations:
        message["annotations"] = [url_citation(citation.data) for citation in citations]
    reason = choice.reason or ("tool_use" if choice.tool_calls else "stop")
    logprobs = choice.logprobs
    return {
        "index": choice.index,
        "message": message,
        "logprobs": None if logprobs is None else {"content": logprobs.content, "refusal": logprobs.refusal},
        "finish_reason": word_of(reason, bool(refusal)) or "stop",
    }


def _call(call: ToolCall, signature: str | None) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    said: dict[str, Any] = {"id": call.id, "type": "function", "function": function}
    if signature is not None:
        said["extra_content"] = {"google": {"thought_signature": signature}}
    return said
