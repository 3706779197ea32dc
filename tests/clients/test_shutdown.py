"""The end of a relay that carries two hundred live streams: every one is whole or told why, and nothing outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from _pytest.mark import ParameterSet

from tokenwire.testing.http_client import Answer, Client
from tokenwire.testing.processes import Running, running_relay, wait_for
from tokenwire.testing.rig import run_in

Chat = Callable[..., dict[str, Any]]
Stats = Callable[[], dict[str, int]]

STREAMS = 200
#: Longer than any test: what ends, was ended.
ENDLESS = {"tokens": 20_000, "interval_ms": 50, "ttft_ms": 0}
SHORT = {"tokens": 20, "interval_ms": 25, "ttft_ms": 0}


class Spoken(NamedTuple):
    """How one dialect says that an answer has begun, that it is whole, and that it was cut by our end."""

    path: str
    has_begun: Callable[[Answer], object]
    is_whole: Callable[[Answer], bool]
    was_cut: Callable[[Answer], bool]
    error: Callable[[dict[str, Any]], str]  # the code in the body of an HTTP error
    fields: Mapping[str, Any] = MappingProxyType({})  # which every request must have


SPOKEN = {
    "openai.chat": Spoken(
        "/v1/chat/completions",
        lambda answer: answer.text,
        lambda answer: answer.data[-1] == "[DONE]" and not any("error" in each for each in answer.data[:-1]),
        lambda answer: "[DONE]" not in answer.data and answer.data[-1]["error"]["code"] == "shutting_down",
        lambda body: str(body["error"]["code"]),
    ),
    "anthropic": Spoken(
        "/v1/messages",
        lambda answer: "content_block_delta" in answer.events,
        lambda answer: answer.events[-1] == "message_stop" and "error" not in answer.events,
        lambda answer: answer.events[-1] == "error" and "shutting_down" in str(answer.data[-1]),
        lambda body: str(body["error"]["details"]["error_code"]),
        {"max_tokens": 20_000},
    ),
}


def crossed(*choices: object) -> list[ParameterSet]:
    """The dialects with the *choices*. Each dialect, and each choice, is played once; the other pairs are ``long``."""
    return [
        pytest.param(name, choice, marks=[] if (row + column) % 2 == 0 else pytest.mark.long)
        for row, name in enumerate(SPOKEN)
        for column, choice in enumerate(choices)
    ]


@pytest.fixture
def serving(simulator: Running, tmp_path: Path) -> Iterator[Callable[[float], Running]]:
    """``serving(drain)``: a relay of this test's own, before the simulator."""
    with ExitStack() as stack:

        def start(drain: float) -> Running:
            config = (
                f'[limits]\ndrain = {drain}\n[upstreams.sim]\nbase_url = "{simulator.url}/v1"\n'
                'dialect = ["openai.chat", "anthropic"]\n'
            )
            return stack.enter_context(running_relay(config, tmp_path))

        yield start


async def begun(relay: Running, spoken: Spoken, bodies: Sequence[dict[str, Any]]) -> list[Answer]:
    """One client for each body; every answer has begun."""
    answers = [(await Client.connect(relay.port)).post(spoken.path, body) for body in bodies]
    for answer in answers:
        await answer.until(spoken.has_begun)
    return answers


async def over(answers: Sequence[Answer], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not all(answer.over for answer in answers):
            await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "number"), crossed(signal.SIGTERM, signal.SIGINT))
