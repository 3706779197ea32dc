"""What the gateway's tests share: a relay on a real socket, before an upstream that the test scripts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.programs import running_nginx

from tokenwire.simulator import Simulator
from tokenwire.simulator import serve as simulate
from tokenwire.testing.ports import refusing_port
from tokenwire.testing.processes import wait_for
from tokenwire.testing.relay import Edge, Relay, serving, settings_for
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import ScriptedUpstream, Step


@pytest.fixture
def relayed() -> Callable[..., Any]:
    """``relayed(main, *scripts, settings=…, **limits)``: ``main(relay, upstream)``; the nth connection upstream plays
    the nth script; *settings* are the upstream's."""

    def runner(
        main: Callable[[Relay, ScriptedUpstream], Awaitable[Any]],
        *scripts: Sequence[Step],
        edge: Edge = "tokenwire",
        settings: Mapping[str, Any] | None = None,
        **limits: Any,
    ) -> Any:
        async def inside() -> Any:
            async with ScriptedUpstream(*scripts) as upstream:
                settings_ = settings_for(upstream.base_url, settings, **limits)
                async with serving(settings_, edge=edge) as relay:
                    return await main(relay, upstream)

        return run_in("uvloop", inside)

    return runner


@pytest.fixture
def simulated() -> Callable[..., Any]:
    """``simulated(main, settings, **limits)``: ``main(relay, simulator)``; *settings* are the upstream's."""

    def runner(
        main: Callable[[Relay, Simulator], Awaitable[Any]], settings: Mapping[str, Any] | None = None, **limits: Any
    ) -> Any:
        async def inside() -> Any:
            simulator = await simulate()
            try:
                async with serving(settings_for(f"{simulator.url}/v1", settings, **limits)) as relay:
                    return await main(relay, simulator)
            finally:
                await simulator.close()

        return run_in("uvloop", inside)

    return runner


#: How the relay is run by a server of another make; the application is beside this file.
COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning", "asgi_app:app"],
    "hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "asgi_app:app"],
    "granian": ["-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "asgi_app:app"],
}
#: A proxy as operators set it up.
NGINX = """
    upstream relay {{ server 127.0.0.1:{relay}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://relay; proxy_http_version 1.1; proxy_buffering off;
            proxy_set_header Connection ""; proxy_set_header Host 127.0.0.1;
        }}
    }}
"""


@pytest.fixture(scope="session")
def asgi_server() -> Callable[..., AbstractContextManager[tuple[subprocess.Popen[bytes], int]]]:
    """``with asgi_server(name, config_file) as (process, port)``: the relay under another server, as a process."""

    @contextmanager
    def running(name: str, config: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        environ = {**os.environ, "PYTHONPATH": path, "RELAY_CONFIG": str(config)}
        with refusing_port() as port:
            command = [sys.executable, *(part.format(port=port) for part in COMMANDS[name])]
            with _process(command, port, environ) as process:
                yield process, port

    return running


@pytest.fixture(scope="session")
def nginx_before() -> Callable[..., AbstractContextManager[int]]:
    """``with nginx_before(relay_port, folder) as port``. Skips on a machine without nginx; CI must have it."""

    @contextmanager
    def running(relay: int, folder: Path) -> Iterator[int]:
        with refusing_port() as port, running_nginx(folder, NGINX.format(relay=relay, port=port), port):
            yield port

    return running


@contextmanager
def _process(command: list[str], port: int, environ: dict[str, str] | None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def listens() -> bool:
        assert process.poll() is None, "it did not start"
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
                return client.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    try:
        wait_for(listens)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
