"""The end under servers of other makes: streams get their time and then a reason, and the process ends."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenwire.gateway.app import Gateway
from tokenwire.gateway.signals import Signals
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.http_client import Client
from tokenwire.testing.relay import STREAM_HEAD, chat, chunks, serving, settings_for
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, Step

CHAT = "/v1/chat/completions"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
CONFIG = """
[limits]
drain = {drain}
[upstreams.up]
base_url = "{url}"
models = []
"""


@pytest.fixture
def embedded(asgi_server: Any, tmp_path: Path) -> Callable[..., None]:
    """``embedded(server, main, *scripts, drain=…)``: ``main(process, port, upstream)``."""

    def run(server: str, main: Callable[..., Awaitable[None]], *scripts: list[Step], drain: float) -> None:
        async def inside() -> None:
            async with ScriptedUpstream(*scripts) as upstream:
                config = tmp_path / "relay.toml"
                config.write_text(CONFIG.format(drain=drain, url=upstream.base_url), "utf-8")
                context = asgi_server(server, config)
                process, port = await asyncio.to_thread(context.__enter__)
                try:
                    await main(process, port, upstream)
                finally:
                    await asyncio.to_thread(context.__exit__, None, None, None)

        run_in("asyncio", inside)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_streams_get_their_time_and_then_a_reason(embedded: Any, server: str, number: signal.Signals) -> None:
    async def main(process: Any, port: int, upstream: ScriptedUpstream) -> None:
        short = (await Client.connect(port)).post(CHAT, chat())
        await short.blocks_of(2)
        long = (await Client.connect(port)).post(CHAT, chat())
        await long.blocks_of(2)
        path = f"/v1/streams/{long.fields['x-tokenwire-stream']}/events"
        native = (await Client.connect(port)).get(path)
        await native.until(lambda answer: "text" in answer.events)
        process.send_signal(number)
        await native.until(lambda answer: "notice" in answer.events)
        gate.set()
        await short.whole()
        assert (short.complete, short.text, short.data[-1]) == (True, "one two", "[DONE]")
        for answer in (long, native):
            await answer.whole()
            assert answer.complete
        assert long.data[-1]["error"]["code"] == "shutting_down"
        assert native.data[-2]["code"] == "shutting_down"
        assert await upstream.peers[1].gone() is not None
        # uvicorn raises the signal again when all is done, and dies of it: that is its way of ending.
        assert await asyncio.to_thread(process.wait, 5) in (0, -number)

    gate = asyncio.Event()
    embedded(server, main, [REQUEST, FIRST, gate, REST], [REQUEST, FIRST], drain=1.0)


@pytest.mark.slow
def test_a_second_signal_cuts_at_once(embedded: Any) -> None:
    async def main(process: Any, port: int, upstream: ScriptedUpstream) -> None:
        stream = (await Client.connect(port)).post(CHAT, chat())
        await stream.blocks_of(2)
        native = (await Client.connect(port)).get(f"/v1/streams/{stream.fields['x-tokenwire-stream']}/events")
        await native.until(lambda answer: "text" in answer.events)
        process.send_signal(signal.SIGTERM)
        await native.until(lambda answer: "notice" in answer.events)
        process.send_signal(signal.SIGTERM)
        await stream.whole()
        assert stream.data[-1]["error"]["code"] == "shutting_down"
        assert await asyncio.to_thread(process.wait, 5) in (0, -signal.SIGTERM)

    embedded("uvicorn", main, [REQUEST, FIRST], drain=30.0)


@pytest.mark.slow
def test_a_server_that_keeps_the_signal_to_itself_leaves_no_answer_looking_whole(embedded: Any) -> None:
    """hypercorn gives responses three seconds and then cancels them: nobody can say why, and nobody is misled."""

    async def main(process: Any, port: int, upstream: ScriptedUpstream) -> None:
        stream = (await Client.connect(port)).post(CHAT, chat())
        await stream.blocks_of(2)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 8) == 0
        assert await upstream.peers[0].gone() is not None
        assert (stream.over, stream.complete, "[DONE]" in stream.data) == (True, False, False)

    embedded("hypercorn", main, [REQUEST, FIRST], drain=1.0)


# ---------------------------------------------------------------------- the lifespan protocol itself


class Lifespan:
    """What a server does with an application's lifespan, step by step."""

    def __init__(self, gateway: Gateway) -> None:
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said: list[str] = []
        self.task = asyncio.get_running_loop().create_task(gateway({"type": "lifespan"}, self._in.get, self._send))

    async def _send(self, message: Any) -> None:
        self.said.append(message["type"])

    def tell(self, event: str) -> None:
        self._in.put_nowait({"type": f"lifespan.{event}"})


