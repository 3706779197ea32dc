"""Google's Gemini: what the dialect is, in one record; and a second one for clients that do not ask for SSE.

The work is in the files beside this one: decode (with candidate, calls, citations), encode (with answer), response,
errors, usage.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from tokenwire.dialects.base import Dialect, Frame, Mark
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Logprobs,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.gemini import array
from tokenwire.dialects.gemini.candidate import NAME
from tokenwire.dialects.gemini.decode import Decoder
from tokenwire.dialects.gemini.encode import Encoder
from tokenwire.dialects.gemini.errors import describe_error, error_body
from tokenwire.dialects.gemini.lines import dumps
from tokenwire.dialects.gemini.response import decode_response, fold_response
from tokenwire.dialects.json_text import loads
from tokenwire.wire import sse

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ARRAY", "DIALECT", "NAME", "Decoder", "Encoder", "decode_response", "fold_response", "scan"]

_OPENING: Final = b"data: "


class _Part(msgspec.Struct, gc=False):
    """A piece of text or thought, and nothing that goes with it."""

    text: str
    thoughtSignature: Literal[""] | None = None  # noqa: N815
    functionCall: None = None  # noqa: N815
    thought: bool | None = None


class _Content(msgspec.Struct, gc=False):
    parts: Annotated[list[_Part], msgspec.Meta(min_length=1)]


class _Candidate(msgspec.Struct, gc=False):
    content: _Content
    index: int = 0
    finishReason: Literal["", "FINISH_REASON_UNSPECIFIED"] | None = None  # noqa: N815
    finishMessage: None = None  # noqa: N815
    groundingMetadata: None = None  # noqa: N815
    citationMetadata: None = None  # noqa: N815


class _Response(msgspec.Struct, gc=False):
    """An event as nearly all are: pieces of text, and no news of an end or an error. Unknown members may be in it (and
    usage always is); those named here may not say anything else."""

    candidates: Annotated[list[_Candidate], msgspec.Meta(min_length=1)]
    promptFeedback: None = None  # noqa: N815
    error: None = None


_peek: Final = msgspec.json.Decoder(_Response).decode


def scan(frame: bytes) -> int:
    """A cheap look at one whole frame, the hot path. Never raises.

    A frame is plain only if it is one line of data, and there one whole JSON value of that type: since no JSON string
    may hold a line end, nothing else fits between the opening and the end.

    Returns:
        ``PLAIN``; else ``NOTABLE``, with ``ERROR`` where it applies. An ``ERROR`` is also ``SWALLOWED`` if google-genai
        would not raise it as what it is, and nothing generated is lost with it.
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
    for event in _events(frame):
        deltas = decoder.feed(event)
        found += deltas
        if event.data.strip().startswith("[DONE]"):
            mark |= Mark.NOTABLE | Mark.SWALLOWED  # a gateway's: google-genai fails on it
        for delta in deltas:
            if not isinstance(delta, _UNREMARKABLE) and not (isinstance(delta, Usage) and delta.output is None):
                mark |= Mark.NOTABLE
        kinds = set(map(type, deltas))
        if Failed in kinds:
            told = Finished in kinds or _raises(event.data) or not kinds.isdisjoint(_GENERATED)
            mark |= Mark.ERROR if told else Mark.ERROR | Mark.SWALLOWED
    return mark, found


#: What leaves a frame plain. Calls are not among it: they decide what the word STOP means at the end.
_UNREMARKABLE: Final = (TextDelta, ReasoningDelta, Started, Logprobs)
_GENERATED: Final = frozenset({TextDelta, ReasoningDelta, ToolCallStarted})


def _events(frame: bytes) -> list[sse.Event]:
    event = sse.simple(frame)
    return [event] if event is not None else sse.Decoder(len(frame) + 8).feed(frame + b"\n\n")


def _raises(data: str) -> bool:
    """Whether google-genai raises this as an error of the API: an object whose first member is ``error``, with a number
    in it."""
    try:
        value, _ = loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict) or next(iter(value), None) != "error" or not isinstance(value["error"], dict):
        return False
    code = value["error"].get("code")
    return isinstance(code, int) and not isinstance(code, bool)


def condense(frames: Iterable[bytes]) -> list[Frame]:
    """The events of *frames*, runs of plain ones of one kind in one each: the last, with the text of all. Everything
    else stands as it came: sources, usage and the pieces of a call that Vertex streams are told nowhere else."""
    condensed: list[Frame] = []
    run: list[str] = []
    last: dict[str, Any] = {}
    kind: tuple[int, bool] | None = None

    def flush() -> None:
        if run:
            last["candidates"][0]["content"]["parts"][0]["text"] = "".join(run)
            condensed.append(Frame(None, dumps(last)))
        run.clear()

    for frame in frames:
        plain = _plain(frame)
        if plain is None:
            flush()
            kind = None
            condensed += [Frame(None, event.data) for event in _events(frame)]
            continue
        if plain != kind:
            flush()
            kind = plain
        last = msgspec.json.decode(frame[len(_OPENING) :])
        run.append(last["candidates"][0]["content"]["parts"][0]["text"])
    flush()
    return condensed


def _plain(frame: bytes) -> tuple[int, bool] | None:
    """Index and kind of a plain frame with one piece of text; None of any other."""
    if not frame.startswith(_OPENING):
        return None
    try:
        event = _peek(frame[len(_OPENING) :])
    except (ValueError, RecursionError):
        return None
    candidate = event.candidates[0]
    if len(event.candidates) > 1 or len(candidate.content.parts) > 1:
        return None
    return candidate.index, candidate.content.parts[0].thought is True


DIALECT: Final = Dialect(
    name=NAME,
    framing="sse",
    content_type="text/event-stream",
    ids=None,
    heartbeat=b"",
    loses={
        "refusal": "told as text; the reason to finish is SAFETY",
        "tool results": "left out: the model's own answers have none",
        "cache writes": "left out: there is no count of them",
    },
    reasons={"refusal": "content_filter", "context_window": "length", "pause": "stop"},
    holes=(("candidates", 0, "content", "parts", 0, "text"),),
    decoder=Decoder,
    encoder=Encoder,
    scan=scan,
    look=look,
    opening=_OPENING,
    peek=_peek,
    condense=condense,
    decode_response=decode_response,
    fold_response=fold_response,
    error_body=error_body,
    describe_error=describe_error,
)

#: For a stream that was asked for without ``alt=sse``. It is never an upstream's: we ask for SSE.
ARRAY: Final = replace(
    DIALECT,
    framing="raw",
    content_type="application/json",
    holes=(),
    encoder=array.ArrayEncoder,
    peek=None,
    condense=None,
    error_body=array.error_body,
)
