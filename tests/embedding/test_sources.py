"""An app's own generators as sources: what they may yield, how they end, and how they are closed."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import HTTPException, Request
from tests.embedding.apps import USER, asked, saying_app, serving

from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    ReasoningDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.errors import BadArgument, ConnectFailed, TruncatedStream, UnknownModel
from tokenwire.fastapi import Relay
from tokenwire.gateway.settings import LimitSettings, Settings
from tokenwire.testing.rig import run_in, settle, until


def test_text_becomes_a_stream_of_every_dialect_with_an_estimate_of_its_tokens() -> None:
    async def words() -> AsyncIterator[str]:
        yield ""
        yield "Hello"
        yield " \ud83d world"  # half a character, as a text cut by JavaScript ends in

    async def main() -> None:
        async with serving(saying_app(words)) as running:
            native = await asked(running, "native")
            assert native.native_text == "Hello \N{REPLACEMENT CHARACTER} world"
            assert native.events == ["started", "text", "text", "usage", "done"]
            assert native.data[-1]["reason"] == "stop"
            assert native.data[-1]["usage"]["estimated"] is True
            assert native.data[-1]["usage"]["output"] > 0
            assert (await asked(running)).text == native.native_text
            parts = (await asked(running, "ui-messages")).data
            assert [part["delta"] for part in parts[:-1] if part["type"] == "text-delta"] == ["Hello", " \ufffd world"]
            anthropic = await asked(running, "anthropic")
            assert anthropic.events[-1] == "message_stop"
            assert (await asked(running, "agui")).data[-1]["type"] == "RUN_FINISHED"
            assert json.loads((await asked(running, "ollama")).body.splitlines()[-1])["done"] is True

    run_in("uvloop", main)


def test_deltas_are_told_as_they_are_and_text_between_them_gets_blocks_of_its_own() -> None:
    async def deltas() -> AsyncIterator[str | Delta]:
        yield ReasoningDelta("hm", 0, 0)
        yield "text"
        yield ToolCallStarted("call_1", "add", 0, 7)
        yield ToolCallDelta('{"a":', 0, 7)
        yield ToolCallDelta("1}", 0, 7)
        yield "more"
        yield Usage(input=3, output=9)
        yield Finished("length")

    async def main() -> None:
        async with serving(saying_app(deltas)) as running:
            answer = await asked(running, "native")
            told = [(name, data) for name, data in zip(answer.events, answer.data, strict=True) if name != "started"]
            assert told[:-1] == [
                ("reasoning", {"t": "hm"}),
                ("text", {"block": 1, "t": "text"}),
                ("tool_call", {"block": 7, "id": "call_1", "name": "add"}),
                ("tool_args", {"block": 7, "json": '{"a":'}),
                ("tool_args", {"block": 7, "json": "1}"}),
                ("tool_end", {"block": 7}),
                ("text", {"block": 8, "t": "more"}),
                ("usage", {"input": 3, "output": 9}),
            ]
            assert told[-1][1]["reason"] == "length"

    run_in("uvloop", main)


def test_an_answer_that_ends_in_a_call_wants_its_tool() -> None:
    async def call() -> AsyncIterator[Delta]:
        yield ToolCallStarted("call_1", "add")
        yield ToolCallDelta("{}")
        yield ToolCallEnded()

    async def main() -> None:
        async with serving(saying_app(call)) as running:
            answer = await asked(running)
            assert [choice["finish_reason"] for item in answer.data[:-1] for choice in item["choices"]][-1] == (
                "tool_calls"
            )

    run_in("uvloop", main)


RAISED: list[tuple[Exception, int, str, str]] = [
    (ValueError("secret"), 500, "source_failed", "ValueError"),
    (HTTPException(409, "not now"), 409, "source_failed", "not now"),
    (UnknownModel("x", ["y"]), 404, "model_not_found", "did you mean y"),
    (ConnectFailed("db", "connect", "refused"), 502, "connect_failed", "refused"),
    (TruncatedStream("native"), 502, "truncated_stream", "incomplete"),
]


@pytest.mark.parametrize(("error", "status", "code", "word"), RAISED, ids=lambda value: str(value)[:12])
def test_what_a_source_raises_ends_the_answer_with_an_error(
    error: Exception, status: int, code: str, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def at_once() -> AsyncIterator[str]:
        if not spoken:
            raise error
        yield "one"
        raise error

    spoken: list[bool] = []

    async def main() -> None:
        async with serving(saying_app(at_once)) as running:
            early = await asked(running)
            assert early.status == status
            assert early.json["error"]["code"] == code
            assert word in early.json["error"]["message"]
            spoken.append(True)
            late = await asked(running)
            assert (late.status, late.text) == (200, "one")
            assert late.data[-1]["error"]["code"] == code
            assert b"secret" not in early.body + late.body
            native = await asked(running, "native")
            assert native.events[-2:] == ["error", "done"]

    run_in("uvloop", main)
    assert ("secret" in caplog.text) is (code == "source_failed" and status == 500)


async def _number() -> AsyncIterator[Any]:
    yield "one"
    yield 7


async def _stray() -> AsyncIterator[Any]:
    yield "one"
    yield ToolCallDelta("{}", 0, 3)


async def _failed() -> AsyncIterator[Any]:
    yield "one"
    yield Failed("over_budget", "no money left")
    yield "two"


@pytest.mark.parametrize(
    ("source", "code", "word"),
    [
        (_number, "source_failed", "not int"),
        (_stray, "source_failed", "no call has started"),
        (_failed, "over_budget", "no money"),
    ],
)
def test_what_cannot_be_told_is_an_error(source: Any, code: str, word: str) -> None:
    async def main() -> None:
        async with serving(saying_app(source)) as running:
            answer = await asked(running)
            assert answer.text == "one"
            assert answer.data[-1]["error"]["code"] == code
            assert word in answer.data[-1]["error"]["message"]

    run_in("uvloop", main)


def test_a_source_waits_while_a_reader_is_behind_and_the_log_is_full() -> None:
    made = 0

    async def large() -> AsyncIterator[str]:
        nonlocal made
        for number in range(600):
            made = number
            yield f"<{number}>" + "x" * 10_000

    app = saying_app(large, LimitSettings(stream_bytes=256 * 1024), on_disconnect="cancel")
    relay: Relay = app.state.relay

    async def main() -> None:
        async with serving(app) as running:
            client = await running.connect(receive_buffer=4096)
            answer = client.get("/say", USER)
            await answer.until(lambda answer: answer.text)
            client.pause()
            [stream] = relay.running.core.hub.running()
            await until(lambda: stream.paused)
            held = made
            await settle(200)
            assert made <= held + 1 < 600
            client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            client.resume()
            await answer.whole()
            assert answer.text.count("<") > held, "it went on, and came to the bound of any stream"
            assert answer.data[-1]["error"]["code"] == "log_limit"

    run_in("uvloop", main)


def test_a_stream_of_a_source_is_resumed_and_read_by_many() -> None:
    go = asyncio.Event()

    async def tokens() -> AsyncIterator[str]:
        yield "one"
        yield " two"
        await go.wait()
        yield " three"

    async def main() -> None:
        async with serving(saying_app(tokens)) as running:
            client = await running.connect()
            first = await client.get("/say?dialect=native", USER).until(lambda answer: answer.native_text == "one two")
            path = f"/streams/{first.fields['x-tokenwire-stream']}/events"
            client.reset()
            resumed = (await running.connect()).get(path, {**USER, "last-event-id": first.ids[-2]})
            other = (await running.connect()).get(path + "?dialect=openai.chat", USER)
            stranger = await (await running.connect()).get(path, {"x-user": "eve"}).whole()
            assert stranger.status == 404
            await resumed.head()
            go.set()
            assert (await resumed.whole()).native_text == " two three"
            assert (await other.whole()).text == "one two three"

    run_in("uvloop", main)


def test_a_source_has_a_last_moment() -> None:
    async def endless() -> AsyncIterator[str]:
        yield "one"
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        app = saying_app(endless)
        async with serving(app) as running:
            answer = (await running.connect()).get("/say", USER)
            await answer.until(lambda answer: answer.text)
            [stream] = app.state.relay.running.core.hub.running()
            stream.source._late()
            await answer.whole()
            assert answer.data[-1]["error"]["code"] == "upstream_timeout"

    run_in("uvloop", main)


@pytest.mark.parametrize("source", [["a", "b"], "text", iter("ab")], ids=["list", "str", "iterator"])
def test_what_nothing_can_be_pulled_from_is_told_at_once(source: Any) -> None:
    async def main() -> None:
        relay = Relay(Settings())
        async with relay:
            with pytest.raises(BadArgument, match="async generator"):
                relay.respond(Request({"type": "http", "headers": [], "method": "GET"}), source=source)

    run_in("uvloop", main)
