"""Upstreams that fail, in every way that the simulator knows: nothing of it ever looks like a clean end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tokenwire.gateway.settings import DeadlineSettings, Settings, UpstreamSettings
from tokenwire.simulator import Simulator
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import answer, head
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, serving
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import CLOSE, REQUEST, Peer, ScriptedUpstream

CHAT = "/v1/chat/completions"


def patience(fault: str) -> dict[str, Any]:
    """Short deadlines for an upstream that stalls; the usual ones for any other, since this machine may be busy."""
    hasty = DeadlineSettings(headers=0.1, first_token=0.15, between_tokens=0.15, total=0.3)
    return {"deadlines": hasty if fault.startswith("stall") else DeadlineSettings()}


#: Failures before the first token, as the caller of a stream sees them: an HTTP status, a code, a word of the message.
BEFORE = {
    "error-before": (500, None, "server had an error"),
    "error-before-503": (503, None, "server had an error"),
    "429": (429, "rate_limit_exceeded", "Rate limit"),
    "overloaded": (503, None, "overloaded"),
    "json-200": (500, None, "server had an error"),
    "error-first": (500, None, "server had an error"),
    "html": (502, "upstream_error", "text/html"),
    "early-leave": (502, "upstream_closed", "before it answered"),
    "endless-header": (502, None, "larger than 65536 bytes"),
    "stall-head": (504, "upstream_timeout", "0.1 s (headers)"),
    "stall-first": (504, "upstream_timeout", "0.15 s (first token)"),
    "eof-0": (502, "truncated", "incomplete"),
    "cut-0": (502, "upstream_closed", "mid-answer"),
}
#: Failures after some tokens: the code and a word of the error event.
WITHIN = {
    "cut": ("upstream_closed", "mid-answer"),
    "reset": ("upstream_closed", "mid-answer"),
    "eof": ("truncated", "incomplete"),
    "error-mid": (None, "server had an error"),
    "error-event": (None, "server had an error"),
    "malformed": ("upstream_error", "malformed JSON"),
    "bad-chunk": ("upstream_closed", "chunk size"),
    "endless-line": ("event_too_large", "100000 bytes"),
    "stall": ("upstream_timeout", "0.15 s (between tokens)"),
}
#: The same where no stream was asked for.
WHOLE = {
    "error-before": (500, "server had an error"),
    "429": (429, "Rate limit"),
    "json-200": (500, "server had an error"),
    "html": (502, "Welcome"),
    "early-leave": (502, "before it answered"),
    "endless-header": (502, "larger than 65536 bytes"),
    "stall-head": (504, "0.3 s (total)"),
    "stall": (504, "0.3 s (total)"),
    "cut": (502, "mid-answer"),
    "reset": (502, "mid-answer"),
}


@pytest.mark.parametrize("fault", BEFORE)
def test_a_failure_before_the_first_token_is_an_http_error(simulated: Any, fault: str) -> None:
    status, code, word = BEFORE[fault]

    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, chat("one two three", model=f"up/fault-{fault}")).whole()
        assert refused.status == status
        assert refused.fields["content-type"] == "application/json"
        error = refused.json["error"]
        assert word in error["message"]
        assert {"message", "type", "param", "code"} <= error.keys()
        if code is not None:
            assert error["code"] == code
        assert refused.fields["x-tokenwire-stream"] == relay.streams[0].id
        assert relay.streams[0].state.value == "failed"
        assert (await client.get("/healthz").whole()).status == 200  # the connection is as good as before

    simulated(main, patience(fault))


@pytest.mark.parametrize("fault", WITHIN)
def test_a_failure_within_the_answer_is_an_error_event(simulated: Any, fault: str) -> None:
    code, word = WITHIN[fault]

    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat("tell me of the sea", model=f"up/fault-{fault}")).whole()
        assert stream.status == 200
        assert stream.complete, "HTTP ends properly: it is the event that tells"
        error = stream.data[-1]["error"]
        assert word in error["message"]
        assert error["code"] == code
        assert "[DONE]" not in stream.data
        assert stream.text, "what came before it is there"
        assert relay.streams[0].state.value == "failed"
        assert (await client.get("/healthz").whole()).status == 200

    simulated(main, patience(fault), upstream_event=100_000)


@pytest.mark.parametrize("fault", WHOLE)
def test_a_failure_of_a_whole_answer_is_an_http_error(simulated: Any, fault: str) -> None:
    status, word = WHOLE[fault]

    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, chat(model=f"up/fault-{fault}", stream=False)).whole()
        assert refused.status == status
        assert word in refused.json["error"]["message"]
        assert relay.streams[0].state.value == "failed"

    simulated(main, patience(fault))


@pytest.mark.parametrize("stream", [True, False])
def test_a_providers_refusal_comes_through_verbatim(relayed: Any, stream: bool) -> None:
    body = b'{"error" : {"message":"slow down","type":"tokens","param":null,"code":"rate_limit_exceeded","x":1.0}}'

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, chat(stream=stream)).whole()
        assert (refused.status, bytes(refused.body)) == (429, body)
        assert refused.fields["retry-after"] == "20"
        assert refused.fields["x-ratelimit-reset-tokens"] == "20s"
        assert "set-cookie" not in refused.fields

    given = [("retry-after", "20"), ("x-ratelimit-reset-tokens", "20s"), ("set-cookie", "x")]
    relayed(main, [REQUEST, answer(body, status=429, fields=given)])


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (answer(b"<html><title>Bad Gateway</title></html>", status=502, content_type="text/html"), 502, "Bad Gateway"),
        (answer(b"no", status=401, content_type="text/plain"), 401, "no"),
        (answer(b"", status=500), 500, "no reason"),
        (answer(b"{", status=500), 500, "malformed JSON"),
        (answer(b"{}", status=999), 502, "no reason"),  # no status at all
        (answer(b'{"error":{"message":"odd"}}', status=999), 502, "odd"),
        (answer(b"", status=307, fields=[("location", "https://elsewhere/v1")]), 502, "https://elsewhere/v1"),
        (answer(b'{"error":{"message":"gone"}}', status=404), 404, "gone"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 502, "does not speak HTTP/1.1"),
    ],
)
def test_a_refusal_in_other_words_is_put_into_the_dialects(
    relayed: Any, sent: bytes, status: int, message: str
) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, chat()).whole()
        assert refused.status == status
        assert message in refused.json["error"]["message"]

    relayed(main, [REQUEST, sent, CLOSE])


def test_an_upstream_that_is_not_there(simulated: Any) -> None:
    async def main() -> None:
        async with ScriptedUpstream([]) as closed:
            url = closed.base_url
        async with serving(Settings(upstreams={"up": UpstreamSettings(base_url=url, models=[])})) as relay:
            client = await relay.connect()
            refused = await client.post(CHAT, chat()).whole()
            assert refused.status == 502
            assert refused.json["error"]["code"] == "connect_failed"
            assert closed.base_url.split("/")[2] in refused.json["error"]["message"]

    run_in("uvloop", main)


def test_an_error_without_a_status_of_its_own_is_a_bad_gateway(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, chat()).whole()
        assert refused.status == 502
        assert refused.json["error"]["message"] == "odd"

    odd = frames.event({"error": {"message": "odd", "type": "strange", "code": "strange"}})
    relayed(main, [REQUEST, STREAM_HEAD + chunks(odd)])


def test_an_error_that_sdks_swallow_becomes_one_that_they_raise(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).whole()
        assert stream.data[-1]["error"]["message"] == "it broke"
        assert all("object" not in item or item["object"] != "error" for item in stream.data)

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"), frames.swallowed_error())])


def test_a_log_that_grows_past_its_bound_ends_the_stream(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).blocks_of(2)
        gate.set()
        await stream.whole()
        error = stream.data[-1]["error"]
        assert error["code"] == "log_limit"
        assert "50000 bytes" in error["message"]
        assert await (await upstream.peer()).gone() is not None

    async def pour(peer: Peer) -> None:
        while not peer.transport.is_closing():
            peer.write(chunks(frames.text("x" * 10_000)))
            await peer.flushed()

    gate = asyncio.Event()
    begun = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
    relayed(main, [REQUEST, begun, gate, pour], stream_bytes=50_000)


def test_an_oddly_framed_answer_is_no_failure(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).whole()
        assert (stream.status, stream.complete) == (200, True)
        assert stream.body.count(b"\r\n\r\n") == 4

    body = b"".join(frames.answer("one")).replace(b"\n", b"\r\n")
    relayed(main, [REQUEST, head(200, ("Content-Type", "Text/Event-Stream; charset=utf-8")) + body, CLOSE])
