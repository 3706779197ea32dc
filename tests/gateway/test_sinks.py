"""The two sinks alone, and servers that raise where others are silent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tokenwire.gateway import sockets
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.edge import EdgeProtocol
from tokenwire.gateway.port import Port
from tokenwire.gateway.respond import sink_for
from tokenwire.gateway.sinks import HIGH_WATER, AsgiSink, PortSink
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.exchange import RecordedTransport
from tokenwire.testing.http_bytes import answer
from tokenwire.testing.relay import STREAM_HEAD, chat, chunks, serving, settings_for
from tokenwire.testing.rig import run_in, settle, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream


class Server:
    """An ASGI server's two callables: what is sent waits until the test lets it through."""

    def __init__(self, body: bytes = b"") -> None:
        self.sent: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.gone = asyncio.Event()
        self.fails: Exception | None = None
        self._requests = [{"type": "http.request", "body": body}]

    async def receive(self) -> Any:
        if self._requests:
            return self._requests.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class Reader:
    """Counts what a sink tells."""

    def __init__(self, sink: AsgiSink) -> None:
        self.times_lost = 0
        self.times_writable = 0
        self.times_closed = 0
        self._sink = sink
        assert sink.watch(self)

    def lost(self) -> None:
        self.times_lost += 1

    def writable(self) -> None:
        self.times_writable += 1

    def closed(self) -> None:
        self.times_closed += 1
        self._sink.end(b"last words")


def test_what_is_written_together_is_sent_together() -> None:
    async def main() -> None:
        server = Server()
        sink = AsgiSink(server.receive)
        reader = Reader(sink)
        sink.begin([(b"a", b"b")])
        assert sink.write(b"a")
        assert sink.write(b"b", b"1\r\nb\r\n")
        assert sink.unsent == 2
        sink.close(None)
        await sink.run(server.send)
        sink.release()
        assert server.sent == [
            {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]},
            {"type": "http.response.body", "body": b"ab", "more_body": True},
            {"type": "http.response.body", "body": b"last words", "more_body": False},
        ]
        assert (sink.unsent, sink.is_lost) == (0, False)
        assert (reader.times_lost, reader.times_writable, reader.times_closed) == (0, 0, 1)

    run_in("uvloop", main)


def test_a_sink_that_filled_up_while_it_was_sending_says_when_it_takes_more() -> None:
    async def main() -> None:
        server = Server()
        sink = AsgiSink(server.receive)
        reader = Reader(sink)
        running = asyncio.create_task(sink.run(server.send))
        server.gate.clear()
        assert sink.write(b"x" * (HIGH_WATER - 1)), "not full yet"
        await settle(5)
        assert not sink.write(b"yy"), "full now, while the first part is on its way"
        server.gate.set()
        await until(lambda: reader.times_writable == 1)
        assert sink.write(b"z")
        sink.close(None)
        sink.close(None)
        await running
        sink.release()
        assert len(server.body) == HIGH_WATER + 2 + len(b"last words")

    run_in("uvloop", main)


def test_a_client_that_leaves_is_told_once() -> None:
    async def main() -> None:
        server = Server()
        sink = AsgiSink(server.receive)
        reader = Reader(sink)
        server.gate.clear()
        running = asyncio.create_task(sink.run(server.send))
        sink.write(b"x" * HIGH_WATER)
        await settle(5)
        server.gone.set()
        await until(lambda: reader.times_lost == 1)
        assert not sink.write(b"more")
        server.gate.set()
        await running
        sink.release()
        sink.release()
        assert reader.times_writable == 0, "there is nobody to write to"

    run_in("uvloop", main)


def test_a_client_that_leaves_at_the_end_is_no_news() -> None:
    async def main() -> None:
        server = Server()
        sink = AsgiSink(server.receive)
        reader = Reader(sink)
        sink.close(None)
        server.gone.set()
        await until(lambda: sink.is_lost)
        await sink.run(server.send)
        assert reader.times_lost == 0

    run_in("uvloop", main)


