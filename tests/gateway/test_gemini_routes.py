"""Gemini's routes have the model and the way of answering in the address; and its list, and Ollama's, of models."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tokenwire.gateway.settings import RetrySettings, Settings, UpstreamSettings
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head
from tokenwire.testing.relay import Relay, chunks, serving, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, FLUSHED, REQUEST, ScriptedUpstream, Step

MODELS = "/v1beta/models"
BODY: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


@asynccontextmanager
async def before(
    dialect: str, *script: Step, models: list[str] | None = None
) -> AsyncIterator[tuple[Relay, ScriptedUpstream]]:
    async with ScriptedUpstream(script) as upstream:
        fields: dict[str, Any] = {"base_url": upstream.base_url, "dialect": dialect, "api_key": "k"}
        up = UpstreamSettings(**fields, models=models or [], retry=RetrySettings(attempts=1))
        async with serving(Settings(upstreams={"up": up})) as relay:
            yield relay, upstream


def event(text: str, **fields: Any) -> bytes:
    """One event as Google frames it."""
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **fields}
    said = {"candidates": [candidate], "modelVersion": "m", "responseId": "r1"}
    return b"data: " + json.dumps(said).encode() + b"\r\n\r\n"


ANSWER = [event("one"), event(" two", finishReason="STOP")]


def playing(*sent: bytes) -> list[Step]:
    opening = head(200, ("content-type", "text/event-stream"), ("transfer-encoding", "chunked"))
    return [REQUEST, opening + chunks(*sent) + LAST_CHUNK, FLUSHED, CLOSE]


def texts(found: list[Any]) -> str:
    parts = [part for each in found for part in each["candidates"][0]["content"]["parts"]]
    return "".join(part["text"] for part in parts)


def test_its_own_events_byte_for_byte() -> None:
    async def main() -> None:
        async with before("gemini", *playing(*ANSWER)) as (relay, upstream):
            client = await relay.connect()
            path = f"{MODELS}/up/models-with/a-slash:streamGenerateContent?alt=sse"
            stream = await client.post(path, BODY, {"x-tokenwire-ids": "1"}).whole()
            assert bytes(stream.body) == b"".join(ANSWER), "never ids: its clients bear none"
            request = upstream.requests[0]
            assert request.target == "/v1beta/models/models-with/a-slash:streamGenerateContent?alt=sse"
            assert (request.fields["x-goog-api-key"], json.loads(request.body)) == ("k", BODY)

    run_in("uvloop", main)


@pytest.mark.parametrize(
    ("dialect", "script"), [("gemini", playing(*ANSWER)), ("openai.chat", streamed("one", " two"))]
)
def test_without_events_a_stream_is_one_array(dialect: str, script: list[Step]) -> None:
    async def main() -> None:
        async with before(dialect, *script) as (relay, _):
            stream = await (await relay.connect()).post(f"{MODELS}/up/m:streamGenerateContent", BODY).whole()
            assert stream.fields["content-type"].startswith("application/json")
            assert texts(json.loads(stream.body)) == "one two"

    run_in("uvloop", main)


def test_a_whole_answer_of_its_own_is_passed_on_as_it_came() -> None:
    body = json.dumps({"candidates": [{"content": {"parts": [{"text": "one"}]}, "finishReason": "STOP"}]}).encode()

    async def main() -> None:
        async with before("gemini", REQUEST, answer(body)) as (relay, upstream):
            whole = await (await relay.connect()).post(f"{MODELS}/up/m:generateContent", BODY).whole()
            assert bytes(whole.body) == body
            assert upstream.requests[0].target == "/v1beta/models/m:generateContent"

    run_in("uvloop", main)


def test_a_whole_answer_of_another_vendor_is_folded() -> None:
    async def main() -> None:
        async with before("openai.chat", *streamed("one", " two")) as (relay, _):
            whole = await (await relay.connect()).post(f"{MODELS}/up/m:generateContent", BODY).whole()
            assert texts([whole.json]) == "one two"

    run_in("uvloop", main)


def test_a_gemini_upstream_read_as_chat() -> None:
    async def main() -> None:
        async with before("gemini", *playing(*ANSWER)) as (relay, _):
            body = {"model": "up/m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            stream = await (await relay.connect()).post("/v1/chat/completions", body).whole()
            assert b'"content":"one"' in stream.body
            assert stream.body.endswith(frames.DONE)

    run_in("uvloop", main)


@pytest.mark.parametrize("begun", [True, False])
def test_a_bare_error_in_the_stream_is_an_error(begun: bool) -> None:
    """Google sends it pretty-printed, without ``data:``: its own client has code for that, others see nothing."""
    bare = b'{\n  "error": {\n    "code": 503,\n    "message": "busy",\n    "status": "UNAVAILABLE"\n  }\n}\n'

    async def main() -> None:
        async with before("gemini", *playing(*([ANSWER[0], bare] if begun else [bare]))) as (relay, _):
            client = await relay.connect()
            body = {"model": "up/m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            for path, asked in ((f"{MODELS}/up/m:streamGenerateContent?alt=sse", BODY), ("/v1/chat/completions", body)):
                stream = await client.post(path, asked).whole()
                assert stream.status == (200 if begun else 503)
                assert b"busy" in stream.body
                assert (b"one" in stream.body) == begun

    run_in("uvloop", main)


@pytest.mark.parametrize("verb", ["countTokens", "embedContent", "smoke"])
def test_what_is_no_question_for_an_answer_is_no_route(verb: str) -> None:
    async def main() -> None:
        async with before("gemini") as (relay, _):
            refused = await (await relay.connect()).post(f"{MODELS}/up/m:{verb}", BODY).whole()
            assert refused.status in (404, 405)
            assert refused.json["error"]["code"] == refused.status, "in Gemini's words"

    run_in("uvloop", main)


def test_the_lists_of_models_in_each_shape() -> None:
    async def main() -> None:
        async with before("gemini", models=["a", "b", "c"]) as (relay, _):
            client = await relay.connect()
            listed = (await client.get(f"{MODELS}?pageSize=2").whole()).json
            assert [each["name"] for each in listed["models"]] == ["models/up/a", "models/up/b"]
            rest = (await client.get(f"{MODELS}?pageSize=2&pageToken={listed['nextPageToken']}").whole()).json
            assert [each["name"] for each in rest["models"]] == ["models/up/c"]
            assert "nextPageToken" not in rest
            assert (await client.get(f"{MODELS}/up/a").whole()).json["name"] == "models/up/a"
            assert (await client.get(f"{MODELS}?pageSize=x").whole()).json["error"]["status"] == "INVALID_ARGUMENT"
            unknown = await client.get(f"{MODELS}/nobody/x").whole()
            assert (unknown.status, unknown.json["error"]["code"]) == (404, 404)
            tags = (await client.get("/ollama/api/tags").whole()).json
            assert [each["name"] for each in tags["models"]] == ["up/a", "up/b", "up/c"]
            for name in ("model", "name"):
                shown = await client.post("/ollama/api/show", {name: "up/a"}).whole()
                assert "completion" in shown.json["capabilities"]
            missing = await client.post("/ollama/api/show", {"model": "nobody/x"}).whole()
            assert (missing.status, "nobody/x" in missing.json["error"]) == (404, True)
            assert (await client.get("/ollama/api/version").whole()).json["version"]
            assert bytes((await client.get("/ollama/").whole()).body) == b"Ollama is running"

    run_in("uvloop", main)


@pytest.mark.parametrize(
    ("dialect", "target", "pages", "names"),
    [
        (
            "gemini",
            "/v1beta/models?pageSize=1000",
            [
                {
                    "models": [{"name": "models/a", "supportedGenerationMethods": ["generateContent"]}],
                    "nextPageToken": "2",
                },
                {"models": [{"name": "models/embed", "supportedGenerationMethods": ["embedContent"]}, {"name": "b"}]},
            ],
            ["up/a", "up/b"],
        ),
        ("ollama", "/api/tags", [{"models": [{"name": "a"}]}], ["up/a"]),
    ],
)
def test_the_lists_that_providers_give(dialect: str, target: str, pages: list[Any], names: list[str]) -> None:
    scripts: list[list[Step]] = [[REQUEST, answer(json.dumps(page).encode()), FLUSHED, CLOSE] for page in pages]

    async def main() -> None:
        async with ScriptedUpstream(*scripts) as upstream:
            up = UpstreamSettings(base_url=upstream.base_url, dialect=dialect)
            async with serving(Settings(upstreams={"up": up})) as relay:
                await until(lambda: relay.gateway.directory.names() == names)
                assert upstream.requests[0].target == target
                if len(pages) > 1:
                    assert upstream.requests[1].target == f"{target}&pageToken=2"

    run_in("uvloop", main)
