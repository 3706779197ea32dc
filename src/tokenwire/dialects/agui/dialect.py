"""AG-UI, towards its clients (``HttpAgent``, CopilotKit): what the dialect is, in one record.

Written by nobody but us: ``decode`` is the encoder's inverse, for those who check it. Frames end in LF LF: the
TypeScript client looks for nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

from tokenwire.dialects.agui.decode import Decoder
from tokenwire.dialects.agui.encode import Encoder
from tokenwire.dialects.agui.errors import error_body
from tokenwire.dialects.agui.response import decode_response, fold_response
from tokenwire.dialects.agui.words import NAME
from tokenwire.dialects.base import Dialect, Mark
from tokenwire.dialects.deltas import GENERATED, Delta, Failed, Started
from tokenwire.dialects.openai_chat.errors import describe_error
from tokenwire.wire import sse

__all__ = ["DIALECT", "NAME", "Decoder", "Encoder", "decode_response", "dialect_for", "fold_response"]

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
    loses={
        "several answers": "the first is told: a run has one",
        "logprobs": "left out",
    },
    holes=(("delta",),),
    decoder=Decoder,
    encoder=Encoder,
    scan=scan,
    look=look,
    merges=True,
    decode_response=decode_response,
    fold_response=fold_response,
    error_body=error_body,
    describe_error=describe_error,
)


@lru_cache(maxsize=256)
def dialect_for(thread_id: str, run_id: str) -> Dialect:
    """The dialect for a run that the client has named. The same record for the same names: readers who share it share
    a view."""
    return replace(
        DIALECT,
        encoder=partial(Encoder, thread_id=thread_id, run_id=run_id),
        fold_response=partial(fold_response, thread_id=thread_id, run_id=run_id),
    )
