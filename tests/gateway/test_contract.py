"""One contract for every server that the relay runs under: our edge, uvicorn's own protocols, hypercorn, granian."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.http_client import Client
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.processes import wait_for
from tokenwire.testing.relay import STREAM_HEAD, chat, chunks, serving, settings_for, streamed
from tokenwire.testing.rig import run_in, settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step

CHAT = "/v1/chat/completions"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK

#: How a server of another make is started; it finds the application beside this file.
COMMANDS = {
    "hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "{app}:app"],
    "granian": ["-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "{app}:app"],
}
SERVERS = ["tokenwire", "httptools", "h11", *COMMANDS]

Connect: TypeAlias = Callable[..., Awaitable[Client]]
Scenario: TypeAlias = Callable[[Connect, ScriptedUpstream], Awaitable[None]]
Contract: TypeAlias = Callable[..., None]


@contextmanager
def process(
    name: str, port: int, upstream_port: int, folder: Path = Path(__file__).parent, app: str = "asgi_app"
) -> Iterator[None]:
    """The relay under the server *name* at *port*, in a process of its own: *app* of the module *app* in *folder*."""
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "RELAY_UPSTREAM": f"http://127.0.0.1:{upstream_port}/v1",
    }
    command = [part.format(port=port, app=app) for part in COMMANDS[name]]
    server = subprocess.Popen(
        [sys.executable, *command], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=sys.stderr
    )

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            return client.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.poll() is None, "it did not start"
        return False

    try:
        wait_for(listens)
        yield
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="module", params=SERVERS)
def contract(request: pytest.FixtureRequest) -> Iterator[Contract]:
    """``contract(scenario, *scripts)``: ``scenario(connect, upstream)`` with the relay under one of the servers."""
    name = request.param

    async def with_clients(scenario: Scenario, port: int, upstream: ScriptedUpstream) -> None:
        clients: list[Client] = []

        async def connect(**options: Any) -> Client:
            clients.append(await Client.connect(port, **options))
            return clients[-1]

        try:
            await scenario(connect, upstream)
        finally:
            for client in clients:
                client.transport.abort()
                await client.gone()

    if name in COMMANDS:

        def outside(scenario: Scenario, *scripts: Sequence[Step]) -> None:
            async def main() -> None:
                async with ScriptedUpstream(*scripts, port=upstream_port) as upstream:
                    await with_clients(scenario, port, upstream)

            run_in("uvloop", main)

        with refusing_port() as upstream_port, refusing_port() as port, process(name, port, upstream_port):
            yield outside
        return

    def inside(scenario: Scenario, *scripts: Sequence[Step]) -> None:
        async def main() -> None:
            async with ScriptedUpstream(*scripts) as upstream:
                settings = settings_for(upstream.base_url, linger=1.0)
                async with serving(settings, edge=name) as relay:
                    await with_clients(scenario, relay.port, upstream)

        run_in("uvloop", main)

    yield inside


def test_a_stream_comes_whole_and_verbatim(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        stream = await (await connect()).post(CHAT, chat()).whole()
        assert (stream.status, stream.complete) == (200, True)
        assert bytes(stream.body) == b"".join(frames.answer("one", " two"))
        assert stream.fields["content-type"].startswith("text/event-stream")
        assert stream.fields["x-accel-buffering"] == "no"
        assert stream.fields["x-tokenwire-stream"].startswith("st_")

    contract(main, streamed("one", " two"))


def test_every_token_comes_at_once(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        stream = (await connect()).post(CHAT, chat())
        await stream.until(lambda answer: answer.text == "one")
        gate.set()
        await stream.whole()
        assert stream.text == "one two"

    gate = asyncio.Event()
    contract(main, [REQUEST, FIRST, gate, REST])


def test_a_whole_answer_comes_verbatim(contract: Contract) -> None:
    body = b'{"choices": [{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}], "x":1.0}'

    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        whole = await (await connect()).post(CHAT, chat(stream=False)).whole()
        assert (whole.status, bytes(whole.body)) == (200, body)

    contract(main, [REQUEST, answer(body)])


def test_an_error_before_the_first_token_is_a_status(contract: Contract) -> None:
    body = b'{"error":{"message":"slow down","type":"tokens","param":null,"code":"rate_limit_exceeded"}}'

    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        refused = await (await connect()).post(CHAT, chat()).whole()
        assert (refused.status, bytes(refused.body)) == (429, body)
        assert refused.fields["retry-after"] == "20"

    contract(main, [REQUEST, answer(body, status=429, fields=[("retry-after", "20")])])


def test_an_error_within_the_answer_is_an_event(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        stream = await (await connect()).post(CHAT, chat()).whole()
        assert (stream.status, stream.complete) == (200, True)
        assert stream.text == "one"
        assert stream.data[-1]["error"]["code"] == "upstream_closed"
        assert "[DONE]" not in stream.data

    contract(main, [REQUEST, FIRST, CLOSE])


@pytest.mark.parametrize("answered", [b"", FIRST], ids=["before the first token", "in mid-stream"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_ends_the_providers_work(contract: Contract, answered: bytes, how: str) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client = await connect()
        stream = client.post(CHAT, chat())
        peer = await upstream.peer()
        await until(lambda: peer.requests)
        if answered:
            await stream.until(lambda answer: answer.text == "one")
        await settle()
        getattr(client, how)()
        async with asyncio.timeout(5):
            assert await peer.gone() is not None

    contract(main, [REQUEST, answered])


def test_a_client_that_leaves_a_whole_answer_ends_the_providers_work(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client = await connect()
        client.post(CHAT, chat(stream=False))
        peer = await upstream.peer()
        await until(lambda: peer.requests)
        client.close()
        async with asyncio.timeout(5):
            assert await peer.gone() is not None

    contract(main, [REQUEST])


@pytest.mark.untraced
def test_a_slow_reader_costs_a_cursor_and_loses_nothing(contract: Contract) -> None:
    """What it has not taken stays in the log: a server that swallowed it would have finished with it long ago."""

    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client, other = await connect(receive_buffer=4096), await connect()
        stream = await client.post(CHAT, chat()).blocks_of(1)
        client.pause()
        path = f"/v1/streams/{stream.fields['x-tokenwire-stream']}"
        while (look := (await other.get(path).whole()).json)["state"] != "completed":
            pass
        await settle(500)
        look = (await other.get(path).whole()).json
        assert look["readers"] == 1
        client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client.resume()
        await stream.whole()
        assert stream.complete
        assert stream.data[-1] == "[DONE]"
        assert [int(mark) for mark in re.findall(rb"<(\d+)>", stream.body)] == list(range(count))

    count = 400  # 8 MB, twice what Linux lets a socket hold
    pieces = [frames.text(f"<{n}>" + "x" * 20_000) for n in range(count)]
    contract(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), *pieces, frames.finish(), frames.DONE) + LAST_CHUNK])


def test_a_reader_that_was_cut_goes_on_where_it_was(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client = await connect()
        body = {"dialect": "openai.chat", "request": chat()}
        started = await client.post("/v1/streams", body).whole()
        assert started.status == 201
        events = started.json["events"]
        first = client.get(events)
        await first.until(lambda answer: "text" in answer.events)
        client.reset()
        resumed = (await connect()).get(events, {"Last-Event-ID": first.ids[-1]})
        await resumed.head()
        gate.set()
        await resumed.whole()
        assert [data["t"] for data in first.data if "t" in data] == ["one"]
        assert [data["t"] for data in resumed.data if "t" in data] == [" two"]
        assert resumed.data[-1]["state"] == "completed"
        over = await (await connect()).get(events, {"Last-Event-ID": resumed.ids[-1]}).whole()
        assert (over.status, bytes(over.body)) == (204, b"")

    gate = asyncio.Event()
    contract(main, [REQUEST, FIRST, gate, REST])


def test_the_last_reader_that_leaves_starts_the_linger(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client, other = await connect(), await connect()
        body = {"dialect": "openai.chat", "request": chat(), "on_disconnect": "linger=0.1"}
        path = (await client.post("/v1/streams", body).whole()).fields["location"]
        await client.get(f"{path}/events").until(lambda answer: "text" in answer.events)
        client.close()
        async with asyncio.timeout(5):
            assert await (await upstream.peer()).gone() is not None
        assert (await other.get(path).whole()).json["state"] == "cancelled"

    contract(main, [REQUEST, FIRST])


def test_a_stop_from_elsewhere_reaches_the_reader(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client, other = await connect(), await connect()
        stream = client.post(CHAT, chat())
        await stream.until(lambda answer: answer.text == "one")
        cancelled = await other.post(f"/v1/streams/{stream.fields['x-tokenwire-stream']}/cancel").whole()
        assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
        await stream.whole()
        assert stream.data[-1]["error"]["code"] == "cancelled"

    contract(main, [REQUEST, FIRST])


def test_one_connection_for_many_requests(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client = await connect()
        for _ in range(2):
            assert (await client.post(CHAT, chat()).whole()).text == "one"
            assert (await client.post(CHAT, b"{").whole()).status == 400
            assert (await client.get("/healthz").whole()).status == 200
            assert (await client.get("/v1/models").whole()).status == 200

    contract(main, streamed("one") * 2)


def test_a_head_has_no_body(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client = await connect()
        stream = client.post(CHAT, chat())
        await stream.until(lambda answer: answer.text == "one")
        path = f"/v1/streams/{stream.fields['x-tokenwire-stream']}/events"
        head = await (await connect()).request("HEAD", path).whole()
        assert head.status == 200
        assert head.fields["content-type"].startswith("text/event-stream")
        gate.set()
        await stream.whole()
        assert stream.text == "one two", "looking was no reading, and its end no leaving"

    gate = asyncio.Event()
    contract(main, [REQUEST, FIRST, gate, REST])


def test_the_plainest_form(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client, other = await connect(), await connect()
        posted = client.post("/api/chat", {"prompt": "hi", "model": "up/m"})
        await posted.until(lambda answer: b"one" in answer.body)
        gates[0].set()
        await posted.whole()
        assert bytes(posted.body) == b'data: {"text":"one"}\n\ndata: {"text":" two"}\n\ndata: [DONE]\n\n'
        link = "/api/chat?prompt=hi&model=up/m&run=r1"
        first = await other.get(link).until(lambda answer: b"one" in answer.body)
        other.reset()
        resumed = await (await connect()).get(link, {"Last-Event-ID": first.ids[-1]}).head()
        gates[1].set()
        await resumed.whole()
        assert resumed.data == [{"text": " two"}, "[DONE]"]
        over = await client.get(link, {"Last-Event-ID": resumed.ids[-1]}).whole()
        assert (over.status, bytes(over.body)) == (204, b"")

    gates = [asyncio.Event(), asyncio.Event()]
    contract(main, [REQUEST, FIRST, gates[0], REST, REQUEST, FIRST, gates[1], REST])


def test_a_ticket_is_enough_to_follow(contract: Contract) -> None:
    async def main(connect: Connect, upstream: ScriptedUpstream) -> None:
        client = await connect()
        started = await client.post("/v1/streams", {"dialect": "openai.chat", "request": chat()}).whole()
        ticket = (await client.post(f"{started.fields['location']}/ticket").whole()).json
        events = await (await connect()).get(ticket["url"], {"Accept": "text/event-stream"}).whole()
        assert events.data[-1]["state"] == "completed"
        over = await client.get(ticket["url"], {"Last-Event-ID": events.ids[-1]}).whole()
        assert over.status == 204
        assert (await client.get(ticket["url"][:-1]).whole()).status == 403

    contract(main, streamed("one", " two"))
