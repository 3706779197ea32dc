"""``tokenwire serve`` killed, or asked to end, while dozens read; and started again where it was."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from tests.chaos.followers import Follower
from tests.chaos.truth import DIALECTS, Plan, text_of
from tests.chaos.world import pretended, replay, run

from tokenwire.client.backoff import Retry
from tokenwire.client.relay import Client
from tokenwire.client.updates import Done, Reset
from tokenwire.testing import http_client
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.processes import Running, running_relay

CONFIG = """
[limits]
drain = 0.5
[upstreams.sim]
base_url = "{url}/v1"
retry = {{ attempts = 1 }}
"""
#: What a kill may lose: a flush, on a machine that does much else.
WINDOW_SECONDS = 1.0
RETRY = Retry(first=0.05, longest=0.2)
STREAMS = 8


class Read:
    """What one user of the Python client has of a stream.

    Attributes:
        text: since the last reset.
        had: the length of the text at each moment.
    """

    def __init__(self, plan: Plan, stream: str) -> None:
        self.plan = plan
        self.stream = stream
        self.had: list[tuple[float, int]] = []
        self.text = ""
        self.resets = 0
        self.done: Done | None = None

    async def run(self, client: Client) -> None:
        async with client.follow(self.stream) as following:
            async for update in following:
                self.text = following.answer.text
                self.had.append((asyncio.get_running_loop().time(), len(self.text)))
                self.resets += isinstance(update, Reset)
                if isinstance(update, Done):
                    self.done = update

    def before(self, moment: float) -> int:
        """How much text it had then."""
        return max((size for at, size in self.had if at < moment), default=0)


class Scene:
    """Streams of a relay, short and long in turn, each with a user of the client and a reader of every dialect."""

    def __init__(self, relay: Running) -> None:
        self.client = Client(relay.url, retry=RETRY)
        self.relay = relay
        self.reads: list[Read] = []
        self.followers: list[Follower] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Until all the long ones have come some way, and the short ones are over."""
        for number in range(STREAMS):
            tokens = 150 if number % 2 else 10
            plan = Plan("openai.chat", f"a poem {number}", tokens, 20.0 if number % 2 else 5.0)
            stream = await self.client.start(plan.body, on_disconnect="finish")
            self.reads.append(Read(plan, stream))
            self.followers += [
                Follower(self.relay.port, stream, dialect, Random(number), wild=0.0) for dialect in DIALECTS
            ]
        runs = [*(read.run(self.client) for read in self.reads), *(follower.run() for follower in self.followers)]
        self.tasks = [asyncio.create_task(each) for each in runs]
        async with asyncio.timeout(20):
            while not all(read.done or len(read.had) > 60 for read in self.reads):
                await asyncio.sleep(0.02)

    async def end(self) -> dict[str, str]:
        """When all readers are done: they have what is stored, each in its dialect. The state of each stream."""
        await asyncio.gather(*self.tasks)
        states = {}
        client = await http_client.Client.connect(self.relay.port)
        for read in self.reads:
            states[read.stream] = str((await self.client.look(read.stream))["state"])
            for dialect in DIALECTS:
                text = text_of(dialect, await replay(client, read.stream, dialect))
                assert text == read.text
                (mine,) = [each for each in self.followers if (each.stream, each.dialect) == (read.stream, dialect)]
                assert text_of(dialect, mine.events) == text
            assert read.plan.text.startswith(read.text)
            assert read.done is not None
            assert read.done.verified is not False
            assert read.done.state == states[read.stream]
        client.close()
        await client.gone()
        self.client.close()
        return states


def play(tmp_path: Path, end: Callable[[Scene, Running, Callable[[], Running]], object]) -> None:
    """``end(scene, relay, again)``: what becomes of a relay that carries *scene*; ``again()`` starts another."""

    async def main() -> None:
        with refusing_port() as port, ExitStack() as stack:
            async with pretended() as model:
                config = CONFIG.format(url=model.url)

                def start() -> Running:
                    return stack.enter_context(running_relay(config, tmp_path, port=port, home=tmp_path))

                relay = await asyncio.to_thread(start)
                scene = Scene(relay)
                await scene.begin()
                await end(scene, relay, start)  # type: ignore[misc]

    run(main, 60)


@pytest.mark.slow
@pytest.mark.untraced
def test_readers_go_on_after_a_kill(tmp_path: Path) -> None:
    async def end(scene: Scene, relay: Running, again: Callable[[], Running]) -> None:
        killed = asyncio.get_running_loop().time()
        await asyncio.to_thread(relay.kill)
        await asyncio.to_thread(again)
        states = await scene.end()
        for read in scene.reads:
            short = len(read.plan.text) == len(read.text)
            assert states[read.stream] == ("completed" if short else "orphaned")
            lost = read.before(killed) - len(read.text)
            assert lost <= 0 or read.resets, "who had more than was stored is told"
            assert read.before(killed - WINDOW_SECONDS) <= len(read.text), "what was older had been stored"
        assert list(states.values()).count("orphaned") == STREAMS // 2

    play(tmp_path, end)


@pytest.mark.slow
@pytest.mark.untraced
def test_who_is_asked_to_end_loses_nothing(tmp_path: Path) -> None:
    async def end(scene: Scene, relay: Running, again: Callable[[], Running]) -> None:
        os.kill(relay.pid, signal.SIGTERM)
        assert await asyncio.to_thread(relay.ended) == 0
        ended = asyncio.get_running_loop().time()
        await asyncio.to_thread(again)
        states = await scene.end()
        assert list(states.values()).count("failed") == STREAMS // 2, "cut, and told why"
        for read in scene.reads:
            assert read.resets == 0
            assert read.before(ended + 1) == len(read.text), "all that was sent is stored"
            if states[read.stream] == "failed":
                assert (await scene_error(relay, read.stream))["code"] == "shutting_down"

    play(tmp_path, end)


async def scene_error(relay: Running, stream: str) -> dict[str, object]:
    """The error with which *stream* ended."""
    client = await http_client.Client.connect(relay.port)
    answer = await client.get(f"/v1/streams/{stream}").whole()
    client.close()
    await client.gone()
    error: dict[str, object] = answer.json["error"]
    return error
