"""Upstreams behind a proxy, which is a real one: tunnels for https, absolute-form for http, and what it refuses."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from tokenwire.errors import ConnectFailed
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head, http_chunk
from tokenwire.testing.proxy import ForwardProxy
from tokenwire.testing.rig import Rig, settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step
from tokenwire.upstream.fetch import fetch
from tokenwire.upstream.proxy import parse_proxy
from tokenwire.upstream.request import Request
from tokenwire.upstream.tls import Tls

Run = Callable[..., Any]
STREAM = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
ANSWER = STREAM + b"".join(map(http_chunk, chat.answer("Hel", "lo"))) + LAST_CHUNK

TRUSTED = trustme.CA()


def trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    TRUSTED.configure_trust(context)
    return context


def serving(*names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    TRUSTED.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture(params=["http proxy", "https proxy"])
def proxy_tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    return None if request.param == "http proxy" else serving("127.0.0.1")


@pytest.fixture(params=["http origin", "https origin"])
def origin_tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    return None if request.param == "http origin" else serving("127.0.0.1")


async def failure(rig: Rig, url: str, proxy: ForwardProxy | str, timeout: float = 5.0) -> ConnectFailed:
    way = parse_proxy(proxy if isinstance(proxy, str) else proxy.url)
    with pytest.raises(ConnectFailed) as caught:
        await rig.connect(url, timeout, proxy=way)
    assert str(caught.value).startswith(f"{rig.origin(url)}: {caught.value.phase} failed: ")
    assert rig.connections == (0, 0)
    return caught.value


# ---------------------------------------------------------------------- it goes well


def test_streams_go_through_and_connections_are_kept(
    run: Run, proxy_tls: ssl.SSLContext | None, origin_tls: ssl.SSLContext | None
) -> None:
    async def main(rig: Rig) -> None:
        script: list[Step] = [REQUEST, ANSWER, REQUEST, ANSWER]
        async with ScriptedUpstream(script, tls=origin_tls) as upstream, ForwardProxy(tls=proxy_tls) as proxy:
            for number in range(1, 3):
                asked = rig.ask(upstream.base_url, proxy=parse_proxy(proxy.url), body=b"%d" % number)
                await asked.ended()
                assert asked.failure == ("completed", ""), asked.error.message
                assert asked.text == "Hello"
                assert rig.pool.statistics() == (1, 0, 1, number - 1)
            peer = await upstream.peer()
            assert [request.body for request in peer.requests] == [b"1", b"2"]
            assert bytes(peer.received).startswith(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % upstream.port
            )
            assert proxy.connections == 1
            first = proxy.heads[0].split(b"\r\n")[0]
            if origin_tls is None:
                assert len(proxy.heads) == 2
                assert first == b"POST http://127.0.0.1:%d/v1/chat/completions HTTP/1.1" % upstream.port
            else:
                assert proxy.heads == [
                    b"%b\r\nhost: 127.0.0.1:%d\r\nuser-agent: tokenwire\r\n\r\n" % (first, upstream.port)
                ]
                assert first == b"CONNECT 127.0.0.1:%d HTTP/1.1" % upstream.port

    run(main, ssl_context=trust())


def test_credentials_are_shown_to_the_proxy_and_to_nobody_else(
    run: Run, proxy_tls: ssl.SSLContext | None, origin_tls: ssl.SSLContext | None
) -> None:
    async def main(rig: Rig) -> None:
        async with (
            ScriptedUpstream([REQUEST, ANSWER], tls=origin_tls) as upstream,
            ForwardProxy(tls=proxy_tls, credentials="me:s3cret") as proxy,
        ):
            way = parse_proxy(proxy.url.replace("//", "//me:s3cret@"))
            asked = rig.ask(upstream.base_url, proxy=way)
            await asked.ended()
            assert asked.failure == ("completed", ""), asked.error.message
            assert b"proxy-authorization: Basic bWU6czNjcmV0\r\n" in proxy.heads[0]
            assert b"proxy-authorization" not in (await upstream.peer()).received

    run(main, ssl_context=trust())


def test_the_proxy_resolves_the_origin_and_not_we(run: Run, origin_tls: ssl.SSLContext | None) -> None:
    tls = None if origin_tls is None else serving("nowhere.test")

    async def main(rig: Rig) -> None:
        upstream = ScriptedUpstream([REQUEST, ANSWER], tls=tls)
        async with upstream, ForwardProxy(reach=lambda: upstream.port) as proxy:
            url = f"{'http' if tls is None else 'https'}://nowhere.test/v1"
            asked = rig.ask(url, proxy=parse_proxy(proxy.url))
            await asked.ended()
            assert asked.failure == ("completed", ""), asked.error.message
            said = b" http://nowhere.test:80/v1/" if tls is None else b"CONNECT nowhere.test:443 "
            assert said in proxy.heads[0]

    run(main, ssl_context=trust())


def test_a_cancelled_stream_is_closed_at_both_ends(
    run: Run, proxy_tls: ssl.SSLContext | None, origin_tls: ssl.SSLContext | None
) -> None:
    async def main(rig: Rig) -> None:
        script: list[Step] = [REQUEST, STREAM + http_chunk(chat.role()) + http_chunk(chat.text("a"))]
        async with ScriptedUpstream(script, tls=origin_tls) as upstream, ForwardProxy(tls=proxy_tls) as proxy:
            asked = rig.ask(upstream.base_url, proxy=parse_proxy(proxy.url))
            await asked.entries(2)
            asked.stream.cancel()
            assert await (await upstream.peer()).gone() in ("fin", "reset")
            assert asked.failure == ("cancelled", "cancelled")

    run(main, ssl_context=trust())


def test_a_mid_stream_end_is_told_through_a_tunnel_in_a_tunnel(run: Run) -> None:
    async def main(rig: Rig) -> None:
        script: list[Step] = [REQUEST, STREAM + http_chunk(chat.role()), CLOSE]
        async with (
            ScriptedUpstream(script, tls=serving("127.0.0.1")) as upstream,
            ForwardProxy(tls=serving("127.0.0.1")) as proxy,
        ):
            asked = rig.ask(upstream.base_url, proxy=parse_proxy(proxy.url))
            await asked.ended()
            assert asked.failure == ("failed", "upstream_closed")
            assert "in mid-answer" in asked.error.message

    run(main, ssl_context=trust())


# ---------------------------------------------------------------------- it goes wrong


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_listens_where_the_proxy_should_be(run: Run, closed_port: int, scheme: str) -> None:
    async def main(rig: Rig) -> None:
        error = await failure(rig, f"{scheme}://api.test", f"http://me:s3cret@127.0.0.1:{closed_port}")
        assert error.phase == "proxy connect"
        assert str(error).endswith(f"failed: http://127.0.0.1:{closed_port}: Connection refused")
        error = await failure(rig, f"{scheme}://api.test", "http://no-such-proxy.invalid:3128")
        assert error.phase == "proxy resolve"
        assert "http://no-such-proxy.invalid:3128: " in str(error)

    run(main)


def test_it_refuses(run: Run, proxy_tls: ssl.SSLContext | None) -> None:
    async def main(rig: Rig) -> None:
        async with ForwardProxy(answer=b"HTTP/1.1 403 Not there\r\n\r\n<html>", tls=proxy_tls) as proxy:
            error = await failure(rig, "https://api.test", proxy)
            assert (error.phase, error.retryable) == ("proxy CONNECT", False)
            assert str(error).endswith(f"{proxy.url}: it answered 403 Not there")

    run(main, ssl_context=trust())


def test_it_wants_credentials(run: Run, proxy_tls: ssl.SSLContext | None) -> None:
    async def main(rig: Rig) -> None:
        async with ForwardProxy(credentials="me:s3cret", tls=proxy_tls) as proxy:
            error = await failure(rig, "https://api.test", proxy)
            assert (error.phase, error.retryable) == ("proxy CONNECT", False)
            assert "it answered 407 Proxy Authentication Required: it wants credentials" in str(error)
            wrong = proxy.url.replace("//", "//me:wr0ng@")
            error = await failure(rig, "https://api.test", wrong)
            assert "407" in str(error)
            assert "wr0ng" not in str(error)

    run(main, ssl_context=trust())


def test_it_wants_credentials_for_an_http_origin(run: Run, proxy_tls: ssl.SSLContext | None) -> None:
    """There its 407 looks like the origin's answer, and no provider's error body is in it."""

    async def main(rig: Rig) -> None:
        async with ForwardProxy(credentials="me:s3cret", tls=proxy_tls) as proxy:
            way = parse_proxy(proxy.url)
            asked = rig.ask("http://api.test/v1", proxy=way)
            await asked.ended()
            assert (asked.error.code, asked.error.retryable) == ("connect_failed", False)
            assert asked.error.message.startswith(f"http://api.test:80: proxy failed: {proxy.url}: it answered 407")
            request = Request(
                origin=rig.origin("http://api.test")._replace(proxy=way), path="/", fields=[], body=b"", method="GET"
            )
            with pytest.raises(ConnectFailed, match="it answered 407"):
                await fetch(rig.pool, request, timeout=5.0)
            rig.pool.close()

    run(main, ssl_context=trust())


def test_a_407_of_the_origin_itself_stays_its_own(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(b'{"error":{"message":"odd"}}', status=407)]) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert (asked.error.upstream_status, asked.error.message) == (407, "odd")

    run(main)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_it_stalls(run: Run, proxy_tls: ssl.SSLContext | None, scheme: str) -> None:
    async def main(rig: Rig) -> None:
        async with ForwardProxy(answer=b"", tls=proxy_tls) as proxy:
            if scheme == "https":
                error = await failure(rig, "https://api.test", proxy, 0.2)
                assert error.phase == "proxy CONNECT"
                assert str(error).endswith(f"{proxy.url}: no answer within 0.2 s")
            else:  # it took the request: from there on the upstream's own deadlines count
                connection = await rig.connect("http://api.test", proxy=parse_proxy(proxy.url))
                connection.abort()

    run(main, ssl_context=trust())


def test_it_stalls_in_its_own_handshake(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as mute:
            error = await failure(rig, "https://api.test", f"https://127.0.0.1:{mute.port}", 0.1)
            assert error.phase == "proxy TLS handshake"
            assert str(error).endswith(f"https://127.0.0.1:{mute.port}: no answer within 0.1 s")
            assert await (await mute.peer()).gone() in ("fin", "reset")

    run(main, ssl_context=trust())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_nobody_vouches_for(run: Run, scheme: str) -> None:
    async def main(rig: Rig) -> None:
        async with ForwardProxy(tls=serving("127.0.0.1")) as proxy:
            error = await failure(rig, f"{scheme}://api.test", proxy)
            assert (error.phase, error.retryable) == ("proxy TLS handshake", False)
            assert "the certificate was not accepted" in str(error)

    run(main)


def test_trust_in_a_proxy_that_cannot_be_read(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ForwardProxy(tls=serving("127.0.0.1")) as proxy:
            gone = Tls(ca_file="/nonexistent/ca.pem")
            with pytest.raises(ConnectFailed, match=r"proxy TLS handshake failed: .*tls\.ca_file: cannot read"):
                await rig.connect("http://api.test", proxy=parse_proxy(proxy.url), tls=gone)

    run(main)


def test_it_closes_instead_of_an_answer(run: Run, proxy_tls: ssl.SSLContext | None) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, CLOSE], tls=proxy_tls) as closing:
            url = closing.base_url.removesuffix("/v1")
            error = await failure(rig, "https://api.test", url)
            assert error.phase == "proxy CONNECT"
            assert "closed the connection" in str(error)
            assert url in str(error)

    run(main, ssl_context=trust())


def test_the_origin_behind_the_tunnel_fails_in_its_own_name(
    run: Run, proxy_tls: ssl.SSLContext | None, request: pytest.FixtureRequest
) -> None:
    if proxy_tls is not None and request.node.callspec.params["run"] == "asyncio" and sys.version_info < (3, 12):
        pytest.skip("asyncio's TLS in TLS cannot fail before Python 3.12: _abort() gets an argument too many")

    async def main(rig: Rig) -> None:
        async with (
            ScriptedUpstream([REQUEST], tls=serving("other.test")) as wrong_host,
            ScriptedUpstream([b"HTTP/1.1 400 Bad\r\n\r\n"]) as plain,
            ScriptedUpstream() as mute,
            ForwardProxy(tls=proxy_tls) as proxy,
        ):
            error = await failure(rig, wrong_host.base_url, proxy)
            assert error.phase == "TLS handshake"
            assert "failed: the certificate was not accepted: " in str(error)
            error = await failure(rig, f"https://127.0.0.1:{plain.port}", proxy)
            assert "does it speak plain http there" in str(error)
            error = await failure(rig, f"https://127.0.0.1:{mute.port}", proxy, 0.3)
            assert str(error).endswith("TLS handshake failed: no answer within 0.3 s")

    run(main, ssl_context=trust())


@pytest.mark.untraced
@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_cancelled_at_any_turn_nothing_stays_open(run: Run, proxy_tls: ssl.SSLContext | None, turns: int) -> None:
    """A ResourceWarning, a task or a busy connection would tell."""

    async def main(rig: Rig) -> None:
        async with (
            ScriptedUpstream([REQUEST], tls=serving("127.0.0.1")) as upstream,
            ForwardProxy(tls=proxy_tls) as proxy,
        ):
            task = asyncio.create_task(rig.connect(upstream.base_url, proxy=parse_proxy(proxy.url)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                (await task).abort()
            except asyncio.CancelledError:
                pass
            await until(lambda: rig.connections == (0, 0))
            await settle()

    run(main, ssl_context=trust())
