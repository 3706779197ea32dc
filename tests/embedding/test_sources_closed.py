"""How an app's own generators are closed: at every point, at once, and whatever they are made of."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.embedding.apps import USER, asked, saying_app, serving

from tokenwire.fastapi import Relay
from tokenwire.testing.rig import run_in, until


class Probe:
    """A generator that stands still at each of its suspension points, and says how it was closed."""

    def __init__(self, *, at: int, how: str) -> None:
        self.at, self.how = at, how
        self.trace: list[str] = []
        self.reached = asyncio.Event()
        self.gone = asyncio.Event()

    async def tokens(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        try:
            for number in range(100):
                if number == self.at:
                    self.reached.set()
                    try:
                        await loop.create_future()  # never
                    except asyncio.CancelledError:
                        self.trace.append("cancelled")
                        if self.how == "raises":
                            raise
                        if self.how == "other":
                            raise RuntimeError("while closing") from None
                        # "swallows", and goes on as if nothing was
                yield f"<{number}>"
                self.trace.append("after the end") if self.trace else None
        finally:
            self.trace.append("closed")
            self.gone.set()


@pytest.mark.parametrize("how", ["raises", "swallows", "other"])
@pytest.mark.parametrize("at", [0, 1, 5])
@pytest.mark.parametrize("leaving", ["client", "stop"])
def test_a_source_is_closed_at_every_point_at_which_it_waits(leaving: str, at: int, how: str) -> None:
    async def main() -> None:
        probe = Probe(at=at, how=how)
        async with serving(saying_app(probe.tokens, on_disconnect="cancel")) as running:
            client = await running.connect()
            answer = client.get("/say?dialect=native", USER)
            await probe.reached.wait()
            await answer.until(lambda answer: len(answer.events) > at)
            if leaving == "client":
                client.close()
            else:
                stream = answer.fields["x-tokenwire-stream"]
                stopped = await (await running.connect()).post(f"/streams/{stream}/cancel", fields=USER).whole()
                assert stopped.json["state"] == "cancelled"
            await probe.gone.wait()
            assert probe.trace == ["cancelled", "closed"]
            if leaving == "stop":
                await answer.whole()
                assert answer.data[-1]["state"] == "cancelled"
                assert len([name for name in answer.events if name == "text"]) == at

    run_in("uvloop", main)


def test_a_source_that_never_waits_lets_others_run_and_can_be_stopped() -> None:
    async def eager() -> AsyncIterator[str]:
        while True:
            yield "x"

    app = saying_app(eager, on_disconnect="cancel")
    relay: Relay = app.state.relay

    async def main() -> None:
        async with serving(app) as running:
            client = await running.connect()
            answer = client.get("/say?dialect=native", USER)
            await answer.until(lambda answer: len(answer.events) > 50)
            client.close()
            kept = relay.running._sources
            await until(lambda: not relay.running.core.hub.running())
        assert not kept

    run_in("uvloop", main)


def test_what_is_refused_is_never_begun() -> None:
    begun: list[str] = []

    async def tokens() -> AsyncIterator[str]:
        begun.append("generator")
        yield "x"

    async def opening() -> AsyncIterator[str]:
        begun.append("coroutine")
        return tokens()

    sources: list[Any] = [tokens, lambda: opening(), lambda: tokens, lambda: opening]

    async def main() -> None:
        for source in sources:
            async with serving(saying_app(source)) as running:
                assert (await (await running.connect()).get("/say").whole()).status == 401
                gc.collect()  # a coroutine that nobody awaited would warn
                assert begun == []
                assert (await asked(running)).text == "x"
                begun.clear()

    run_in("uvloop", main)


class Closable:
    """Iterates over something else, as streams of SDKs do, and has to be closed itself."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[str]:
        yield "one"

    def close(self) -> Any:
        self.closed += 1
        if self.how == "raises":
            raise RuntimeError("it was closed already")
        return asyncio.sleep(0) if self.how == "async" else None


class Bare:
    """An async iterator without any way to close it."""

    def __init__(self) -> None:
        self.left = 1

    def __aiter__(self) -> Bare:
        return self

    async def __anext__(self) -> str:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return "one"


def test_what_a_source_is_made_of_is_closed_as_far_as_it_can_be(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        for how in ("sync", "async", "raises"):
            source = Closable(how)
            async with serving(saying_app(lambda source=source: source)) as running:  # type: ignore[misc]
                assert (await asked(running)).text == "one"
            assert source.closed == 1
        async with serving(saying_app(Bare)) as running:
            assert (await asked(running)).text == "one"

    run_in("uvloop", main)
    assert "it was closed already" in caplog.text


def test_a_source_that_is_no_source_or_breaks_itself_off_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> AsyncIterator[str]:
        yield "one"
        raise asyncio.CancelledError

    async def main() -> None:
        async with serving(saying_app(broken)) as running:
            answer = await asked(running)
            assert answer.data[-1]["error"]["code"] == "source_failed"
            assert "broken off" in answer.data[-1]["error"]["message"]
        async with serving(saying_app(lambda: lambda: 7)) as running:
            assert (await asked(running)).status == 500

    run_in("uvloop", main)
    assert "not int" in caplog.text
