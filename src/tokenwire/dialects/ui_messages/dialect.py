"""The AI SDK's UI message stream, towards ``useChat`` of ai 5, 6 and 7: what the dialect is, in one record each.

Written by nobody but us: ``decode`` is the encoder's inverse, for those who check it. ``WorkflowChatTransport`` counts
the parts that it has had (``startIndex``); a body of ours that begins with a prefix has fewer than the stream itself.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

from tokenwire.dialects.base import Dialect, Frame, Mark
from tokenwire.dialects.deltas import GENERATED, Delta, Failed, Started
from tokenwire.dialects.openai_chat.errors import describe_error
from tokenwire.dialects.ui_messages.decode import Decoder
from tokenwire.dialects.ui_messages.encode import Encoder
from tokenwire.dialects.ui_messages.errors import error_body
from tokenwire.dialects.ui_messages.response import decode_response, fold_response
from tokenwire.dialects.ui_messages.words import NAME
from tokenwire.wire import sse

__all__ = ["DIALECT", "NAME", "VERSIONS", "Decoder", "Encoder", "decode_response", "dialect_for", "fold_response"]

_UNREMARKABLE: Final = frozenset({*GENERATED, Started})


def scan(frame: bytes) -> int:
    """The mark of one frame. Never raises."""
    return look(frame, Decoder())[0]


def look(frame: bytes, decoder: Decoder) -> tuple[int, list[Delta]]:
    """What *decoder* makes of the frame, and the mark that follows from it."""
    found = [delta for event in sse.Decoder(len(frame) + 8).feed(frame + b"\n\n") for delta in decoder.feed(event)]
    mark: int = Mark.DONE if decoder.done else Mark.PLAIN
    kinds = set(map(type, found))
    if not kinds <= _UNREMARKABLE:
        mark |= Mark.NOTABLE
    if Failed in kinds:
        mark |= Mark.ERROR
    return mark, found


DIALECT: Final = Dialect(
    name=NAME,
    framing="sse",
    content_type="text/event-stream",
    ids=True,
    heartbeat=b": hb\n\n",
    headers=((b"x-vercel-ai-ui-message-stream", b"v1"),),
    loses={
        "several answers": "the first is told: a message has one",
        "logprobs": "left out",
    },
    reasons={"context_window": "length", "refusal": "content_filter", "pause": "unknown", "cancelled": "unknown"},
    holes=(("delta",), ("inputTextDelta",)),
    decoder=Decoder,
    encoder=Encoder,
    scan=scan,
    look=look,
    merges=True,
    end=b"data: [DONE]\n\n",
    decode_response=decode_response,
    fold_response=fold_response,
    error_body=error_body,
    describe_error=describe_error,
)


@lru_cache(maxsize=256)
def dialect_for(version: int = 5, message_id: str = "", earlier: tuple[Frame, ...] = ()) -> Dialect:
    """The dialect as major *version* of the npm package ``ai`` reads it (5, 6 or 7), for an answer that goes on with
    the message of that id (``UiRequest.response_id``); "": a new message. Readers of one stream must be given the same
    id each time; those who resume it, and they only, *earlier* besides (``again.told_again``). Equal arguments give
    the same record: readers who share it share a view."""
    return replace(
        DIALECT,
        encoder=partial(Encoder, version=version, message_id=message_id, earlier=earlier),
        fold_response=partial(fold_response, message_id=message_id),
    )


#: By major version. 5 is the default: every later one bears it.
VERSIONS: Final[dict[int, Dialect]] = {5: DIALECT, 6: dialect_for(6), 7: dialect_for(7)}
