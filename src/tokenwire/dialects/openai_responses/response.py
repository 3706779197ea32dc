"""Responses that are not streamed: a ``response`` body to deltas, and a transcript to such a body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tokenwire.dialects.deltas import Finished, Terminal
from tokenwire.dialects.json_text import loads
from tokenwire.dialects.openai_chat.response import decode_response as decode_completion
from tokenwire.dialects.openai_responses.decode import Decoder
from tokenwire.dialects.openai_responses.encode import Encoder
from tokenwire.dialects.openai_responses.errors import describe_error
from tokenwire.wire.sse import Event

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.transcript import Transcript


def decode_response(body: bytes) -> list[Delta]:
    """A whole body -> the deltas that a stream would have brought; an error body, HTML or text -> ``Failed``.

    A response that only began (``background``) has not failed: its end is unknown."""
    text = body.decode("utf-8", "replace")
    try:
        value, _ = loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and "choices" in value and "output" not in value:
        return decode_completion(body)  # Q33
    if not isinstance(value, dict) or not isinstance(value.get("output"), list):
        return [describe_error(body, 200)]
    decoder = Decoder()
    status = value.get("status")
    if status in ("queued", "in_progress"):
        deltas = decoder.feed(Event(data=f'{{"type":"response.in_progress","response":{text}}}'))
        return [*deltas, Finished("unknown", status)]
    return decoder.feed(Event(data=f'{{"type":"response.completed","response":{text}}}'))


def fold_response(fold: Transcript, stream: str, created: float, model: str) -> bytes:
    """The ``response`` object of what *fold* says. Whether it failed is the caller's to see (``error_body``).

    Args:
        stream, created, model: as for the encoder.
    """
    choice = fold.choice()
    encoder = Encoder(stream, created, model)
    encoder.prefix(fold)
    last = encoder.close(Terminal("completed", choice.reason, choice.native_reason))[-1]
    return bytes(msgspec.json.decode(last.data, type=dict[str, msgspec.Raw])["response"])
