"""Behind a real nginx, set up as its operators are told to: tokens pass at once, and so does a client's leaving."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import openai
import pytest

from tokenwire.testing.plain_sse import read
from tokenwire.testing.processes import Running, wait_for

Chat = Callable[..., dict[str, Any]]
Stats = Callable[[], dict[str, int]]

# One process in the foreground, so that its pid is all of it; every file in the test's own folder.
CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
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
}}
"""


@pytest.fixture(scope="module")
def nginx(missing: Callable[[str], None]) -> str:
    found = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if found is None:
        missing("no nginx: install the Debian package nginx")
    return str(found)


@pytest.fixture(scope="module", params=["off", "on"])
def front(
    request: pytest.FixtureRequest,
    nginx: str,
    relay: Running,
    reserved_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[int]:
    """The port of an nginx before the relay. With buffering on, it is the relay's X-Accel-Buffering that must do."""
    folder = tmp_path_factory.mktemp("nginx")
    port = reserved_port()
    config = Path(folder) / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, relay=relay.port, port=port, buffering=request.param), "utf-8")
    process = subprocess.Popen(
        [nginx, "-e", "stderr", "-p", str(folder), "-c", str(config)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, process.communicate()[1].decode()
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=20)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


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
