"""Model names: which upstream serves one, and what a caller may use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tokenwire.errors import RequestRefused, UnknownModel
from tokenwire.gateway import directory
from tokenwire.gateway.directory import Directory
from tokenwire.gateway.settings import ModelSettings, ServerSettings, Settings, UpstreamSettings
from tokenwire.gateway.settings_check import check
from tokenwire.testing.http_bytes import answer
from tokenwire.testing.relay import Relay, chat, serving, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step

CHAT = "/v1/chat/completions"


def listing(*names: str) -> bytes:
    return answer(json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]}).encode())


@pytest.fixture
def named() -> Callable[[Callable[[Relay], Awaitable[None]]], None]:
    """A relay with three upstreams: ``openai`` and ``local`` with lists, ``bare`` without; and an alias."""

    def runner(main: Callable[[Relay], Awaitable[None]]) -> None:
        async def inside() -> None:
            async with ScriptedUpstream(streamed("one")) as upstream:
                url = upstream.base_url
                settings = Settings(
                    upstreams={
                        "openai": UpstreamSettings(base_url=url, models=["gpt-4o", "shared"]),
                        "local": UpstreamSettings(base_url=url, models=["meta/llama", "shared"]),
                        "bare": UpstreamSettings(base_url=url, models=[]),
                    },
                    models={"smart": ModelSettings(route=["local/meta/llama", "openai/gpt-4o"])},
                )
                async with serving(settings) as relay:
                    await main(relay)

        run_in("uvloop", inside)

    return runner


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("bare/whatever/with/slashes", "bare/whatever/with/slashes"),  # UPSTREAM/MODEL works without any list
        ("smart", "local/meta/llama"),
        ("gpt-4o", "openai/gpt-4o"),
        ("meta/llama", "local/meta/llama"),
        ("gpt-5-unheard-of", "openai/gpt-5-unheard-of"),  # by the vendor's usual prefix
    ],
)
def test_a_name_is_served(named: Any, name: str, served: str) -> None:
    async def main(relay: Relay) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat(model=name)).whole()
        assert (stream.status, stream.text) == (200, "one")
        assert relay.streams[0].model == served
        model = await client.get(f"/v1/models/{name}").whole()
        owner, dialects = served.partition("/")[0], ["openai.chat"]
        assert model.json == {"id": name, "object": "model", "created": 0, "owned_by": owner, "dialects": dialects}

    named(main)


@pytest.mark.parametrize(
    ("name", "status", "code", "candidates"),
    [
        ("shared", 400, "ambiguous_model", ["openai/shared", "local/shared"]),
        ("openai/", 404, "model_not_found", ["openai/gpt-4o"]),
        ("gpt4o", 404, "model_not_found", ["openai/gpt-4o"]),
        ("nobody/gpt-4o", 404, "model_not_found", ["openai/gpt-4o"]),
        ("zzzzzzzzzzzz", 404, "model_not_found", ["smart", "local/meta/llama"]),  # nothing is near: all there are
    ],
)
def test_a_name_that_cannot_be_served_names_the_candidates(
    named: Any, name: str, status: int, code: str, candidates: list[str]
) -> None:
    async def main(relay: Relay) -> None:
        client = await relay.connect()
        for refused in (client.post(CHAT, chat(model=name)), client.get(f"/v1/models/{name}")):
            await refused.whole()
            error = refused.json["error"]
            assert (refused.status, error["code"], error["param"]) == (status, code, "model")
            for candidate in candidates:
                assert candidate in error["message"]
        assert relay.streams == []

    named(main)


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("zzzzzzzzzzzz", [f"sim/m{number}" for number in range(8)]),
        ("ault-429", [f"sim/m{number}" for number in range(8)]),
        ("fault-42", ["sim/fault-429"]),
    ],
)
def test_few_candidates_are_named_and_a_fault_only_to_whom_asks_for_one(name: str, candidates: list[str]) -> None:
    models = ["fault-429", *(f"m{number}" for number in range(20))]

    async def main() -> None:
        settings = Settings(upstreams={"sim": UpstreamSettings(base_url="http://127.0.0.1:1", models=models)})
        async with serving(settings) as relay:
            with pytest.raises(UnknownModel) as caught:
                relay.gateway.directory.resolve(name)
            assert list(caught.value.candidates) == candidates

    run_in("uvloop", main)


def test_the_list_has_every_name_that_can_be_used(named: Any) -> None:
    async def main(relay: Relay) -> None:
        client = await relay.connect()
        models = (await client.get("/v1/models").whole()).json
        assert models["object"] == "list"
        names = ["smart", "openai/gpt-4o", "openai/shared", "local/meta/llama", "local/shared"]
        assert [model["id"] for model in models["data"]] == names
        assert [model["owned_by"] for model in models["data"]] == ["tokenwire", "openai", "openai", "local", "local"]
        assert {model["object"] for model in models["data"]} == {"model"}

    named(main)


def test_the_list_says_what_each_may_be_asked_in() -> None:
    both, one = ["openai.chat", "anthropic"], ["anthropic"]
    settings = Settings(
        upstreams={
            "two": UpstreamSettings(base_url="http://127.0.0.1:1/v1", dialect=both, models=["m"]),
            "one": UpstreamSettings(base_url="http://127.0.0.1:1", dialect="anthropic", models=["c", "d"]),
        },
        models={
            "first": ModelSettings(route=["one/c", "one/d"]),
            "bare": ModelSettings(route=["m"]),
            "one/c": ModelSettings(),
            "later": ModelSettings(route=["unheard-of"]),  # its upstream's list may not be there yet
        },
    )

    async def main() -> None:
        async with serving(settings) as relay:
            client = await relay.connect()
            listed = (await client.get("/v1/models").whole()).json["data"]
            assert {model["id"]: model["dialects"] for model in listed} == {
                "first": one, "bare": both, "one/c": one, "later": [], "two/m": both, "one/d": one,
            }  # fmt: skip
            assert (await client.get("/v1/models/two/m").whole()).json["dialects"] == both

    run_in("uvloop", main)


@pytest.mark.parametrize(
    ("server", "aliases", "listed", "chosen"),
    [
        ("b/m9", {"smart": "a/m1"}, {"a": ["m1"]}, "b/m9"),
        ("smart", {"first": "a/m0", "smart": "a/m1"}, {}, "smart"),
        (None, {"smart": "a/m1", "other": "b/m2"}, {"b": ["m2"]}, "smart"),
        (None, {}, {"b": ["m2", "m3"]}, "b/m2"),
        (None, {}, {"b": ["m2"], "a": ["m1"]}, "a/m1"),  # in the order of the upstreams, whichever list came first
        (None, {}, {}, None),
    ],
)
def test_the_model_of_a_request_that_names_none(
    server: str | None, aliases: dict[str, str], listed: dict[str, list[str]], chosen: str | None
) -> None:
    upstreams = {
        name: UpstreamSettings(base_url="http://127.0.0.1:1", models=listed.get(name, [])) for name in ("a", "b")
    }
    settings = Settings(
        server=ServerSettings(default_model=server),
        upstreams=upstreams,
        models={name: ModelSettings(route=[route]) for name, route in aliases.items()},
    )

    async def main() -> None:
        async with serving(check(settings)) as relay:
            if chosen is not None:
                assert relay.gateway.directory.default() == chosen
                assert relay.gateway.directory.resolve(chosen)
                return
            with pytest.raises(RequestRefused, match="default_model") as caught:
                relay.gateway.directory.default()
            assert (caught.value.status, caught.value.param) == (400, "model")

    run_in("uvloop", main)


def test_no_upstreams_no_names() -> None:
    async def main() -> None:
        async with serving(Settings()) as relay:
            client = await relay.connect()
            assert (await client.get("/v1/models").whole()).json["data"] == []
            refused = await client.post(CHAT, chat(model="gpt-4o")).whole()
            assert refused.status == 404
            assert "did you mean" not in refused.json["error"]["message"]

    run_in("uvloop", main)


# ---------------------------------------------------------------------- the providers' own lists


def asked(*scripts: Any, main: Callable[[Relay, ScriptedUpstream], Awaitable[None]], **settings: Any) -> None:
    async def inside() -> None:
        async with ScriptedUpstream(*scripts) as upstream:
            one = UpstreamSettings(base_url=upstream.base_url, **settings)
            async with serving(Settings(upstreams={"up": one})) as relay:
                await main(relay, upstream)

    run_in("uvloop", inside)


def test_a_provider_is_asked_for_its_models() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        await until(lambda: relay.gateway.directory.names() == ["up/a", "up/b"])
        request = upstream.peers[0].requests[0]
        assert (request.method, request.target) == ("GET", "/v1/models")
        assert request.fields["authorization"] == "Bearer sk-1"
        assert "content-type" not in request.fields
        client = await relay.connect()
        assert (await client.post(CHAT, chat(model="b")).whole()).text == "one"

    asked([REQUEST, listing("a", "b"), *streamed("one")], main=main, api_key="sk-1")


@pytest.mark.parametrize(
    "sent",
    [
        answer(b'{"error":{}}', status=401),
        answer(b"<html>", content_type="text/html"),
        answer(b'{"data":[{"name":"no id"}]}'),
        b"",
    ],
)
def test_a_provider_without_a_list_is_asked_again_soon(
    sent: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        await until(lambda: relay.gateway.directory.names() == ["up/a"])
        assert len(upstream.peers) == 3
        assert any("no model list from up" in record.getMessage() for record in caplog.records)

    monkeypatch.setattr(directory, "RETRY_SECONDS", 0.01)
    failing = [REQUEST, sent, CLOSE]
    asked(failing, failing, [REQUEST, listing("a")], main=main)


def test_a_list_stays_when_its_provider_fails_later(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[list[str]] = []

    async def main() -> None:
        scripts: list[list[Step]] = [[REQUEST, listing("a")], [REQUEST, CLOSE], [REQUEST, listing("a", "b")]]
        async with ScriptedUpstream(*scripts) as upstream:
            settings = Settings(upstreams={"up": UpstreamSettings(base_url=upstream.base_url)})
            async with serving(Settings()) as relay:
                names = Directory(settings, relay.gateway.pool)
                task = asyncio.create_task(names.run(lambda: changes.append(names.names())))
                await until(lambda: len(changes) == 3)
                task.cancel()

    monkeypatch.setattr(directory, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(directory, "REFRESH_SECONDS", 0.01)
    run_in("uvloop", main)
    assert changes == [["up/a"], ["up/a"], ["up/a", "up/b"]]
