"""The small routes: health, readiness, the front page, the schema; and the application's other duties."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from tokenwire import __version__
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.settings import Settings
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream


def test_alive(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        health = await client.get("/healthz").whole()
        assert (health.status, health.json) == (200, {"status": "ok"})
        assert health.fields["cache-control"] == "no-store"

    relayed(main)


def test_ready_until_it_drains(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        stream = client.post("/v1/chat/completions", chat())
        await stream.blocks_of(2)
        ready = await other.get("/readyz").whole()
        assert (ready.status, ready.json["status"]) == (200, "ready")
        assert {name: ready.json[name] for name in ("streams", "running", "readers", "opened")} == {
            "streams": 1,
            "running": 1,
            "readers": 1,
            "opened": 1,
        }
        relay.gateway.drain()
        for path, status in (("/readyz", 503), ("/healthz", 200)):
            last = await other.get(path).whole()
            assert (last.status, last.json["status"]) == (status, "draining" if status == 503 else "ok")
            assert last.fields["connection"] == "close", "and a client that keeps connections asks elsewhere"
            assert await other.gone() == "fin"
            other = await relay.connect()

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))])


def test_a_relay_that_drains_begins_nothing_new_and_ends_what_it_began(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        stream = await client.post("/v1/chat/completions", chat(), {"Idempotency-Key": "k"}).blocks_of(2)
        relay.gateway.drain()
        assert relay.gateway.busy()
        native = {"dialect": "openai.chat", "request": chat()}
        for path, body in (("/v1/chat/completions", chat()), ("/v1/streams", native)):
            refused = await (await relay.connect()).post(path, body).whole()
            assert refused.status == 503
            assert refused.fields["retry-after"] == "1"
            assert refused.json["error"]["code"] == "shutting_down"
        # Whoever comes back to what is under way is let in.
        follower = other.get(f"/v1/streams/{relay.streams[0].id}/events?dialect=openai.chat")
        again = (await relay.connect()).post("/v1/chat/completions", chat(), {"Idempotency-Key": "k"})
        gate.set()
        for each in (stream, follower, again):
            assert (await each.whole()).text == "one two"
        assert not relay.gateway.busy()

    gate = asyncio.Event()
    first = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
    rest = chunks(frames.text(" two"), frames.finish(), frames.DONE) + b"0\r\n\r\n"
    relayed(main, [REQUEST, first, gate, rest])


def test_what_lacks_only_its_usage_is_not_cut(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post("/v1/chat/completions", chat()).blocks_of(3)
        client.close()
        await until(lambda: relay.streams and not relay.streams[0].readers)
        assert relay.streams[0].terminal is None
        relay.gateway.cut()
        assert relay.streams[0].state.value == "completed"

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"), frames.finish())])


def test_what_is_cut_is_told_why(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(4)]
        vendor = await clients[0].post("/v1/chat/completions", chat()).blocks_of(2)
        native = clients[1].get(f"/v1/streams/{relay.streams[0].id}/events")
        await native.until(lambda answer: "text" in answer.events)
        held = clients[2].post("/v1/chat/completions", chat())
        whole = clients[3].post("/v1/chat/completions", chat(stream=False))
        await relay.stream(2)
        relay.gateway.cut()
        for each in (vendor, native, held, whole):
            await each.whole()
            assert each.complete
        assert vendor.data[-1]["error"]["code"] == "shutting_down"
        assert "[DONE]" not in vendor.data
        assert native.data[-2]["code"] == "shutting_down"
        assert native.data[-2]["retryable"] is True
        assert native.data[-1]["state"] == "failed"
        for each in (held, whole):
            assert (each.status, each.json["error"]["code"]) == (503, "shutting_down")

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))], [REQUEST])


def test_the_front_page(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        page = await client.get("/").whole()
        text = page.body.decode()
        assert page.fields["content-type"].startswith("text/plain")
        assert f"tokenwire {__version__}" in text
        assert f"http://127.0.0.1:{relay.port}/v1/chat/completions" in text
        assert '"model":"up/gpt-9"' in text

    relayed(main, settings={"models": ["gpt-9"]})


def test_the_front_page_without_models(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert b'"model":"UPSTREAM/MODEL"' in (await client.get("/").whole()).body

    relayed(main)


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/v1/models", "/openapi.json"])
def test_head_is_answered_as_get_is(relayed: Any, path: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        get = await (await relay.connect()).get(path).whole()
        client = await relay.connect()
        head = await client.request("HEAD", path, None, {"connection": "close"}).whole()
        assert await client.gone() == "fin"
        assert (head.status, bytes(head.body)) == (200, b"")
        assert head.fields["content-length"] == str(len(get.body))
        assert head.fields["content-type"] == get.fields["content-type"]

    relayed(main)


def test_the_schema_names_every_route(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for _ in range(2):  # FastAPI keeps what it made: asking again must not add anything
            schema = (await client.get("/openapi.json").whole()).json
            assert schema["openapi"].startswith("3.")
            assert schema["info"] == {"title": "tokenwire", "version": __version__}
            routes = {f"{method.upper()} {path}" for path, item in schema["paths"].items() for method in item}
            assert routes == {
                "POST /v1/chat/completions",
                "POST /v1/messages",
                "POST /v1/responses",
                "GET /v1/responses/{id}",
                "POST /v1/responses/{id}/cancel",
                "POST /v1beta/models/{model}:streamGenerateContent",
                "POST /v1beta/models/{model}:generateContent",
                "GET /v1beta/models",
                "GET /v1beta/models/{name}",
                "POST /ollama/api/chat",
                "POST /ollama/api/generate",
                "GET /ollama/api/tags",
                "POST /ollama/api/show",
                "GET /ollama/api/version",
                "GET /ollama",
                "GET /api/chat/{id}/stream",
                "POST /api/chat/{id}/stop",
                "POST /agui",
                "POST /v1/messages/count_tokens",
                "GET /v1/models",
                "GET /v1/models/{name}",
                "POST /v1/streams",
                "GET /v1/streams",
                "GET /v1/streams/{id}",
                "DELETE /v1/streams/{id}",
                "POST /v1/streams/{id}/cancel",
                "POST /v1/streams/{id}/lease",
                "GET /v1/streams/{id}/events",
                "POST /v1/streams/{id}/ticket",
                "POST /api/chat",
                "GET /api/chat",
                "GET /healthz",
                "GET /readyz",
                "GET /",
            }
            for item in schema["paths"].values():
                for operation in item.values():
                    assert operation["summary"]
                    assert operation["responses"]

    relayed(main)


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allowed"),
    [
        ("GET", "/nothing", 404, "no_such_route", None),
        ("POST", "/v1/embeddings", 404, "no_such_route", None),
        ("GET", "/docs", 404, "no_such_route", None),
        ("GET", "/" + "x" * 5000, 404, "no_such_route", None),
        ("DELETE", "/v1/models", 405, "method_not_allowed", "GET"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed", "POST"),
    ],
)
def test_what_is_not_there_is_said_in_openais_words(
    relayed: Any, method: str, path: str, status: int, code: str, allowed: str | None
) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.request(method, path).whole()
        error = refused.json["error"]
        assert (refused.status, error["code"], error["type"]) == (status, code, "invalid_request_error")
        assert refused.fields.get("allow") == allowed
        assert len(refused.body) < 500

    relayed(main)


# ---------------------------------------------------------------------- ASGI's other scopes


def test_the_lifespan_starts_and_ends_the_relay() -> None:
    async def main() -> None:
        gateway = Gateway(Settings())
        messages = iter(["lifespan.startup", "lifespan.something", "lifespan.shutdown"])
        sent = []

        async def receive() -> dict[str, Any]:
            return {"type": next(messages)}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await gateway({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert gateway.draining
        await gateway.shutdown()  # again

    run_in("uvloop", main)


def test_starting_twice_is_starting_once() -> None:
    async def main() -> None:
        gateway = Gateway(Settings())
        await gateway.startup()
        await gateway.startup()
        assert len(asyncio.all_tasks()) == 2
        await gateway.shutdown()

    run_in("uvloop", main)


def test_websockets_are_declined() -> None:
    async def main() -> None:
        gateway = Gateway(Settings())
        sent = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            raise AssertionError("there is nothing to say")

        await gateway({"type": "websocket"}, receive, send)
        assert sent == [{"type": "websocket.close", "code": 1000}]
        await gateway.shutdown()

    run_in("uvloop", main)


def test_the_relay_ends_its_streams_when_it_ends(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post("/v1/chat/completions", chat()).blocks_of(2)
        await relay.gateway.shutdown()
        await stream.whole()
        assert stream.data[-1]["error"]["code"] == "shutting_down"
        assert await upstream.peers[0].gone() is not None

    relayed(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))])


def test_streams_that_have_ended_can_be_looked_at_while_draining(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post("/v1/chat/completions", chat()).whole()
        relay.gateway.drain()
        assert not relay.gateway.busy()
        path = f"/v1/streams/{relay.streams[0].id}"
        assert (await client.get(path).whole()).json["state"] == "completed"

    relayed(main, streamed("one"))


def test_what_takes_long_to_import_is_there_when_it_serves() -> None:
    """FastAPI by the first request for a control route would hold every stream for a third of a second."""
    code = (
        "import asyncio, sys\n"
        "from tokenwire.gateway.app import Gateway\n"
        "from tokenwire.gateway.settings import Settings\n"
        "async def main():\n"
        "    gateway = Gateway(Settings())\n"
        "    before = 'fastapi' in sys.modules\n"
        "    await gateway.startup()\n"
        "    print(before, 'fastapi' in sys.modules)\n"
        "    await gateway.shutdown()\n"
        "asyncio.run(main())\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (said.stdout, said.stderr) == ("False True\n", "")
