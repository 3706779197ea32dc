"""Running the relay: uvicorn with our protocol, started and stopped as streams need it."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn

from tokenwire.errors import ConfigError
from tokenwire.gateway.accept import Acceptor
from tokenwire.gateway.app import LAST_WORDS_SECONDS, Gateway
from tokenwire.gateway.edge import EdgeProtocol

if TYPE_CHECKING:
    from types import FrameType

    from tokenwire.gateway.settings import Settings

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Tells the engine before uvicorn closes anything: running streams get their time, then a reason."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, drain_seconds: float) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._drain_seconds = drain_seconds
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):  # uvloop; asyncio's own needs no help
            self._acceptors = [Acceptor(sock, self._protocol) for sock in sockets or ()]

    def _protocol(self) -> asyncio.Protocol:
        """As uvicorn makes it for its own server."""
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first signal drains, a second one of any kind ends at once.

        Stock uvicorn raises them again in the end, and so dies of them: what is ``finally`` done after it would not be,
        and a planned end would look like an accident.
        """
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        gateway = self._gateway
        gateway.drain()  # new streams are refused with 503 from now on, and /readyz says so: the socket stays open
        for connection in list(self.server_state.connections):
            if not (isinstance(connection, EdgeProtocol) and connection.receiving):
                connection.shutdown()  # at once if it is idle, else after the answer that it carries
        await self._while(gateway.busy, self._drain_seconds)
        gateway.cut()
        await asyncio.sleep(0.02)  # whoever reads gets the last words at once, a second signal or not
        await self._while(self._unread, LAST_WORDS_SECONDS)
        if self._unread():  # clients that read nothing: uvicorn would wait, and log a traceback for each
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        for acceptor in self._acceptors:
            acceptor.close()
        await super().shutdown(sockets)

    def _unread(self) -> bool:
        """Whether an answer is not complete, or not sent."""
        state = self.server_state
        return bool(state.tasks) or any(each.transport.get_write_buffer_size() for each in state.connections)

    async def _while(self, condition: Callable[[], bool], seconds: float) -> None:
        await self._gateway.wait_while(condition, seconds, lambda: self.force_exit)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ``ConfigError`` saying what to do when the address cannot be had."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = infos[0]
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}: {error.strerror or error}", where="server.host") from error
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(4096)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is in use; choose another with --port", where="server.port"
            ) from error
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", where="server.port") from error
    sock.setblocking(False)
    return sock


def configure(gateway: Gateway) -> uvicorn.Config:
    """uvicorn's settings for *gateway*, our protocol among them."""
    limits = gateway.settings.limits.edge()

    def protocol(**arguments: Any) -> EdgeProtocol:
        return EdgeProtocol(limits=limits, wheel=gateway.hub.wheel, quick=gateway, **arguments)

    return uvicorn.Config(
        gateway,
        http=protocol,  # type: ignore[arg-type]  # a factory does: uvicorn only calls it
        ws="none",
        lifespan="off",  # serve() starts and ends the gateway: uvicorn skips its part at a second signal
        access_log=False,
        proxy_headers=False,
        log_level="warning",
        server_header=False,
        backlog=4096,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=75,  # longer than clients keep idle connections: else one dies as its next request is sent
    )


async def serve(settings: Settings, sock: socket.socket, *, on_ready: Callable[[Gateway], None] | None = None) -> None:
    """Serve on *sock* until a signal; returns when every stream has ended or was told why."""
    gateway = Gateway(settings)
    config = configure(gateway)
    server = Server(config, gateway, settings.limits.drain)
    # Long-lived objects are many and never garbage: keep the collector from walking them while tokens wait.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

    async def ready() -> None:
        while not server.started:
            await asyncio.sleep(0.001)
        if on_ready is not None:
            on_ready(gateway)

    waiter = asyncio.get_running_loop().create_task(ready())
    await gateway.startup()
    try:
        await server.serve(sockets=[sock])
    finally:
        waiter.cancel()
        await gateway.shutdown()


def run(settings: Settings, sock: socket.socket, on_ready: Callable[[Gateway], None] | None = None) -> None:
    """``serve`` in a loop of its own, uvloop where there is one."""
    _raise_file_limit()
    try:
        import uvloop
    except ImportError:  # Windows
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(settings, sock, on_ready=on_ready))


def _raise_file_limit() -> None:
    """A stream needs two sockets, and the usual soft limit of 1,024 open files is far below the hard one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS says that it is unlimited, and then refuses
            log.warning("open files are limited to %d: about %d streams", soft, soft // 2)
