"""HTTPS with a CA of the tests' own: answers, faults, what is noticed when clients leave, and handshakes that fail."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anthropic
import httpx2
import openai
import pytest
import trustme
import uvloop

from tokenwire.simulator import serve
from tokenwire.simulator.tls import HANDSHAKE_FAULTS, RECORD, record_overhead, server_context

Body = Callable[..., dict[str, Any]]

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(ca: trustme.CA) -> ssl.SSLContext:
    """A client's context that knows the tests' CA."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def files(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate chain and key for 127.0.0.1, as --tls-cert and --tls-key take them."""
    folder = tmp_path_factory.mktemp("tls")
    issued = ca.issue_cert("127.0.0.1", "localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(params=LOOPS)
def secure(request: pytest.FixtureRequest, files: tuple[Path, Path]) -> Any:
    """secure(scenario): a coroutine function with a simulator that serves HTTPS, on each event loop."""

    def run(scenario: Callable[[Any], Any]) -> Any:
        async def main() -> Any:
            problems: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
            simulator = await serve(tls=server_context(*files))
            try:
                async with asyncio.timeout(10):
                    await scenario(simulator)
            finally:
                await simulator.close()
            assert problems == []

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(main())

    return run


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def everything(simulator: Any, trust: ssl.SSLContext, raw: bytes) -> bytes:
    """All that comes back, up to the end of the connection."""
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port, ssl=trust)
    found = b""
    try:
        writer.write(raw)
        while block := await reader.read(65536):
            found += block
    except ConnectionResetError:
        found += b"<reset>"
    finally:
        writer.transport.abort()
    return found


def test_both_vendors_clients_are_answered(secure: Any, trust: ssl.SSLContext) -> None:
    async def scenario(simulator: Any) -> None:
        assert simulator.url == f"https://127.0.0.1:{simulator.port}"
        question: Any = [{"role": "user", "content": "say this"}]
        async with httpx2.AsyncClient(verify=trust) as http:
            one = anthropic.AsyncAnthropic(api_key="any", base_url=simulator.url, http_client=http)
            async with one.messages.stream(model="echo", max_tokens=9, messages=question) as stream:
                assert await stream.get_final_text() == "say this"
        async with openai.DefaultAsyncHttpxClient(verify=trust) as other:
            two = openai.AsyncOpenAI(api_key="any", base_url=f"{simulator.url}/v1", http_client=other)
            answer = await two.chat.completions.create(model="echo", messages=question)
            assert answer.choices[0].message.content == "say this"

    secure(scenario)


def test_only_http_1_1_is_spoken(secure: Any, trust: ssl.SSLContext) -> None:
    async def scenario(simulator: Any) -> None:
        trust.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection(simulator.host, simulator.port, ssl=trust)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.transport.abort()

    secure(scenario)


@pytest.mark.parametrize(
    ("model", "end"),
    [
        ("fault-cut-3", b'data: {"id"'),
        ("fault-reset-3", b"<reset>"),
        ("fault-early-leave", b""),
        ("fault-reset-head", b"<reset>"),
        ("fault-eof-3", b"0\r\n\r\n"),
        ("fault-close-after", b"0\r\n\r\n"),
        ("fault-garbage", b"\x7f\n"),
        ("fault-deaf", b"0\r\n\r\n"),
    ],
)
def test_faults_strike_over_tls_as_well(
    secure: Any, trust: ssl.SSLContext, encode: Any, chat: Body, model: str, end: bytes
) -> None:
    async def scenario(simulator: Any) -> None:
        found = await everything(simulator, trust, encode(chat("some words of a text", model=model)))
        if model == "fault-cut-3":
            assert end in found[-200:]
            assert not found.endswith(b"\r\n")
        else:
            assert found.endswith(end)
            assert (found == end) is (model in ("fault-early-leave", "fault-reset-head"))

    secure(scenario)


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("how", ["goodbye", "abort", "fin", "reset"])
def test_a_client_that_leaves_is_counted_and_nothing_is_written_for_it(
    secure: Any, trust: ssl.SSLContext, encode: Any, chat: Body, message: Body, vendor: str, how: str
) -> None:
    async def scenario(simulator: Any) -> None:
        switches = {"x-sim-tokens": "100000", "x-sim-interval-ms": "1", "x-sim-group": "1"}
        given = {**switches, "anthropic-version": "2023-06-01"}
        body = chat() if vendor == "openai" else message(max_tokens=100_000)
        path = "/v1/messages" if vendor == "anthropic" else "/v1/chat/completions"
        sock = socket.create_connection((simulator.host, simulator.port))
        reader, writer = await asyncio.open_connection(sock=sock, ssl=trust, server_hostname="127.0.0.1")
        writer.write(encode(body, given, path=path))
        seen = b""
        while seen.count(b"data: ") <= 25:
            seen += await reader.read(65536)
        if how == "goodbye":
            writer.close()
        elif how == "abort":
            writer.transport.abort()
        elif how == "fin":  # without a close_notify, as a crashed process leaves
            with socket.socket(fileno=os.dup(sock.fileno())) as raw:
                raw.shutdown(socket.SHUT_WR)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        await until(lambda: simulator.stats.active == 0)
        stats = simulator.stats
        assert (stats.done, stats.aborted) == (0, 1)
        # What the client had read, it had acknowledged.
        assert stats.tokens_after_leave <= stats.tokens - (0 if how == "reset" else 20)
        written = stats.tokens
        for _ in range(20):
            await asyncio.sleep(0)
        assert stats.tokens == written
        writer.transport.abort()

    secure(scenario)


