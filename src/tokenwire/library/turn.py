"""One answer of a model, as its user reads it: straight from a provider, or through a relay.

Both are asynchronous iterators that are opened by the first ``anext``: deltas, and news of the connection beside them.
A failure is raised after all that came before it. ``close`` stops generation; what was taken stays taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from tokenwire.client import Done
from tokenwire.dialects.deltas import Failed, Usage
from tokenwire.dialects.transcript import merge_usage
from tokenwire.engine.tap import Tap
from tokenwire.errors import AnswerFailed, BadArgument, TokenwireError, UpstreamStatus
from tokenwire.gateway.starting import start
from tokenwire.gateway.vendors import VENDORS
from tokenwire.library.failures import failure
from tokenwire.upstream.retry import retry_after

if TYPE_CHECKING:
    from typing import Self

    from tokenwire.client import Client, Following, Update
    from tokenwire.dialects.deltas import Delta
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.tap import Taken
    from tokenwire.gateway.core import Core
    from tokenwire.library.node import Node

#: The owner of streams in a process of one's own.
OWNER: Final = "library"
#: A stream that nobody hears of any more is stopped with so much patience, seconds.
FAREWELL_SECONDS: Final = 5.0


class Turn(Protocol):
    """One answer.

    Attributes:
        id: of the stream; None before it was opened.
        asked_ns, arrived_ns: when it was asked for, and when what was taken last arrived (CLOCK_MONOTONIC).
    """

    id: str | None
    asked_ns: int | None
    arrived_ns: int

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Update: ...

    @property
    def waiting(self) -> bool:
        """Whether the next ``anext`` returns at once."""
        ...

    def usage(self) -> Usage | None:
        """What it has used so far, estimated and marked so where nobody told better; also once it was left."""
        ...

    def abandon(self) -> None:
        """Stop generation without waiting. Idempotent."""
        ...

    async def close(self) -> None:
        """Stop generation; when it returns, the upstream is closed, or the relay was told. Idempotent."""
        ...


class DirectTurn:
    """Asked of a provider, by the engine in this process.

    Args:
        body: the request, in *dialect*.
        headers: as a relay's caller would send them.
    """

    def __init__(
        self, node: Node, body: bytes, model: str, dialect: str, headers: list[tuple[bytes, bytes]], linger: float
    ) -> None:
        self.id: str | None = None
        self.asked_ns: int | None = None
        self.arrived_ns = 0
        self._node = node
        self._body = body
        self._model = model
        self._dialect = dialect
        self._headers = headers
        self._linger = linger
        self._tap: Tap | None = None
        self._ready: deque[Delta] = deque()
        self._due: deque[Taken] = deque()
        self._settled = False
        self._usage: Usage | None = None
        self._left: Usage | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        if self._closed:
            raise StopAsyncIteration
        tap = self._tap or await self._open()
        while not self._ready:
            if not self._due:
                self._due.extend(await tap.take())
            if self._closed:  # meanwhile
                raise StopAsyncIteration
            if self._due:
                taken = self._due.popleft()
                self.arrived_ns = taken.arrived_ns
                self._ready.extend(taken.deltas)
            elif tap.over:
                self._end(tap)
        delta = self._ready.popleft()
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
        return delta

    @property
    def waiting(self) -> bool:
        return bool(self._ready or self._due)

    def usage(self) -> Usage | None:
        return self._left if self._tap is None else self._tap.usage()

    def abandon(self) -> None:
        self._closed = True
        self._ready.clear()
        self._due.clear()
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.close()
            settled = tap.stream.settled
            self._left = None if settled is None else settled.usage
            if not tap.stream.readers:
                tap.stream.hub.forget(tap.stream)  # its bytes are nobody's any more

    async def close(self) -> None:
        self.abandon()

    async def _open(self) -> Tap:
        stream = await self._node.open(self._model, self._begin)
        if self._closed:  # meanwhile
            stream.hub.forget(stream)
            raise StopAsyncIteration
        self.id = stream.id
        self.asked_ns = self.arrived_ns = stream.created_ns
        self._tap = Tap(stream)
        return self._tap

    def _begin(self, core: Core) -> Stream:
        vendor = VENDORS.get(self._dialect)
        if vendor is None:
            raise BadArgument("dialect", f"requests are written in {', '.join(VENDORS)}, not {self._dialect!r}")
        return start(core, vendor, {"headers": self._headers}, OWNER, vendor.parse(self._body), linger=self._linger)

    def _end(self, tap: Tap) -> None:
        """The answer is over: what it used and cost is told, and then how it ended."""
        terminal = tap.stream.settled
        if not self._settled and terminal is not None and terminal.usage is not None:
            self._settled = True
            if terminal.usage != self._usage:
                self._ready.append(terminal.usage)
                return
        refused = tap.stream.meta.get("refused")
        self.abandon()
        if tap.failed is not None:
            wait = None
            if isinstance(refused, UpstreamStatus):
                wait = retry_after(refused.headers, tap.stream.clock.wall())
            raise failure(tap.failed, retry_after=wait)


class RelayTurn:
    """Asked of a relay: resumed by itself when the connection drops."""

    def __init__(
        self,
        node: Node,
        client: Client,
        body: dict[str, Any],
        dialect: str,
        *,
        session: str | None,
        on_disconnect: str | None,
    ) -> None:
        self.id: str | None = None
        self.asked_ns: int | None = None
        self.arrived_ns = 0
        self._node = node
        self._client = client
        self._start = partial(client.start, body, dialect=dialect, session=session, on_disconnect=on_disconnect)
        self._starting: asyncio.Future[str] | None = None
        self._following: Following | None = None
        self._failed: Failed | None = None
        self._done: Done | None = None
        self._left: Usage | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        if self._done is not None:
            self._finish(self._done)
        if self._closed:
            raise StopAsyncIteration
        following = self._following or await self._open()
        while True:
            update = await anext(following)
            self.arrived_ns = self._client.clock.now_ns()
            if isinstance(update, Failed):
                self._failed = update
            elif isinstance(update, Done):
                self._done = update
                if update.usage is not None:
                    return update.usage
                self._finish(update)
            else:
                return update

    @property
    def waiting(self) -> bool:
        return self._done is not None or (self._following is not None and self._following.waiting)

    def usage(self) -> Usage | None:
        return self._left  # the relay tells it while it grows, and when it is stopped

    def abandon(self) -> None:
        stop = self._stopped()
        if stop is not None:
            self._node.keep(self._tell(stop))

    async def close(self) -> None:
        stop = self._stopped()
        if stop is not None:
            telling = asyncio.ensure_future(self._tell(stop))
            try:
                await asyncio.shield(telling)
            except asyncio.CancelledError:
                self._node.keep(_until(telling))
                raise

    async def _open(self) -> Following:
        if self._starting is None:
            self.asked_ns = self._client.clock.now_ns()  # not again by a read that goes on with the same request
            self._starting = asyncio.ensure_future(self._start())
        starting = self._starting
        try:
            self.id = await asyncio.shield(starting)  # a cancelled wait leaves it to the next read, or to the end
        except Exception:
            self._starting = None
            raise
        if self._closed:  # meanwhile; who closed it withdraws it
            raise StopAsyncIteration
        self._starting = None
        self._following = self._client.follow(self.id)
        return self._following

    def _stopped(self) -> str | None:
        """Read no more; the stream that is to be stopped, if it runs."""
        following, self._following = self._following, None
        self._closed = True
        if following is None:
            starting, self._starting = self._starting, None
            if starting is not None:  # the relay may have begun: what it began is stopped
                self._node.keep(self._withdraw(starting))
            return None
        following.close()
        return None if self._done is not None else following.stream

    async def _tell(self, stream: str) -> None:
        with suppress(TokenwireError, TimeoutError):  # without a word it is stopped when its linger is over
            async with asyncio.timeout(FAREWELL_SECONDS):
                self._left = told((await self._client.cancel(stream)).get("usage"))

    async def _withdraw(self, starting: asyncio.Future[str]) -> None:
        with suppress(TokenwireError):
            await self._tell(await starting)

    def _finish(self, done: Done) -> None:
        """The last update was taken: how it ended."""
        self._stopped()
        failed, self._failed, self._done = self._failed, None, None
        if done.state != "completed":
            raise failure(failed or Failed(code=done.state, message=f"the stream was {done.state}"))
        if done.verified is False:
            raise AnswerFailed("mismatch", done.mismatch or "what came is not what was sent")
        raise StopAsyncIteration


def told(usage: Any) -> Usage | None:
    """The usage in a relay's description of a stream; None where it has none, or one that cannot be read."""
    try:
        return msgspec.convert(usage, Usage | None)
    except msgspec.ValidationError:
        return None


async def _until(task: asyncio.Future[None]) -> None:
    await task
