"""Models in Anthropic's shape, lists of Anthropic's and of upstreams that speak several dialects; counting tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenwire.gateway import upstreams
from tokenwire.gateway.settings import Settings, UpstreamSettings
from tokenwire.testing import chat_frames, http_bytes
from tokenwire.testing import message_frames as m
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, message, serving
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step

VERSION = {"anthropic-version": "2023-06-01"}
NAMES = ["a", "b", "c/d", "e"]
EPOCH = "1970-01-01T00:00:00Z"


def page(*names: str, more: bool = False) -> bytes:
    data = [{"type": "model", "id": name, "display_name": name, "created_at": EPOCH} for name in names]
    body = {"data": data, "has_more": more, "first_id": None, "last_id": names[-1] if names else None}
    return http_bytes.answer(json.dumps(body).encode())


def test_the_list_in_anthropics_shape(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        listed = (await client.get("/v1/models", VERSION).whole()).json
        assert listed == {
            "data": [
                {"type": "model", "id": f"up/{name}", "display_name": f"up/{name}", "created_at": EPOCH}
                for name in NAMES
            ],
            "has_more": False,
            "first_id": "up/a",
            "last_id": "up/e",
        }
        assert (await client.get("/v1/models").whole()).json["object"] == "list"
        one = await client.get("/v1/models/up/c/d", VERSION).whole()
        assert one.json == listed["data"][2]
        missing = await client.get("/v1/models/nobody", VERSION).whole()
        assert (missing.status, missing.json["error"]["type"]) == (404, "not_found_error")
        foreign = await client.get("/v1/models", {**VERSION, "origin": "https://evil.example"}).whole()
        assert (foreign.status, foreign.json["error"]["type"]) == (403, "permission_error")

    relayed(main, settings={"dialect": "anthropic", "models": NAMES})


@pytest.mark.parametrize(
    ("query", "names", "more"),
    [
        ("limit=2", ["a", "b"], True),
        ("limit=4", NAMES, False),
        ("limit=2&after_id=up/b", ["c/d", "e"], False),
        ("limit=1&after_id=up/a", ["b"], True),
        ("after_id=up/e", [], False),
        ("before_id=up/c/d", ["a", "b"], False),
        ("limit=1&before_id=up/c/d", ["b"], True),
        ("before_id=up/a", [], False),
    ],
)
def test_its_pages(relayed: Any, query: str, names: list[str], more: bool) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        listed = (await client.get(f"/v1/models?{query}", VERSION).whole()).json
        assert [model["id"] for model in listed["data"]] == [f"up/{name}" for name in names]
        assert listed["has_more"] is more
        ends = (f"up/{names[0]}", f"up/{names[-1]}") if names else (None, None)
        assert (listed["first_id"], listed["last_id"]) == ends

    relayed(main, settings={"dialect": "anthropic", "models": NAMES})


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "after_id=z", "before_id="])
def test_pages_that_there_are_not(relayed: Any, query: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.get(f"/v1/models?{query}", VERSION).whole()
        assert (refused.status, refused.json["error"]["type"]) == (400, "invalid_request_error")
        assert query.partition("=")[0] in refused.json["error"]["message"]

    relayed(main, settings={"dialect": "anthropic", "models": NAMES})


# ---------------------------------------------------------------------- the providers' lists


def test_anthropic_is_asked_for_its_models_page_by_page() -> None:
    async def main() -> None:
        script: list[Step] = [REQUEST, page("a", "b é", more=True), CLOSE]
        async with ScriptedUpstream(script, [REQUEST, page("c"), CLOSE]) as upstream:
            one = UpstreamSettings(base_url=upstream.base_url, dialect="anthropic", api_key="sk-1")
            async with serving(Settings(upstreams={"anthropic": one})) as relay:
                await until(lambda: len(relay.gateway.directory.names()) == 3)
                assert relay.gateway.directory.names() == ["anthropic/a", "anthropic/b é", "anthropic/c"]
                requests = [peer.requests[0] for peer in upstream.peers]
                assert [request.target for request in requests] == [
                    "/v1/models?limit=1000",
                    "/v1/models?limit=1000&after_id=b%20%C3%A9",
                ]
                for request in requests:
                    assert request.fields["x-api-key"] == "sk-1"
                    assert request.fields["anthropic-version"] == "2023-06-01"
                    assert "authorization" not in request.fields

    run_in("uvloop", main)


def test_a_list_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstreams, "_MOST_PAGES", 3)

    async def main() -> None:
        async with ScriptedUpstream([REQUEST, page("a", more=True), CLOSE]) as upstream:
            one = UpstreamSettings(base_url=upstream.base_url, dialect="anthropic")
            async with serving(Settings(upstreams={"up": one})) as relay:
                await until(lambda: relay.gateway.directory.names() == ["up/a"])
                assert len(upstream.peers) == 3

    run_in("uvloop", main)


def test_an_upstream_of_several_dialects_is_asked_in_each() -> None:
    """One base_url, as OpenAI's SDK takes it; the list of models comes in the dialect that is named first."""
    listing = http_bytes.answer(b'{"object":"list","data":[{"id":"m"}]}')

    async def main() -> None:
        scripts: list[list[Step]] = [
            [REQUEST, listing, CLOSE],
            [REQUEST, STREAM_HEAD + chunks(*chat_frames.answer("one")) + LAST_CHUNK, CLOSE],
            [REQUEST, STREAM_HEAD + chunks(*m.answer("two")) + LAST_CHUNK, CLOSE],
        ]
        async with ScriptedUpstream(*scripts) as upstream:
            assert upstream.base_url.endswith("/v1")
            both = UpstreamSettings(base_url=upstream.base_url, dialect=["openai.chat", "anthropic"], api_key="k")
            async with serving(Settings(upstreams={"sim": both})) as relay:
                await until(lambda: relay.gateway.directory.names() == ["sim/m"])
                client = await relay.connect()
                assert (await client.post("/v1/chat/completions", chat(model="m")).whole()).text == "one"
                await until(lambda: upstream.peers[1].over)
                stream = await client.post("/v1/messages", message(model="m")).whole()
                assert b'"two"' in stream.body
                requests = [peer.requests[0] for peer in upstream.peers]
                paths = ["/v1/models", "/v1/chat/completions", "/v1/messages"]
                assert [request.target for request in requests] == paths
                keys = [(request.fields.get("authorization"), request.fields.get("x-api-key")) for request in requests]
                assert keys == [("Bearer k", None), ("Bearer k", None), (None, "k")]

    run_in("uvloop", main)


