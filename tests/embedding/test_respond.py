"""``Relay.respond`` and ``Relay.router``: every dialect, who may come back, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from tests.embedding.apps import USER, USER_SAYS, Serving, asking_app, run, serving

from tokenwire.errors import BadArgument, ConfigError
from tokenwire.fastapi import Relay
from tokenwire.gateway.settings import Settings
from tokenwire.testing.http_bytes import answer
from tokenwire.testing.relay import settings_for, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream


async def sent(upstream: ScriptedUpstream) -> Any:
    """The body of the newest request that the upstream got."""
    peer = upstream.peers[-1]
    await until(lambda: peer.requests)
    return json.loads(peer.requests[-1].body)


SHAPES: list[tuple[str, dict[str, Any]]] = [
    ("native", {"messages": [USER_SAYS]}),
    ("openai.chat", {"messages": [USER_SAYS], "temperature": 0.5}),
    ("anthropic", {"messages": [USER_SAYS]}),
    ("anthropic", {"messages": [{"role": "system", "content": "x"}, USER_SAYS]}),
    ("openai.responses", {"messages": [USER_SAYS]}),
    ("openai.responses", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}),
    ("gemini", {"messages": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    ("gemini", {"messages": [USER_SAYS]}),
    ("ollama", {"messages": [USER_SAYS]}),
    ("ollama", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}),
    ("ui-messages", {"messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}),
    ("ui-messages", {"messages": [{"id": "m", **USER_SAYS}]}),
    ("agui", {"messages": [{"id": "m", **USER_SAYS}]}),
    ("agui", {"messages": [USER_SAYS]}),
]


def test_a_conversation_in_any_shape_is_asked_upstream_and_answered_in_the_dialect() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        for dialect, arguments in SHAPES:
            body = {"model": "up/m", "dialect": dialect, "system": "be brief", **arguments}
            told = await client.post("/ask", body, USER).whole()
            assert (told.status, told.complete) == (200, True), (dialect, told.body)
            assert b"one" in told.body
            asked = await sent(upstream)
            assert (asked["model"], asked["stream"]) == ("m", True)
            says = [(turn["role"], turn["content"]) for turn in asked["messages"]]
            assert says[0][0] == "system"
            assert "be brief" in str(says[0][1])
            assert says[-1][0] == "user"
            assert "hi" in str(says[-1][1])
            assert "id" not in asked["messages"][-1]
        assert asked["messages"]

    run(main, streamed("one", " two") * len(SHAPES))


WHOLE: list[tuple[str, dict[str, Any]]] = [
    ("openai.chat", {"model": "up/m", "messages": [USER_SAYS], "stream": True}),
    ("anthropic", {"model": "up/m", "max_tokens": 9, "messages": [USER_SAYS], "stream": True}),
    ("openai.responses", {"model": "up/m", "input": "hi", "stream": True}),
    ("gemini", {"model": "up/m", "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    ("ollama", {"model": "up/m", "messages": [USER_SAYS]}),
    ("native", {"dialect": "openai.chat", "request": {"model": "up/m", "messages": [USER_SAYS]}, "session": "s"}),
    ("native", {"model": "up/m", "messages": [USER_SAYS]}),
    ("agui", {"threadId": "t", "runId": "r", "state": {}, "messages": [{"id": "m", **USER_SAYS}], "tools": [],
              "context": [], "forwardedProps": {"model": "up/m"}}),
]  # fmt: skip


def test_a_whole_body_is_taken_as_the_gateways_routes_take_it() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        for dialect, body in WHOLE:
            for named in ("", "&model=up/other"):
                told = await client.post(f"/chat?dialect={dialect}{named}", body, USER).whole()
                assert (told.status, told.complete) == (200, True), (dialect, told.body)
                assert (await sent(upstream))["model"] == ("other" if named else "m")
                if dialect == "agui":
                    assert told.data[0] == {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}

    run(main, streamed("one") * 2 * len(WHOLE))


def test_the_apps_instructions_take_the_place_of_the_clients() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        says = [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}]
        bodies: list[tuple[str, dict[str, Any]]] = [
            ("anthropic", {"system": "be rude", "messages": [USER_SAYS], "max_tokens": 9, "stream": True}),
            ("gemini", {"system_instruction": {"parts": [{"text": "be rude"}]},
                        "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
            ("openai.responses", {"instructions": "be rude", "input": "hi", "stream": True}),
            ("ui-messages", {"system": "be rude", "messages": says}),
        ]  # fmt: skip
        for dialect, body in bodies:
            asked = {"dialect": dialect, "model": "up/m", "system": "be kind", "body": body}
            assert (await client.post("/ask", asked, USER).whole()).status == 200
            messages = str((await sent(upstream))["messages"])
            assert ("be kind" in messages, "be rude" in messages) == (True, False)

    run(main, streamed("one") * 4)


def test_the_real_openai_sdk_talks_to_a_route_of_the_app() -> None:
    async def main() -> None:
        async with ScriptedUpstream(streamed("one", " two")) as upstream:
            mounted = asking_app(settings_for(upstream.base_url))
            relay: Relay = mounted.state.relay

            @mounted.post("/v1/chat/completions", response_model=None)
            async def completions(request: Request) -> Response:
                return relay.respond(request, body=await request.body(), dialect="openai.chat")

            async with (
                serving(mounted) as running,
                openai.AsyncOpenAI(
                    base_url=f"http://127.0.0.1:{running.port}/v1",
                    api_key="x",
                    default_headers=USER,
                    max_retries=0,
                    http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
                ) as client,
            ):
                stream = await client.chat.completions.create(
                    model="up/m", messages=[{"role": "user", "content": "hi"}], stream=True
                )
                text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
                assert text == "one two"
                with pytest.raises(openai.NotFoundError, match="no upstream serves"):
                    await client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "hi"}])

    run_in("uvloop", main)


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("openai.chat", {"model": "up/m"}, 400, "messages"),
    ("openai.chat", {"model": "up/m", "messages": "hi"}, 400, "messages"),
    ("anthropic", {"model": "up/m", "messages": {"a": 1}}, 400, "messages"),
    ("openai.chat", {"model": "nobody", "messages": [USER_SAYS]}, 404, "nobody"),
    ("ui-messages", {"model": "up/m", "messages": [{"role": "odd", "parts": []}]}, 400, "role"),
    ("openai.chat", {"messages": [USER_SAYS]}, 400, "model"),
    ("openai.chat", {"body": "{"}, 400, "JSON"),
    ("openai.chat", {"body": [1]}, 400, "object"),
    ("native", {"body": {"dialect": "odd", "request": {}}}, 400, "requests are taken in"),
    ("native", {"body": {"dialect": "openai.chat", "request": {}, "extra": 1}}, 400, "body"),
    ("openai.chat", {"body": {"messages": 1}, "system": "x"}, 400, "messages"),
]


def test_what_is_wrong_with_a_request_is_an_http_error_in_the_callers_dialect() -> None:
    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        for dialect, arguments, status, word in REFUSED:
            told = await client.post("/ask", {"dialect": dialect, **arguments}, USER).whole()
            assert told.status == status, (arguments, told.body)
            assert word in told.body.decode()
            assert dialect == "ui-messages" or told.json["error"]  # useChat shows the body as it is
            if dialect == "anthropic":
                assert told.json["type"] == "error"
        unknown = await client.post("/ask", {"model": "up/m", "messages": [USER_SAYS]}).whole()
        assert (unknown.status, unknown.json["error"]["code"]) == (401, "not_authenticated")

    run(main, [REQUEST])


def test_what_only_the_apps_code_can_have_done_wrong_raises_at_once() -> None:
    async def main() -> None:
        request = Request({"type": "http", "headers": [], "method": "POST"})
        async with Relay(Settings()) as relay:
            for arguments, word in (
                ({"dialect": "odd"}, "no dialect 'odd'"),
                ({"messages": [], "body": {}}, "either body or messages"),
                ({"messages": [], "ids": True}, "principal"),
                ({"messages": [], "on_disconnect": "never"}, "on-disconnect"),
                ({"messages": [{"role": "user", "content": object()}]}, "cannot be written as JSON"),
            ):
                with pytest.raises(BadArgument, match=word):
                    relay.respond(request, **arguments)
            with pytest.raises(ConfigError, match="callers have to be known"):
                _ = relay.router

    run_in("uvloop", main)


def test_models_of_pydantic_and_halves_of_characters_are_written_as_json() -> None:
    class Message(BaseModel):
        role: str
        content: str
        name: str | None = None

    async def main() -> None:
        async with ScriptedUpstream(streamed("one") * 2) as upstream:
            relay = Relay(settings_for(upstream.base_url))
            app = FastAPI()
            said: list[Any] = [Message(role="user", content="hi"), {"role": "user", "content": "\ud83d"}]

            @app.get("/say", response_model=None)
            async def say(request: Request) -> Response:
                return relay.respond(request, model="up/m", messages=[said.pop(0)], dialect="openai.chat")

            async with serving(app, relay=relay) as running:
                client = await running.connect()
                assert (await client.get("/say").whole()).text == "one"
                assert (await sent(upstream))["messages"] == [USER_SAYS]
                assert (await client.get("/say").whole()).text == "one"

    run_in("uvloop", main)


def test_the_client_may_name_the_dialect_and_the_route_adds_what_it_likes_to_the_response() -> None:
    async def main() -> None:
        ran: list[str] = []

        async def after() -> None:
            ran.append("after")

        async def tokens() -> AsyncIterator[str]:
            yield "one"

        relay = Relay(Settings())
        app = FastAPI()

        @app.get("/say", response_model=None)
        async def say(request: Request) -> Response:
            from starlette.background import BackgroundTask

            response = relay.respond(request, source=tokens(), dialect="openai.chat")
            response.headers["x-mine"] = "1"
            response.set_cookie("seen", "yes")
            response.background = BackgroundTask(after)
            return response

        async with serving(app, relay=relay) as running:
            client = await running.connect()
            told = await client.get("/say", {"x-tokenwire-dialect": "native"}).whole()
            assert told.native_text == "one"
            assert (told.fields["x-mine"], "seen=yes" in told.fields["set-cookie"]) == ("1", True)
            await until(lambda: ran)
            odd = await client.get("/say", {"x-tokenwire-dialect": "odd"}).whole()
            assert odd.status == 400

    run_in("uvloop", main)


def test_a_request_that_does_not_stream_is_answered_whole() -> None:
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}'

    async def main(running: Serving, upstream: ScriptedUpstream, relay: Relay) -> None:
        client = await running.connect()
        told = await client.post("/chat", {"model": "up/m", "messages": [USER_SAYS]}, USER).whole()
        assert bytes(told.body) == body
        translated = {"model": "up/m", "messages": [USER_SAYS], "dialect": "gemini", "stream": False}
        folded = await client.post("/ask", translated, USER).whole()
        assert folded.json["candidates"][0]["content"]["parts"] == [{"text": "one"}]

    run(main, [REQUEST, answer(body), REQUEST, answer(body)])


def test_a_misspelt_argument_is_no_member_of_the_request() -> None:
    async def main() -> None:
        async with Relay({"upstreams": {}}) as relay:
            for wrong, meant in (("modle", "model"), ("dialct", "dialect"), ("on_disconect", "on_disconnect")):
                misspelt: dict[str, Any] = {wrong: "x"}
                with pytest.raises(BadArgument, match=f"did you mean '{meant}'"):
                    relay.respond(Request({"type": "http", "headers": []}), **misspelt)

    run_in("asyncio", main)
    with pytest.raises(BadArgument, match="a function of the request"):
        Relay(principal="x-user")  # type: ignore[arg-type]
