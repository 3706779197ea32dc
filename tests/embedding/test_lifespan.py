"""A relay's beginning and end in an app: settings, simulator, lifespans that are composed, and shutdown in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from starlette.testclient import TestClient
from tests.embedding.apps import serving

import tokenwire.fastapi as package
from tokenwire.errors import BadArgument, ConfigError, LocalProtocolError
from tokenwire.fastapi import Relay
from tokenwire.fastapi.config import settings_for
from tokenwire.gateway.settings import LimitSettings, Settings
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.processes import wait_for
from tokenwire.testing.rig import run_in, settle

REQUEST = Request({"type": "http", "headers": [], "method": "POST", "path": "/"})


def test_the_packages_example_runs_and_its_names_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    assert "Relay" in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'Rely'"):
        _ = package.Rely
    example = textwrap.dedent((package.__doc__ or "").partition("::\n")[2].partition("\n`Relay`")[0])
    names: dict[str, Any] = {}
    exec(example.replace("openai/gpt-4o", "sim/instant"), names)
    app = names["app"]
    paths = app.openapi()["paths"]
    assert {"/api/chat", "/api/chat/{chat_id}/stream", "/streams/{stream_id}/events"} <= paths.keys()
    message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
    with TestClient(app) as client:
        answer = client.post("/api/chat", json={"id": "c", "messages": [message]}, headers={"x-user": "ada"})
        assert '"type":"text-delta"' in answer.text
        assert client.post("/api/chat", json={"messages": []}).status_code == 401


def test_a_relay_that_does_not_run_says_what_is_missing() -> None:
    relay = Relay(Settings())
    with pytest.raises(LocalProtocolError, match=r"lifespan=relay\.lifespan"):
        relay.respond(REQUEST, messages=[])
    app = FastAPI(lifespan=relay.lifespan)

    @app.get("/say", response_model=None)
    async def say(request: Request) -> Response:
        return relay.respond(request, source=words, dialect="openai.chat")

    async def words() -> AsyncIterator[str]:
        yield "one"

    with pytest.raises(LocalProtocolError, match="does not run"):
        TestClient(app).get("/say")
    with TestClient(app) as client:
        assert '"content":"one"' in client.get("/say").text
        with pytest.raises(LocalProtocolError, match="runs already"):
            asyncio.run(relay.__aenter__())
    with TestClient(app) as client:  # and again, in another loop
        assert client.get("/say").status_code == 200


def test_it_is_composed_with_the_apps_own_lifespan_and_leaves_the_collector_as_it_was() -> None:
    relay = Relay(Settings())
    before = gc.get_threshold()
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        steps.append("begun")
        async with relay:
            assert relay.running.core.settings == Settings()
            yield
        steps.append("over")

    with TestClient(FastAPI(lifespan=lifespan)):
        assert steps == ["begun"]
    assert steps == ["begun", "over"]
    assert gc.get_threshold() == before

    async def failing() -> None:
        async with relay:
            raise RuntimeError("the app's own")

    with pytest.raises(RuntimeError, match="own"):
        asyncio.run(failing())


def test_settings_come_from_a_file_a_mapping_or_the_environment(tmp_path: Path) -> None:
    table: dict[str, Any] = {"upstreams": {"a": {"base_url": "http://127.0.0.1:1/v1", "api_key": "${A_KEY}"}}}
    file = tmp_path / "tokenwire.toml"
    file.write_text('[upstreams.a]\nbase_url = "http://127.0.0.1:1/v1"\napi_key = "${A_KEY}"\n')
    environ = {"A_KEY": "k", "OPENAI_API_KEY": "o"}
    for config in (table, file, str(file)):
        assert settings_for(config, environ).upstreams["a"].api_key == "k"
    found = settings_for(None, environ)
    assert list(found.upstreams) == ["openai"]
    assert found.server.default_model == "sim/gpt-4o"
    with pytest.raises(BadArgument, match="not int"):
        settings_for(7, environ)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown key"):
        settings_for({"upstream": {}}, environ)
    with pytest.raises(BadArgument, match="on-disconnect"):
        Relay(on_disconnect="sometimes")


def test_the_simulator_answers_where_nobody_has_a_key_and_only_then_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    relay = Relay()
    app = FastAPI()

    @app.get("/ask", response_model=None)
    async def ask(request: Request, model: str | None = None) -> Response:
        return relay.respond(request, model=model, messages=[{"role": "user", "content": "hi"}], dialect="openai.chat")

    async def main() -> None:
        async with serving(app, relay=relay) as running:
            client = await running.connect()
            assert (await client.get("/ask?model=gpt-4o").whole()).status == 404
            assert not relay.running.core.directory.upstreams
            first = client.get("/ask")
            second = (await running.connect()).get("/ask?model=sim/instant")
            assert (await second.whole()).text
            await first.until(lambda answer: answer.text)
            assert list(relay.running.core.directory.upstreams) == ["sim"]

    run_in("uvloop", main)


def test_a_principal_that_is_no_name_is_a_bug_of_the_apps(caplog: pytest.LogCaptureFixture) -> None:
    async def number(request: Request) -> Any:
        return 7

    async def main() -> None:
        async with Relay(Settings(), principal=number) as relay:
            with pytest.raises(LocalProtocolError, match="not 7"):
                await relay.owner_of(REQUEST)

    run_in("uvloop", main)


def test_a_source_that_will_not_end_is_named_and_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenwire.fastapi.running.LAST_WORDS_SECONDS", 0.05)
    free = asyncio.Event()

    async def stubborn() -> AsyncIterator[str]:
        yield "one"
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                asyncio.get_running_loop().call_later(0.1, free.set)

    relay = Relay(Settings())
    app = FastAPI()

    @app.get("/say", response_model=None)
    async def say(request: Request) -> Response:
        return relay.respond(request, source=stubborn, dialect="openai.chat")

    async def main() -> None:
        async with serving(app, relay=relay) as running:
            await (await running.connect()).get("/say").until(lambda answer: answer.text)
        await free.wait()
        await settle()

    run_in("uvloop", main)
    assert "a source did not end" in caplog.text


def test_a_relay_that_drains_takes_no_new_streams() -> None:
    async def words() -> AsyncIterator[str]:
        yield "one"

    relay = Relay(Settings(limits=LimitSettings(drain=0.1)))
    app = FastAPI()

    @app.get("/say", response_model=None)
    async def say(request: Request) -> Response:
        return relay.respond(request, source=words(), dialect="openai.chat")

    async def main() -> None:
        async with serving(app, relay=relay) as running:
            relay.running.core.drain()
            refused = await (await running.connect()).get("/say").whole()
            assert (refused.status, refused.json["error"]["code"]) == (503, "shutting_down")
            assert refused.fields["retry-after"]

    run_in("uvloop", main)


APP = """
import asyncio, sys
import uvicorn
from fastapi import FastAPI, Request
from tokenwire.fastapi import Relay
from tokenwire.gateway.settings import LimitSettings, Settings

