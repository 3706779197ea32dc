"""Faults that strike the first tries only, and connections that end between two requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.simulator.tries import MOST, Tries, digest

Chat = Callable[..., dict[str, Any]]


def test_the_first_tries_fail_and_then_the_count_starts_anew() -> None:
    tries = Tries()
    assert [tries.strikes(b"a", 2) for _ in range(6)] == [True, True, False, True, True, False]
    assert tries.strikes(b"b", 1)
    assert not tries.strikes(b"c", 0)


def test_what_never_succeeds_is_forgotten_in_the_end() -> None:
    tries = Tries()
    assert tries.strikes(b"first", 1)
    for number in range(MOST):
        tries.strikes(b"%d" % number, 1)
    assert tries.strikes(b"first", 1)


def test_a_request_is_known_by_its_run_or_by_its_key_and_body() -> None:
    assert digest("run", {}, b"a") == digest("run", {"x-api-key": "k"}, b"b")
    assert digest(None, {"x-api-key": "k"}, b"a") == digest(None, {"x-api-key": "k", "x": "y"}, b"a")
    different = [({}, b"a"), ({"x-api-key": "k"}, b"a"), ({"authorization": "k2"}, b"a"), ({}, b"b")]
    assert len({digest(None, headers, body) for headers, body in different}) == len(different)


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("model", "failures", "status"),
    [("fault-flaky", 2, (503, 529)), ("fault-flaky-1", 1, (503, 529)), ("fault-429-1-x3", 3, (429,))],
)
def test_a_flaky_model_answers_after_so_many_tries(
    play: Any, fetch: Any, chat: Chat, message: Chat, vendor: str, model: str, failures: int, status: tuple[int, ...]
) -> None:
    path = "/v1/messages" if vendor == "anthropic" else "/v1/chat/completions"
    make = message if vendor == "anthropic" else chat

    async def scenario(simulator: Any) -> None:
        async def ask(prompt: str, **headers: str) -> int:
            given = {"anthropic-version": "2023-06-01", **headers}
            return int((await fetch(simulator, make(prompt, model=model), given, path=path)).status)

        for _ in range(2):
            assert [await ask("one") for _ in range(failures + 1)][-1] == 200
        assert await ask("one") in status
        assert await ask("another") in status
        assert await ask("one", **{"x-api-key": "another"}) in status
        run = {"x-sim-run": "7"}
        answers = [await ask(f"changing {n}", **run) for n in range(failures + 1)]
        assert set(answers[:-1]) <= set(status)
        assert answers[-1] == 200

    play(scenario)


async def second_request(simulator: Any, encode: Any, body: Any) -> bytes:
    """What a client gets that sends *body*, reads the answer, and sends an honest request on the same connection."""
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    writer.write(encode(body, close=False))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"connection: close" not in head
    await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.write(encode(None, method="GET", path="/healthz"))
    try:
        return await reader.read()
    except ConnectionResetError:
        return b"<reset>"
    finally:
        writer.close()


def test_a_stale_connection_is_reset_by_the_next_request(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        assert await second_request(simulator, encode, chat(model="fault-stale")) == b"<reset>"
        assert b'{"status":"ok"}' in await second_request(simulator, encode, chat(model="instant"))

    play(scenario)


def test_a_connection_may_be_closed_right_after_an_answer(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        for stream in (True, False):
            reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
            writer.write(encode(chat(model="fault-close-after", stream=stream), close=False))
            raw = await reader.read()
            assert b"connection: close" not in raw
            assert raw.endswith(b"0\r\n\r\n" if stream else b"}")
            writer.close()
        assert simulator.stats.done == 2

    play(scenario)
