"""Answers that are not streamed: the messages that a client would have put together, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tokenwire.dialects.agui.decode import Decoder
from tokenwire.dialects.agui.encode import Encoder
from tokenwire.dialects.deltas import Terminal
from tokenwire.dialects.json_text import loads, scrub
from tokenwire.dialects.openai_chat.errors import describe_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.transcript import Transcript


def fold_response(
    fold: Transcript, stream: str, created: float, model: str, *, thread_id: str = "", run_id: str = ""
) -> bytes:
    """``{"threadId","runId","messages","citations"?, …}``: beside the messages, what ``RUN_FINISHED`` says. Whether
    it failed is the caller's to see (``error_body``).

    Args:
        stream, created, model, thread_id, run_id: as for the encoder.
    """
    encoder = Encoder(stream, created, model, thread_id=thread_id, run_id=run_id)
    frames = encoder.prefix(fold) + encoder.close(Terminal("completed"))
    told = [json.loads(frame.data) for frame in frames]
    citations = [event["value"] for event in told if event["type"] == "CUSTOM"]
    body = {name: value for name, value in told[-1].items() if name != "type"}
    body["messages"] = assemble(told)
    return msgspec.json.encode(body | ({"citations": citations} if citations else {}))


def assemble(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages that *told* makes, an encoder's events: what ``HttpAgent`` does with them."""
    messages: dict[str, dict[str, Any]] = {}
    calls: dict[str, dict[str, Any]] = {}
    for event in told:
        kind = event["type"]
        if kind in ("TEXT_MESSAGE_START", "REASONING_MESSAGE_START"):
            message = {"id": event["messageId"], "role": event["role"], "content": ""}
            messages[message["id"]] = message | ({"metadata": event["metadata"]} if "metadata" in event else {})
        elif kind.endswith("_CONTENT"):
            messages[event["messageId"]]["content"] += event["delta"]
        elif kind == "TOOL_CALL_START":
            id_ = event["parentMessageId"]
            parent = messages.setdefault(id_, {"id": id_, "role": "assistant"})
            function = {"name": event["toolCallName"], "arguments": ""}
            calls[event["toolCallId"]] = {"id": event["toolCallId"], "type": "function", "function": function}
            parent.setdefault("toolCalls", []).append(calls[event["toolCallId"]])
        elif kind == "TOOL_CALL_ARGS":
            calls[event["toolCallId"]]["function"]["arguments"] += event["delta"]
        elif kind == "TOOL_CALL_RESULT":
            said = {name: value for name, value in event.items() if name not in ("type", "messageId")}
            messages[event["messageId"]] = {"id": event["messageId"], **said}
        elif kind == "REASONING_ENCRYPTED_VALUE":
            places = calls if event["subtype"] == "tool-call" else messages
            places[event["entityId"]]["encryptedValue"] = event["encryptedValue"]
    return list(messages.values())


def decode_response(body: bytes) -> list[Delta]:
    """Such an answer -> the deltas that its stream would have brought; anything else -> ``Failed``."""
    try:
        answer, torn = loads(body.decode("utf-8", "replace"))
        answer = scrub(answer) if torn else answer
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("messages"), list):
        return [describe_error(body, 200)]
    decoder = Decoder()
    return [delta for event in _as_stream(answer) for delta in decoder.read(event)]


def _as_stream(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that would have brought *answer*."""
    yield {"type": "RUN_STARTED", "runId": answer.get("runId")}
    for message in answer["messages"]:
        if isinstance(message, dict):
            yield from _of_message(message)
    citations = answer.get("citations")
    for citation in citations if isinstance(citations, list) else ():
        yield {"type": "CUSTOM", "name": "citation", "value": citation}
    yield {**answer, "type": "RUN_ERROR" if "code" in answer else "RUN_FINISHED"}


def _of_message(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    id_, content = message.get("id"), message.get("content")
    if message.get("role") == "tool":
        yield {**message, "type": "TOOL_CALL_RESULT", "messageId": id_}
        return
    kind = "REASONING_MESSAGE" if message.get("role") == "reasoning" else "TEXT_MESSAGE"
    yield {**message, "type": f"{kind}_START", "messageId": id_}
    if content:
        yield {"type": f"{kind}_CONTENT", "messageId": id_, "delta": content}
    if "encryptedValue" in message:
        yield {**message, "type": "REASONING_ENCRYPTED_VALUE", "entityId": id_}
    calls = message.get("toolCalls")
    for call in calls if isinstance(calls, list) else ():
        fields: dict[str, Any] = call if isinstance(call, dict) else {}
        function = fields.get("function")
        named: dict[str, Any] = function if isinstance(function, dict) else {}
        told = {"toolCallId": fields.get("id"), "toolCallName": named.get("name"), "delta": named.get("arguments")}
        yield {"type": "TOOL_CALL_START", **told}
        yield {"type": "TOOL_CALL_ARGS", **told}
        yield {"type": "TOOL_CALL_END", **told}
        if "encryptedValue" in fields:
            proof = {"subtype": "tool-call", "entityId": fields.get("id"), "encryptedValue": fields["encryptedValue"]}
            yield {"type": "REASONING_ENCRYPTED_VALUE", **proof}
