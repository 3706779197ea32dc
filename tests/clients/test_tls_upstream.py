"""A running relay whose provider speaks TLS: a real nginx, certified by a CA of our own, before the simulator."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import trustme
from tests.programs import running_nginx

from tokenwire.testing.processes import Running, running_relay, wait_for
from tokenwire.testing.proxy import ForwardProxy

Stats = Callable[[], dict[str, int]]

NGINX = """
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    ssl_client_certificate {folder}/ca.pem;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    server {{
        listen 127.0.0.1:{open} ssl;
        location / {{ proxy_pass http://127.0.0.1:{simulator}; }}
    }}
    server {{
        listen 127.0.0.1:{closed} ssl;
        ssl_verify_client on;
        location / {{ proxy_pass http://127.0.0.1:{simulator}; }}
    }}
"""

CONFIG = """
[limits]
heartbeat = 0.2
[upstreams.secure]
base_url = "https://127.0.0.1:{open}/v1"
tls = {{ ca_file = "{folder}/ca.pem" }}
[upstreams.known]
base_url = "https://127.0.0.1:{closed}/v1"
models = []
tls = {{ ca_file = "{folder}/ca.pem", cert_file = "{folder}/client.pem" }}
[upstreams.nobody]
base_url = "https://127.0.0.1:{closed}/v1"
models = []
tls = {{ ca_file = "{folder}/ca.pem" }}
[upstreams.stranger]
base_url = "https://127.0.0.1:{open}/v1"
models = []
[upstreams.misnamed]
base_url = "https://localhost:{open}/v1"
models = []
tls = {{ ca_file = "{folder}/ca.pem" }}
[upstreams.blind]
base_url = "https://localhost:{open}/v1"
models = []
tls = {{ verify = false }}
[upstreams.plain]
base_url = "https://127.0.0.1:{simulator}/v1"
models = []
"""


@pytest.fixture(scope="module")
def secured(
    simulator: Running,
    reserved_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    """The relay."""
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    ca.issue_cert("relay@client.test").private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    places: dict[str, Any] = {"folder": folder, "open": reserved_port(), "closed": reserved_port()}
    places["simulator"] = simulator.port
    with (
        running_nginx(folder, NGINX.format(**places), places["open"]),
        running_relay(CONFIG.format(**places), folder) as relay,
        client(relay) as sdk,
    ):
        wait_for(lambda: lists(sdk))
        yield relay


def lists(sdk: openai.OpenAI) -> bool:
    return any(model.id == "secure/echo" for model in sdk.models.list())


def client(relay: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{relay.url}/v1", api_key="none", max_retries=0, timeout=20)


def said(relay: Running, model: str, prompt: str = "one two three") -> str:
    with client(relay) as sdk:
        messages: Any = [{"role": "user", "content": prompt}]
        stream = sdk.chat.completions.create(model=model, messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_a_stream_over_tls(secured: Running) -> None:
    for _ in range(3):  # over the connection that the first one opened, too
        assert said(secured, "secure/echo") == "one two three"


def test_with_a_client_certificate(secured: Running) -> None:
    assert said(secured, "known/echo") == "one two three"
    with pytest.raises(openai.BadRequestError, match="No required SSL certificate was sent"):  # nginx asks politely
        said(secured, "nobody/echo")


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        ("stranger", "TLS handshake failed: the certificate was not accepted: unable to get local issuer certificate"),
        ("misnamed", "TLS handshake failed: the certificate was not accepted: Hostname mismatch"),
        ("plain", "TLS handshake failed: the server does not answer in TLS"),
    ],
)
def test_whom_we_do_not_trust_is_502_with_host_step_and_cause(secured: Running, upstream: str, words: str) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        said(secured, f"{upstream}/echo")
    assert caught.value.status_code == 502
    assert words in caught.value.message
    assert "https://" in caught.value.message


def test_what_is_not_verified_works_and_was_told_at_start(secured: Running) -> None:
    assert said(secured, "blind/echo") == "one two three"
    assert "upstreams.blind: NOT SECURE: tls.verify = false" in secured.complaints


def test_leaving_closes_the_upstream(secured: Running, stats: Stats, chat: Callable[..., Any]) -> None:
    with client(secured) as sdk:
        stream = sdk.chat.completions.create(**chat("secure/instant", tokens=20_000, interval_ms=5, ttft_ms=0))
        next(iter(stream))
        wait_for(stats, lambda now: now["active"] == 1)
        stream.close()
        wait_for(stats, lambda now: (now["aborted"], now["active"]) == (1, 0))


# ---------------------------------------------------------------------- proxies of the environment


@contextmanager
def proxy_to(port: int) -> Iterator[ForwardProxy]:
    """A proxy in a thread of its own; whatever is asked for, it reaches *port*."""
    ready: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event, ForwardProxy]] = queue.SimpleQueue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with ForwardProxy(reach=lambda: port, credentials="me:secret") as proxy:
            ready.put((asyncio.get_running_loop(), stop, proxy))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    loop, stop, proxy = ready.get(timeout=20)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def test_a_running_relay_heeds_the_environments_proxy(
    simulator: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = f"""
[upstreams.far]
base_url = "http://provider.test/v1"
models = []
[upstreams.off]
base_url = "http://direct.invalid/v1"
models = []
[upstreams.here]
base_url = "{simulator.url}/v1"
models = []
"""
    with proxy_to(simulator.port) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "direct.invalid")
        with running_relay(config, tmp_path) as relay:
            monkeypatch.undo()  # for the SDK obeys it as well
            assert said(relay, "far/echo") == "one two three"
            assert said(relay, "here/echo") == "one two three"
            with pytest.raises(openai.InternalServerError, match=r"http://direct\.invalid:80: resolve failed: "):
                said(relay, "off/echo")
        first = [head.split(b"\r\n")[0] for head in proxy.heads]
        assert first == [b"POST http://provider.test:80/v1/chat/completions HTTP/1.1"]
