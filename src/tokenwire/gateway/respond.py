"""From a stream to an HTTP response: hold, head, frames, end. The same for every dialect and every server."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import msgspec

from tokenwire.engine.ids import EventId
from tokenwire.engine.view import encode
from tokenwire.errors import NotResumable, UpstreamStatus
from tokenwire.gateway.answers import Headers, passed, send_body, status_of, stream_headers
from tokenwire.gateway.port import EXTENSION
from tokenwire.gateway.sinks import AsgiSink, PortSink, Receive, ResponseSink, Scope, Send
from tokenwire.wire import sse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.base import Dialect, Frame
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream


def sink_for(scope: Scope, receive: Receive) -> ResponseSink:
    """Straight to the transport where our own protocol offers it."""
    port = (scope.get("extensions") or {}).get(EXTENSION)
    return AsgiSink(receive) if port is None else PortSink(port)


async def opened(stream: Stream, sink: ResponseSink, reader: Reader, hold: float, *, end: bool = False) -> bool:
    """Wait for the first generated event (with *end*: for the terminal), at most *hold* seconds.

    Returns False if the client left meanwhile: a held response still watches its client, and leaving now is leaving.
    """
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not waiting.done():
            waiting.set_result(None)

    def lost() -> None:
        wake()
        reader.leave()

    if not sink.watch(lost, reader.resume):
        reader.leave()
        return False
    if hold and stream.terminal is None and (end or stream.generated_ns is None):
        (stream.on_end if end else stream.on_open).append(wake)
        timer = None if hold == math.inf else stream.wheel.after(hold, wake)
        try:
            await waiting
        finally:
            if timer is not None:
                timer.cancel()
    return not sink.lost


async def follow(
    stream: Stream,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    dialect: Dialect,
    ids: bool,
    hold: float = 0.0,
    after: EventId | None = None,
    start: str = "start",
) -> None:
    """Answer one request with *stream* in *dialect*, from *after* or else *start* (start, snapshot, now) to its end.

    With *hold*, the head waits for the first generated event, so that a failure before it is an HTTP error. HEAD is
    answered at once, and is no reader. Raises ``NotResumable`` before anything is sent. Cancelling leaves the stream
    as the reader's leaving would.
    """
    view = stream.view(dialect, ids=ids)
    held = stream.log
    if (after is not None and view.over_at(view.position(after))) or (start == "now" and held.terminal is not None):
        raise NotResumable(204, "over", "nothing is left of this stream")
    if start == "snapshot" and held.first > 1:
        raise stream.trimmed()
    if start != "start":
        after = EventId(held.epoch, held.last_frame)
    if scope["method"] == "HEAD":
        await send({"type": "http.response.start", "status": 200, "headers": stream_headers(stream.id, _given(stream))})
        await send({"type": "http.response.body", "body": b""})
        return
    sink = sink_for(scope, receive)
    reader = stream.attach(sink, dialect, ids=ids, after=after)
    try:
        if not await opened(stream, sink, reader, hold):
            return
        terminal = stream.terminal
        if hold and terminal is not None and terminal.error is not None and stream.generated_ns is None:
            reader.finish()
            sink.release()
            await refuse(stream, send, dialect)
            return
        preface = b""
        if start == "snapshot":
            # The end marker is no part of a prefix: it still has to come.
            seq = held.last_frame if held.done_seq is None else held.done_seq - 1
            reader.cursor = EventId(held.epoch, seq)
            preface = _prefix(stream.encoder(dialect).prefix(stream.transcript(seq)), reader.cursor)
        if dialect.name == "native" and not preface:
            preface = f"id: {reader.cursor}\n\n".encode()  # a cursor before the first event (no data: no dispatch)
        await send({"type": "http.response.start", "status": 200, "headers": stream_headers(stream.id, _given(stream))})
        sink.started()
        reader.start(preface)
        await sink.run(send)
        sink.release()
        if not sink.lost:
            await send({"type": "http.response.body", "body": _farewell(stream, sink, dialect), "more_body": False})
    except OSError:  # newer servers raise when the client is gone, others drop the bytes
        pass
    finally:
        reader.leave()
        sink.release()


async def whole(stream: Stream, scope: Scope, receive: Receive, send: Send, *, dialect: Dialect) -> None:
    """Answer one request that does not stream: the provider's body as it came, or the stream folded."""
    sink = sink_for(scope, receive)
    reader = stream.attach(sink, dialect, ids=False)
    try:
        if not await opened(stream, sink, reader, math.inf, end=True):
            return
        reader.finish()
        sink.release()
        terminal = stream.terminal
        assert terminal is not None
        if terminal.error is not None:
            await refuse(stream, send, dialect)
            return
        body = stream.log.frame(1) if stream.unary else dialect.fold_response(
            stream.transcript(), stream.id, stream.created, stream.model
        )  # fmt: skip
        await send_body(send, 200, body, [_name(stream), *passed(_given(stream))])
    except OSError:
        pass
    finally:
        reader.leave()
        sink.release()


async def refuse(stream: Stream, send: Send, dialect: Dialect) -> None:
    """A failure before the first byte: the provider's own words in its own dialect, else ours in the caller's."""
    terminal = stream.terminal
    assert terminal is not None
    assert terminal.error is not None
    refused = stream.meta.get("refused")
    status = status_of(terminal.error)
    body = dialect.error_body(terminal.error, status)
    headers: Headers = [_name(stream)]
    if isinstance(refused, UpstreamStatus):
        headers += passed(refused.headers)
        if dialect is stream.dialect and _is_object(refused.body):
            body = refused.body
    await send_body(send, status, body, headers)


def _is_object(body: bytes) -> bool:
    """Whether a client gets anything out of *body*: JSON, and not empty."""
    try:
        return bool(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    except (ValueError, RecursionError):
        return False


def _given(stream: Stream) -> Headers:
    """The provider's response headers, as far as its answer has begun."""
    headers = stream.meta.get("headers")
    return headers if isinstance(headers, list) else []


def _name(stream: Stream) -> tuple[bytes, bytes]:
    return b"x-tokenwire-stream", stream.id.encode()


def _farewell(stream: Stream, sink: ResponseSink, dialect: Dialect) -> bytes:
    """What only this reader is told: it was detached although the stream goes on, and how to resume."""
    if sink.terminal is None or sink.terminal is stream.terminal:
        return b""
    frames = stream.encoder(dialect).close(sink.terminal)
    # Native: the error alone. The stream neither begins nor ends here, and `done` would vouch for an empty text.
    return encode([frame for frame in frames if frame.event not in ("started", "done")], None)


def _prefix(frames: Sequence[Frame], cursor: EventId) -> bytes:
    """A coalesced prefix: only its last frame carries an id, for nobody may resume inside it."""
    return encode(frames[:-1], None) + b"".join(
        sse.encode(frame.data, event=frame.event, id=str(cursor)) for frame in frames[-1:]
    )
