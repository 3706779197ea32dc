"""Answers that are kept and told again, as callers see it: in every dialect that providers speak, and read in all."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.translation.answers import TARGETS, decode, fold

from tokenwire import dialects
from tokenwire.engine.recording import Recording
from tokenwire.gateway.settings import Settings, from_mapping
from tokenwire.simulator import Simulator
from tokenwire.simulator import serve as simulate
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head
from tokenwire.testing.http_client import Answer, Client
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, message, serving, started, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step

CHAT = "/v1/chat/completions"
SPOKEN = ("openai.chat", "anthropic", "openai.responses", "gemini", "ollama")
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def simulating(main: Callable[[Relay, Simulator], Awaitable[None]], **cache: Any) -> None:
    """*main* before an upstream for each dialect, called after it, whose answers are kept."""

    async def inside() -> None:
        simulator = await simulate()
        try:
            up = {"base_url": f"{simulator.url}/v1", "api_key": "k", "models": [], "retry": {"attempts": 1}}
            upstreams = {name: {**up, "dialect": name} for name in SPOKEN}
            upstreams["plain"] = upstreams["openai.chat"]
            models = {f"{name}/instant": {"cache": {"seconds": 60, **cache}} for name in SPOKEN}
            async with serving(from_mapping({"upstreams": upstreams, "models": models}, {})) as relay:
                await main(relay, simulator)
        finally:
            await simulator.close()

    run_in("uvloop", inside)


def scripted(
    main: Callable[[Relay, ScriptedUpstream], Awaitable[None]], *scripts: list[Step], limits: Any = None, **cache: Any
) -> None:
    """*main* before an upstream ``up`` that plays scripts, and whose model ``instant`` is cached."""

    async def inside() -> None:
        async with ScriptedUpstream(*scripts) as upstream, serving(settings(upstream, limits, **cache)) as relay:
            await main(relay, upstream)

    run_in("uvloop", inside)


def settings(upstream: ScriptedUpstream, limits: Any = None, **cache: Any) -> Settings:
    up = {"base_url": upstream.base_url, "models": [], "retry": {"attempts": 1}}
    models = {"up/instant": {"cache": {"seconds": 60, **cache}}}
    return from_mapping({"upstreams": {"up": up}, "models": models, "limits": limits or {}}, {})


QUESTION = "What is the weather in Oslo?"


def asking(dialect: str, kind: str = "text", *, stream: bool = True) -> tuple[str, dict[str, Any]]:
    """Route and body of a question that the simulator answers with text, with thoughts, or with a call."""
    model = f"{dialect}/instant"
    turn = {"role": "user", "content": QUESTION}
    tools = kind == "tools"
    function = {"name": "get_weather", "description": "Weather in a city", "parameters": PARAMETERS}
    if dialect == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}
        if tools:
            body["tools"] = [{"functionDeclarations": [function]}]
        if kind == "thoughts":
            body["generationConfig"] = {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1024}}
        return f"/v1beta/models/{model}:{verb}", body
    if dialect == "anthropic":
        body = message(QUESTION, model=model, stream=stream, max_tokens=4096)
        if tools:
            body["tools"] = [{"name": "get_weather", "description": "Weather", "input_schema": PARAMETERS}]
        if kind == "thoughts":
            body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        return "/v1/messages", body
    if dialect == "openai.responses":
        body = {"model": model, "stream": stream, "input": [turn]}
        if tools:
            body["tools"] = [{"type": "function", **function}]
        if kind == "thoughts":
            body["reasoning"] = {"effort": "high", "summary": "auto"}
        return "/v1/responses", body
    body = {"model": model, "stream": stream, "messages": [turn]}
    if tools:
        body["tools"] = [{"type": "function", "function": function}]
    if kind == "thoughts":
        body["think"] = True
    return (CHAT if dialect == "openai.chat" else "/ollama/api/chat"), body


def said(dialect: str, body: bytes) -> tuple[Any, ...]:
    """What an answer says: text, reasoning, calls, and usage."""
    transcript = fold(decode(dialects.get(dialect), [body]))
    choice, usage = transcript.choice(), transcript.usage
    calls = [(call.name, call.arguments) for call in choice.tool_calls.values()]
    counts = None if usage is None else (usage.input, usage.output, usage.cached_input, usage.reasoning)
    return choice.text, choice.reasoning, calls, choice.reason, counts


KINDS = [(dialect, kind) for dialect in SPOKEN for kind in ("text", "thoughts", "tools")]
KINDS.remove(("openai.chat", "thoughts"))


@pytest.mark.parametrize(("dialect", "kind"), KINDS)
def test_the_same_text_tools_and_usage_in_each_dialect(dialect: str, kind: str) -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        path, body = asking(dialect, kind)
        if dialect == "openai.chat":
            body["stream_options"] = {"include_usage": True}
        first = await client.post(path, body).whole()
        again = await client.post(path, body).whole()
        assert (first.status, again.status) == (200, 200)
        assert (cached(first), cached(again)) == ("miss", "hit")
        assert again.body == first.body, "byte for byte"
        text, reasoning, calls, _, counts = said(dialect, bytes(first.body))
        assert counts is not None
        assert text or kind == "tools"
        assert bool(reasoning) == (kind == "thoughts")
        assert [name for name, _ in calls] == (["get_weather"] if kind == "tools" else [])
        for name in TARGETS:
            told = await client.post(path, body, {"x-tokenwire-dialect": name}).whole()
            assert cached(told) == "hit"
            events = f"/v1/streams/{first.fields['x-tokenwire-stream']}/events?dialect={name}"
            expected = await client.get(events).whole()
            assert said(name, bytes(told.body)) == said(name, bytes(expected.body)), name
            assert said(name, bytes(told.body))[0] == text, name
        streams = (await client.get("/v1/streams").whole()).json["streams"]
        assert len(streams) == 2 + len(TARGETS)
        assert {stream["state"] for stream in streams} == {"completed"}
        assert len({json.dumps({**stream["usage"], "cost_usd": None}) for stream in streams}) == 1
        assert simulator.stats.requests == 1

    simulating(main)


def cached(answer: Answer) -> str | None:
    return answer.fields.get("x-tokenwire-cache")


@pytest.mark.parametrize("kind", ["text", "tools"])
@pytest.mark.parametrize("dialect", SPOKEN)
@pytest.mark.parametrize("streamed_first", [True, False])
def test_whole_answers_and_streams_answer_each_other(dialect: str, kind: str, streamed_first: bool) -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        first = await client.post(*asking(dialect, kind, stream=streamed_first)).whole()
        other = await client.post(*asking(dialect, kind, stream=not streamed_first)).whole()
        assert (first.status, other.status) == (200, 200)
        assert (cached(first), cached(other)) == ("miss", "miss" if dialect == "openai.responses" else "hit")
        whole, stream = (other, first) if streamed_first else (first, other)
        text, _, calls, reason, _ = said(dialect, bytes(stream.body))
        of_body = fold(dialects.get(dialect).decode_response(bytes(whole.body))).choice()
        assert of_body.text == text
        assert [call.name for call in of_body.tool_calls.values()] == [name for name, _ in calls]
        assert of_body.reason == reason
        if dialect == "openai.chat":
            assert (b'"usage":{' in stream.body, b'"usage":{' in whole.body) == (False, True), (
                "not asked for in a stream"
            )
        again = await client.post(*asking(dialect, kind, stream=streamed_first)).whole()
        assert (cached(again), again.body) == ("hit", first.body)

    simulating(main)


def test_who_did_not_ask_for_the_usage_is_not_told_and_who_did_is() -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        path, body = asking("openai.chat")
        wanted = body | {"stream_options": {"include_usage": True}}
        plain = await client.post(path, body).whole()
        told = await client.post(path, wanted).whole()
        again = await client.post(path, body).whole()
        assert [cached(each) for each in (plain, told, again)] == ["miss", "hit", "hit"]
        assert b'"usage":{' in told.body
        assert again.body == plain.body
        assert b'"usage":{' not in plain.body

    simulating(main)


def test_a_question_in_another_dialect_is_the_same_if_the_upstream_is_asked_the_same() -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        model = "openai.chat/instant"
        first = await client.post("/v1/messages", message(QUESTION, model=model)).whole()
        body = chat(QUESTION, model=model, max_tokens=50)
        other = await client.post(CHAT, body).whole()
        assert (cached(first), cached(other)) == ("miss", "hit")
        assert said("openai.chat", bytes(other.body))[0] == said("anthropic", bytes(first.body))[0]
        assert cached(await client.post(CHAT, {**body, "max_tokens": 51}).whole()) == "miss"

    simulating(main)


def test_the_headers_say_what_it_was() -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        path, body = asking("openai.chat")
        first = await client.post(path, body).whole()
        assert (cached(first), first.fields.get("age")) == ("miss", None)
        again = await client.post(path, body).whole()
        assert (cached(again), again.fields["age"]) == ("hit", "0")
        assert again.fields["x-tokenwire-stream"] != first.fields["x-tokenwire-stream"]
        assert "x-request-id" in first.fields
        assert "x-request-id" not in again.fields, "no provider was asked"
        look = (await client.get(f"/v1/streams/{again.fields['x-tokenwire-stream']}").whole()).json
        assert (look["cache"], look["attempts"], look["upstream"]) == ("hit", [], "openai.chat")
        assert look["usage"]["cost_usd"] == 0.0
        assert look["timing"]["ttft_ms"] < 100
        uncached = await client.post(path, body | {"model": "plain/instant"}).whole()
        assert cached(uncached) is None
        look = (await client.get(f"/v1/streams/{uncached.fields['x-tokenwire-stream']}").whole()).json
        assert "cache" not in look
        figures = (await client.get("/readyz").whole()).json["cache"]
        assert (figures["answers"], figures["hits"], figures["misses"], figures["stored"]) == (1, 1, 1, 1)
        assert figures["bytes"] > 1000

    simulating(main)


def test_a_caller_may_want_it_fresh_or_not_at_all() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()

        async def ask(said: str | None = None) -> tuple[str | None, str]:
            told = await client.post(CHAT, chat(), {} if said is None else {"x-tokenwire-cache": said}).whole()
            return cached(told), told.text

        assert await ask("off") == (None, "one")
        assert await ask() == ("miss", "two")
        assert await ask() == ("hit", "two")
        assert await ask("off") == (None, "three")
        assert await ask() == ("hit", "two")
        assert await ask("refresh") == ("miss", "four")
        assert await ask() == ("hit", "four")
        refused = await client.post(CHAT, chat(), {"x-tokenwire-cache": "on"}).whole()
        assert (refused.status, refused.json["error"]["code"]) == (400, "bad_cache")
        assert len(upstream.requests) == 4

    scripted(main, [step for word in ("one", "two", "three", "four") for step in streamed(word)])


BROKEN: dict[str, list[Step]] = {
    "cut": [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one")), CLOSE],
    "without an end": [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one")) + LAST_CHUNK],
    "an error": [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"), frames.error()) + LAST_CHUNK],
    "refused": [REQUEST, answer(b'{"error":{"message":"no"}}', status=429)],
    "filtered": [
        REQUEST,
        STREAM_HEAD
        + chunks(frames.role(), frames.text("one"), frames.finish("content_filter"), frames.DONE)
        + LAST_CHUNK,
    ],
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_not_whole_is_never_kept(what: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat()).whole()
        assert relay.gateway.cache.statistics().stored == 0
        other = await relay.connect()
        again = await other.post(CHAT, chat()).whole()
        assert (again.status, cached(again), again.text) == (200, "miss", "whole")

    both = BROKEN[what] + ([] if BROKEN[what][-1] is CLOSE else streamed("whole"))
    scripted(main, both, streamed("whole"))


def test_what_a_client_left_is_not_kept() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        await client.post(CHAT, chat()).blocks_of(2)
        client.close()
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        assert stream.state.value == "cancelled"
        again = await other.post(CHAT, chat()).whole()
        assert (cached(again), again.text) == ("miss", "whole")

    scripted(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))], streamed("whole"))


def test_what_is_too_large_is_not_kept() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for _ in range(2):
            assert cached(await client.post(CHAT, chat()).whole()) == "miss"
        assert relay.gateway.cache.statistics().stored == 0

    scripted(main, streamed("x" * 5000) * 2, limits={"cache_answer_bytes": 4096})


def test_two_at_once_without_sharing_are_two() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(2)]
        answers = [client.post(CHAT, chat()) for client in clients]
        await until(lambda: len(upstream.requests) == 2)
        gate.set()
        texts = [(await each.whole()).text for each in answers]
        assert sorted(texts) == ["one", "two"]
        assert [cached(each) for each in answers] == ["miss", "miss"]
        last = await clients[0].post(CHAT, chat()).whole()
        assert cached(last) == "hit"
        assert last.text in texts
        assert relay.gateway.cache.statistics().answers == 1

    gate = asyncio.Event()
    one, two = ([REQUEST, gate, *streamed(word)[1:]] for word in ("one", "two"))
    scripted(main, one, two)


def test_an_idempotency_key_attaches_to_the_stream_that_was_told_again() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat()).whole()
        mine = [await client.post(CHAT, chat(), {"idempotency-key": "k"}).whole() for _ in range(2)]
        assert {each.fields["x-tokenwire-stream"] for each in mine} == {mine[0].fields["x-tokenwire-stream"]}
        assert [cached(each) for each in mine] == ["hit", "hit"]
        other = await client.post(CHAT, chat("other"), {"idempotency-key": "k"}).whole()
        assert other.status == 422

    scripted(main, streamed("one"))


def test_started_streams_are_told_again_too_and_can_be_resumed() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        first = await client.get(await started(client)).whole()
        events = await started(client, session="s", metadata={"m": 1})
        again = await client.get(events).whole()
        assert again.native_text == first.native_text == "one two three"
        assert [data for name, data in zip(again.events, again.data, strict=True) if name == "text"] == [
            {"t": "one"}, {"t": " two"}, {"t": " three"},
        ]  # fmt: skip
        rest = await client.get(events, {"last-event-id": again.ids[3]}).whole()
        assert again.body.endswith(rest.body)
        assert b'"t":"one"' not in rest.body
        look = (await client.get(events.removesuffix("/events")).whole()).json
        assert (look["cache"], look["session"], look["metadata"]) == ("hit", "s", {"m": 1})
        snapshot = await client.get(f"{events}?from=snapshot").whole()
        assert snapshot.events[:2] == ["started", "snapshot"]
        assert snapshot.data[1]["text"] == "one two three"

    scripted(main, streamed("one", " two", " three"))


@pytest.mark.parametrize("which", [0, 1])
def test_who_deletes_a_stream_deletes_what_was_kept_of_it(which: int) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        told = [await client.post(CHAT, chat()).whole() for _ in range(2)]
        assert [cached(each) for each in told] == ["miss", "hit"]
        path = f"/v1/streams/{told[which].fields['x-tokenwire-stream']}"
        assert (await client.request("DELETE", path).whole()).status == 204
        assert relay.gateway.cache.statistics().bytes == 0
        again = await client.post(CHAT, chat()).whole()
        assert (cached(again), again.text) == ("miss", "two")

    scripted(main, streamed("one") + streamed("two"))


def test_a_slow_client_of_a_long_answer_gets_all_of_it() -> None:
    text = [f"{n} " * 20 for n in range(3000)]

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        first = await client.post(CHAT, chat()).whole()
        slow = await relay.connect(receive_buffer=4096)
        again = slow.post(CHAT, chat())
        await again.blocks_of(1)
        slow.pause()
        stream = await relay.stream(1)
        await until(lambda: stream.terminal is not None)
        assert stream.readers, "it has not taken it all"
        slow.resume()
        await again.whole()
        assert again.body == first.body
        assert again.text == "".join(text)

    scripted(main, streamed(*text))


def test_paced_it_comes_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    def times(recording: Recording, longest_gap_ns: int) -> array[int]:
        return array("q", [0, 0, *[50_000_000] * (len(recording.arrivals_ns) - 2)])

    monkeypatch.setattr(Recording, "times", times)

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        first = await client.post(CHAT, chat()).whole()
        again = client.post(CHAT, chat())
        await again.blocks_of(2)
        stream = await relay.stream(1)
        assert (stream.log.last, stream.terminal) == (2, None), "the rest is not due yet"
        await again.whole()
        assert again.body == first.body
        assert stream.timeline[2] - stream.timeline[1] >= 50_000_000

    scripted(main, streamed("one", " two", " three"), replay="paced")


def test_a_route_of_several_is_told_again_by_whoever_answered() -> None:
    async def inside() -> None:
        async with ScriptedUpstream([REQUEST, answer(b"{}", status=503)]) as first:
            messages = b'{"message":{"role":"assistant","content":"hi"},"done":false}\n'
            end = b'{"message":{"content":""},"done":true,"done_reason":"stop","eval_count":1,"prompt_eval_count":2}\n'
            opening = head(200, ("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked"))
            async with ScriptedUpstream([REQUEST, opening + chunks(messages, end) + LAST_CHUNK]) as second:
                ups = {
                    "a": {"base_url": first.base_url, "models": [], "retry": {"attempts": 1}},
                    "b": {"base_url": second.base_url, "models": [], "dialect": "ollama"},
                }
                models = {"smart": {"route": ["a/m", "b/n"], "cache": {"seconds": 60}}}
                async with serving(from_mapping({"upstreams": ups, "models": models}, {})) as relay:
                    client = await relay.connect()
                    body = chat(model="smart")
                    one, two = [await client.post(CHAT, body).whole() for _ in range(2)]
                    assert [cached(one), cached(two)] == ["miss", "hit"]
                    assert (one.text, two.text) == ("hi", "hi")
                    look = (await client.get(f"/v1/streams/{two.fields['x-tokenwire-stream']}").whole()).json
                    assert (look["model"], look["upstream"], look["dialect"]) == ("b/n", "b", "ollama")
                    assert len(first.requests) == len(second.requests) == 1

    run_in("uvloop", inside)


def test_notes_on_the_translation_are_told_again() -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        body = chat(QUESTION, model="anthropic/instant", store=True)
        first, again = [await client.post(CHAT, body).whole() for _ in range(2)]
        assert (cached(first), cached(again)) == ("miss", "hit")
        assert again.fields["x-tokenwire-translation"] == first.fields["x-tokenwire-translation"]

    simulating(main)


def test_a_chat_of_the_ai_sdk_and_a_run_of_ag_ui_are_told_again() -> None:
    def ui(number: int) -> dict[str, Any]:
        part = {"type": "text", "text": QUESTION}
        turn = {"id": f"m{number}", "role": "user", "parts": [part]}
        return {"id": f"chat{number}", "model": "anthropic/instant", "messages": [turn]}

    def run(number: int) -> dict[str, Any]:
        turn = {"id": f"m{number}", "role": "user", "content": QUESTION}
        props = {"model": "anthropic/instant"}
        rest: dict[str, Any] = {"state": {}, "tools": [], "context": [], "forwardedProps": props}
        return {"threadId": f"t{number}", "runId": f"r{number}", "messages": [turn], **rest}

    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        for path, body, dialect in (("/api/chat", ui, "ui-messages"), ("/agui", run, "agui")):
            first = await client.post(path, body(1), {"x-tokenwire-cache": "refresh"}).whole()
            again = await client.post(path, body(2)).whole()
            assert (cached(first), cached(again)) == ("miss", "hit"), path
            assert said(dialect, bytes(again.body)) == said(dialect, bytes(first.body))
        assert (await client.get("/api/chat/chat2/stream").whole()).status == 204

    simulating(main)


def test_nothing_is_told_again_while_the_relay_drains() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client: Client = await relay.connect()
        await client.post(CHAT, chat()).whole()
        relay.gateway.drain()
        assert (await client.post(CHAT, chat()).whole()).status == 503

    scripted(main, streamed("one"))
