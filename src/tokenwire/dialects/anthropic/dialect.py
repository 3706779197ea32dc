"""Anthropic's Messages: what the dialect is, in one record.

The work is in the files beside this one: decode (with blocks), encode (with writer), response, errors, usage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tokenwire.dialects.anthropic.blocks import NAME
from tokenwire.dialects.anthropic.decode import Decoder
from tokenwire.dialects.anthropic.encode import Encoder
from tokenwire.dialects.anthropic.errors import error_body, is_error_object
from tokenwire.dialects.anthropic.plain import PlainText, PlainThinking, read_plain
from tokenwire.dialects.anthropic.response import decode_response, fold_response
from tokenwire.dialects.base import Dialect, Frame, Mark
from tokenwire.dialects.deltas import GENERATED, Delta, Failed, Started
from tokenwire.dialects.json_text import loads
from tokenwire.dialects.openai_chat.errors import describe_error
from tokenwire.wire import sse
from tokenwire.wire.envelope import PADDING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DIALECT", "NAME", "Decoder", "Encoder", "decode_response", "fold_response", "scan"]

#: A frame of plain text begins with this; what follows is its JSON.
_OPENING: Final = b"event: content_block_delta\ndata: "


def scan(frame: bytes) -> int:
    """A cheap look at one whole frame, the hot path. Never raises.

    A frame is plain only if it has the event's name, one line of data, and there one whole JSON value of that type:
    since no JSON string may hold a line end, nothing else fits between the opening and the end.

    Returns:
        ``PLAIN``; else ``DONE`` or ``NOTABLE``, with ``ERROR`` where it applies. An ``ERROR`` is also ``SWALLOWED`` if
        Anthropic's SDKs would not raise it, or not say what it was, and nothing generated is lost with it.
    """
    if frame.startswith(_OPENING):
        try:
            read_plain(frame[len(_OPENING) :])
        except (ValueError, RecursionError):
            pass
        else:
            return Mark.PLAIN
    return look(frame, Decoder())[0]


def look(frame: bytes, decoder: Decoder) -> tuple[int, list[Delta]]:
    """The plain version of ``scan``: what *decoder* makes of the frame, and the mark that follows from it."""
    mark: int = Mark.PLAIN
    found: list[Delta] = []
    for event in _events(frame):
        over = decoder.done
        deltas = decoder.feed(event)
        found += deltas
        kinds = set(map(type, deltas))
        if not kinds <= _UNREMARKABLE:
            mark |= Mark.NOTABLE
        if Failed in kinds:
            mark |= Mark.ERROR if _raises(event) or not kinds.isdisjoint(GENERATED) else Mark.ERROR | Mark.SWALLOWED
        if decoder.done and not over:
            mark |= Mark.DONE
    return mark, found


def _events(frame: bytes) -> list[sse.Event]:
    event = sse.simple(frame)
    return [event] if event is not None else sse.Decoder(len(frame) + 8).feed(frame + b"\n\n")


_UNREMARKABLE: Final = frozenset({*GENERATED, Started})


def condense(frames: Iterable[bytes]) -> list[Frame]:
    """The events of *frames*, runs of plain deltas in one each, without pings. Every block keeps its number, also those
    that are passed on whole, so that what follows fits."""
    condensed: list[Frame] = []
    run: list[str] = []
    place: tuple[int, str, str] | None = None

    def flush() -> None:
        if place is not None:
            index, kind, member = place
            delta = {"type": kind, member: "".join(run)}
            data = {"type": "content_block_delta", "index": index, "delta": delta}
            condensed.append(Frame("content_block_delta", msgspec.json.encode(data).decode()))
        run.clear()

    for frame in frames:
        plain = _plain(frame)
        if plain is None:
            if events := [event for event in _events(frame) if event.event != "ping"]:
                flush()
                place = None
                condensed += [Frame(None if each.event == "message" else each.event, each.data) for each in events]
            continue
        index, kind, member, text = plain
        if place != (index, kind, member):
            flush()
            place = index, kind, member
        run.append(text)
    flush()
    return condensed


def _plain(frame: bytes) -> tuple[int, str, str, str] | None:
    """Index, type, member and text of a plain delta; None of any other frame."""
    if not frame.startswith(_OPENING):
        return None
    try:
        event = read_plain(frame[len(_OPENING) :])
    except (ValueError, RecursionError):
        return None
    delta = event.delta
    if isinstance(delta, PlainText):
        return event.index, "text_delta", "text", delta.text
    if isinstance(delta, PlainThinking):
        return event.index, "thinking_delta", "thinking", delta.thinking
    return event.index, "input_json_delta", "partial_json", delta.partial_json


def _raises(event: sse.Event) -> bool:
    """Whether Anthropic's SDKs raise this as what it is: only an event of that name, with an object of that shape."""
    if event.event != "error":
        return False
    try:
        value, _ = loads(event.data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and is_error_object(value.get("error"))


DIALECT: Final = Dialect(
    name=NAME,
    framing="sse",
    content_type="text/event-stream",
    ids=False,
    heartbeat=b'event: ping\ndata: {"type": "ping"}\n\n',
    loses={
        "several answers": "the first is told",
        "signature": "left out where it comes after the text: no block is open for it there",
        "call signature": "left out",
        "tool results": "left out: the model's own answers have none",
        "logprobs": "left out",
        "usage": "counts that nobody told are 0: the SDKs count on them",
    },
    reasons={"content_filter": "refusal", "unknown": "stop", "error": "stop", "cancelled": "stop"},
    holes=(("delta", "text"), ("delta", "thinking"), ("delta", "partial_json"), PADDING),
    decoder=Decoder,
    encoder=Encoder,
    scan=scan,
    look=look,
    opening=_OPENING,
    end=b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    peek=read_plain,
    condense=condense,
    decode_response=decode_response,
    fold_response=fold_response,
    error_body=error_body,
    describe_error=describe_error,
)
