"""Behind a real nginx, set up as its operators are told to: tokens pass at once, and so does a client's leaving."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import openai
import pytest
from tests.programs import running_nginx

from tokenwire.testing.plain_sse import read
from tokenwire.testing.processes import Running, wait_for

Chat = Callable[..., dict[str, Any]]
Stats = Callable[[], dict[str, int]]

CONFIG = """
    upstream relay {{ server 127.0.0.1:{relay}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://relay;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host 127.0.0.1;
            proxy_buffering {buffering};
            proxy_read_timeout 60s;
            client_max_body_size 32m;
        }}
    }}
"""


@pytest.fixture(scope="module", params=["off", "on"])
def front(
    request: pytest.FixtureRequest,
    relay: Running,
    reserved_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[int]:
    """The port of an nginx before the relay. With buffering on, it is the relay's X-Accel-Buffering that must do."""
    folder = tmp_path_factory.mktemp("nginx")
    port = reserved_port()
    with running_nginx(folder, CONFIG.format(relay=relay.port, port=port, buffering=request.param), port):
        yield port


def open_stream(port: int, body: dict[str, Any], marker: bytes) -> socket.socket:
    """A request to nginx, read until *marker* comes (b"": not at all)."""
    content = json.dumps(body).encode()
    client = socket.create_connection(("127.0.0.1", port), 20)
    client.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: front\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
    )
    received = b""
    while marker not in received:
        data = client.recv(65536)
        assert data, f"it ended with {received[-300:]!r}"
        received += data
    return client


@pytest.mark.parametrize("model", ["sim/instant", "sim/fault-stall-first", "sim/fault-stall-head"])
def test_leaving_is_passed_on(front: int, chat: Chat, stats: Stats, model: str) -> None:
    marker = b'"delta":{"content"' if model == "sim/instant" else b""
    client = open_stream(front, chat(model, tokens=20_000, interval_ms=5, ttft_ms=0), marker)
    wait_for(stats, lambda now: now["active"] == 1)
    client.close()
    wait_for(stats, lambda now: (now["aborted"], now["active"]) == (1, 0))


def test_each_token_is_passed_on_at_once(front: int, chat: Chat, stats: Stats) -> None:
    """One token, and then a stall of the provider: behind a buffer it would never be seen."""
    client = open_stream(front, chat("sim/fault-stall-1"), b'"delta":{"content":"')
    assert stats()["tokens"] == 1
    client.close()
    wait_for(stats, lambda now: now["active"] == 0)


def test_the_sdk_and_resuming(front: int, fetch: Callable[..., Any]) -> None:
    base = f"http://127.0.0.1:{front}"
    messages: Any = [{"role": "user", "content": "one two three"}]
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0, timeout=20) as client:
        raw = client.chat.completions.with_raw_response.create(model="sim/echo", messages=messages, stream=True)
        chunks = list(raw.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    path = f"{base}/v1/streams/{raw.headers['x-tokenwire-stream']}/events"
    with urlopen(path, timeout=20) as answer:
        whole = read(answer.read()).events
    with urlopen(f"{path}?after={whole[1].id}", timeout=20) as answer:
        assert read(answer.read()).events == whole[2:]
