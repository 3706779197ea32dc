"""Asking again, seen from outside: one good answer after bad ones, and what is told when there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tokenwire.engine.stream import Stream
from tokenwire.gateway.settings import (
    DeadlineOverrides,
    DeadlineSettings,
    ModelSettings,
    RetrySettings,
    Settings,
    UpstreamSettings,
)
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.relay import STREAM_HEAD, Edge, Relay, chat, chunks, serving, started, streamed
from tokenwire.testing.rig import run_in, settle, until
from tokenwire.testing.upstream import CLOSE, FLUSHED, REQUEST, ScriptedUpstream, Step

CHAT = "/v1/chat/completions"
SOON = {"retry": RetrySettings(attempts=3, base_delay=0.001)}
WHOLE = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}'
REFUSED = answer(
    b'{"error":{"message":"busy","type":"server_error","param":null,"code":null}}',
    status=503,
    fields=[("x-request-id", "first"), ("connection", "close")],
)
GOOD = chunks(*frames.answer("one")) + LAST_CHUNK
#: Every way to fail before a token in three connections, the last of which answers.
BAD: list[list[Step]] = [
    [REQUEST, REFUSED, CLOSE],
    [REQUEST, STREAM_HEAD + chunks(frames.role()), FLUSHED, CLOSE],
]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that nobody listens on, and nobody will."""
    with refusing_port() as port:
        yield port


@pytest.mark.parametrize("edge", ["tokenwire", "httptools", "h11"])
def test_a_stream_after_two_failures(relayed: Any, edge: Edge) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).whole()
        assert (stream.status, bytes(stream.body)) == (200, b"".join(frames.answer("one")))
        assert "x-request-id" not in stream.fields, "that was the first attempt's"
        sent = [peer.requests[0] for peer in upstream.peers]
        assert len(sent) == 3
        assert sent[0] == sent[1] == sent[2]

    relayed(main, *BAD, [REQUEST, STREAM_HEAD + GOOD], edge=edge, settings=SOON)


def test_a_whole_answer_after_two_failures(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        whole = await client.post(CHAT, chat(stream=False)).whole()
        assert (whole.status, bytes(whole.body)) == (200, WHOLE)

    cut = answer(WHOLE)[:-5]
    relayed(main, [REQUEST, REFUSED, CLOSE], [REQUEST, cut, FLUSHED, CLOSE], [REQUEST, answer(WHOLE)], settings=SOON)


@pytest.mark.parametrize("stream", [False, True])
def test_the_last_refusal_is_told_verbatim(relayed: Any, stream: bool) -> None:
    last = b'{"error" : {"message":"still busy","type":"tokens","param":null,"code":"rate_limit_exceeded","x":1.0}}'

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, chat(stream=stream)).whole()
        assert (refused.status, bytes(refused.body)) == (429, last)
        assert (refused.fields["retry-after"], refused.fields["x-request-id"]) == ("11", "last")
        assert len(upstream.peers) == 2, "it asks for a longer wait than is obeyed: the caller's to know"

    fields = [("retry-after", "11"), ("x-request-id", "last")]
    relayed(main, [REQUEST, REFUSED, CLOSE], [REQUEST, answer(last, status=429, fields=fields)], settings=SOON)


def test_a_refusal_is_forgotten_when_a_later_attempt_ends_otherwise(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, chat()).whole()
        assert refused.status == 502
        assert refused.json["error"]["code"] == "upstream_closed"
        assert "x-request-id" not in refused.fields

    relayed(main, [REQUEST, REFUSED, CLOSE], [REQUEST, CLOSE], settings=SOON)


def test_looking_at_the_attempts(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).whole()
        look = (await client.get(f"/v1/streams/{stream.fields['x-tokenwire-stream']}").whole()).json
        first, second, third = look["attempts"]
        assert [each["number"] for each in look["attempts"]] == [1, 2, 3]
        assert (first["status"], first["error"]["code"], first["error"]["upstream_status"]) == (
            503,
            "server_error",
            503,
        )
        assert (second["status"], second["error"]["code"], second["first"]) == (200, "upstream_closed", None)
        assert (third["status"], third["error"], third["first"]) == (200, None, 1)
        assert {(each["upstream"], each["model"]) for each in look["attempts"]} == {("up", "instant")}
        times = [time for each in look["attempts"] for time in (each["started"], each["ended"])]
        assert times == sorted(times)
        assert look["created"] <= times[0]
        assert times[-1] == look["ended"]
        assert look["last_id"] == "1-5"

    relayed(main, *BAD, [REQUEST, STREAM_HEAD + GOOD], settings=SOON)


