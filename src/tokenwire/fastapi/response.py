"""What a route returns: a response that begins its stream when the server asks for it, in the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from tokenwire import dialects
from tokenwire.errors import RequestRefused
from tokenwire.fastapi.express import EXTENSION, ExpressSink
from tokenwire.gateway.answers import send_refusal
from tokenwire.gateway.sinks import AsgiSink

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from tokenwire.engine.stream import Stream
    from tokenwire.fastapi.relay import Relay
    from tokenwire.gateway.respond import Responding
    from tokenwire.gateway.sinks import Receive, ResponseSink, Scope, Send

#: Answers a request by a sink, or by ``send`` itself and then None; raises ``RequestRefused`` before anything is sent.
Answer = Callable[["ResponseSink", "Send"], Awaitable["Responding | None"]]


class RelayResponse(Response):
    """Made by ``Relay.respond``, returned from a route. Headers, cookies and a background task may be added to it, as
    to any response; they go out with the stream's own, and the task runs after its end.

    Nothing has begun yet when a route returns it. A request that is refused is answered in the caller's dialect.
    """

    def __init__(
        self, relay: Relay, answer: Answer, dialect: str, *, discard: Callable[[], None] | None = None
    ) -> None:
        # Not super().__init__: a stream has no body to measure.
        self.status_code = 200
        self.background = None
        self.body = b""
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self._relay = relay
        self._answer = answer
        self._dialect = dialect
        self._discard = discard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.raw_headers:
            send = self._with_headers(send)
        running = self._relay.running
        running.answering += 1
        try:
            await self._respond(sink_for(scope, receive, express=self._relay.express), send)
        finally:
            running.answering -= 1
        if self.background is not None:
            await self.background()

    async def _respond(self, sink: ResponseSink, send: Send) -> None:
        try:
            responding = await self._answer(sink, send)
        except BaseException as error:
            if self._discard is not None:
                self._discard()
            if not isinstance(error, RequestRefused):
                raise
            await send_refusal(send, error, dialects.get(self._dialect))
        else:
            if responding is not None:
                await responding.run(send)

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self.raw_headers]}
            await send(message)

        return sending


def sink_for(scope: Scope, receive: Receive, *, express: bool) -> ResponseSink:
    """Past the middleware if it lets us and our own protocol is below; by ``send`` everywhere else."""
    offer = (scope.get("extensions") or {}).get(EXTENSION) if express else None
    if offer is None or offer.cycle.more_body:  # a body that nobody has read must not be held back
        return AsgiSink(receive)
    return ExpressSink(offer)


def follow_openly(stream: Stream, sink: ResponseSink) -> None:
    """When *sink* finds the direct way, the engine may take it, too."""
    if isinstance(sink, ExpressSink):
        sink.on_open = stream.reroute
