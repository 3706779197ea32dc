"""The native dialect: one event for each delta, under names of its own (INTERFACES.md, section 3).

The schema of every event's data is ``conformance/native.schema.json``. Readers ignore kinds and fields that they do not
know; ``choice`` and ``block`` stand only where they are not 0, ``lane`` only in a conductor's stream. The decoder is
the encoder's inverse, less what the wire does not carry: provider objects (``raw``) and the provider's own stream id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tokenwire.dialects.base import Dialect, Mark
from tokenwire.dialects.deltas import Failed
from tokenwire.dialects.json_text import loads, scrub, whole
from tokenwire.dialects.native.decode import Decoder, read_failure
from tokenwire.dialects.native.encode import NAME, Encoder, error_fields, notice, reset
from tokenwire.errors import LocalProtocolError
from tokenwire.wire import sse

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.transcript import Transcript

__all__ = ["DIALECT", "NAME", "Decoder", "Encoder", "describe_error", "error_body", "notice", "reset", "scan"]

_PLAIN: Final = (b"event: text\n", b"event: reasoning\n", b"event: tool_args\n")
_MARKS: Final[dict[bytes, int]] = {b"done": Mark.DONE | Mark.NOTABLE, b"error": Mark.ERROR | Mark.NOTABLE}


def scan(frame: bytes) -> int:
    """A cheap look at one frame: our own encoder writes the event's name first. Never raises.

    ``done`` is notable, too: unlike other dialects' markers it says how the stream ended.
    """
    if frame.startswith(_PLAIN):
        return Mark.PLAIN
    for line in frame.splitlines():
        if line.startswith(b"event:"):
            return _MARKS.get(line[6:].strip(), Mark.NOTABLE)
    return Mark.NOTABLE


def look(frame: bytes, decoder: Decoder) -> tuple[int, list[Delta]]:
    """The mark, and what *decoder* makes of the frame."""
    return scan(frame), [delta for event in sse.Decoder().feed(frame) for delta in decoder.feed(event)]


def decode_response(body: bytes) -> list[Delta]:
    """There is no native body but the stream; whatever else arrives in its place is an error."""
    return [describe_error(body, 200)]


def fold_response(fold: Transcript, stream: str, created: float, model: str) -> bytes:
    """Raises ``LocalProtocolError``: native streams are followed; ``/v1/streams/{id}/transcript`` has the text."""
    raise LocalProtocolError("the native dialect has no answer that is not streamed")


def error_body(failure: Failed, status: int) -> bytes:
    """The HTTP error body: the fields of the ``error`` event, under ``error``."""
    return msgspec.json.encode({"error": error_fields(failure)})


def describe_error(body: bytes, status: int) -> Failed:
    """The failure that ``error_body`` tells; of anything else, an excerpt. Never raises."""
    text = body.decode("utf-8", "replace")
    try:
        value, torn = loads(text)
        value = scrub(value) if torn else value
    except (ValueError, RecursionError):
        value = None
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict):
        return read_failure(error)
    excerpt = " ".join(whole(text[:2000]).split())[:500]
    return Failed("upstream_error", excerpt or "no reason was given", upstream_status=status)


DIALECT: Final = Dialect(
    name=NAME,
    framing="sse",
    content_type="text/event-stream",
    ids=True,
    heartbeat=b": hb\n\n",
    holes=(("t",), ("json",)),
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
