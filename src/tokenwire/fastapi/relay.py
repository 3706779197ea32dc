"""`Relay`: the engine of ``tokenwire serve`` within an app."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tokenwire.errors import BadArgument, ConfigError, LocalProtocolError, RequestRefused
from tokenwire.fastapi import asking, beginning
from tokenwire.fastapi.config import settings_for
from tokenwire.fastapi.response import RelayResponse
from tokenwire.fastapi.running import Running
from tokenwire.fastapi.source import check_source, discard
from tokenwire.gateway.starting import parse_linger

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from fastapi import APIRouter
    from starlette.requests import Request

    from tokenwire.fastapi.completed import OnComplete
    from tokenwire.gateway.settings import Config

#: Says who asks: a name that is the same for all requests of one caller. None: nobody that may.
Principal: TypeAlias = Callable[["Request"], "str | Awaitable[str | None] | None"]


class Relay:
    """Streams answers of models, or of an app's own generators, to the app's clients::

        relay = Relay(principal=user_of)
        app = FastAPI(lifespan=relay.lifespan)
        app.include_router(relay.router)

    Streams live in the process that began them, and can be resumed there: one worker, or a proxy that sends a client to
    the same one. While it runs, the relay lets Python's garbage collector run less often, if nobody else has set it.

    Args:
        config: a tokenwire.toml (its path, or its content as a mapping), or checked ``Settings``. None: the vendors
            whose keys are in the environment. Without a file ``sim/…`` models are answered by the simulator, in this
            process, and so is a request that names no model.
        principal: a function of the request, plain or async, that says who asks; a plain one runs in the event loop.
            What it returns owns the stream. None answers 401. Without it nobody can come back to a stream: there are
            no event ids, no ``Idempotency-Key``, no ``router``.
        on_complete: told of each answer when it is over (`Completed`), once for each stream, whether or not the client
            is still there; an async function in a task of its own, a plain one in a thread. What it raises is logged.
            At the end of the app it is waited for, ten seconds at most.
        on_disconnect: what becomes of an answer that nobody reads any more: ``cancel``, ``linger=SECONDS`` or
            ``finish``. By default it lingers where clients can come back (ids or an ``Idempotency-Key``), as long as
            the settings say, and is cancelled at once where they cannot.
        express: whether chunks after the first may pass by the app's middleware, under `HttpProtocol`.

    Raises:
        BadArgument: *on_disconnect* is none of these, or *principal* no function.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        principal: Principal | None = None,
        on_complete: OnComplete | None = None,
        on_disconnect: str | None = None,
        express: bool = True,
    ) -> None:
        if principal is not None and not callable(principal):
            raise BadArgument("principal", f"a function of the request is wanted, not {principal!r}")
        self._config = config
        self._principal = principal
        self._on_complete = on_complete
        self.on_disconnect = checked_linger(on_disconnect)
        self.express = express
        self._running: Running | None = None
        self._router: APIRouter | None = None

    # ------------------------------------------------------------------ beginning and end

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """``FastAPI(lifespan=relay.lifespan)``. Within a lifespan of the app's own, ``async with relay:`` does it."""
        async with self:
            yield

    async def __aenter__(self) -> Self:
        """Begin. Raises ``ConfigError`` for settings that cannot work."""
        if self._running is not None:
            raise LocalProtocolError("this Relay runs already: one lifespan is enough")
        running = Running(settings_for(self._config, os.environ), simulates=self._config is None)
        await running.start()
        self._running = running
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End: no new streams, time for those that run, a reason for those that are cut; what *on_complete* has to do.
        After an exception of the app's, at once."""
        await self.running.close(at_once=kind is not None)
        self._running = None

    # ------------------------------------------------------------------ what routes use

    def respond(
        self,
        request: Request,
        *,
        model: str | None = None,
        messages: Any = None,
        system: str | None = None,
        dialect: str = "native",
        source: Any = None,
        body: Any = None,
        session: str | None = None,
        chat_id: str | None = None,
        on_disconnect: str | None = None,
        on_complete: OnComplete | None = None,
        ids: bool | None = None,
        metadata: Any = None,
        **members: Any,
    ) -> RelayResponse:
        """A response that streams an answer. Return it from a route, ``def`` or ``async def``.

        Args:
            model: as in the settings (``openai/gpt-4o``, an alias); None: the body's, else the settings' default.
            messages: the conversation, in the dialect's own shape (what ``useChat`` sends) or in that of OpenAI's chat.
            system: instructions that go before it, and take the place of what a client has said there.
            dialect: what the client reads: ``native``, ``openai.chat``, ``openai.responses``, ``anthropic``,
                ``gemini``, ``ollama``, ``ui-messages`` or ``agui``.
            source: an async generator (or a function that returns one, called once the request is accepted) that makes
                the answer instead of a model: of ``str``, of deltas, of chunks of OpenAI's chat, of LangChain's or
                LangGraph's messages, or a ``tokenwire.stream``. A stop, a client that left (see *on_disconnect*) and an
                error close it at once. What it raises ends the answer with an error; ``RequestRefused``,
                ``HTTPException`` and tokenwire's own keep their status or code.
            body: instead of *messages*, the whole request in the dialect, as bytes or parsed. What the client says in
                it counts, but for what is given here.
            session: the conversation that the stream belongs to; else ``X-Tokenwire-Session``, else *chat_id*.
            chat_id: the id of the chat; ``useChat``'s own is found in its body.
            on_disconnect, on_complete: for this answer, instead of the relay's.
            ids: whether events have ids, to resume after. By default in native, ui-messages and agui, and where
                ``X-Tokenwire-Ids: 1`` asks for them; never without a principal.
            metadata: kept with the stream, and given to *on_complete*.
            members: further members of the request (``temperature=0``), in the words of the shape that *messages* or
                *body* has. One that has the name of an argument (OpenAI's ``metadata``) can only stand in *body*.

        The header fields that the gateway knows work here too: ``X-Tokenwire-On-Disconnect``, ``-Ids``, ``-Session``,
        ``-Pacing``, ``-Dialect``, ``-Cache``, ``Idempotency-Key``, ``Last-Event-ID``; arguments of this call come
        first.

        What is wrong with a request becomes an HTTP answer in the client's dialect, and so does a failure before the
        first token.

        Raises:
            LocalProtocolError: the relay has not been started.
            BadArgument: an argument that no client can have caused.
        """
        _ = self.running
        asking.check_dialect(dialect)
        for name in members:
            near = difflib.get_close_matches(name, _ARGUMENTS, 1, 0.75)
            if near:
                raise BadArgument(name, f"respond() has no such argument; did you mean {near[0]!r}?")
        if body is not None and messages is not None:
            raise BadArgument("body", "give either body or messages")
        if ids and self._principal is None:
            raise BadArgument("ids", "whoever comes back has to be known: Relay(principal=…)")
        if source is not None:
            check_source(source)
        asked: asking.Asked | RequestRefused | None = None
        if source is None or body is not None or messages is not None:
            try:
                asked = asking.ask(
                    dialect, model=model, messages=messages, system=system, body=body, chat_id=chat_id, members=members
                )
            except RequestRefused as error:
                asked = error
        wanted = beginning.Wanted(
            dialect=dialect,
            asked=asked,
            model=model,
            source=source,
            session=session,
            chat_id=chat_id,
            linger=checked_linger(on_disconnect),
            on_complete=on_complete or self._on_complete,
            ids=ids,
            metadata=metadata,
        )
        return RelayResponse(
            self,
            lambda sink, send: beginning.answer(self, request, wanted, sink),
            dialect,
            discard=None if source is None else lambda: discard(source),
        )

    @property
    def router(self) -> APIRouter:
        """The routes to come back to a stream, and to stop it: ``app.include_router(relay.router)``, with any prefix.

        ``GET /streams/{id}``, ``GET /streams/{id}/events``, ``POST /streams/{id}/cancel``, and what ``useChat`` asks
        for: ``GET /api/chat/{id}/stream``, ``POST /api/chat/{id}/stop``; the same without ``/api``, for a prefix.

        Raises ``ConfigError`` without a *principal*: a stream is shown to whoever began it, and to nobody else.
        """
        if self._principal is None:
            raise ConfigError(
                "to resume and to stop a stream, callers have to be known: Relay(principal=lambda request: …)",
                where="principal",
            )
        if self._router is None:
            from tokenwire.fastapi.routes import routes

            self._router = routes(self)
        return self._router

    # ------------------------------------------------------------------ for the package

    @property
    def running(self) -> Running:
        """What there is while the relay runs. Raises ``LocalProtocolError`` when it does not."""
        if self._running is None:
            raise LocalProtocolError(
                "the Relay does not run: FastAPI(lifespan=relay.lifespan), or `async with relay:` in the app's own "
                "lifespan. (A test client runs that only in its own `with` block.)"
            )
        return self._running

    @property
    def resumable(self) -> bool:
        """Whether callers are known, so that one can come back."""
        return self._principal is not None

    async def owner_of(self, request: Request) -> str:
        """Who asks. Raises ``RequestRefused`` (401) for nobody."""
        if self._principal is None:
            return ""
        who = self._principal(request)
        if inspect.isawaitable(who):
            who = await who
        if who is None:
            raise RequestRefused(401, "not_authenticated", "it is not known who asks")
        if not isinstance(who, str) or not who:
            raise LocalProtocolError(f"principal() returns a name as str, or None for nobody, not {who!r}")
        return who


def checked_linger(value: str | None) -> float | None:
    """``on_disconnect`` in seconds. Raises ``BadArgument``."""
    if value is None:
        return None
    try:
        return parse_linger(value, 0.0)
    except RequestRefused as error:
        raise BadArgument("on_disconnect", str(error)) from None


#: Misspelt, one of these would pass as a member of the request.
_ARGUMENTS: Final = [name for name in inspect.signature(Relay.respond).parameters if name not in ("self", "members")]
