"""An engine and an upstream client wired together as the gateway does it, for tests; insists on being left clean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from tokenwire import dialects
from tokenwire.engine.clock import Clock, LoopClock
from tokenwire.engine.hub import Hub
from tokenwire.engine.pacing import FrameClock
from tokenwire.engine.states import Policy, State
from tokenwire.testing.exchange import RecordedExchange
from tokenwire.upstream.attempt import Attempt
from tokenwire.upstream.deadlines import Deadlines
from tokenwire.upstream.pool import Pool, parse_base_url
from tokenwire.upstream.request import Request
from tokenwire.upstream.retry import Retry
from tokenwire.upstream.route import Leg, Route
from tokenwire.wire.frames import MAX_FRAME

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tokenwire.dialects.base import Dialect
    from tokenwire.dialects.deltas import Failed, Terminal
    from tokenwire.engine.stream import Stream
    from tokenwire.upstream.connection import Connection, Headers
    from tokenwire.upstream.pool import Origin

T = TypeVar("T")

#: Nothing on loopback takes so long; it only keeps a broken test from hanging the run.
LIMIT_SECONDS = 5.0
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until *condition* is true. Raises ``AssertionError`` if that never comes."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LIMIT_SECONDS
    while not condition():
        if loop.time() > deadline:
            raise AssertionError(f"this never came true: {condition}")
        await asyncio.sleep(0)


async def settle(rounds: int = 50) -> None:
    """Let everything happen that is under way on loopback (its packets arrive within the system call that sends)."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def run_in(loop: str, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run *main* in a new loop, ``asyncio`` or ``uvloop``.

    Raises ``AssertionError`` if it leaves a task behind, or if anything was reported to the loop's exception handler.
    """
    reported: list[dict[str, Any]] = []

    async def guarded() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        async with asyncio.timeout(2 * LIMIT_SECONDS):
            result = await main()
        await settle(5)  # a cancelled task needs a turn to end
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        result = runner.run(guarded())
    assert not reported, reported
    return result


class Asked:
    """One request and the stream that it feeds.

    Attributes:
        attempt: what feeds it, or ``route``.
        heads: status and headers that ``Attempt`` reported, once at most.
    """

    attempt: Attempt
    route: Route

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.heads: list[tuple[int, Headers]] = []
        self._ended = asyncio.Event()
        stream.on_end.append(self._ended.set)

    async def ended(self) -> Terminal:
        """Until the stream is over."""
        await self._ended.wait()
        assert self.stream.terminal is not None
        return self.stream.terminal

    async def backs_off(self, attempts: int) -> None:
        """Until so many attempts have failed, nothing of which is left, and the next one waits for its time."""
        made = self.stream.attempts
        await until(lambda: len(made) == attempts and made[-1].ended_ns is not None)
        assert self.stream.state is State.CONNECTING
        assert self.stream.log.last == 0

    async def entries(self, count: int) -> None:
        """Until the log holds *count* entries."""
        await until(lambda: self.stream.log.last >= count)

    @property
    def frames(self) -> list[bytes]:
        """The frames in the log."""
        log = self.stream.log
        return [log.frame(seq) for seq in range(1, log.last_frame + 1)]

    @property
    def text(self) -> str:
        """The text of choice 0."""
        return self.stream.transcript().choice(0).text

    @property
    def failure(self) -> tuple[str, str]:
        """State and error code; the code is empty where there is no error."""
        assert self.stream.terminal is not None
        error = self.stream.terminal.error
        return self.stream.terminal.state, "" if error is None else error.code

    @property
    def error(self) -> Failed:
        """Why it failed."""
        assert self.stream.terminal is not None
        assert self.stream.terminal.error is not None
        return self.stream.terminal.error


class Rig:
    """Hub, frame clock and pool over one clock; an asynchronous context manager, made inside the running loop.

    Leaving it without an exception raises ``AssertionError`` unless every stream is over, no connection is busy or
    paced, and no timer is left but the hub's own. Then everything is closed, and must be gone. *pool* are its options.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        **pool: Any,
    ) -> None:
        self.clock: Clock = clock or LoopClock()
        self.hub = Hub(self.clock)
        self.pacing = FrameClock(self.clock)
        self.pool = Pool(self.clock.now_ns, self.pacing, **pool)

    def ask(
        self,
        base_url: str,
        *,
        streaming: bool = True,
        deadlines: Deadlines | None = None,
        pacing: bool = True,
        policy: Policy | None = None,
        max_event: int = MAX_FRAME,
        body: bytes = b"{}",
        fields: tuple[tuple[str, str], ...] = (),
        dialect: Dialect | None = None,
        **way: Any,
    ) -> Asked:
        """Open a stream and start an attempt to fill it. *way*: ``tls`` and ``proxy`` of the origin."""
        dialect = dialect or dialects.get("openai.chat")
        stream = self.hub.open(owner="me", dialect=dialect, model="up/m", policy=policy or Policy())
        asked = Asked(stream)
        origin, path = parse_base_url(base_url)
        asked.attempt = Attempt(
            stream,
            self.pool,
            Request(origin=origin._replace(**way), path=path + "/chat/completions", fields=fields, body=body),
            streaming=streaming,
            deadlines=deadlines or Deadlines(),
            on_head=lambda status, headers: asked.heads.append((status, headers)),
            pacing=pacing,
            max_event=max_event,
        )
        asked.attempt.start()
        return asked

    def route(
        self,
        *base_urls: str,
        retry: Retry | None = None,
        deadlines: Deadlines | None = None,
        policy: Policy | None = None,
        noise: float = 0.0,
        streaming: bool = True,
        **options: Any,
    ) -> Asked:
        """Open a stream and start a route to these upstreams, named ``up1`` and so on. *options* are the route's."""
        stream = self.hub.open(
            owner="me", dialect=dialects.get("openai.chat"), model="up1/m", policy=policy or Policy()
        )
        asked = Asked(stream)
        asked.route = Route(
            stream,
            self.pool,
            [
                Leg(
                    upstream=f"up{number}",
                    model="m",
                    dialect=stream.dialect,
                    streaming=streaming,
                    request=partial(self._request, base_url, number),
                    deadlines=deadlines or Deadlines(),
                    retry=retry or Retry(),
                )
                for number, base_url in enumerate(base_urls, 1)
            ],
            noise=lambda: noise,
            **options,
        )
        asked.route.start()
        return asked

    @staticmethod
    def _request(base_url: str, number: int) -> Request:
        origin, path = parse_base_url(base_url)
        return Request(origin=origin, path=path + "/chat/completions", fields=(), body=b"%d" % number)

    async def connect(self, base_url: str, timeout: float = LIMIT_SECONDS, **way: Any) -> Connection:
        """A connection of the pool."""
        return await self.pool.connect(self.origin(base_url)._replace(**way), timeout)

    async def exchange(self, base_url: str, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> RecordedExchange:
        """Ask over a connection of the pool, idle or new, and return at once when the request is sent."""
        origin = self.origin(base_url)
        connection = self.pool.take(origin) or await self.pool.connect(origin, LIMIT_SECONDS)
        exchange = RecordedExchange()
        exchange.connection = connection
        connection.send(exchange, request)
        return exchange

    @staticmethod
    def origin(base_url: str) -> Origin:
        return parse_base_url(base_url)[0]

    @property
    def connections(self) -> tuple[int, int]:
        """Connections idle and busy."""
        return self.pool.statistics()[:2]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            running = self.hub.statistics().running
            assert running == 0, f"{running} streams are still running"
            await until(lambda: self.pool.statistics().busy == 0)
            assert len(self.pacing) == 0, "a connection is still paced"
            timers = len(self.hub.wheel) - 1  # and not even the hub's own, if the test closed it
            assert timers <= 0, f"{timers} timers are left behind"
        self.hub.close()
        self.pool.close()
        if error is None:
            await until(lambda: self.connections == (0, 0))


def rigged(main: Callable[[Rig], Awaitable[T]], **options: Any) -> Callable[[], Coroutine[Any, Any, T]]:
    """*main* with a ``Rig`` around it: what ``run_in`` takes."""

    async def inside() -> T:
        async with Rig(**options) as rig:
            return await main(rig)

    return inside
