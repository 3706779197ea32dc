"""What a dialect is: a decoder, an encoder and a handful of facts. One frozen record per dialect, no base class.

A dialect file is pure: it maps events to deltas and back, and never buffers lines, retries, logs or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, Failed, FinishReason, Terminal
    from tokenwire.dialects.transcript import Transcript
    from tokenwire.wire.sse import Event


#: What of an answer not every dialect can tell. ``signature``: of a thought; ``call signature``: of a call.
#: ``tool results``: where somebody between the model and the reader runs the tools, and goes on.
Aspect: TypeAlias = Literal[
    "several answers", "reasoning", "signature", "call signature", "call ids", "tool results", "refusal", "citations",
    "logprobs", "usage", "cached input", "cache writes", "reasoning tokens",
]  # fmt: skip


class Frame(NamedTuple):
    """One event on its way to a reader, before ids and framing (the writer adds both)."""

    event: str | None
    data: str


class Mark:
    """What the cheap look at a frame found: bits of an int. Plain frames, nearly all, have none and are not decoded.

    Plain integers: in CPython 3.11 each ``&`` of an ``IntFlag`` costs as much as the look itself.
    """

    PLAIN: Final = 0
    NOTABLE: Final = 1  # not plain text: worth decoding at the end (finish, usage, role, anything unknown)
    DONE: Final = 2  # the dialect's end marker: nothing after it is relayed
    ERROR: Final = 4  # carries an error: decode it now
    USAGE_ONLY: Final = 8  # a usage chunk without content, hidden from a client that did not ask for it
    SWALLOWED: Final = 16  # an error in a shape that stock SDKs do not notice: replaced by the dialect's own error


class Decoder(Protocol):
    """Events of one upstream attempt -> deltas. A fold: equal input gives equal output, whatever the chunking."""

    def feed(self, event: Event) -> list[Delta]: ...

    def close(self) -> list[Delta]:
        """The bytes ended. Returns what the end implies, ``Failed(code="truncated")`` if the end marker is missing."""
        ...

    def copy(self) -> Decoder:
        """An independent decoder in the same state (a checkpoint). Cheap: state, never history."""
        ...


class Encoder(Protocol):
    """Deltas -> frames of one dialect. What it must invent derives from the stream id and a counter."""

    def feed(self, delta: Delta) -> list[Frame]: ...

    def prefix(self, fold: Transcript) -> list[Frame]:
        """The legal coalesced prefix: what a late joiner is sent to be in the state of *fold*."""
        ...

    def close(self, terminal: Terminal) -> list[Frame]: ...

    def copy(self) -> Encoder: ...


class CountingEncoder(Encoder, Protocol):
    """An encoder to which it matters how many deltas there were: a number of an event, or a count of all."""

    def feed_run(self, delta: Delta, count: int) -> list[Frame]:
        """``feed`` for *count* deltas of one text, one after the other, which *delta* has joined: what tells them as
        one. What follows is what it would be had they been fed one by one."""
        ...


def feed_run(encoder: Encoder | CountingEncoder, delta: Delta, count: int) -> list[Frame]:
    """What *encoder* makes of *count* deltas of one text that *delta* has joined."""
    told = getattr(encoder, "feed_run", None)
    frames: list[Frame] = encoder.feed(delta) if told is None else told(delta, count)
    return frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire dialect.

    Attributes:
        framing: ``sse``; ``ndjson``, each frame's data a line; or ``raw``, each frame's data as it is.
        ids: whether stock clients bear ``id:`` lines on the dialect's own POST route; None: never, wherever (Gemini).
        heartbeat: bytes for an idle reader where ids are off (where they are on, ``: hb`` and ONE newline); b"" where
            stock clients bear none.
        headers: of a streaming answer, beside those that all have.
        loses: what this dialect has no words for -> what becomes of it. docs/translation.md lists it, and tests that
            compare an answer with its translation leave out what stands here, and nothing else.
        reasons: what a reason to finish becomes on its way through this dialect, where not itself.
        holes: paths of JSON strings (or whole numbers) that vary from frame to frame and mean nothing else, the
            important ones first: four count (envelopes). ``("padding",)`` is the spaces before the last brace.
        scan: a cheap look at one whole frame (bytes through the blank line); never raises.
        look: the same look with the stream's own decoder: the mark, and the deltas of the frame.
        opening: what a frame of plain text begins with, up to its JSON (LF framing): ``data: ``, and the event's name
            before it where the dialect has one.
        end: the frame that must come at the end of every whole answer; b"" where an answer may be whole without one.
        peek: where there is such a function in C: raises ValueError unless what follows the opening of a frame is one
            plain chunk. What passes has no mark.
        merges: whether readers who are behind are told the deltas of one text as one. Vendors' readers get every frame.
        condense: frames of this dialect -> the fewest that say the same to a reader who goes on with those that follow;
            for dialects where a frame means something only after the ones before it (blocks have numbers). None: an
            encoder's prefix does as well.
        follow: an ending of ours, the first frame that was sent (b"" where it is gone), and all of them from the newest
            on -> the ending as it follows on these; for dialects that number their events. None: an ending is the same
            after anything.
        decode_response: a whole non-streaming body -> the deltas that a stream would have brought.
        fold_response: the other way: what a non-streaming client of this dialect is answered.
        error_body: the HTTP error body in this dialect, given the failure and the HTTP status it goes out with.
        describe_error: the opposite: any error body of a provider (JSON, HTML, text) and its status -> Failed.
    """

    name: str
    framing: Literal["sse", "ndjson", "raw"]
    content_type: str
    ids: bool | None
    heartbeat: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    loses: Mapping[Aspect, str] = field(default_factory=dict)
    reasons: Mapping[FinishReason, FinishReason] = field(default_factory=dict)
    holes: tuple[tuple[str | int, ...], ...]
    decoder: Callable[[], Decoder]
    encoder: Callable[[str, float, str], Encoder]
    scan: Callable[[bytes], int]
    look: Callable[[bytes, Any], tuple[int, list[Delta]]]
    opening: bytes = b"data: "
    end: bytes = b""
    peek: Callable[[bytes], object] | None = None
    merges: bool = False
    condense: Callable[[Iterable[bytes]], list[Frame]] | None = None
    follow: Callable[[Sequence[Frame], bytes, Iterable[bytes]], list[Frame]] | None = None
    decode_response: Callable[[bytes], list[Delta]]
    fold_response: Callable[[Transcript, str, float, str], bytes]
    error_body: Callable[[Failed, int], bytes]
    describe_error: Callable[[bytes, int], Failed]


def encode_frames(frames: Sequence[Frame]) -> bytes:
    """The frames as SSE without ids; the plain oracle of what the engine's views write."""
    from tokenwire.wire.sse import encode

    return b"".join(encode(frame.data, event=frame.event) for frame in frames)
