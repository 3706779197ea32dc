"""A client of ours, a relay that is a script, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tokenwire.client import Client, Dropped, Following, Update
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.processes import without_proxies
from tokenwire.testing.rig import LOOPS, run_in, until
from tokenwire.testing.upstream import ReceivedRequest, ScriptedUpstream, Step


@pytest.fixture(autouse=True)
def _no_proxies() -> Iterator[None]:
    with without_proxies():
        yield


class Scene:
    """A client and its scripted relay."""

    def __init__(self, relay: ScriptedUpstream, clock: ManualClock, **options: Any) -> None:
        self.relay = relay
        self.clock = clock
        options.setdefault("random", lambda: 0.5)
        self.client = Client(f"http://127.0.0.1:{relay.port}/", clock=clock, **options)

    async def collect(self, following: Following) -> list[Update]:
        """All updates; the clock is moved through every wait for a new attempt."""
        updates: list[Update] = []
        while True:
            last = updates[-1] if updates else None
            update = await self.after(anext(following, None), last.delay if isinstance(last, Dropped) else 0.0)
            if update is None:
                return updates
            updates.append(update)

    async def after(self, step: Any, seconds: float) -> Any:
        """The result of *step*, which waits for *seconds* at first (0: it does not)."""
        task = asyncio.ensure_future(step)
        if seconds:
            # Other timers are the watchdogs of requests, and have far longer.
            await until(lambda: task.done() or (self.clock.next_in or 1e9) <= seconds)
            self.clock.advance(seconds)
        return await task

    async def request(self, index: int, number: int = 0) -> ReceivedRequest:
        """A request on the connection number *index*."""
        peer = await self.relay.peer(index)
        await until(lambda: len(peer.requests) > number)
        return peer.requests[number]


@pytest.fixture(params=list(LOOPS))
def play(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``play(main, *scripts, **options)``: *main* with a ``Scene`` of these scripts, its client made with the options.

    It must leave no timer and no connection behind.
    """

    def run(main: Callable[[Any], Any], *scripts: Sequence[Step], **options: Any) -> Any:
        async def inside() -> Any:
            async with ScriptedUpstream(*scripts) as relay:
                scene = Scene(relay, ManualClock(), **options)
                async with scene.client:
                    result = await main(scene)
                await until(lambda: all(peer.over for peer in relay.peers))
                assert scene.clock.pending == 0, "a timer is left behind"
                return result

        return run_in(request.param, inside)

    return run
