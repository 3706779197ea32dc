"""An upstream that does not speak the caller's dialect: asked, answered and failing in the caller's words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.prompt.fit import Note
from tokenwire.dialects.transcript import Transcript
from tokenwire.gateway.settings import ModelSettings, RetrySettings, Settings, UpstreamSettings
from tokenwire.gateway.ways import told
from tokenwire.testing import chat_frames as frames
from tokenwire.testing import message_frames as messages
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, message, serving, started
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, FLUSHED, REQUEST, ScriptedUpstream, Step
from tokenwire.wire import sse

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ONCE = RetrySettings(attempts=1)
OVERLOADED = answer(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', status=529)


@asynccontextmanager
async def before(
    dialect: str | list[str], *scripts: Sequence[Step], **fields: Any
) -> AsyncIterator[tuple[Relay, ScriptedUpstream]]:
    """A relay before a single upstream ``up`` that speaks *dialect*."""
    async with ScriptedUpstream(*scripts) as upstream:
        up: dict[str, Any] = {"base_url": upstream.base_url, "models": [], "retry": ONCE, "dialect": dialect, **fields}
        async with serving(Settings(upstreams={"up": UpstreamSettings(**up)})) as relay:
            yield relay, upstream


def playing(*sent: bytes, kind: str = "text/event-stream") -> list[Step]:
    """One request, answered with these frames at once."""
    opening = head(200, ("content-type", kind), ("transfer-encoding", "chunked"))
    return [REQUEST, opening + chunks(*sent) + LAST_CHUNK, FLUSHED, CLOSE]


def folded(dialect: str, body: bytes) -> Transcript:
    """What a whole stream in *dialect* says."""
    decoder, fold = dialects.get(dialect).decoder(), Transcript()
    parser = sse.Decoder()
    for event in parser.feed(body) + parser.close(lenient=True):
        for delta in decoder.feed(event):
            fold.apply(delta)
    for delta in decoder.close():
        fold.apply(delta)
    return fold


def asked(upstream: ScriptedUpstream, peer: int = 0) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Path, header fields and body of what the upstream was sent."""
    request = upstream.peers[peer].requests[0]
    return request.target, dict(request.fields), json.loads(request.body)


def test_a_chat_upstream_read_as_messages() -> None:
    async def main() -> None:
        script = playing(*frames.answer("one", " two", with_usage=True))
        async with before("openai.chat", script) as (relay, upstream):
            client = await relay.connect()
            stream = await client.post(MESSAGES, message("hi", system="Be brief.")).whole()
            fold = folded("anthropic", bytes(stream.body))
            assert (stream.status, fold.choice().text, fold.choice().reason) == (200, "one two", "stop")
            assert fold.usage is not None
            assert (fold.usage.input, fold.usage.output) == (3, 5)
            line, _, body = asked(upstream)
            assert line == "/v1/chat/completions"
            assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
            assert (body["model"], body["stream_options"]) == ("claude", {"include_usage": True})

    run_in("uvloop", main)


@pytest.mark.parametrize("wanted", [False, True])
def test_the_usage_chunk_is_for_who_asked_for_it(wanted: bool) -> None:
    async def main() -> None:
        async with before("anthropic", playing(*messages.answer("one"))) as (relay, upstream):
            client = await relay.connect()
            options: dict[str, Any] = {"stream_options": {"include_usage": True}} if wanted else {}
            stream = await client.post(CHAT, chat(**options)).whole()
            assert folded("openai.chat", bytes(stream.body)).choice().text == "one"
            assert (b'"usage"' in stream.body) == wanted
            line, fields, body = asked(upstream)
            assert line == "/v1/messages"
            assert (fields["anthropic-version"], body["max_tokens"]) == ("2023-06-01", 4096)

    run_in("uvloop", main)


def test_a_whole_answer_is_the_fold_of_a_stream() -> None:
    async def main() -> None:
        async with before("anthropic", playing(*messages.answer("one", " two"))) as (relay, upstream):
            client = await relay.connect()
            whole = await client.post(CHAT, chat(stream=False)).whole()
            assert whole.json["choices"][0]["message"]["content"] == "one two"
            assert whole.json["usage"]["total_tokens"] == 8
            assert asked(upstream)[2]["stream"] is True

    run_in("uvloop", main)


def test_an_answer_that_came_whole_is_told_in_the_callers_words() -> None:
    """The upstream was asked for a stream, and did not care."""
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}'

    async def main() -> None:
        async with before("openai.chat", [REQUEST, answer(body), REQUEST, answer(body)]) as (relay, _):
            client = await relay.connect()
            whole = await client.post(MESSAGES, message(stream=False)).whole()
            assert whole.json["content"] == [{"type": "text", "text": "one"}]
            stream = await client.post(MESSAGES, message()).whole()
            assert folded("anthropic", bytes(stream.body)).choice().text == "one"

    run_in("uvloop", main)


