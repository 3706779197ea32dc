"""Answers without a task: which requests get them, and what becomes of bugs."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import pytest

from tokenwire.gateway import following, respond
from tokenwire.gateway import generate as generate_route
from tokenwire.gateway.port import Port
from tokenwire.gateway.quick import QUICK_BYTES
from tokenwire.testing.exchange import RecordedTransport
from tokenwire.testing.relay import Relay, chat, serving, settings_for, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"
ANSWER = streamed("one")


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the bodies that were answered without a task."""
    sizes: list[int] = []
    answer = generate_route.answer

    def counted(gateway: Any, vendor: Any, scope: Any, body: bytes, sink: Any) -> None:
        sizes.append(len(body))
        answer(gateway, vendor, scope, body, sink)

    monkeypatch.setattr(generate_route, "answer", counted)
    return sizes


@pytest.mark.parametrize(
    ("padding", "quick"), [(0, True), (QUICK_BYTES - 500, True), (QUICK_BYTES, False), (10**6, False)]
)
def test_requests_of_moderate_size_are_answered_without_a_task(
    relayed: Any, quickly: list[int], padding: int, quick: bool
) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for _ in range(2):
            answer = await client.post(CHAT, {**chat(), "user": "x" * padding}).whole()
            assert (answer.status, answer.text, answer.complete) == (200, "one", True)

    relayed(main, [*ANSWER, *ANSWER])
    assert len(quickly) == 2 * quick


def test_who_waits_for_100_continue_gets_it(relayed: Any, quickly: list[int]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        request = client.encode("POST", CHAT, chat(), {"expect": "100-continue"})
        head, _, body = request.partition(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        answer = client.expect()
        await asyncio.sleep(0)
        client.send(body)
        assert (await answer.whole()).text == "one"

    relayed(main, ANSWER)
    assert quickly == []


def test_the_bound_on_bodies_holds_for_small_ones_too(relayed: Any, quickly: list[int]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, {**chat(), "user": "x" * 2000}).whole()
        assert (refused.status, refused.json["error"]["code"]) == (413, "request_too_large")

    relayed(main, [], request_body=1000)
    assert quickly == []


def test_a_refusal_is_an_answer_like_any_other(relayed: Any, quickly: list[int]) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(CHAT, {**chat(), "model": "nobody/knows"}).whole()
        assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")
        assert (await client.post(CHAT, chat()).whole()).text == "one", "over the same connection"

    relayed(main, ANSWER)
    assert len(quickly) == 2


@pytest.mark.parametrize("begun", [False, True])
def test_a_bug_is_a_500_or_ends_what_was_begun(
    relayed: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, begun: bool
) -> None:
    def broken(gateway: Any, vendor: Any, scope: Any, body: bytes, sink: Any) -> None:
        if begun:
            sink.begin([])
        raise RuntimeError("a bug in the route")

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        monkeypatch.setattr(generate_route, "answer", broken)
        with caplog.at_level(logging.CRITICAL, "tokenwire.gateway.quick"):  # or the relay would fail the test for it
            client = await relay.connect()
            answer = client.post(CHAT, chat())
            if begun:
                await client.gone()
                assert not answer.complete
            else:
                assert (await answer.whole()).status == 500

    relayed(main, [])


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_transport_keeps_its_socket_open_until_it_has_told_of_its_end(loop: Any) -> None:
    """What ``Port.outlet`` relies on: until ``connection_lost``, the file descriptor is that of our connection."""

    async def main() -> None:
        seen: list[bool] = []

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport
                self.inode = os.fstat(transport.get_extra_info("socket").fileno()).st_ino
                self.number = transport.get_extra_info("socket").fileno()
                made.append(self)

            def connection_lost(self, exc: Exception | None) -> None:
                seen.append(os.fstat(self.number).st_ino == self.inode)

        made: list[Any] = []
        server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for ending in ("abort", "close", "reset", "fin"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: made)
            protocol = made.pop()
            if ending in ("abort", "close"):
                getattr(protocol.transport, ending)()
                assert os.fstat(protocol.number).st_ino == protocol.inode
            elif ending == "reset":
                writer.transport.abort()
            else:
                writer.close()
            await until(lambda: seen)
            assert seen.pop()
            writer.close()
        server.close()

    run_in(loop, main)


@pytest.mark.parametrize("missing", ["socket", "plain text"])
def test_no_outlet_without_a_socket_of_its_own_or_under_tls(missing: str) -> None:
    class Transport(RecordedTransport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return {"sslcontext": object()}.get(name, default) if missing == "socket" else object()

    port = Port(None, None, Transport())  # type: ignore[arg-type]
    assert port.outlet() is None


@pytest.mark.parametrize("edge", ["tokenwire", "httptools"])
@pytest.mark.parametrize("streaming", [True, False])
def test_a_bug_in_the_turn_of_a_token_leaves_no_client_waiting(
    monkeypatch: pytest.MonkeyPatch, edge: Any, streaming: bool
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug in answering")

    async def main() -> None:
        async with ScriptedUpstream(ANSWER) as upstream, serving(settings_for(upstream.base_url), edge=edge) as relay:
            module, name = (following, "stream_headers") if streaming else (respond, "status_of")
            monkeypatch.setattr(module, name, broken)
            logging.getLogger("tokenwire.gateway.respond").setLevel(logging.CRITICAL)
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
            client = await relay.connect()
            answer = await client.post(CHAT, {**chat(), "stream": streaming}).whole()
            assert answer.status == 500
            stream = await relay.stream()
            assert not stream.readers

    try:
        run_in("uvloop", main)
    finally:
        for name in ("tokenwire.gateway.respond", "uvicorn.error"):
            logging.getLogger(name).setLevel(logging.NOTSET)
