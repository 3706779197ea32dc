"""A relay, seen from outside: start a stream, look at it, stop it, follow it."""

from __future__ import annotations

import asyncio
import random as randomness
import secrets
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tokenwire.client.backoff import Backoff, Retry
from tokenwire.client.following import Following
from tokenwire.client.http import Http, stream_path
from tokenwire.client.refusals import refusal, retry_after
from tokenwire.engine.clock import Clock, LoopClock
from tokenwire.errors import RelayRefused, RelayUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

#: Seconds. The relay answers these requests by itself, without asking a provider.
ANSWER_SECONDS = 15.0
#: Three of the relay's heartbeats (10 s) without a byte: the connection is dead, whatever TCP says.
HEARTBEATS = 3


class Client:
    """A client of one relay; an asynchronous context manager, made inside the running loop. Not for several threads.

    Args:
        url: where the relay is, ``http://127.0.0.1:8787``; also behind a path.
        key: sent as ``Authorization: Bearer``.
        retry: when to try again.
        heartbeat: of the relay, seconds: after three of them without a byte a connection counts as dead.
        clock, random, new_key: time, uniform numbers in [0, 1) and idempotency keys; tests hand in their own.

    Attributes:
        mismatches: streams that were followed to their end, and were not what the relay said it had sent.

    Raises ``ConfigError`` for a URL that is none, or a key that is no printable ASCII.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        retry: Retry | None = None,
        heartbeat: float = 10.0,
        connect_timeout: float = 5.0,
        clock: Clock | None = None,
        random: Callable[[], float] = randomness.random,
        new_key: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.clock = clock or LoopClock()
        self.retry = retry or Retry()
        self.mismatches = 0
        self.http = Http(url, key=key, clock=self.clock, connect_timeout=connect_timeout)
        self.silence = HEARTBEATS * heartbeat
        self._random = random
        self._new_key = new_key

    @property
    def url(self) -> str:
        return self.http.url

    async def ping(self) -> None:
        """Whether somebody answers there, asked once. Raises ``RelayUnreachable`` if not."""
        reply = await self.http.ask("GET", "/readyz", silence=ANSWER_SECONDS)
        await reply.whole()

    async def models(self) -> list[str]:
        """The names of the models that this caller may use. Raises ``RelayUnreachable``, ``RelayRefused``."""
        return list(await self.dialects())

    async def dialects(self) -> dict[str, list[str]]:
        """The same names, and in which dialects each may be asked: none where the relay does not tell."""
        answer = await self._ask("GET", "/v1/models")
        try:
            return {model["id"]: list(model.get("dialects") or ()) for model in answer["data"]}
        except (AttributeError, KeyError, TypeError) as error:
            raise self._no_relay("its list of models is none") from error

    async def start(
        self,
        request: Mapping[str, Any],
        *,
        dialect: str = "openai.chat",
        session: str | None = None,
        on_disconnect: str | None = None,
        lease: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Start generating; the stream's id. Nothing is read yet: ``follow`` does that.

        A request that got no answer is sent again under the same idempotency key: the model runs once.

        Args:
            request: the body as *dialect* has it (``openai.chat``: model, messages …).
            session: the conversation that the stream belongs to.
            on_disconnect: what happens when nobody reads: ``cancel``, ``linger=SECONDS`` or ``finish``.
            lease: seconds that the relay waits for the first reader, as if one read meanwhile; by default as long as it
                lingers. ``renew`` makes it wait for so long again.
            metadata: kept with the stream, and told to whoever looks at it.
            idempotency_key: of the caller; by default each call starts a stream of its own.

        Raises ``RelayUnreachable``, ``RelayRefused``. If cancelled, the stream may have been started: without a reader
        it is stopped after its linger.
        """
        body: dict[str, Any] = {"dialect": dialect, "request": request}
        wishes = {"session": session, "on_disconnect": on_disconnect, "lease": lease, "metadata": metadata}
        body |= {name: wish for name, wish in wishes.items() if wish is not None}
        fields = [("idempotency-key", idempotency_key or self._new_key())]
        answer = await self._ask("POST", "/v1/streams", msgspec.json.encode(body), fields)
        try:
            return str(answer["id"])
        except KeyError as error:
            raise self._no_relay("it started a stream without an id") from error

    def follow(
        self,
        stream: str,
        *,
        after: str | None = None,
        begin: Literal["start", "snapshot", "now"] = "start",
        lease: float | None = None,
    ) -> Following:
        """Follow *stream* to its end, over as many connections as it takes.

        Args:
            after: an event id: begin with what follows it.
            begin: without one: at the beginning, with one snapshot of what came so far, or with what comes next.
            lease: seconds (1 to 3600) after which the relay takes this reader to have left unless it says that it is
                there, which it does by itself: for proxies that hide when a connection has ended.
        """
        return Following(self, stream, Backoff(self.retry, self._random), after=after, begin=begin, lease=lease)

    async def renew(self, stream: str, lease: str | None = None) -> dict[str, Any]:
        """Say that one is still there: for what was started with a lease, and is not followed yet. ``follow`` does it
        by itself.

        Args:
            lease: the id of a lease; without it, all that are not renewed by theirs.

        Raises ``StreamNotFound`` (also where no lease is in force), ``RelayUnreachable``.
        """
        body = b"" if lease is None else msgspec.json.encode({"lease": lease})
        return await self._ask("POST", stream_path(stream) + "/lease", body)

    async def look(self, stream: str) -> dict[str, Any]:
        """The state of *stream* (INTERFACES section 3). Raises ``StreamNotFound``, ``RelayUnreachable``."""
        return await self._ask("GET", stream_path(stream))

    async def cancel(self, stream: str) -> dict[str, Any]:
        """Stop generating, at once and for every reader; the state then. Idempotent, valid at any time.

        Raises ``StreamNotFound``, ``RelayUnreachable``.
        """
        return await self._ask("POST", stream_path(stream) + "/cancel")

    def close(self) -> None:
        """Close every connection. What is followed is dropped; streams go on until their linger is over."""
        self.http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def sleep(self, seconds: float) -> None:
        """By our clock."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        handle = self.clock.call_later(seconds, lambda: None if over.done() else over.set_result(None))
        try:
            await over
        finally:
            handle.cancel()

    async def _ask(
        self, method: str, path: str, body: bytes = b"", fields: Sequence[tuple[str, str]] = ()
    ) -> dict[str, Any]:
        """The JSON object that the relay answers. Only for requests that may be repeated."""
        backoff = Backoff(self.retry, self._random)
        while True:
            floor = 0.0
            try:
                reply = await self.http.ask(method, path, body=body, fields=fields, silence=ANSWER_SECONDS)
                content = await reply.whole()
                if 200 <= reply.status < 300:
                    return self._object(content)
                floor = retry_after(reply.fields)
                raise refusal(reply.status, reply.fields, content, of_stream=path.startswith("/v1/streams/"))
            except (RelayUnreachable, RelayRefused) as error:
                hopeless = isinstance(error, RelayRefused) and not error.retryable
                if hopeless or backoff.attempts + 1 >= self.retry.requests or floor > self.retry.longest:
                    raise
            await self.sleep(backoff.delay(floor))

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            raise self._no_relay("its answer is no JSON object") from error

    def _no_relay(self, cause: str) -> RelayRefused:
        return RelayRefused(200, "not_a_relay", f"what answers at {self.url} is no tokenwire relay: {cause}")