def test_what_cannot_be_asked_is_refused_by_the_callers_name_of_it() -> None:
    async def main() -> None:
        async with before("anthropic") as (relay, upstream):
            client = await relay.connect()
            for fields, param in (({"n": 2}, "n"), ({"logit_bias": {"1": 1}}, "logit_bias"), ({"smoke": 1}, "smoke")):
                refused = await client.post(CHAT, chat(**fields)).whole()
                error = refused.json["error"]
                assert (refused.status, error["param"], error["code"]) == (400, param, "unsupported_parameter")
                assert "anthropic" in error["message"]
            assert (relay.streams, upstream.peers) == ([], [])

    run_in("uvloop", main)


@pytest.mark.parametrize("streaming", [True, False])
def test_what_was_left_out_is_told_in_a_header(streaming: bool) -> None:
    async def main() -> None:
        async with before("anthropic", playing(*messages.answer("one"))) as (relay, _):
            client = await relay.connect()
            said = await client.post(CHAT, chat(stream=streaming, store=True)).whole()
            assert said.status == 200
            assert said.fields["x-tokenwire-translation"].startswith("store is left out: ")
            plain = await client.post(CHAT, chat(stream=streaming)).whole()
            assert "x-tokenwire-translation" not in plain.fields

    run_in("uvloop", main)


def test_the_first_dialect_that_has_words_for_it_is_asked_in() -> None:
    """Messages have no word for several answers; an upstream of two dialects is asked in the other one."""

    async def main() -> None:
        async with before(["anthropic", "openai.chat"], playing(*frames.answer("one"))) as (relay, upstream):
            client = await relay.connect()
            started = await client.post(MESSAGES, message()).whole()
            assert started.status in (200, 502)
            assert asked(upstream)[0] == "/v1/messages"

    run_in("uvloop", main)


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
        async with ScriptedUpstream([REQUEST, OVERLOADED]) as bad, ScriptedUpstream(scripts[second]) as good:
            settings = Settings(
                upstreams={
                    "bad": UpstreamSettings(base_url=bad.base_url, models=[], retry=ONCE, dialect=first),
                    "good": UpstreamSettings(base_url=good.base_url, models=[], retry=ONCE, dialect=second),
                },
                models={"smart": ModelSettings(route=["bad/m", "good/m"])},
            )
            async with serving(settings) as relay:
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
        async with (
            ScriptedUpstream([REQUEST, STREAM_HEAD, FLUSHED, CLOSE]) as bad,
            ScriptedUpstream(playing(*messages.answer("one"))) as good,
        ):
            settings = Settings(
                upstreams={
                    "bad": UpstreamSettings(base_url=bad.base_url, models=[], retry=ONCE),
                    "good": UpstreamSettings(base_url=good.base_url, models=[], retry=ONCE, dialect="anthropic"),
                },
                models={"smart": ModelSettings(route=["bad/m", "good/m"])},
            )
            async with serving(settings) as relay:
                stream = await (await relay.connect()).post(CHAT, chat(model="smart")).whole()
                assert b'"content":"one"' in stream.body
                assert b'"usage"' not in stream.body

    run_in("uvloop", main)


def test_a_note_is_a_legal_header_whatever_the_caller_wrote() -> None:
    assert told([Note("a\r\nb\x00\u2028é", "dropped", "why")]) == "a??b??? is left out: why"
    assert len(told([Note("x" * 3000, "dropped", "why")])) == 2048


def test_who_follows_already_when_the_dialect_changes() -> None:
    async def main() -> None:
        async with (
            ScriptedUpstream([REQUEST, STREAM_HEAD, FLUSHED, CLOSE]) as bad,
            ScriptedUpstream(playing(*messages.answer("one"))) as good,
        ):
            settings = Settings(
                upstreams={
                    "bad": UpstreamSettings(base_url=bad.base_url, models=[], retry=ONCE),
                    "good": UpstreamSettings(base_url=good.base_url, models=[], retry=ONCE, dialect="anthropic"),
                },
                models={"smart": ModelSettings(route=["bad/m", "good/m"])},
            )
            async with serving(settings) as relay:
                events = await started(await relay.connect(), request=chat(model="smart"))
                followers = [
                    (name, (await relay.connect()).get(f"{events}?dialect={name}"))
                    for name in ("native", "openai.chat", "anthropic")
                ]
                for name, follower in followers:
                    assert folded(name, bytes((await follower.whole()).body)).choice().text == "one"

    run_in("uvloop", main)


@pytest.mark.parametrize(
    ("path", "dialect", "brought", "sent"),
    [
        (MESSAGES, "openai.chat", ("x-api-key", "k"), ("authorization", "Bearer k")),
        (MESSAGES, "openai.chat", ("authorization", "Bearer k"), ("authorization", "Bearer k")),
        (CHAT, "anthropic", ("authorization", "Bearer k"), ("x-api-key", "k")),
    ],
)
def test_a_key_of_the_callers_own_is_sent_as_the_upstream_wants_it(
    path: str, dialect: str, brought: tuple[str, str], sent: tuple[str, str]
) -> None:
    script = playing(*(frames.answer("one") if dialect == "openai.chat" else messages.answer("one")))

    async def main() -> None:
        async with before(dialect, script, api_key="passthrough") as (relay, upstream):
            body = chat() if path == CHAT else message()
            fields = {brought[0]: brought[1], "anthropic-beta": "x", "traceparent": "00-1-2-00"}
            stream = await (await relay.connect()).post(path, body, fields).whole()
            assert stream.status == 200
            _, got, _ = asked(upstream)
            assert got[sent[0]] == sent[1]
            assert got["traceparent"] == "00-1-2-00"
            assert "anthropic-beta" not in got

    run_in("uvloop", main)


