"""Starting and ending: addresses, signals, and what becomes of the streams that run."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tokenwire.errors import ConfigError
from tokenwire.gateway import server
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.server import configure, listen, run, serve
from tokenwire.gateway.settings import Settings
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.http_client import Client
from tokenwire.testing.relay import STREAM_HEAD, chat, chunks, settings_for, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

CHAT = "/v1/chat/completions"
FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """A server tells the collector to leave alone what is there: other tests want it as it was."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Served:
    """A relay that is served as ``tokenwire serve`` does it, signals included."""

    def __init__(self, gateway: Gateway, port: int, task: asyncio.Task[None]) -> None:
        self.gateway = gateway
        self.port = port
        self.task = task
        self.clients: list[Client] = []

    async def connect(self, **options: Any) -> Client:
        client = await Client.connect(self.port, **options)
        self.clients.append(client)
        return client

    async def ended(self) -> None:
        async with asyncio.timeout(5):
            await self.task


@contextlib.asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Served]:
    ready: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    task = asyncio.get_running_loop().create_task(serve(settings, sock, on_ready=ready.set_result))
    relay = Served(await ready, port, task)
    try:
        yield relay
    finally:
        if not task.done():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
        await relay.ended()
        for client in relay.clients:
            client.transport.abort()
            await client.gone()


def run_served(main: Any, *scripts: Any, **limits: Any) -> None:
    async def inside() -> None:
        async with ScriptedUpstream(*scripts) as upstream, served(settings_for(upstream.base_url, **limits)) as relay:
            await main(relay, upstream)

    run_in("uvloop", inside)


# ---------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_relay(number: signal.Signals) -> None:
    async def main(relay: Served, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.get("/healthz").whole()).status == 200
        began = time.monotonic()
        os.kill(os.getpid(), number)
        await relay.ended()  # and returns, although uvicorn would raise the signal once more
        assert time.monotonic() - began < 2
        assert await client.gone() == "fin"
        with pytest.raises(ConnectionRefusedError):
            await relay.connect()

    run_served(main)


def test_running_streams_get_their_time(caplog: pytest.LogCaptureFixture) -> None:
    async def main(relay: Served, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).blocks_of(2)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: relay.gateway.draining)
        other = await relay.connect()  # a load balancer that has not heard yet
        assert (await other.get("/readyz").whole()).status == 503
        refused = await (await relay.connect()).post(CHAT, chat()).whole()
        assert (refused.status, refused.json["error"]["code"]) == (503, "shutting_down")
        assert refused.fields["retry-after"] == "1"
        assert not relay.task.done()
        gate.set()
        await stream.whole()
        assert (stream.text, stream.complete, stream.data[-1]) == ("one two", True, "[DONE]")
        await relay.ended()

    gate = asyncio.Event()
    run_served(main, [REQUEST, FIRST, gate, REST])
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_stream_that_takes_longer_is_cut_and_told_why() -> None:
    async def main(relay: Served, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(3)]
        vendor = await clients[0].post(CHAT, chat()).blocks_of(2)
        stream_id = vendor.fields["x-tokenwire-stream"]
        native = clients[1].get(f"/v1/streams/{stream_id}/events")
        await native.until(lambda answer: "text" in answer.events)
        held = clients[2].post(CHAT, chat())
        await until(lambda: len(upstream.peers) == 2)
        os.kill(os.getpid(), signal.SIGTERM)
        for each in (vendor, native, held):
            await each.whole()
            assert each.complete
        assert vendor.data[-1]["error"]["code"] == "shutting_down"
        assert native.data[-2]["code"] == "shutting_down"
        assert (held.status, held.json["error"]["code"]) == (503, "shutting_down")
        await relay.ended()
        for peer in upstream.peers:
            assert await peer.gone() is not None

    run_served(main, [REQUEST, FIRST], [REQUEST], drain=0.1)


def test_a_reader_that_is_behind_gets_the_rest() -> None:
    async def main(relay: Served, upstream: ScriptedUpstream) -> None:
        client = await relay.connect(receive_buffer=4096)
        slow = await client.post(CHAT, chat()).blocks_of(1)
        client.pause()
        await until(lambda: relay.gateway.hub.statistics().running == 0)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: relay.gateway.draining)
        assert relay.gateway.busy()
        client.resume()
        await slow.whole()
        assert slow.text.count("<") == 1000
        assert slow.data[-1] == "[DONE]"
        await relay.ended()

    run_served(main, streamed(*[f"<{n}>" + "x" * 4000 for n in range(1000)]))