@pytest.mark.parametrize("how", ["goodbye", "fin"])
def test_a_deaf_simulator_goes_on_over_tls_as_well(
    secure: Any, trust: ssl.SSLContext, encode: Any, chat: Body, how: str
) -> None:
    async def scenario(simulator: Any) -> None:
        switches = {"x-sim-fault": "deaf", "x-sim-tokens": "60", "x-sim-interval-ms": "1"}
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trust.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)

        async def take(what: Callable[[], Any]) -> Any:
            while True:
                try:
                    return what()
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    incoming.write(await reader.read(65536))

        await take(client.do_handshake)
        client.write(encode(chat(), switches))
        seen = b""
        while seen.count(b"data: ") < 10:
            seen += await take(lambda: client.read(65536))
        if how == "goodbye":
            with pytest.raises(ssl.SSLError):
                client.unwrap()
            writer.write(outgoing.read())
        else:
            writer.write_eof()
        await until(lambda: simulator.stats.aborted == 1)
        await until(lambda: simulator.stats.active == 0)
        assert (simulator.stats.tokens, simulator.stats.done) == (60, 0)
        assert 0 < simulator.stats.tokens_after_leave <= 60
        writer.transport.abort()

    secure(scenario)


def test_a_handshake_that_takes_too_long_is_dropped(monkeypatch: pytest.MonkeyPatch, files: tuple[Path, Path]) -> None:
    monkeypatch.setattr("tokenwire.simulator.tls_layer.HANDSHAKE_SECONDS", 0.01)

    async def main() -> None:
        simulator = await serve(tls=server_context(*files))
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        assert await reader.read() == b""
        writer.transport.abort()
        await simulator.close()

    asyncio.run(main())


def test_tokens_that_were_never_read_are_counted(secure: Any, trust: ssl.SSLContext, encode: Any, chat: Body) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port, ssl=trust)
        writer.write(encode(chat(), {"x-sim-tokens": "60000"}))
        await reader.readuntil(b"\r\n\r\n")
        cast(asyncio.Transport, writer.transport).pause_reading()
        seen = -1
        while simulator.stats.tokens != seen:  # until the buffers are full
            seen = simulator.stats.tokens
            for _ in range(200):
                await asyncio.sleep(0)
        assert 0 < seen < 60_000
        writer.transport.abort()
        await until(lambda: simulator.stats.active == 0)
        # The client's own buffers hold some; the rest was for nobody.
        assert 0 < simulator.stats.tokens_after_leave <= simulator.stats.tokens

    secure(scenario)


def test_clients_that_refuse_or_do_not_speak_tls_do_no_harm(
    secure: Any, trust: ssl.SSLContext, encode: Any, chat: Body
) -> None:
    async def scenario(simulator: Any) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(simulator.host, simulator.port, ssl=ssl.create_default_context())
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat()))  # plain text on the TLS port
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readuntil(b"HTTP/1.1")
        writer.transport.abort()
        assert b"HTTP/1.1 200 OK" in await everything(simulator, trust, encode(None, method="GET", path="/healthz"))

    secure(scenario)


# Handshakes that fail


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("fault", HANDSHAKE_FAULTS)
def test_handshakes_that_fail(trust: ssl.SSLContext, loop: str, fault: str) -> None:
    async def main() -> None:
        simulator = await serve(handshake=fault)
        assert simulator.url.startswith("https://")
        if fault == "stall":
            connecting = asyncio.open_connection(simulator.host, simulator.port, ssl=trust)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connecting, 0.1)
            reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
            writer.write(b"hello")
            await until(lambda: bool(simulator._layers))
            await simulator.close()  # drops those that wait as well
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
            writer.transport.abort()
            return
        expected = (ConnectionError, ssl.SSLError)
        with pytest.raises(expected) as caught:
            await asyncio.open_connection(simulator.host, simulator.port, ssl=trust)
        if fault == "alert":
            assert "HANDSHAKE_FAILURE" in str(caught.value).upper()
        elif fault == "plain":
            assert isinstance(caught.value, ssl.SSLError)
        await simulator.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


# What records add


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_3, None),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ],
)
def test_what_a_record_adds_is_known(
    trust: ssl.SSLContext, files: tuple[Path, Path], version: ssl.TLSVersion, ciphers: str | None
) -> None:
    context = server_context(*files)
    context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trust.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    waiting = [client, server]
    while waiting:
        for side in waiting[:]:
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    to_client.read()  # the tickets of TLS 1.3
    for size in (1, 100, RECORD, RECORD + 1):
        server.write(b"x" * size)
        while to_client.pending < size:
            server.write(b"")
        assert to_client.pending - size == -(-size // RECORD) * record_overhead(server)
        to_client.read()


def test_without_tls_nothing_is_added() -> None:
    assert record_overhead(None) == 0


def test_the_stats_over_tls_are_those_of_plain_http(
    secure: Any, trust: ssl.SSLContext, encode: Any, chat: Body
) -> None:
    async def scenario(simulator: Any) -> None:
        await everything(simulator, trust, encode(chat(), {"x-sim-tokens": "12"}))
        raw = await everything(simulator, trust, encode(None, method="GET", path="/stats"))
        stats = json.loads(raw.partition(b"\r\n\r\n")[2])
        assert (stats["tokens"], stats["done"], stats["aborted"], stats["tokens_after_leave"]) == (12, 1, 0, 0)

    secure(scenario)