def test_usage_is_not_asked_for_where_the_settings_say_so() -> None:
    async def main() -> None:
        async with before("openai.chat", playing(*frames.answer("one")), usage=False) as (relay, upstream):
            stream = await (await relay.connect()).post(MESSAGES, message()).whole()
            assert stream.status == 200
            assert "stream_options" not in asked(upstream)[2]

    run_in("uvloop", main)


def test_an_answer_in_another_dialect_than_the_request() -> None:
    async def main() -> None:
        async with before("openai.chat", playing(*frames.answer("one"))) as (relay, _):
            client = await relay.connect()
            stream = await client.post(CHAT, chat(), {"x-tokenwire-dialect": "anthropic"}).whole()
            assert folded("anthropic", bytes(stream.body)).choice().text == "one"
            bad = await client.post(CHAT, chat(), {"x-tokenwire-dialect": "smoke"}).whole()
            assert (bad.status, bad.json["error"]["code"]) == (400, "unknown_dialect")

    run_in("uvloop", main)


# ---------------------------------------------------------------------- lines of JSON


def lines(*texts: str, done: bool = True) -> Sequence[bytes]:
    """What Ollama sends of an answer."""
    said = [{"model": "m", "message": {"role": "assistant", "content": text}, "done": False} for text in texts]
    last = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    counts = {"prompt_eval_count": 3, "eval_count": 5}
    return [json.dumps(each).encode() + b"\n" for each in [*said, *([{**last, **counts}] if done else [])]]


def ollama_chat(**fields: Any) -> dict[str, Any]:
    return {"model": "up/m", "messages": [{"role": "user", "content": "hi"}], **fields}


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json"])
def test_an_upstream_that_sends_lines(kind: str) -> None:
    async def main() -> None:
        async with before("ollama", playing(*lines("one", " two"), kind=kind)) as (relay, upstream):
            client = await relay.connect()
            own = await client.post("/ollama/api/chat", ollama_chat()).whole()
            assert own.fields["content-type"] == "application/x-ndjson"
            assert bytes(own.body) == b"".join(lines("one", " two"))
            stream = await client.post(CHAT, chat(stream_options={"include_usage": True})).whole()
            fold = folded("openai.chat", bytes(stream.body))
            assert fold.choice().text == "one two"
            assert fold.usage is not None
            assert (fold.usage.input, fold.usage.output) == (3, 5)
            assert asked(upstream)[0] == "/api/chat"

    run_in("uvloop", main)


def test_lines_of_any_upstream_without_ids_and_heartbeats() -> None:
    async def main() -> None:
        async with before("openai.chat", playing(*frames.answer("one"))) as (relay, _):
            client = await relay.connect()
            stream = await client.post("/ollama/api/chat", ollama_chat(), {"x-tokenwire-ids": "1"}).whole()
            said = [json.loads(line) for line in bytes(stream.body).splitlines()]
            assert [each["message"]["content"] for each in said] == ["one", ""]
            assert [each["done"] for each in said] == [False, True]
            whole = await client.post("/ollama/api/chat", ollama_chat(stream=False)).whole()
            assert (whole.json["message"]["content"], whole.json["done"]) == ("one", True)

    run_in("uvloop", main)


def test_lines_that_were_cut_or_tell_an_error() -> None:
    async def main() -> None:
        opening = head(200, ("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked"))
        cut: list[Step] = [REQUEST, opening + chunks(*lines("one", done=False))]
        broken = playing(*lines("one", done=False), b'{"error":"no memory"}\n', kind="application/x-ndjson")
        async with before("ollama", [*cut, FLUSHED, CLOSE], broken) as (relay, _):
            client = await relay.connect()
            for words in (b"", b"no memory"):
                stream = await client.post(CHAT, chat()).whole()
                fold = folded("openai.chat", bytes(stream.body))
                assert fold.choice().text == "one"
                assert fold.failed is not None
                assert words in stream.body
                assert b"[DONE]" not in stream.body

    run_in("uvloop", main)


def test_a_prompt_of_the_plainest_form_reaches_any_upstream() -> None:
    async def main() -> None:
        async with before("anthropic", playing(*messages.answer("one"))) as (relay, _):
            client = await relay.connect()
            stream = await client.post("/api/chat", {"prompt": "hi", "model": "up/m"}).whole()
            assert bytes(stream.body) == b'data: {"text":"one"}\n\ndata: [DONE]\n\n'

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