# ---------------------------------------------------------------------- counting

COUNT = "/v1/messages/count_tokens"
QUESTION = b'{"model":"up/claude", "messages":[{"role":"user","content":"\\u00e9"}], "x":1.0}'


def test_counting_is_passed_on(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        counted = await client.post(COUNT, QUESTION, {"anthropic-beta": "b"}).whole()
        assert (counted.status, bytes(counted.body)) == (200, b'{"input_tokens": 14}')
        request = upstream.peers[0].requests[0]
        assert (request.method, request.target) == ("POST", COUNT)
        assert request.body == b'{"model":"claude","messages":[{"role":"user","content":"\\u00e9"}],"x":1.0}'
        assert {name: request.fields[name] for name in ("x-api-key", "anthropic-version", "anthropic-beta")} == {
            "x-api-key": "k", "anthropic-version": "2023-06-01", "anthropic-beta": "b"
        }  # fmt: skip

    sent = http_bytes.answer(b'{"input_tokens": 14}')
    relayed(main, [REQUEST, sent], settings={"dialect": "anthropic", "api_key": "k"})


REFUSED = b'{"type":"error","error":{"type":"invalid_request_error","message":"no"},"request_id":"r"}'


@pytest.mark.parametrize(
    ("steps", "status", "words"),
    [
        ([http_bytes.answer(REFUSED, status=400, fields=[("request-id", "r")])], 400, REFUSED.decode()),
        ([http_bytes.answer(b"<title>Bad</title>", status=502, content_type="text/html")], 502, "Bad"),
        ([http_bytes.answer(b"", status=302)], 502, "api_error"),
        ([CLOSE], 502, "upstream closed"),
        ([http_bytes.answer(b"x" * 9_000_000)], 502, "larger than"),
    ],
)
def test_counting_that_fails(relayed: Any, steps: list[Any], status: int, words: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(COUNT, QUESTION).whole()
        assert (refused.status, refused.json["type"]) == (status, "error")
        assert words in refused.body.decode()
        assert refused.fields.get("request-id") == ("r" if status == 400 else None)

    relayed(main, [REQUEST, *steps], settings={"dialect": "anthropic"})


def test_counting_nowhere(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for body, status in ((b"{", 400), (QUESTION.replace(b"up/", b"down/"), 404), (QUESTION, 400)):
            refused = await client.post(COUNT, body).whole()
            assert (refused.status, refused.json["type"]) == (status, "error")
        client.close()

    relayed(main)


def test_counting_at_an_upstream_that_is_not_there() -> None:
    async def main() -> None:
        one = UpstreamSettings(base_url="http://127.0.0.1:1", dialect="anthropic", models=[])
        async with serving(Settings(upstreams={"up": one})) as relay:
            client = await relay.connect()
            refused = await client.post(COUNT, QUESTION).whole()
            assert (refused.status, refused.json["error"]["details"]["error_code"]) == (502, "connect_failed")

    run_in("uvloop", main)


def test_who_leaves_while_the_body_is_read_is_not_counted_for(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        client.send(b"POST /v1/messages/count_tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        client.send(b"content-length: 9\r\n\r\n{")
        await until(lambda: relay.connections == 1)
        client.reset()
        await until(lambda: relay.connections == 0)
        assert upstream.peers == []

    relayed(main, settings={"dialect": "anthropic"})
