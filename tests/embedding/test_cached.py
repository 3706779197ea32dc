"""Kept answers in an app of one's own: ``Relay.respond`` by the same settings, each principal for itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from tests.embedding.apps import serving, user_of

from tokenwire.fastapi import Relay
from tokenwire.gateway.settings import from_mapping
from tokenwire.testing.relay import streamed
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import ScriptedUpstream

ADA, BOB = {"x-user": "ada"}, {"x-user": "bob"}
SAYS: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]


def app_before(upstream: ScriptedUpstream, done: list[str]) -> FastAPI:
    up = {"base_url": upstream.base_url, "models": [], "retry": {"attempts": 1}}
    settings = from_mapping({"upstreams": {"up": up}, "models": {"up/m": {"cache": {"seconds": 60}}}}, {})
    relay = Relay(settings, principal=user_of)
    app = FastAPI()
    app.state.relay = relay
    app.include_router(relay.router)

    async def completed(answer: Any) -> None:
        done.append(answer.text)

    @app.post("/ask", response_model=None)
    async def ask(request: Request, dialect: str = "openai.chat") -> Response:
        return relay.respond(request, messages=SAYS, model="up/m", dialect=dialect, on_complete=completed)

    return app


def test_each_principal_has_a_cache_of_its_own() -> None:
    async def main() -> None:
        done: list[str] = []
        async with (
            ScriptedUpstream(streamed("adas") + streamed("bobs")) as upstream,
            serving(app_before(upstream, done)) as running,
        ):
            client = await running.connect()
            told = [await client.post("/ask", {}, who).whole() for who in (ADA, ADA, BOB, BOB, ADA)]
            assert [each.fields["x-tokenwire-cache"] for each in told] == ["miss", "hit", "miss", "hit", "hit"]
            assert [each.text for each in told] == ["adas", "adas", "bobs", "bobs", "adas"]
            native = await client.post("/ask?dialect=native", {}, ADA).whole()
            assert (native.native_text, native.fields["x-tokenwire-cache"]) == ("adas", "hit")
            off = await client.post("/ask", {}, {**ADA, "x-tokenwire-cache": "nonsense"}).whole()
            assert off.status == 400
            assert len(upstream.requests) == 2
        assert sorted(done) == ["adas"] * 4 + ["bobs"] * 2, "who wants to know is told of each"

    run_in("uvloop", main)
