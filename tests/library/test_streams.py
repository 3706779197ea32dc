"""``tokenwire.stream``, straight to a provider and through a relay: the same answers, and the same ends."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from tests.library.conftest import Ask, Asked, Way, both_ways, paced

import tokenwire
from tokenwire.dialects.deltas import Finished, TextDelta
from tokenwire.errors import (
    AnswerCut,
    AnswerFailed,
    BadArgument,
    LocalProtocolError,
    NotAuthorised,
    ProviderDown,
    RateLimited,
    RelayRefused,
    RequestRejected,
    UnknownModel,
)
from tokenwire.simulator import Simulator


@both_ways
def test_deltas_text_and_the_whole_answer_are_the_same_answer(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        wishes = paced(30, seed=7)
        deltas = [delta async for delta in ask("up/gpt-4o", "hi", request=wishes)]
        pieces = [piece async for piece in ask("up/gpt-4o", "hi", request=wishes).text_stream]
        stream = ask("up/gpt-4o", "hi", request=wishes)
        answer = await stream.final()
        assert answer.text == "".join(pieces) == "".join(d.text for d in deltas if isinstance(d, TextDelta))
        assert len(pieces) == 30
        assert answer.reason == "stop"
        assert [d.reason for d in deltas if isinstance(d, Finished)] == ["stop"]
        assert stream.usage is not None
        assert (stream.usage.output, stream.usage.estimated) == (30, False)
        assert stream.id is not None
        assert stream.id.startswith("st_")
        assert answer is stream.answer

    asked(main, way)


@both_ways
def test_times_are_those_of_arrival(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        async with ask("up/gpt-4o", "hi", request=paced(5, 2)) as stream:
            await stream.final()
        timing = stream.timing
        assert timing.events == 5
        assert len(timing.itl_ms) == 4
        assert timing.ttft_ms is not None
        assert timing.ttft_ms == timing.ttft_answer_ms
        assert timing.e2e_ms is not None
        assert timing.e2e_ms == pytest.approx(timing.ttft_ms + sum(timing.itl_ms))
        assert timing.tpot_ms(5) == pytest.approx(sum(timing.itl_ms) / 4)

    asked(main, way)


FAILURES: list[tuple[str, type[AnswerFailed], bool]] = [
    ("429", RateLimited, True),
    ("error-before-401", NotAuthorised, False),
    ("error-before-422", RequestRejected, False),
    ("overloaded", ProviderDown, True),
    ("error-first", AnswerFailed, False),
    ("cut-3", AnswerCut, True),
]


@both_ways
def test_a_failure_is_an_exception_of_its_kind(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        for fault, kind, retryable in FAILURES:
            stream = ask("up/gpt-4o", "hi", request=paced(10, fault=fault.replace("before-", "before:")))
            with pytest.raises(AnswerFailed) as caught:
                await stream.final()
            assert type(caught.value) is kind or kind is AnswerFailed, (fault, caught.value)
            assert caught.value.retryable is retryable or kind is AnswerFailed, fault
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
            assert bool(stream.answer.text) == (fault == "cut-3"), "what came stays"

    asked(main, way)


def test_a_rate_limit_says_how_long_to_wait(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> float | None:
        with pytest.raises(RateLimited) as caught:
            await ask("up/gpt-4o", "hi", request=paced(1, fault="429:7000")).final()
        return caught.value.retry_after

    assert asked(main) == 7.0


def test_an_unknown_model_is_told_with_its_neighbours(asked: Asked) -> None:
    async def direct(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        with pytest.raises(UnknownModel, match="gpt-4o"):
            await ask("gpt-4p", "hi").final()
        assert await ask("gpt-4o", "hi", request=paced(1)).text(), "a bare name, found in the upstream's list"

    async def relay(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        with pytest.raises(RelayRefused, match="gpt-4p") as caught:
            await ask("gpt-4p", "hi").final()
        assert caught.value.code == "model_not_found"

    asked(direct, "direct")
    asked(relay, "relay")


@both_ways
def test_a_read_that_timed_out_loses_nothing(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        wishes = paced(20, 8, seed=3)
        whole = await ask("up/gpt-4o", "hi", request=wishes).text()
        stream = ask("up/gpt-4o", "hi", request=wishes)
        pieces: list[str] = []
        timeouts = 0
        texts = stream.text_stream
        await anext(stream)
        while True:
            try:
                async with asyncio.timeout(0):
                    pieces.append(await anext(texts))
            except TimeoutError:
                timeouts += 1
                await asyncio.sleep(0)
            except StopAsyncIteration:
                break
        assert "".join(pieces) == whole
        assert timeouts > 5

    asked(main, way)


@both_ways
def test_two_hundred_answers_one_after_another_leave_nothing(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        seen: list[weakref.ref[Any]] = []
        for _ in range(200):
            stream = ask("up/gpt-4o", "hi", request=paced(2))
            await stream.final()
            seen.append(weakref.ref(stream))
        del stream
        gc.collect()
        assert all(each() is None for each in seen)
        hub = node.core.hub.statistics()
        assert (hub.streams, hub.running, hub.bytes_held) == (0, 0, 0)
        pool = node.core.pool.statistics()
        assert pool.idle <= 1
        assert pool.opened <= 1, "one after another they take the same connection"

    asked(main, way)


def test_anthropic_is_asked_in_its_own_words_or_in_chats(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        own = ask(
            "up/claude-sonnet-4-5",
            [{"role": "user", "content": "hi"}],
            dialect="anthropic",
            request={"max_tokens": 9} | paced(20),
        )
        assert (await own.final()).reason == "length"
        chat = ask(
            "up/claude-sonnet-4-5",
            "hi",
            system="Be brief.",
            max_tokens=9,
            temperature=0.5,
            effort="low",
            request=paced(20),
        )
        assert (await chat.final()).text
        sent = simulator.recent[-1].body.decode()
        assert '"max_tokens":9' in sent
        assert '"reasoning_effort":"low"' in sent
        assert "Be brief." in sent

    asked(main)


def test_two_tasks_do_not_read_one_stream(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/gpt-4o", "hi", request=paced(5, 5))
        await anext(stream)
        first = asyncio.ensure_future(stream.final())
        await asyncio.sleep(0)
        with pytest.raises(LocalProtocolError, match="another task"):
            await anext(stream)
        assert (await first).text

    asked(main)


def weather(city: str) -> str:
    """The weather."""
    return "sunny"


def test_a_conversation_in_the_request_grows_with_its_tools(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        talk = [{"role": "user", "content": "weather in Paris?"}]
        stream = ask("up/gpt-4o", tools=[weather], request={"messages": talk, **paced()})
        assert "sunny" in await stream.text()
        with pytest.raises(BadArgument, match="say them once"):
            ask("up/gpt-4o", "hi", request={"messages": talk})

    asked(main)


@both_ways
def test_reads_with_a_time_limit_get_all_of_it_from_the_first_on_and_with_tools(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/gpt-4o", "weather in Paris?", tools=[weather], request=paced(None, 2, seed=1))
        timeouts = 0
        while True:
            try:
                async with asyncio.timeout(0):
                    await anext(stream)
            except TimeoutError:
                timeouts += 1
                await asyncio.sleep(0.001)
            except StopAsyncIteration:
                break
        assert timeouts > 3
        assert "sunny" in stream.answer.text
        assert len(stream.answer.turns) == 2
        assert simulator.stats.requests == 2

    asked(main, way)


def test_what_cannot_be_asked_is_said_at_once() -> None:
    for arguments, name in (
        ({"model": "", "prompt": "hi"}, "model"),
        ({"model": "m"}, "prompt"),
        ({"model": "m", "prompt": "hi", "messages": [{"role": "user", "content": "x"}]}, "prompt"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": ["hi"]}, "messages"),
        ({"model": "m", "messages": {"role": "user"}}, "messages"),
        ({"model": "m", "prompt": "hi", "dialect": "anthropic", "system": "x"}, "system"),
        ({"model": "m", "prompt": "hi", "dialect": "gemini"}, "messages"),
        ({"model": "m", "prompt": "hi", "on_disconnect": "perhaps"}, "on_disconnect"),
        ({"model": "m", "prompt": "hi", "request": ["a"]}, "request"),
        ({"model": "m", "prompt": "hi", "request": {"a": object()}}, "request"),
        ({"model": "m", "prompt": "half \ud800"}, "messages"),
        ({"model": "m", "prompt": "hi", "tools": print}, "tools"),
        ({"model": "m", "prompt": "hi", "max_turns": "3"}, "max_turns"),
        ({"model": "m", "prompt": "hi", "session": 5}, "session"),
    ):
        with pytest.raises(BadArgument) as caught:
            tokenwire.stream(**arguments)
        assert caught.value.name == name
    assert issubclass(BadArgument, ValueError)


def test_a_dialect_that_nobody_speaks_is_refused(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        with pytest.raises(BadArgument, match=r"openai\.chat"):
            await ask("up/gpt-4o", dialect="morse", request={"x": 1}).final()

    asked(main)


@both_ways
def test_usage_grows_with_the_answer_and_is_the_providers_at_its_end(asked: Asked, way: Way) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/gpt-4o", "Tell me of the sea.", request=paced(300, 5))
        before = stream.usage
        assert before is None
        seen: list[int] = []
        async for _ in stream:
            usage = stream.usage
            if usage is not None and usage.estimated and usage.output:
                seen.append(usage.output)
        assert seen == sorted(seen)
        assert len(set(seen)) > (100 if way == "direct" else 0), "a relay tells it twice a second"
        assert stream.usage is not None
        assert (stream.usage.output, stream.usage.estimated) == (300, False)
        left = ask("up/gpt-4o", "Tell me of the sea.", request=paced(10_000, 1))
        async for _ in left.text_stream:
            if left.answer.timing.events == 50:
                break
        assert way == "relay" or (left.usage is not None and 30 < (left.usage.output or 0) < 90)
        await left.close()

    asked(main, way)


def test_reading_twice_goes_on_where_the_first_stopped(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = ask("up/gpt-4o", "hi", request=paced(10))
        first = [await anext(stream.text_stream) for _ in range(3)]
        rest = [piece async for piece in stream.text_stream]
        assert len(first) + len(rest) == 10
        assert stream.answer.text == "".join(first + rest)
        assert stream.usage is not None
        assert stream.usage.output == 10

    asked(main)