def test_the_lifespans_end_gives_streams_their_time_too() -> None:
    """A server that says it before its responses are complete."""

    async def main() -> None:
        scripts: list[list[Step]] = [[REQUEST, FIRST, gate, REST], [REQUEST, FIRST]]
        async with (
            ScriptedUpstream(*scripts) as upstream,
            serving(settings_for(upstream.base_url, drain=0.3), edge="h11") as relay,
        ):
            lifespan = Lifespan(relay.gateway)
            lifespan.tell("startup")
            short = await (await relay.connect()).post(CHAT, chat()).blocks_of(2)
            long = await (await relay.connect()).post(CHAT, chat()).blocks_of(2)
            lifespan.tell("shutdown")
            await until(lambda: relay.gateway.draining)
            assert lifespan.said == ["lifespan.startup.complete"]
            gate.set()
            await short.whole()
            assert short.data[-1] == "[DONE]"
            await long.whole()
            assert long.data[-1]["error"]["code"] == "shutting_down"
            await lifespan.task
            assert lifespan.said[-1] == "lifespan.shutdown.complete"

    gate = asyncio.Event()
    run_in("uvloop", main)


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
def test_a_signal_is_heard_beside_its_server_and_given_back() -> None:
    async def main() -> None:
        async with (
            ScriptedUpstream([REQUEST, FIRST]) as upstream,
            serving(settings_for(upstream.base_url, drain=30.0), edge="h11") as relay,
        ):
            signal.signal(signal.SIGTERM, handler := lambda *_: heard.append("server"))
            lifespan = Lifespan(relay.gateway)
            lifespan.tell("startup")
            await until(lambda: lifespan.said)
            stream = await (await relay.connect()).post(CHAT, chat()).blocks_of(2)
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: relay.gateway.draining)
            assert (heard, stream.over) == (["server"], False)
            os.kill(os.getpid(), signal.SIGTERM)
            await stream.whole()
            assert stream.data[-1]["error"]["code"] == "shutting_down"
            lifespan.tell("shutdown")
            await lifespan.task
            assert signal.getsignal(signal.SIGTERM) is handler

    heard: list[str] = []
    run_in("asyncio", main)


@pytest.mark.usefixtures("_handlers")
def test_signals_that_nobody_handles_are_left_alone() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for handler in (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler):
            signal.signal(signal.SIGTERM, handler)
            signals = Signals(loop, lambda: None)
            assert signal.getsignal(signal.SIGTERM) is handler
            signals.close()
        signal.signal(signal.SIGTERM, lambda *_: None)
        signals = Signals(loop, lambda: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # somebody else came later
        signals.close()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN

    run_in("asyncio", main)


@pytest.mark.usefixtures("_handlers")
def test_in_another_thread_no_signal_is_listened_for() -> None:
    signal.signal(signal.SIGTERM, handler := lambda *_: None)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: Signals(loop, lambda: None).close())
    thread.start()
    thread.join()
    loop.close()
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.usefixtures("_handlers")
def test_a_signal_after_the_loop_is_only_the_servers() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    loop = asyncio.new_event_loop()
    Signals(loop, lambda: pytest.fail("there is no loop"))
    loop.close()
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]
