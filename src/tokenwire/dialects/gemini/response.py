"""Gemini's answers that are not streamed: a ``GenerateContentResponse`` to deltas, and a transcript to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tokenwire.dialects.deltas import Terminal
from tokenwire.dialects.gemini.decode import Decoder
from tokenwire.dialects.gemini.encode import Encoder
from tokenwire.wire.sse import Event

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.transcript import Transcript


def decode_response(body: bytes) -> list[Delta]:
    """A whole body -> the deltas that a stream would have brought; an error body, HTML or text -> ``Failed``. An array
    of responses (streamed without ``alt=sse``) is one answer, too."""
    decoder = Decoder()
    deltas = decoder.feed(Event(data=body.decode("utf-8", "replace")))
    return deltas + decoder.close_whole()


def fold_response(fold: Transcript, stream: str, created: float, model: str) -> bytes:
    """The response object of what *fold* says: the events of a stream of it, put together. Whether it failed is the
    caller's to see (``error_body``).

    Args:
        stream, created, model: as for the encoder.
    """
    encoder = Encoder(stream, created, model)
    frames = encoder.prefix(fold) + encoder.close(Terminal("completed"))
    body: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    for frame in frames:
        event = msgspec.json.decode(frame.data)
        for candidate in event.pop("candidates", ()):
            parts = candidate.pop("content")["parts"]
            whole = candidates.setdefault(candidate["index"], {"content": {"parts": [], "role": "model"}})
            whole["content"]["parts"] += [part for part in parts if part != {"text": ""}]
            whole.update(candidate)
        body.update(event)
    head = {"candidates": [candidates[index] for index in sorted(candidates)]} if candidates else {}
    return msgspec.json.encode({**head, **body})
