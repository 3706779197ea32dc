"""`Relay`: the engine of ``tokenwire serve`` within an app."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tokenwire.errors import BadArgument, ConfigError, LocalProtocolError, RequestRefused
from tokenwire.fastapi import asking, beginning
from tokenwire.fastapi.completed import tell
from tokenwire.fastapi.config import NAME, Simulation, settings_of
from tokenwire.fastapi.response import RelayResponse
from tokenwire.fastapi.source import check_source, discard
from tokenwire.gateway.app import LAST_WORDS_SECONDS
from tokenwire.gateway.chats import Chats
from tokenwire.gateway.core import Core
from tokenwire.gateway.idempotency import Keys
from tokenwire.gateway.settings import Settings
from tokenwire.gateway.signals import Signals
from tokenwire.gateway.starting import parse_linger

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from fastapi import APIRouter
    from starlette.requests import Request

    from tokenwire.engine.stream import Stream
    from tokenwire.fastapi.completed import OnComplete
    from tokenwire.fastapi.config import Config

log = logging.getLogger(__name__)

#: Says who asks: a name that is the same for all requests of one caller. None: nobody that may.
Principal: TypeAlias = Callable[["Request"], "str | Awaitable[str | None] | None"]

#: How long what an app does with completed answers may take at the end of the process.
COMPLETION_SECONDS: Final = 10.0


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
            At the end of the app it is waited for, ``COMPLETION_SECONDS`` at most.
        on_disconnect: what becomes of an answer that nobody reads any more: ``cancel``, ``linger=SECONDS`` or
            ``finish``. By default it lingers where clients can come back (ids or an ``Idempotency-Key``), as long as
            the settings say, and is cancelled at once where they cannot.
        express: whether chunks after the first may pass by the app's middleware, under `HttpProtocol`.

    Raises:
        BadArgument: *on_disconnect* is none of these.
    """

    def __init__(
        self,
        config: Config = None,
        *,
        principal: Principal | None = None,
        on_complete: OnComplete | None = None,
        on_disconnect: str | None = None,
        express: bool = True,
    ) -> None:
        self._config = config
        self._principal = principal
        self._on_complete = on_complete
        self.on_disconnect = checked_linger(on_disconnect)
        self.express = express
        self.answering = 0  # requests that their server waits for
        self._core: Core | None = None
        self._keys: Keys | None = None
        self._chats: Chats | None = None
        self._signals: Signals | None = None
        self._simulation: Simulation | None = None
        self._sources: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._router: APIRouter | None = None
        self._collector: tuple[int, int, int] | None = None  # how often it ran before us, if we changed that

    # ------------------------------------------------------------------ beginning and end

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """``FastAPI(lifespan=relay.lifespan)``. Within a lifespan of the app's own, ``async with relay:`` does it."""
        async with self:
            yield

    async def __aenter__(self) -> Self:
        """Begin. Raises ``ConfigError`` for settings that cannot work."""
        if self._core is not None:
            raise LocalProtocolError("this Relay runs already: one lifespan is enough")
        core = Core(settings_of(self._config, os.environ))
        self._keys, self._chats = Keys(core.clock, core.hub), Chats(core.hub)
        self._simulation = Simulation() if self._config is None else None
        await core.startup()
        # Servers of other makes wait for open responses before they say that it is the end.
        self._signals = Signals(asyncio.get_running_loop(), core.asked_to_end)
        self._core = core
        self._collector = _calm_collector()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End as the standalone relay does: no new streams, time for those that run, a reason for those that are cut;
        then what is told of completed answers. After an exception of the app's, at once."""
        core = self.core
        assert self._signals is not None
        if self._collector is not None:
            gc.set_threshold(*self._collector)
            gc.unfreeze()
        self._signals.close()
        if kind is None:
            await core.wind_down()
            await core.wait_while(lambda: self.answering > 0, LAST_WORDS_SECONDS)
        await core.shutdown()
        for task in self._sources:
            task.cancel()
        await _settled(self._sources, LAST_WORDS_SECONDS, "a source did not end")
        await _settled(self._telling, COMPLETION_SECONDS, "on_complete did not end in time")
        if self._simulation is not None:
            await self._simulation.close()
        self._core = None

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
            system: instructions that go before it.
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
        ``-Pacing``, ``-Dialect``, ``Idempotency-Key``, ``Last-Event-ID``; arguments of this call come first.

        What is wrong with a request becomes an HTTP answer in the client's dialect, and so does a failure before the
        first token.

        Raises:
            LocalProtocolError: the relay has not been started.
            BadArgument: an argument that no client can have caused.
        """
        self._started()
        asking.check_dialect(dialect)
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
    def core(self) -> Core:
        """The engine: hub, pool and directory."""
        return self._started()

    @property
    def settings(self) -> Settings:
        return self.core.settings

    @property
    def keys(self) -> Keys:
        self._started()
        assert self._keys is not None
        return self._keys

    @property
    def chats(self) -> Chats:
        self._started()
        assert self._chats is not None
        return self._chats

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

    async def prepare(self, model: str) -> None:
        """Have at hand what answers *model*."""
        simulation = self._simulation
        if simulation is not None and model.partition("/")[0] == NAME and NAME not in self.core.directory.upstreams:
            await simulation.start(self.core)

    def keep(self, task: asyncio.Task[None]) -> None:
        """*task* pulls a source; it has ended when the relay has."""
        self._sources.add(task)
        task.add_done_callback(self._sources.discard)

    def tell_of(self, stream: Stream, on_complete: OnComplete | None) -> None:
        """When *stream* is over, tell *on_complete*."""
        if on_complete is None:
            return

        def ended() -> None:
            task = asyncio.get_running_loop().create_task(tell(stream, on_complete), name=f"completed {stream.id}")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

        if stream.terminal is None:
            stream.on_end.append(ended)
        else:
            ended()

    def _started(self) -> Core:
        if self._core is None:
            raise LocalProtocolError(
                "the Relay does not run: FastAPI(lifespan=relay.lifespan), or `async with relay:` in the app's own "
                "lifespan. (A test client runs that only in its own `with` block.)"
            )
        return self._core


def _calm_collector() -> tuple[int, int, int] | None:
    """As the standalone relay does: what lives long is many objects and never garbage, and to walk them again and again
    while tokens wait costs as much as the tokens. Only where nobody else has set the collector; returns what was set.
    """
    before = gc.get_threshold()
    if before[0] not in (700, 2000) or not gc.isenabled():  # the interpreter's own
        return None
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    return before


def checked_linger(value: str | None) -> float | None:
    """``on_disconnect`` in seconds. Raises ``BadArgument``."""
    if value is None:
        return None
    try:
        return parse_linger(value, 0.0)
    except RequestRefused as error:
        raise BadArgument("on_disconnect", str(error)) from None


async def _settled(tasks: set[asyncio.Task[None]], seconds: float, complaint: str) -> None:
    """Every one of *tasks* has ended, or is cancelled for taking too long."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            log.error("%s: %s", complaint, task.get_name())
            task.cancel()
