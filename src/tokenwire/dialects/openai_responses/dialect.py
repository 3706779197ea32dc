"""OpenAI's Responses: what the dialect is, in one record.

The work is in the files beside this one: decode (with items), encode (with writer, writer_parts, objects), ending,
response, errors, usage, condense; request and prompt for what is asked.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from tokenwire.dialects.base import Dialect, Mark
from tokenwire.dialects.deltas import GENERATED, Delta, Failed, Logprobs, Started
from tokenwire.dialects.json_text import loads
from tokenwire.dialects.openai_responses.condense import condense, events, sequence_of
from tokenwire.dialects.openai_responses.decode import Decoder
from tokenwire.dialects.openai_responses.encode import Encoder
from tokenwire.dialects.openai_responses.ending import follow
from tokenwire.dialects.openai_responses.errors import describe_error, error_body
from tokenwire.dialects.openai_responses.items import NAME
from tokenwire.dialects.openai_responses.response import decode_response, fold_response
from tokenwire.wire import sse

__all__ = ["DIALECT", "NAME", "Decoder", "Encoder", "decode_response", "fold_response", "scan", "sequence_of"]

#: A frame of plain text begins with this; what follows is its JSON.
_OPENING: Final = b"event: response.output_text.delta\ndata: "


class _Plain(msgspec.Struct, gc=False):
    """An event as nearly all are: a piece of text. Unknown members may be in it."""

    type: Literal["response.output_text.delta"]
    delta: str
    output_index: int
    error: None = None


_peek: Final = msgspec.json.Decoder(_Plain).decode


def scan(frame: bytes) -> int:
    """A cheap look at one whole frame, the hot path. Never raises.

    A frame is plain only if it has the event's name, one line of data, and there one whole JSON value of that type:
    since no JSON string may hold a line end, nothing else fits between the opening and the end.

    Returns:
        ``PLAIN``; else ``DONE`` or ``NOTABLE``, with ``ERROR`` where it applies. An ``ERROR`` is also ``SWALLOWED`` if
        it is none of the two that OpenAI's clients notice, and nothing generated is lost with it.
    """
    if frame.startswith(_OPENING):
        try:
            _peek(frame[len(_OPENING) :])
        except (ValueError, RecursionError):
            pass
        else:
            return Mark.PLAIN
    return look(frame, Decoder())[0]


def look(frame: bytes, decoder: Decoder) -> tuple[int, list[Delta]]:
    """The plain version of ``scan``: what *decoder* makes of the frame, and the mark that follows from it."""
    mark: int = Mark.PLAIN
    found: list[Delta] = []
    for event in events(frame):
        over = decoder.done
        deltas = decoder.feed(event)
        found += deltas
        kinds = set(map(type, deltas))
        if not kinds <= _UNREMARKABLE:
            mark |= Mark.NOTABLE
        if Failed in kinds:
            mark |= Mark.ERROR if _noticed(event) or not kinds.isdisjoint(GENERATED) else Mark.ERROR | Mark.SWALLOWED
        elif decoder.done and not over:
            mark |= Mark.DONE
    return mark, found


_UNREMARKABLE: Final = frozenset({*GENERATED, Started, Logprobs})


def _noticed(event: sse.Event) -> bool:
    """Whether OpenAI's SDKs notice this failure: they raise a truthy ``error`` at the top, and hand on the response
    that failed. The flat ``error`` event, though documented, is one among many to them, and nothing follows it."""
    try:
        value, _ = loads(event.data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and (bool(value.get("error")) or value.get("type") == "response.failed")


DIALECT: Final = Dialect(
    name=NAME,
    framing="sse",
    content_type="text/event-stream",
    ids=False,
    heartbeat=b": hb\n\n",
    loses={
        "several answers": "only the first is told: there is one answer here",
        "call signature": "left out: a function call has no place for one",
        "tool results": "left out: the model's own answers have none",
        "usage": "a count that nobody told is 0 where the other was: the SDKs count on both",
    },
    reasons={"context_window": "length", "pause": "stop", "unknown": "stop"},
    holes=(("delta",), ("obfuscation",), ("sequence_number",)),
    decoder=Decoder,
    encoder=Encoder,
    scan=scan,
    look=look,
    opening=_OPENING,
    peek=_peek,
    condense=condense,
    follow=follow,
    decode_response=decode_response,
    fold_response=fold_response,
    error_body=error_body,
    describe_error=describe_error,
)