def test_native_readers_get_their_head_at_once_and_one_beginning(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = client.get(await started(client))
        await events.head()
        gate.set()
        await events.whole()
        assert [each for each in events.events if each != "message"] == ["started", "text", "usage", "done"]
        assert events.native_text == "one"

    gate = asyncio.Event()
    begun: list[Step] = [REQUEST, gate, STREAM_HEAD + chunks(frames.role()), FLUSHED, CLOSE]
    relayed(main, begun, [REQUEST, STREAM_HEAD + GOOD], settings=SOON)


# ---------------------------------------------------------------------- behind a head that is out


def test_it_goes_on_behind_a_head_that_is_out(relayed: Any) -> None:
    """Longer than a response is held: 200 and heartbeats, while attempts are made; then the answer."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = client.post(CHAT, chat())
        await stream.until(lambda answer: answer.body.count(b": hb\n\n") > 1)
        assert stream.status == 200
        gates[0].set()
        await until(lambda: len(upstream.peers) == 2)
        beats = stream.body.count(b": hb")
        await stream.until(lambda answer: answer.body.count(b": hb\n\n") > beats)
        gates[1].set()
        await stream.whole()
        assert stream.text == "one"
        assert stream.data[-1] == "[DONE]"
        assert b"".join(frames.answer("one")) == bytes(stream.body).replace(b": hb\n\n", b"")

    gates = [asyncio.Event(), asyncio.Event()]
    scripts: list[list[Step]] = [
        [REQUEST, STREAM_HEAD + chunks(frames.role()), gates[0], CLOSE],
        [REQUEST, gates[1], STREAM_HEAD + GOOD],
    ]
    relayed(main, *scripts, settings=SOON, hold=0.03, heartbeat=0.03)


def test_the_last_failure_behind_a_head_that_is_out_is_an_event(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).head()
        assert stream.status == 200
        gate.set()
        await stream.whole()
        assert stream.complete
        assert [each for each in stream.data if "error" not in each] == []
        (told,) = stream.data
        assert told["error"]["message"] == "busy"

    gate = asyncio.Event()
    scripts: list[list[Step]] = [[REQUEST, gate, CLOSE], [REQUEST, REFUSED, CLOSE]]
    relayed(main, *scripts, settings={"retry": RetrySettings(base_delay=0.001)}, hold=0.03)


def test_a_stall_in_mid_stream_is_told_within_it(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).whole()
        assert stream.status == 200
        assert stream.text == "one"
        error = stream.data[-1]["error"]
        assert error["code"] == "upstream_timeout"
        assert "0.1 s (between tokens)" in error["message"]
        assert len(upstream.peers) == 1

    begun = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
    relayed(main, [REQUEST, begun], settings={**SOON, "deadlines": DeadlineSettings(between_tokens=0.1)})


# ---------------------------------------------------------------------- leaving


def reason(stream: Stream) -> str:
    """Why it ended."""
    assert stream.terminal is not None
    assert stream.terminal.error is not None
    return stream.terminal.error.code


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_in_the_backoff_is_the_end_of_it(relayed: Any, stream: bool) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.post(CHAT, chat(stream=stream))
        held = await relay.stream()
        await until(lambda: held.attempts[0].ended_ns is not None)
        assert held.terminal is None
        client.close()
        await until(lambda: held.terminal is not None)
        assert reason(held) == "client_left"
        assert held.source is None
        await settle()
        assert len(held.attempts) == len(upstream.peers) == 1

    relayed(main, [REQUEST, CLOSE], settings={"retry": RetrySettings(base_delay=60.0)})


def test_stopping_in_the_backoff(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        refused = client.post(CHAT, chat())
        held = await relay.stream()
        await until(lambda: held.attempts[0].ended_ns is not None)
        assert (await other.post(f"/v1/streams/{held.id}/cancel", {}).whole()).json["state"] == "cancelled"
        assert (await refused.whole()).status == 499

    relayed(main, [REQUEST, CLOSE], settings={"retry": RetrySettings(base_delay=60.0)})


# ---------------------------------------------------------------------- routes


def test_a_route_goes_on_to_whom_answers(closed_port: int) -> None:
    async def main() -> None:
        async with ScriptedUpstream([REQUEST, REFUSED, CLOSE]) as second, ScriptedUpstream(streamed("one")) as third:
            once = RetrySettings(attempts=1)
            upstreams = {
                "a": UpstreamSettings(base_url=f"http://127.0.0.1:{closed_port}/v1", models=[], retry=once),
                "b": UpstreamSettings(base_url=second.base_url, models=[], retry=once, api_key="kb", usage=False),
                "c": UpstreamSettings(base_url=third.base_url, models=[], api_key="passthrough"),
            }
            smart = ModelSettings(route=["a/x", "b/y", "c/z"])
            async with serving(Settings(upstreams=upstreams, models={"smart": smart})) as relay:
                client = await relay.connect()
                stream = await client.post(CHAT, chat(model="smart"), {"authorization": "Bearer mine"}).whole()
                assert (stream.status, stream.text) == (200, "one")
                look = (await client.get(f"/v1/streams/{relay.streams[0].id}").whole()).json
                assert (look["upstream"], look["model"]) == ("c", "c/z")
                made = [(each["upstream"], each["model"], each["status"]) for each in look["attempts"]]
                assert made == [("a", "x", None), ("b", "y", 503), ("c", "z", 200)]
                asked = [each.peers[0].requests[0] for each in (second, third)]
                assert [each.fields["authorization"] for each in asked] == ["Bearer kb", "Bearer mine"]
                assert [b'"model":"y"' in asked[0].body, b'"model":"z"' in asked[1].body] == [True, True]
                assert [b"include_usage" in each.body for each in asked] == [False, True]

    run_in("uvloop", main)


def test_a_models_own_deadline() -> None:
    async def main() -> None:
        async with ScriptedUpstream([REQUEST]) as upstream:
            once = RetrySettings(attempts=1)
            upstreams = {"a": UpstreamSettings(base_url=upstream.base_url, models=["x"], retry=once)}
            models = {"a/x": ModelSettings(deadlines=DeadlineOverrides(headers=0.05))}
            async with serving(Settings(upstreams=upstreams, models=models)) as relay:
                client = await relay.connect()
                refused = await client.post(CHAT, chat(model="a/x")).whole()
                assert refused.status == 504
                assert "0.05 s (headers)" in refused.json["error"]["message"]
                listed = (await client.get("/v1/models").whole()).json["data"]
                assert [each["id"] for each in listed] == ["a/x"]

    run_in("uvloop", main)
