"""An upstream of another dialect that fails: the caller is told in his words, or answered by another one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.gateway.translating import CHAT, MESSAGES, ONCE, before, folded, playing

from tokenwire.gateway.settings import ModelSettings, Settings, UpstreamSettings
from tokenwire.testing import chat_frames as frames
from tokenwire.testing import message_frames as messages
from tokenwire.testing.http_bytes import answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, message, serving, started
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, FLUSHED, REQUEST, ScriptedUpstream, Step

OVERLOADED = answer(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', status=529)
SILENT: list[Step] = [REQUEST, STREAM_HEAD, FLUSHED, CLOSE]


def test_a_failure_in_mid_stream_is_told_in_the_callers_words() -> None:
    async def main() -> None:
        sent = [messages.start(), messages.block(), messages.text("one"), messages.error("busy")]
        async with before("anthropic", playing(*sent)) as (relay, _):
            client = await relay.connect()
            stream = await client.post(CHAT, chat()).whole()
            fold = folded("openai.chat", bytes(stream.body))
            assert fold.choice().text == "one"
            assert fold.failed is not None
            assert (fold.failed.code, fold.failed.message) == ("overloaded_error", "busy")
            assert b"[DONE]" not in stream.body

    run_in("uvloop", main)


def test_a_refusal_before_the_first_token_is_told_in_the_callers_words() -> None:
    async def main() -> None:
        async with before("anthropic", [REQUEST, OVERLOADED, FLUSHED, CLOSE]) as (relay, _):
            client = await relay.connect()
            for streaming in (True, False):
                refused = await client.post(CHAT, chat(stream=streaming)).whole()
                assert (refused.status, refused.json["error"]["message"]) == (529, "Overloaded")
                assert "type" not in refused.json

    run_in("uvloop", main)


def test_a_call_that_was_cut_is_an_error_and_no_call() -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}

    async def main() -> None:
        sent = STREAM_HEAD + chunks(frames.role(), frames.chunk({"tool_calls": [call]}))
        async with before("openai.chat", [REQUEST, sent, FLUSHED, CLOSE]) as (relay, _):
            client = await relay.connect()
            stream = await client.post(MESSAGES, message()).whole()
            assert b"event: error" in stream.body
            assert b"content_block_stop" not in stream.body
            assert b"message_stop" not in stream.body

    run_in("uvloop", main)


def test_cancelling_a_translated_whole_answer_closes_the_upstream() -> None:
    async def main() -> None:
        script: list[Step] = [REQUEST, STREAM_HEAD + chunks(messages.start(), messages.block(), messages.text("one"))]
        async with before("anthropic", script) as (relay, upstream):
            client = await relay.connect()
            client.post(CHAT, chat(stream=False))
            await leave_when_begun(relay, client)
            await (await upstream.peer()).gone()

    run_in("uvloop", main)


async def leave_when_begun(relay: Relay, client: Any) -> None:
    stream = await relay.stream()
    await until(lambda: stream.generated_ns is not None)
    client.transport.abort()


# ---------------------------------------------------------------------- another one answers


@asynccontextmanager
async def routed(first: str, failure: list[Step], second: str, script: list[Step]) -> AsyncIterator[Relay]:
    """A relay whose model ``smart`` asks an upstream of dialect *first*, which fails, and then one of *second*."""
    async with ScriptedUpstream(failure) as bad, ScriptedUpstream(script) as good:
        settings = Settings(
            upstreams={
                "bad": UpstreamSettings(base_url=bad.base_url, models=[], retry=ONCE, dialect=first),
                "good": UpstreamSettings(base_url=good.base_url, models=[], retry=ONCE, dialect=second),
            },
            models={"smart": ModelSettings(route=["bad/m", "good/m"])},
        )
        async with serving(settings) as relay:
            yield relay


@pytest.mark.parametrize(("path", "body"), [(CHAT, chat), (MESSAGES, message)])
@pytest.mark.parametrize("first", ["anthropic", "openai.chat"])
def test_a_route_over_two_dialects(path: str, body: Any, first: str) -> None:
    """Who is asked second speaks another dialect than who was asked first: the reader's stays."""
    scripts: dict[str, list[Step]] = {
        "anthropic": playing(*messages.answer("one")),
        "openai.chat": playing(*frames.answer("one", with_usage=True)),
    }
    second = "openai.chat" if first == "anthropic" else "anthropic"

    async def main() -> None:
        async with routed(first, [REQUEST, OVERLOADED], second, scripts[second]) as relay:
            client = await relay.connect()
            stream = await client.post(path, body(model="smart")).whole()
            own = "openai.chat" if path == CHAT else "anthropic"
            assert folded(own, bytes(stream.body)).choice().text == "one"
            made = await relay.stream()
            told = await client.get(f"/v1/streams/{made.id}").whole()
            assert [each["dialect"] for each in told.json["attempts"]] == [first, second]
            assert (told.json["dialect"], told.json["model"]) == (second, "good/m")
            follow = await client.get(f"/v1/streams/{made.id}/events").whole()
            assert folded("native", bytes(follow.body)).choice().text == "one"

    run_in("uvloop", main)


def test_the_usage_chunk_stays_away_whoever_answers_in_the_end() -> None:
    async def main() -> None:
        async with routed("openai.chat", SILENT, "anthropic", playing(*messages.answer("one"))) as relay:
            stream = await (await relay.connect()).post(CHAT, chat(model="smart")).whole()
            assert b'"content":"one"' in stream.body
            assert b'"usage"' not in stream.body

    run_in("uvloop", main)


def test_who_follows_already_when_the_dialect_changes() -> None:
    async def main() -> None:
        async with routed("openai.chat", SILENT, "anthropic", playing(*messages.answer("one"))) as relay:
            events = await started(await relay.connect(), request=chat(model="smart"))
            followers = [
                (name, (await relay.connect()).get(f"{events}?dialect={name}"))
                for name in ("native", "openai.chat", "anthropic")
            ]
            for name, follower in followers:
                assert folded(name, bytes((await follower.whole()).body)).choice().text == "one"

    run_in("uvloop", main)
