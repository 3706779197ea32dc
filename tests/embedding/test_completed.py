"""``on_complete``: told of every answer once, whatever became of it and of its client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from tests.embedding.apps import USER, serving, user_of

from tokenwire.dialects.deltas import Delta, ReasoningDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from tokenwire.fastapi import Completed, Relay
from tokenwire.fastapi import running as running_module
from tokenwire.gateway.settings import Settings
from tokenwire.testing.http_bytes import answer
from tokenwire.testing.relay import settings_for, streamed
from tokenwire.testing.rig import run_in, settle, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream


def app_of(relay: Relay, source: Any, **arguments: Any) -> FastAPI:
    app = FastAPI()
    app.state.relay = relay

    @app.get("/say", response_model=None)
    async def say(request: Request) -> Response:
        return relay.respond(request, source=source, dialect="openai.chat", session="s1", **arguments)

    return app


async def agent() -> AsyncIterator[str | Delta]:
    yield ReasoningDelta("hm")
    yield "Hello"
    for block, end in ((2, "}"), (3, "")):
        yield ToolCallStarted(f"call_{block}", "add", 0, block)
        yield ToolCallDelta('{"a":1' + end, 0, block)
        yield ToolCallEnded(0, block)


def test_the_whole_answer_is_told_with_what_is_known_of_it() -> None:
    told: list[Completed] = []

    async def store(completed: Completed) -> None:
        await asyncio.sleep(0)
        told.append(completed)

    async def main() -> None:
        relay = Relay(Settings(), principal=user_of, on_complete=store)
        async with serving(app_of(relay, agent, metadata={"row": 7})) as running:
            answer = await (await running.connect()).get("/say", USER).whole()
            await until(lambda: told)
        [record] = told
        assert (record.id, record.session) == (answer.fields["x-tokenwire-stream"], "s1")
        assert (record.principal, record.model, record.state, record.reason) == (
            "ada", "source", "completed", "tool_use",
        )  # fmt: skip
        assert (record.text, record.reasoning, record.metadata) == ("Hello", "hm", {"row": 7})
        assert [(call.id, call.arguments, call.whole) for call in record.tool_calls] == [
            ("call_2", '{"a":1}', True),
            ("call_3", '{"a":1', True),
        ]
        call = {"id": "call_2", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
        assert record.messages == ({"role": "assistant", "content": "Hello", "tool_calls": [call]},)
        assert record.usage.estimated
        assert record.usage.output
        assert record.error is None
        assert record.ttft_ms is not None
        assert record.e2e_ms is not None

    run_in("uvloop", main)


def test_a_long_answer_is_folded_in_steps_and_what_a_plain_function_returns_is_awaited() -> None:
    told: list[Completed] = []

    async def long() -> AsyncIterator[str]:
        for _ in range(1000):
            yield "x"

    async def later(completed: Completed) -> None:
        told.append(completed)

    async def main() -> None:
        relay = Relay(Settings(), on_complete=lambda completed: later(completed))
        async with serving(app_of(relay, long)) as running:
            await (await running.connect()).get("/say").whole()
            await until(lambda: told)
        assert told[0].text == "x" * 1000

    run_in("uvloop", main)


@pytest.mark.parametrize("how", ["cancel", "finish"])
def test_a_client_that_left_is_told_by_the_state(how: str) -> None:
    told: list[Completed] = []
    go = asyncio.Event()

    async def words() -> AsyncIterator[str]:
        yield "one"
        await go.wait()
        yield " two"

    async def main() -> None:
        relay = Relay(Settings(), on_disconnect=how)
        async with serving(app_of(relay, words, on_complete=told.append)) as running:
            client = await running.connect()
            await client.get("/say").until(lambda answer: answer.text)
            client.close()
            await settle()
            go.set()
            await until(lambda: told)
            await settle()
        [record] = told
        assert (record.state, record.text) == (("cancelled", "one") if how == "cancel" else ("completed", "one two"))
        assert (record.error is None) is (how == "finish")
        assert record.principal is None

    run_in("uvloop", main)


def test_it_is_told_once_though_many_read_and_its_exceptions_reach_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def failing(completed: Completed) -> None:
        told.append(completed.id)
        raise RuntimeError("the database is gone")

    async def main() -> None:
        relay = Relay(Settings(), principal=user_of, on_complete=failing)
        async with serving(app_of(relay, agent)) as running:
            client = await running.connect()
            for _ in range(3):
                answer = await client.get("/say", {**USER, "idempotency-key": "k"}).whole()
                assert answer.complete
            await until(lambda: told)
            await settle()
        assert len(told) == 1

    run_in("uvloop", main)
    assert "the database is gone" in caplog.text


def test_the_end_of_the_app_waits_for_what_is_being_stored_and_not_for_ever(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "COMPLETION_SECONDS", 0.05)
    stored: list[str] = []
    go = asyncio.Event()

    async def slow(completed: Completed) -> None:
        if completed.session == "s1" and not stored:
            await go.wait()
            stored.append(completed.state)
        else:
            await asyncio.get_running_loop().create_future()

    async def main() -> None:
        relay = Relay(Settings(), on_complete=slow)
        app = app_of(relay, agent)
        async with serving(app) as running:
            await (await running.connect()).get("/say").whole()
            await settle()
            asyncio.get_running_loop().call_soon(go.set)
        assert stored == ["completed"]
        async with serving(app) as running:
            await (await running.connect()).get("/say").whole()
            await settle()

    run_in("uvloop", main)
    assert "on_complete did not end in time" in caplog.text


def test_a_failure_upstream_and_a_log_without_its_beginning_are_told_too() -> None:
    told: list[Completed] = []

    async def main() -> None:
        async with ScriptedUpstream([*streamed("one", " two"), REQUEST, answer(b"{}", status=500)]) as upstream:
            relay = Relay(settings_for(upstream.base_url), on_complete=told.append)
            app = FastAPI()

            @app.get("/ask", response_model=None)
            async def ask(request: Request, model: str) -> Response:
                talk = [{"role": "user", "content": "hi"}]
                return relay.respond(request, model=model, messages=talk, dialect="openai.chat")

            async with serving(app, relay=relay) as running:
                client = await running.connect()
                assert (await client.get("/ask?model=up/m").whole()).text == "one two"
                await until(lambda: len(told) == 1)
                assert (await client.get("/ask?model=up/m").whole()).status == 500
                await until(lambda: len(told) == 2)
                assert told[1].state == "failed"
                assert told[1].error is not None
                assert (told[1].text, told[1].messages) == ("", ())
                [stream, _] = relay.running.core.hub.mine("")
                stream.log.first = 2  # as if memory had been short
                relay.running.tell_of(stream, told.append)
                await until(lambda: len(told) == 3)
                assert (told[2].trimmed, told[2].messages, told[2].state) == (True, (), "completed")

    run_in("uvloop", main)
