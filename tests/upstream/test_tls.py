"""https upstreams with certificates of a test's own CA: whom we trust, what is said if not, and closing at once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from tokenwire.errors import ConnectFailed
from tokenwire.testing.chat_frames import answer as chat_answer
from tokenwire.testing.chat_frames import role, text
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import Rig, rigged, run_in, settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, RESET, ScriptedUpstream, answer, head, http_chunk

Run = Callable[..., Any]
STREAM = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(ca: trustme.CA) -> ssl.SSLContext:
    """A client's context that knows the test's CA and nothing else."""
    context = ssl.create_default_context(cafile=None)
    ca.configure_trust(context)
    return context


def serving(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's context with a certificate for *names*."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    return context


async def refused(rig: Rig, url: str, timeout: float = 5.0) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        await rig.connect(url, timeout)
    await settle()
    assert rig.connections == (0, 0)
    assert caught.value.phase == "TLS handshake"
    assert str(caught.value).startswith(f"{rig.origin(url)}: TLS handshake failed: ")
    return caught.value


def test_a_certificate_of_a_trusted_ca_for_this_host_is_accepted(
    run: Run, ca: trustme.CA, trust: ssl.SSLContext
) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(b"{}")], tls=serving(ca, "127.0.0.1")) as upstream:
            assert upstream.base_url.startswith("https://")
            exchange = await rig.exchange(upstream.base_url)
            await exchange.over()
            assert exchange.body == b"{}"
            assert rig.connections == (1, 0)
            assert rig.pool.take(rig.origin(upstream.base_url)) is exchange.connection
            exchange.connection.abort()

    run(main, ssl_context=trust)


def test_a_certificate_for_another_host_is_not(run: Run, ca: trustme.CA, trust: ssl.SSLContext) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(tls=serving(ca, "other.test")) as upstream:
            error = await refused(rig, upstream.base_url)
            assert "the certificate was not accepted" in str(error)
            assert "127.0.0.1" in str(error)

    run(main, ssl_context=trust)


def test_a_certificate_of_an_unknown_ca_is_not(run: Run, ca: trustme.CA) -> None:
    """Without a context of ours the pool trusts the system's CAs, and so not the test's."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(tls=serving(ca, "127.0.0.1")) as upstream:
            error = await refused(rig, upstream.base_url)
            assert "the certificate was not accepted: " in str(error)
            assert "issuer" in str(error)

    run(main)


def test_plain_http_behind_an_https_address(run: Run, trust: ssl.SSLContext) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([b"HTTP/1.1 400 Bad Request\r\n\r\n"]) as upstream:
            await refused(rig, upstream.base_url.replace("http:", "https:"))

    run(main, ssl_context=trust)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_server_that_closes_in_the_handshake(run: Run, trust: ssl.SSLContext, end: Any) -> None:
    async def main(rig: Rig) -> None:
        async def after_hello(peer: Any) -> None:
            await until(lambda: peer.received)

        async with ScriptedUpstream([after_hello, end]) as upstream:
            error = await refused(rig, upstream.base_url.replace("http:", "https:"))
            assert not str(error).endswith(": ")

    run(main, ssl_context=trust)


def test_a_handshake_that_is_not_answered_in_time(run: Run, trust: ssl.SSLContext) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as upstream:
            error = await refused(rig, upstream.base_url.replace("http:", "https:"), 0.05)
            assert str(error).endswith("no answer within 0.05 s")
            assert await (await upstream.peer()).gone() in ("fin", "reset")

    run(main, ssl_context=trust)


def test_cancelled_in_the_handshake(run: Run, trust: ssl.SSLContext) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as upstream:
            task = asyncio.create_task(rig.connect(upstream.base_url.replace("http:", "https:")))
            peer = await upstream.peer()
            await until(lambda: peer.received)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await peer.gone() in ("fin", "reset")

    run(main, ssl_context=trust)


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize(
    "script", [[REQUEST], [REQUEST, STREAM + http_chunk(role()) + http_chunk(text("a"))]], ids=["head", "mid-body"]
)
def test_a_cancelled_stream_closes_without_waiting_for_a_goodbye(
    run: Run, ca: trustme.CA, trust: ssl.SSLContext, script: list[Any], paused: bool
) -> None:
    """A TLS close would wait for the peer's close_notify, up to 30 s, and this one says nothing."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(script, tls=serving(ca, "127.0.0.1")) as upstream:
            asked = rig.ask(upstream.base_url)
            peer = await upstream.peer()
            await until(lambda: peer.requests)
            if len(script) > 1:
                await asked.entries(2)
            if paused:
                asked.attempt.pause()
            asked.stream.cancel()
            assert await peer.gone() in ("fin", "reset")
            assert asked.failure == ("cancelled", "cancelled")

    run(main, ssl_context=trust)


def test_an_event_stream_over_tls_is_never_read_by_hand(run: Run, ca: trustme.CA, trust: ssl.SSLContext) -> None:
    """Its bytes are TLS records: only the transport can read them. The clock stands still, so any pace is too fast."""
    pieces = [f"{number} " for number in range(100)]

    async def main(rig: Rig) -> None:
        async def one_at_a_time(peer: Any) -> None:
            for count, frame in enumerate(chat_answer(*pieces), 1):
                peer.write(http_chunk(frame))
                await asked.entries(count)
                assert len(rig.pacing) == 0

        script: list[Any] = [REQUEST, STREAM, one_at_a_time, b"0\r\n\r\n"]
        async with ScriptedUpstream(script, tls=serving(ca, "127.0.0.1")) as upstream:
            asked = rig.ask(upstream.base_url)
            assert (await asked.ended()).state == "completed"
            assert asked.text == "".join(pieces)

    run(main, clock=ManualClock(), ssl_context=trust)


def test_a_context_that_cannot_be_made_is_a_failure_too_and_leaves_nothing_open(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> ssl.SSLContext:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("ssl.create_default_context", broken)

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as upstream:
            error = await refused(rig, upstream.base_url.replace("http:", "https:"))
            assert str(error).endswith("No such file or directory")
            assert await (await upstream.peer()).gone() in ("fin", "reset")

    run(main)


def test_trust_is_read_once_and_http11_is_what_is_offered(ca: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    original = ssl.create_default_context

    def create() -> ssl.SSLContext:
        context = original()
        ca.configure_trust(context)
        made.append(context)
        return context

    server = serving(ca, "127.0.0.1")
    server.set_alpn_protocols(["h2", "http/1.1"])

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([], tls=server) as upstream:
            for number in range(2):
                connection = await rig.connect(upstream.base_url)
                peer = await upstream.peer(number)
                assert peer.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
                connection.abort()
        assert len(made) == 1

    monkeypatch.setattr("ssl.create_default_context", create)
    run_in("uvloop", rigged(main))
