"""Answers that are not streamed: one object, in the form of a last line that says everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tokenwire.dialects.json_text import loads
from tokenwire.dialects.ollama.decode import Decoder
from tokenwire.dialects.ollama.encode import call_object, logprob_entries, word_of
from tokenwire.dialects.ollama.form import CHAT, Form
from tokenwire.dialects.ollama.times import text_of
from tokenwire.dialects.ollama.usage import usage_members
from tokenwire.dialects.openai_chat.errors import describe_error
from tokenwire.wire import ndjson
from tokenwire.wire.sse import Event

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.transcript import Transcript


def decode_response(body: bytes, form: Form = CHAT) -> list[Delta]:
    """A whole body -> the deltas that a stream would have brought; an error body, HTML or text -> ``Failed``. A body of
    several lines is a stream that is not labelled as one."""
    text = body.decode("utf-8", "replace")
    try:
        value, _ = loads(text)
        lines = [text]
    except (ValueError, RecursionError):
        value = None
        cutter = ndjson.Decoder(max(len(body), 8))
        lines = cutter.feed(body) + cutter.close(lenient=True)
        if not (lines and lines[0].startswith("{")):
            return [describe_error(body, 200)]
    if isinstance(value, dict) and form.marks.isdisjoint(value):
        return [describe_error(body, 200)]
    decoder = Decoder(form)
    return [delta for line in lines for delta in decoder.feed(Event(data=line))] + decoder.close()


def fold_response(fold: Transcript, stream: str, created: float, model: str, form: Form = CHAT) -> bytes:
    """The object of what *fold* says. Whether it failed is the caller's to see (``error_body``).

    Args:
        stream, created, model: as for the encoder.
    """
    choice = fold.choice()
    spoken = [segment.text for segment in choice.segments() if segment.kind in ("text", "refusal")]
    message: dict[str, Any] = {"content": "".join(spoken)}
    if reasoning := choice.reasoning:
        message["thinking"] = reasoning
    calls = [call for call in choice.tool_calls.values() if call.ended]
    if calls:
        message["tool_calls"] = [
            call_object(call.id, index, call.name, call.arguments) for index, call in enumerate(calls)
        ]
    line: dict[str, Any] = {"model": model, "created_at": text_of(created), **form.write(message), "done": True}
    line["done_reason"] = word_of(choice.reason, choice.native_reason)
    if (logprobs := choice.logprobs) is not None and (entries := logprob_entries(logprobs)):
        line["logprobs"] = entries
    return msgspec.json.encode({**line, **usage_members(fold.usage, None)})