def test_our_sink_writes_chunks_and_nothing_to_a_closed_transport() -> None:
    async def main() -> None:
        transport = RecordedTransport()
        protocol: Any = object.__new__(EdgeProtocol)
        sink = PortSink(Port(protocol, cycle=None, transport=transport))  # type: ignore[arg-type]
        assert sink.write(b"hello")
        assert sink.write(b"there", b"5\r\nthere\r\n")
        assert bytes(transport.written) == b"5\r\nhello\r\n5\r\nthere\r\n"
        transport.abort()
        assert not sink.write(b"x")
        assert len(transport.written) == 20
        sink.close(None)
        sink.close(None)

    run_in("uvloop", main)


def test_a_server_without_extensions_gets_the_plain_sink() -> None:
    async def main() -> None:
        server = Server()
        scopes: list[dict[str, Any]] = [{}, {"extensions": None}, {"extensions": {"http.response.trailers": {}}}]
        for each in scopes:
            assert isinstance(sink_for(each, server.receive), AsgiSink)

    run_in("uvloop", main)


def test_a_system_that_lacks_an_option_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(settings_for("http://127.0.0.1:1")) as relay:
            client = await relay.connect()
            assert (await client.get("/healthz").whole()).status == 200

    for name in ("_KEEP_IDLE", "_KEEP_INTERVAL", "_UNSENT", "_USER_TIMEOUT"):
        monkeypatch.setattr(sockets, name, None)
    run_in("uvloop", main)


# ---------------------------------------------------------------------- servers that raise when the client is gone


def scope(method: str, path: str, **fields: str) -> dict[str, Any]:
    headers = {"host": "127.0.0.1", "content-type": "application/json", "content-length": "1", **fields}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("at", ["head", "body"])
def test_a_server_may_raise_when_its_client_is_gone(stream: bool, at: str) -> None:
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}'
    begun = STREAM_HEAD + chunks(frames.role(), frames.text("one")) if stream else answer(body)

    async def main() -> None:
        async with ScriptedUpstream([REQUEST, begun]) as upstream:
            gateway = Gateway(settings_for(upstream.base_url))
            server = Server(json.dumps(chat(stream=stream)).encode())
            if at == "head":
                server.fails = ConnectionResetError("gone")
            running = asyncio.create_task(gateway(scope("POST", "/v1/chat/completions"), server.receive, server.send))
            if at == "body" and stream:
                await until(lambda: b"one" in server.body)
                server.fails = ConnectionResetError("gone")
                peer = await upstream.peer()
                peer.write(chunks(frames.text("two")))
            await running
            (held,) = gateway.hub.mine("local")
            assert held.state.value == ("cancelled" if stream else "completed")
            assert not held.readers
            await gateway.shutdown()

    run_in("uvloop", main)


def test_a_bug_in_the_server_is_not_hidden() -> None:
    async def main() -> None:
        async with ScriptedUpstream([REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))]) as upstream:
            gateway = Gateway(settings_for(upstream.base_url))
            server = Server(json.dumps(chat()).encode())
            server.fails = RuntimeError("not ours")
            with pytest.raises(RuntimeError, match="not ours"):
                await gateway(scope("POST", "/v1/chat/completions"), server.receive, server.send)
            (held,) = gateway.hub.mine("local")
            assert held.state.value == "cancelled", "and yet the reader is gone"
            await gateway.shutdown()

    run_in("uvloop", main)


def test_an_application_that_raises_fails_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``serving`` is trusted with: an exception of ours must not pass for a closed connection."""

    async def main() -> None:
        async with serving(settings_for("http://127.0.0.1:1")) as relay:
            monkeypatch.setattr(relay.gateway.hub, "mine", None)
            client = await relay.connect()
            assert (await client.get("/v1/streams").whole()).status == 500

    with pytest.raises(AssertionError, match="Exception in ASGI application"):
        run_in("uvloop", main)