async def store(completed):
    await asyncio.sleep(0.01)
    print(completed.state, completed.error.code, completed.text, flush=True)

relay = Relay(Settings(limits=LimitSettings(drain=0.2)), on_complete=store)
app = FastAPI(lifespan=relay.lifespan)

async def words():
    yield "one"
    await asyncio.sleep(60)

@app.get("/say")
async def say(request: Request):
    return relay.respond(request, source=words, dialect="native")

uvicorn.run(app, port=int(sys.argv[1]), http=sys.argv[2], log_level="error")
"""


@pytest.mark.slow
@pytest.mark.parametrize("http", ["tokenwire.fastapi:HttpProtocol", "h11"])
def test_at_a_signal_streams_get_their_time_a_reason_and_a_record_under_plain_uvicorn(
    http: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    with refusing_port() as port:
        pass
    process = subprocess.Popen([sys.executable, str(tmp_path / "app.py"), str(port), http], stdout=subprocess.PIPE)
    try:
        connected = wait_for(lambda: _connected(port, process))
        assert connected is not None
        with connected as client:
            client.settimeout(10)
            client.sendall(b"GET /say HTTP/1.1\r\nhost: x\r\n\r\n")
            data = b""
            while b'"one"' not in data:
                data += client.recv(65536)
            process.send_signal(signal.SIGTERM)
            while more := client.recv(65536):
                data += more
        assert b'"code":"shutting_down"' in data
        assert data.endswith(b"0\r\n\r\n")
        out, _ = process.communicate(timeout=10)
        assert out.decode().splitlines() == ["failed shutting_down one"]
    finally:
        process.kill()
        process.wait()


def _connected(port: int, process: subprocess.Popen[bytes]) -> socket.socket | None:
    assert process.poll() is None, "it did not start"
    try:
        return socket.create_connection(("127.0.0.1", port), 1)
    except OSError:
        return None
