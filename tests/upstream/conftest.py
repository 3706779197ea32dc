"""What the upstream tests share: a rig in loops of either kind, silent ports, upstreams that are too fast."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tokenwire.engine.pacing import FRAME_SECONDS
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.rig import LOOPS, Asked, Rig, rigged, run_in, settle, until
from tokenwire.testing.upstream import LAST_CHUNK, REQUEST, Peer, ScriptedUpstream, Step, head, http_chunk, in_turn

Main = Callable[[Rig], Awaitable[Any]]

STREAM = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
#: More than the reads that it takes to find out how fast an upstream is.
ENOUGH = 60


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``run(main, **options)``: *main* with a ``Rig`` made with the options, in a loop of each kind."""

    def runner(main: Main, **options: Any) -> Any:
        return run_in(request.param, rigged(main, **options))

    return runner


@pytest.fixture
def run_once() -> Callable[..., Any]:
    """The same in one kind of loop, for what cannot depend on it."""

    def runner(main: Main, **options: Any) -> Any:
        return run_in("uvloop", rigged(main, **options))

    return runner


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 where connecting neither succeeds nor fails: its queue of new connections is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(64):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that nobody listens on, and nobody will."""
    with refusing_port() as port:
        yield port


@pytest.fixture
def ipv6() -> None:
    """Skips where this machine has no ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no ::1 here")


class Story:
    """An upstream and its stream, on a clock that stands still unless told to move."""

    def __init__(
        self, rig: Rig, clock: ManualClock, url: str, peer: Peer, asked: Asked, frame: Callable[[bytes], bytes]
    ) -> None:
        self.rig = rig
        self.url = url
        self.clock = clock
        self.peer = peer
        self.asked = asked
        self._frame = frame
        self.sent: list[bytes] = []

    @property
    def paced(self) -> bool:
        return len(self.rig.pacing) == 1

    @property
    def arrived(self) -> int:
        return self.asked.stream.log.last_frame

    def send(self, data: bytes) -> None:
        """The upstream sends one event."""
        self.sent.append(data)
        self.peer.write(self._frame(data))

    async def send_one_by_one(self, count: int, seconds: float = 0.0) -> None:
        """Each in a read of its own, that many seconds apart."""
        for _ in range(count):
            self.send(chat.text(f"{len(self.sent)} "))
            await self.arrives()
            self.clock.advance(seconds)

    async def arrives(self) -> None:
        """What was sent is there, ticking as often as that takes."""

        def is_there() -> bool:
            if self.paced:
                self.clock.advance(FRAME_SECONDS)
            return self.arrived == len(self.sent)

        await until(is_there)

    async def becomes_paced(self) -> None:
        while not self.paced:
            assert len(self.sent) < ENOUGH, "never paced"
            self.send(chat.text(f"{len(self.sent)} "))
            await until(lambda: self.paced or self.arrived == len(self.sent))
        # The read that began it is still delivered at once.
        await settle()

    def tick(self) -> None:
        self.clock.advance(FRAME_SECONDS)

    async def ends(self) -> None:
        """The stream ends well, with everything in it."""
        self.send(chat.finish())
        self.send(chat.DONE)
        self.peer.write(LAST_CHUNK)

        def is_over() -> bool:
            if self.paced:
                self.tick()
            return self.asked.stream.terminal is not None

        await until(is_over)
        assert self.asked.failure == ("completed", "")
        assert self.asked.frames == self.sent


Teller = Callable[[Story], Awaitable[None]]


@pytest.fixture
def tell(run: Callable[..., Any]) -> Callable[..., None]:
    """``tell(teller, **options)``: *teller* is given a ``Story`` that begins with the answer's head."""

    def player(
        teller: Teller, *, begin: bytes = STREAM, frame: Callable[[bytes], bytes] = http_chunk, **options: Any
    ) -> None:
        clock = ManualClock()

        async def main(rig: Rig) -> None:
            async with ScriptedUpstream([REQUEST, begin]) as upstream:
                asked = rig.ask(upstream.base_url, **options)
                peer = await upstream.peer()
                await until(lambda: asked.heads)
                await teller(Story(rig, clock, upstream.base_url, peer, asked, frame))

        run(main, clock=clock)

    return player


@pytest.fixture
def routed(run_once: Callable[..., Any]) -> Callable[..., None]:
    """``routed(story, *scripts)``: with a clock that only the story moves; the nth request is answered with the nth
    script, over whichever connection it comes."""

    def player(story: Callable[[Rig, ManualClock, ScriptedUpstream], Awaitable[None]], *scripts: list[Step]) -> None:
        clock = ManualClock()

        async def main(rig: Rig) -> None:
            async with ScriptedUpstream(in_turn(scripts)) as upstream:
                await story(rig, clock, upstream)

        run_once(main, clock=clock)

    return player