def test_every_stream_is_whole_or_told_why(
    serving: Callable[[float], Running], chat: Chat, stats: Stats, dialect: str, number: signal.Signals
) -> None:
    spoken = SPOKEN[dialect]
    relay = serving(2.0)

    async def main() -> None:
        half = STREAMS // 2
        long = await begun(relay, spoken, [chat("sim/instant", **ENDLESS, **spoken.fields)] * half)
        short = await begun(relay, spoken, [chat("sim/instant", **SHORT, **spoken.fields)] * half)
        idle, late = await Client.connect(relay.port), None
        assert (await idle.get("/healthz").whole()).status == 200
        native = (await Client.connect(relay.port)).get(f"/v1/streams/{long[0].fields['x-tokenwire-stream']}/events")
        await native.until(lambda answer: "text" in answer.events)
        began = time.monotonic()
        os.kill(relay.pid, number)
        assert await idle.gone() == "fin", "a connection that carries nothing ends at once"
        await native.until(lambda answer: "notice" in answer.events)
        late = await Client.connect(relay.port)
        refused = await late.post(spoken.path, chat("sim/instant", **spoken.fields)).whole()
        assert (refused.status, refused.fields["retry-after"]) == (503, "1")
        assert spoken.error(refused.json) == "shutting_down"
        assert refused.fields["connection"] == "close"
        ready = await (await Client.connect(relay.port)).get("/readyz").whole()
        assert (ready.status, ready.json["status"]) == (503, "draining")
        await over([*long, *short, native], 8)
        assert all(answer.complete for answer in [*long, *short, native]), "no answer breaks off"
        assert all(map(spoken.is_whole, short))
        assert all(map(spoken.was_cut, long))
        assert native.events[-3:] == ["usage", "error", "done"]
        assert native.data[-2]["code"] == "shutting_down"
        notice = native.data[native.events.index("notice")]
        assert notice == {"code": "shutting_down", "seconds": 2.0}
        assert await asyncio.to_thread(relay.ended, 5) == 0
        assert 2.0 <= time.monotonic() - began < 7.0

    run_in("asyncio", main)
    assert relay.complaints == ""
    seen = wait_for(stats, lambda now: now["active"] == 0)
    assert (seen["done"], seen["aborted"]) == (STREAMS // 2, STREAMS // 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dialect", "numbers"), crossed((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM))
)
def test_a_second_signal_ends_at_once(
    serving: Callable[[float], Running], chat: Chat, stats: Stats, dialect: str, numbers: Sequence[signal.Signals]
) -> None:
    spoken = SPOKEN[dialect]
    relay = serving(30.0)

    async def main() -> None:
        answers = await begun(relay, spoken, [chat("sim/instant", **ENDLESS, **spoken.fields)] * STREAMS)
        held = (await Client.connect(relay.port)).post(spoken.path, chat("sim/fault-stall-first", **spoken.fields))
        await asyncio.to_thread(wait_for, stats, lambda now: now["active"] == STREAMS + 1)
        os.kill(relay.pid, numbers[0])
        other = await Client.connect(relay.port)
        while (await other.get("/readyz").whole()).status != 503:
            other = await Client.connect(relay.port)
        assert not any(answer.over for answer in [*answers, held])
        began = time.monotonic()
        os.kill(relay.pid, numbers[1])
        await over([*answers, held], 4)
        assert all(answer.complete for answer in answers)
        assert all(map(spoken.was_cut, answers))
        assert (held.status, spoken.error(held.json)) == (503, "shutting_down")
        assert await asyncio.to_thread(relay.ended, 5) == 0
        assert time.monotonic() - began < 5.0

    run_in("asyncio", main)
    assert relay.complaints == ""
    assert wait_for(stats, lambda now: now["active"] == 0)["aborted"] == STREAMS + 1


def test_what_nobody_reads_ends_with_the_relay_too(
    serving: Callable[[float], Running], chat: Chat, stats: Stats, fetch: Callable[..., Any]
) -> None:
    relay = serving(0.2)
    body = {"dialect": "openai.chat", "request": chat("sim/instant", **ENDLESS), "on_disconnect": "finish"}
    fetch(f"{relay.url}/v1/streams", body)
    wait_for(stats, lambda now: now["active"] == 1)
    os.kill(relay.pid, signal.SIGTERM)
    assert relay.ended(5) == 0
    assert wait_for(stats, lambda now: now["active"] == 0)["aborted"] == 1
