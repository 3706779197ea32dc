"""A stream answered in one piece, at its end: what a request gets that does not ask for a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.errors import RequestRefused
from tokenwire.gateway.answers import body_headers, given, named, passed, refusal_body, refusal_headers
from tokenwire.gateway.respond import guarded, refusal, wait_in

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.sinks import ResponseSink, Send


class Whole:
    """One request that does not stream: the provider's body as it came, or the stream folded."""

    __slots__ = ("_dialect", "_over", "_reader", "_sink", "_stream")

    def __init__(self, stream: Stream, sink: ResponseSink, dialect: Dialect) -> None:
        self._stream = stream
        self._sink = sink
        self._dialect = dialect
        self._over = False
        self._reader = stream.attach(sink, dialect, ids=False)

    def start(self) -> None:
        """Answer now, or at the stream's end."""
        if not self._sink.watch(self):
            self.lost()
        elif self._stream.terminal is None:
            self._stream.on_end.append(self._ended)
        else:
            self._ended()

    async def run(self, send: Send) -> None:
        """``start``, and wait for the end. Cancelling is the client's leaving."""
        self.start()
        await wait_in(self._sink, send, self.lost)

    def lost(self) -> None:
        self._over = True
        self._reader.leave()
        self._sink.release()

    def writable(self) -> None:
        """Nothing is written but the answer."""

    def closed(self) -> None:
        """By ``_ended`` itself."""

    def _ended(self) -> None:
        stream = self._stream
        if self._over:
            return
        if stream.log.present or stream.hub.archive is None:
            self._told(None)
        else:  # of a long answer, the store has the beginning
            stream.hub.archive.fetch(stream, 1, self._told, whole=True)

    def _told(self, error: Exception | None) -> None:
        """All of it is here, unless there was an *error*."""
        if self._over:
            return
        self._over = True
        if error is None:
            guarded(self._answer, self._sink, self.lost)
        else:
            guarded(self._refuse, self._sink, self.lost)

    def _refuse(self) -> None:
        self._reader.finish()
        refused = RequestRefused(503, "store_away", "the answer is whole, and cannot be read from the store now")
        body = refusal_body(refused, self._dialect)
        self._sink.answer(503, body_headers(503, body, refusal_headers(refused)), body)

    def _answer(self) -> None:
        stream = self._stream
        self._reader.finish()
        terminal = stream.terminal
        assert terminal is not None
        if terminal.error is not None:
            self._sink.answer(*refusal(stream, self._dialect))
            return
        own = stream.unary and self._dialect is stream.dialect
        body = stream.log.frame(1) if own else self._dialect.fold_response(
            stream.transcript(), stream.id, stream.created, stream.model
        )  # fmt: skip
        self._sink.answer(200, body_headers(200, body, [*named(stream), *passed(given(stream))]), body)
