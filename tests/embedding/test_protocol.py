"""``HttpProtocol`` under uvicorn: what it adds to the edge, and what it leaves to the app."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from fastapi import FastAPI
from tests.embedding.apps import serving

from tokenwire.fastapi import HttpProtocol, Relay, accepting
from tokenwire.gateway.accept import Acceptor
from tokenwire.gateway.settings import Settings
from tokenwire.testing.http_client import Client
from tokenwire.testing.rig import run_in, settle, until


def plain_app() -> FastAPI:
    app = FastAPI()
    app.state.relay = Relay(Settings())

    @app.get("/")
    async def root() -> dict[str, str]:
        return {"a": "b"}

    return app


def shared_of(running: Any) -> Any:
    return vars(running.state)["tokenwire_shared"]


def test_clients_that_come_together_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    adopt = Acceptor._adopt

    async def counted(self: Acceptor, client: socket.socket) -> None:
        taken.append(client.fileno())
        await adopt(self, client)

    monkeypatch.setattr(Acceptor, "_adopt", counted)

    async def main() -> None:
        async with serving(plain_app()) as running:
            first = await running.connect()
            assert (await first.get("/").whole()).json == {"a": "b"}
            assert isinstance(shared_of(running).acceptor, accepting.Beside)
            assert taken == []
            clients = await asyncio.gather(*(running.connect() for _ in range(40)))
            for client in clients:
                assert (await client.get("/").whole()).status == 200
            assert len(taken) > 20
            assert all(isinstance(each, HttpProtocol) for each in running.state.connections)
        assert not shared_of(running).acceptor.look()

    run_in("uvloop", main)


@pytest.mark.parametrize("what", ["asyncio", "no /proc", "TLS", "not found"])
def test_where_the_listening_socket_cannot_be_had_the_server_accepts_alone(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    if what == "no /proc":
        monkeypatch.setattr(accepting, "_OPEN_FILES", tmp_path / "nowhere")
    if what == "not found":
        monkeypatch.setattr(accepting, "_OPEN_FILES", tmp_path)

    async def main() -> None:
        async with serving(plain_app()) as running:
            client = await running.connect()
            assert (await client.get("/").whole()).status == 200
            if what == "TLS":
                shared_of(running).acceptor.close()
                [protocol] = running.state.connections

                class Secured:
                    def get_extra_info(self, name: str) -> Any:
                        return object() if name == "sslcontext" else protocol.transport.get_extra_info(name)

                assert accepting.beside(Secured(), HttpProtocol) is None  # type: ignore[arg-type]
            else:
                assert shared_of(running).acceptor is None

    run_in("asyncio" if what == "asyncio" else "uvloop", main)


def test_addresses_of_all_interfaces_and_of_unix_sockets_are_compared_as_they_are_bound() -> None:
    assert accepting._same(("0.0.0.0", 80), ("10.0.0.1", 80))
    assert accepting._same(("::", 80, 0, 0), ("::1", 80, 0, 0))
    assert not accepting._same(("127.0.0.2", 80), ("127.0.0.1", 80))
    assert not accepting._same(("127.0.0.1", 81), ("127.0.0.1", 80))
    assert accepting._same("/run/app.sock", "/run/app.sock")


def test_when_uvicorn_ends_its_connections_no_new_one_is_taken() -> None:
    async def main() -> None:
        async with serving(plain_app()) as running:
            client = await running.connect()
            assert (await client.get("/").whole()).status == 200
            for connection in list(running.state.connections):
                connection.shutdown()
            assert shared_of(running).acceptor._sock.fileno() == -1
            assert await client.gone() == "fin"

    run_in("uvloop", main)


def test_the_server_that_stops_listening_is_noticed_without_another_client() -> None:
    async def main() -> None:
        async with serving(plain_app()) as running:
            await (await running.connect()).get("/").whole()
            shared = shared_of(running)
            shared.acceptor._files = {-1: 7}  # as if the server's socket were closed
            shared._look()
            assert shared.acceptor._sock.fileno() == -1
            shared._look()
            await settle()

    run_in("uvloop", main)


def test_an_offer_of_http_2_is_declined_and_its_request_answered() -> None:
    async def main() -> None:
        async with serving(plain_app()) as running:
            client: Client = await running.connect()
            offer = {"connection": "upgrade, http2-settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"}
            assert (await client.get("/", offer).whole()).json == {"a": "b"}
            await until(lambda: running.state.connections)

    run_in("uvloop", main)
