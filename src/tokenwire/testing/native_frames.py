"""Native streams as the relay's own encoder writes them, event by event, and whole answers around them.

For scripted relays: what a client of ours has to understand, and where it may be cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenwire.dialects.base import Frame
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    ReasoningDelta,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.native import dialect as native
from tokenwire.dialects.transcript import Transcript
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head, http_chunk
from tokenwire.wire import sse

STREAM_HEAD: Final = head(200, ("content-type", "text/event-stream; charset=utf-8"), ("transfer-encoding", "chunked"))

#: One answer with something of everything, and its text.
DELTAS: Final[list[Delta]] = [
    ReasoningDelta("Let me "),
    ReasoningDelta("see."),
    TextDelta("Héllo", block=1),
    TextDelta(", wörld", block=1),
    ToolCallStarted("call_1", "weather", block=2),
    ToolCallDelta('{"city":', block=2),
    ToolCallDelta('"Oslo"}', block=2),
    ToolCallEnded(block=2),
    Usage(input=3, output=7),
    Finished("tool_use", "tool_calls"),
]
TEXT: Final = "Héllo, wörld"


def events(deltas: Sequence[Delta] = DELTAS, terminal: Terminal | None = None) -> list[bytes]:
    """A whole stream ``st_1`` of the model ``up/m``, its ids from ``1-1`` on."""
    encoder = native.Encoder("st_1", 1.5, "up/m")
    entries = [encoder.feed(delta) for delta in deltas]
    return _written([*entries, encoder.close(terminal or Terminal("completed", ttft_ms=12.0, e2e_ms=34.0))])


def from_snapshot(deltas: Sequence[Delta], then: Sequence[Delta] = ()) -> list[bytes]:
    """The same for whoever comes after *deltas*: ``started``, a snapshot, what comes then, the end."""
    fold = Transcript()
    for delta in deltas:
        fold.apply(delta)
    encoder = native.Encoder("st_1", 1.5, "up/m")
    entries = [encoder.prefix(fold), *(encoder.feed(delta) for delta in then), encoder.close(Terminal("completed"))]
    return _written(entries)


def farewell(message: str) -> bytes:
    """What one reader is told when it is detached: an error that is not of the log, and so has no id."""
    frame = native.Encoder("st_1", 1.5, "up/m").close(Terminal("failed", error=Failed("detached", message)))[1]
    return sse.encode(frame.data, event=frame.event)


def chunks(*sent: bytes) -> bytes:
    """Each as one chunk of a body."""
    return b"".join(map(http_chunk, sent))


def streamed(*sent: bytes) -> bytes:
    """A whole event stream response."""
    return STREAM_HEAD + chunks(*sent) + LAST_CHUNK


def refused(status: int, code: str, message: str, *fields: tuple[str, str]) -> bytes:
    """A whole error answer."""
    body = b"" if status == 204 else native.error_body(Failed(code, message), status)
    return answer(body, status=status, fields=fields)


def _written(entries: Sequence[Sequence[Frame]]) -> list[bytes]:
    """The last frame of an entry has its id, those before it parts of it (INTERFACES section 2)."""
    sent: list[bytes] = []
    for seq, frames in enumerate(entries, 1):
        for k, frame in enumerate(frames, 1):
            name = f"1-{seq}" if k == len(frames) else f"1-{seq - 1}.{k}"
            sent.append(sse.encode(frame.data, event=frame.event, id=name))
    return sent