@pytest.mark.parametrize("forced", [True, False])
def test_a_reader_that_reads_nothing_is_left_behind_without_noise(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], forced: bool
) -> None:
    async def main(relay: Served, upstream: ScriptedUpstream) -> None:
        client = await relay.connect(receive_buffer=4096)
        stuck = await client.post(CHAT, chat()).blocks_of(1)
        client.pause()
        await until(lambda: relay.gateway.hub.running()[0].statistics().furthest_lag > 100)
        os.kill(os.getpid(), signal.SIGTERM)
        if forced:
            await until(lambda: relay.gateway.draining)
            os.kill(os.getpid(), signal.SIGTERM)
        await relay.ended()
        client.resume()
        await stuck.whole()
        assert not stuck.complete

    monkeypatch.setattr(server, "LAST_WORDS_SECONDS", 0.1)
    pieces = [frames.text(f"<{n}>" + "x" * 4000) for n in range(1000)]
    run_served(main, [REQUEST, STREAM_HEAD + chunks(*pieces)], drain=30.0 if forced else 0.1)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(second: signal.Signals) -> None:
    async def main(relay: Served, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(CHAT, chat()).blocks_of(2)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: relay.gateway.draining)
        began = time.monotonic()
        os.kill(os.getpid(), second)
        await stream.whole()
        assert stream.data[-1]["error"]["code"] == "shutting_down"
        await relay.ended()
        assert time.monotonic() - began < 2

    run_served(main, [REQUEST, FIRST])


def test_answers_have_a_date() -> None:
    async def main(relay: Served, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.get("/healthz").whole()).fields["date"].endswith("GMT")

    run_served(main)


def test_connections_outlast_their_clients_pools() -> None:
    async def main() -> None:
        gateway = Gateway(Settings())
        assert configure(gateway).timeout_keep_alive == 75
        await gateway.shutdown()

    run_in("uvloop", main)


# ---------------------------------------------------------------------- run


@pytest.mark.parametrize("with_uvloop", [True, False])
def test_run_has_a_loop_of_its_own(monkeypatch: pytest.MonkeyPatch, with_uvloop: bool) -> None:
    seen: list[str] = []

    def ready(gateway: Gateway) -> None:
        seen.append(type(asyncio.get_running_loop()).__module__)
        os.kill(os.getpid(), signal.SIGTERM)

    if not with_uvloop:
        monkeypatch.setitem(sys.modules, "uvloop", None)
        monkeypatch.setitem(sys.modules, "resource", None)
    run(Settings(), listen("127.0.0.1", 0), ready)
    assert seen == ["uvloop" if with_uvloop else "asyncio.unix_events"]


def test_run_needs_nobody_to_tell() -> None:
    async def main() -> None:
        task = asyncio.create_task(serve(Settings(), listen("127.0.0.1", 0)))
        await until(lambda: signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, before))
        os.kill(os.getpid(), signal.SIGTERM)
        await task

    before = signal.getsignal(signal.SIGTERM)
    run_in("uvloop", main)
    assert signal.getsignal(signal.SIGTERM) == before, "the handlers are given back"


def test_as_many_files_may_be_open_as_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    asked: list[tuple[int, int]] = []

    def refuse(kind: int, limits: tuple[int, int]) -> None:
        asked.append(limits)
        raise ValueError("not that many")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    server._raise_file_limit()
    assert asked == [(4096, 4096)]
    monkeypatch.setattr(resource, "setrlimit", refuse)
    server._raise_file_limit()
    assert "about 512 streams" in caplog.text
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (4096, 4096))
    server._raise_file_limit()
    assert len(asked) == 2


# ---------------------------------------------------------------------- listen


def test_listening_takes_a_free_port() -> None:
    with listen("127.0.0.1", 0) as sock:
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_a_port_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is in use; choose another") as caught:
            listen("127.0.0.1", port)
    assert caught.value.where == "server.port"


def test_a_name_that_is_nobodys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match=r"cannot listen on nowhere\.localhost: Name or service not known") as caught:
        listen("nowhere.localhost", 0)
    assert caught.value.where == "server.host"


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0") as caught:
        listen("192.0.2.1", 0)  # RFC 5737: documentation only
    assert os.strerror(errno.EADDRNOTAVAIL) in str(caught.value)
