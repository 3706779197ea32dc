"""Opening a connection: the name, the socket, the proxy, TLS. Every failure names the step that failed.

The loops' ``create_connection`` could do most of it at once, but an error would not say which step it was, and uvloop's
tries one address after another (RFC 8305 races them).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import aiohappyeyeballs

from tokenwire.errors import ConfigError, ConnectFailed
from tokenwire.upstream.patience import Patience
from tokenwire.upstream.proxy import MAX_HEAD, TunnelRefused, connect_request, tunnel_opened
from tokenwire.upstream.tls import Tls, certificate_refused, make_context, words_of

if TYPE_CHECKING:
    from tokenwire.upstream.origin import Origin
    from tokenwire.upstream.proxy import Proxy
    from tokenwire.upstream.resolving import Resolver

#: RFC 8305 section 5: the recommended wait before the other address family is tried as well.
HAPPY_EYEBALLS_DELAY = 0.25
# The time that we give is counted elsewhere; the loops' own for a handshake must not be shorter.
_HANDSHAKE_SECONDS = 3600.0


class Dialer:
    """*context*: trust for origins and proxies without settings of their own; default: the system's."""

    def __init__(self, resolver: Resolver, context: ssl.SSLContext | None = None) -> None:
        self._resolver = resolver
        self._contexts: dict[tuple[Tls | None, bool], ssl.SSLContext] = {}
        if context is not None:
            self._contexts[None, False] = self._contexts[None, True] = context

    async def dial(self, origin: Origin, connection: asyncio.Protocol, timeout: float) -> None:
        """Make *connection* one to *origin*, within *timeout* seconds.

        Raises ``ConnectFailed`` naming host, phase and cause. Cancelling closes what was open.
        """
        at = _Step()
        try:
            async with Patience(timeout):
                await self._open(origin, connection, at)
        except TimeoutError as error:
            cause = words_of(error) if error.errno else f"no answer within {timeout:g} s"
            raise ConnectFailed(str(origin), at.phase, at.by + cause) from error
        except TunnelRefused as error:
            raise ConnectFailed(str(origin), at.phase, f"{at.by}{error}", retryable=error.again) from error
        except ConfigError as error:
            raise ConnectFailed(str(origin), at.phase, at.by + str(error), retryable=False) from error
        except (OSError, RuntimeError, ValueError) as error:  # the latter: uvloop's sockets, and names that are none
            again = not certificate_refused(error)
            raise ConnectFailed(str(origin), at.phase, at.by + words_of(error), retryable=again) from error

    async def _open(self, origin: Origin, connection: asyncio.Protocol, at: _Step) -> None:
        loop = asyncio.get_running_loop()
        proxy = origin.proxy
        if proxy is not None:
            await self._open_by_proxy(loop, origin, proxy, connection, at)
        elif origin.scheme == "https":
            sock = await self._connected(loop, origin.host, origin.port, at)
            await self._secured(loop, origin, connection, sock, at)
        elif _is_address(origin.host):  # the loop's to connect to, in C
            at.phase = "connect"
            await loop.create_connection(lambda: connection, origin.host, origin.port)
        else:
            sock = await self._connected(loop, origin.host, origin.port, at)
            await _adopted(loop, connection, sock)

    async def _open_by_proxy(
        self, loop: asyncio.AbstractEventLoop, origin: Origin, proxy: Proxy, connection: asyncio.Protocol, at: _Step
    ) -> None:
        at.by = f"{proxy}: "
        sock = await self._connected(loop, proxy.host, proxy.port, at, "proxy ")
        tunnelled = origin.scheme == "https"
        if proxy.scheme == "http":
            if tunnelled:
                at.phase = "proxy CONNECT"
                try:
                    await _tunnel(loop, sock, connect_request(proxy, origin.host, origin.port))
                except BaseException:
                    sock.close()
                    raise
                await self._secured(loop, origin, connection, sock, at)
            else:
                await _adopted(loop, connection, sock)
            return
        at.phase = "proxy TLS handshake"
        trust = Tls(ca_file=origin.tls.ca_file) if origin.tls is not None and origin.tls.ca_file is not None else None
        tunnel = _Tunnel(loop)
        first = tunnel if tunnelled else connection
        try:
            context = self._context(trust, for_proxy=True)
        except BaseException:
            sock.close()
            raise
        transport = await _adopted(loop, first, sock, context, proxy.host)
        if tunnelled:
            await self._tls_in_tls(loop, origin, connection, transport, tunnel, at)

    async def _connected(
        self, loop: asyncio.AbstractEventLoop, host: str, port: int, at: _Step, prefix: str = ""
    ) -> socket.socket:
        at.phase = f"{prefix}resolve"
        infos = await self._resolver.addresses(host, port)
        at.phase = f"{prefix}connect"
        try:
            sock = await aiohappyeyeballs.start_connection(
                cast("list[aiohappyeyeballs.AddrInfoType]", infos), happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, loop=loop
            )
        except BaseException:  # a cancelled one, too, is most often a time-out: nobody may be there any more
            self._resolver.forget(host, port)
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    async def _secured(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        connection: asyncio.Protocol,
        sock: socket.socket,
        at: _Step,
    ) -> None:
        at.phase, at.by = "TLS handshake", ""
        try:
            context = self._context(origin.tls)
        except BaseException:
            sock.close()
            raise
        await _adopted(loop, connection, sock, context, _server_name(origin))

    async def _tls_in_tls(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        connection: asyncio.Protocol,
        transport: asyncio.Transport,
        tunnel: _Tunnel,
        at: _Step,
    ) -> None:
        assert origin.proxy is not None
        try:
            at.phase = "proxy CONNECT"
            transport.write(connect_request(origin.proxy, origin.host, origin.port))
            await tunnel.opened
            at.phase, at.by = "TLS handshake", ""
            inner = await loop.start_tls(
                transport,
                connection,
                self._context(origin.tls),
                server_hostname=_server_name(origin),
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except BaseException:
            if not tunnel.lost:  # asyncio's must not be aborted any more then
                transport.abort()
            raise
        if inner is None:  # lost in the handshake's last turn: so does a loop say it
            raise ConnectionResetError
        connection.connection_made(inner)  # a started TLS leaves that to whoever started it

    def _context(self, tls: Tls | None, *, for_proxy: bool = False) -> ssl.SSLContext:
        """Made once for each setting: it reads files."""
        context = self._contexts.get((tls, for_proxy))
        if context is None:
            context = self._contexts[tls, for_proxy] = make_context(tls, for_proxy=for_proxy)
        return context


class _Step:
    """Where dialing stands. *by*: who is spoken to, if it is not the origin."""

    def __init__(self) -> None:
        self.phase = "resolve"
        self.by = ""


class _Tunnel(asyncio.Protocol):
    """Waits for an https proxy's answer to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self.opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())  # none may be waiting
        self.lost = False
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            if not self.opened.done() and tunnel_opened(self._received):
                self.opened.set_result(None)
        except TunnelRefused as error:
            self.opened.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionResetError())


async def _adopted(
    loop: asyncio.AbstractEventLoop,
    connection: asyncio.Protocol,
    sock: socket.socket,
    context: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> asyncio.Transport:
    """*connection* over *sock*, which is closed if that fails."""
    options: dict[str, Any] = {}
    if context is not None:
        options = {"ssl": context, "server_hostname": server_name, "ssl_handshake_timeout": _HANDSHAKE_SECONDS}
    try:
        transport, _ = await loop.create_connection(lambda: connection, sock=sock, **options)
    except BaseException:
        # The socket is a transport's now, which closes it; but asyncio's forgets to, if it is cancelled before its
        # first turn. To close it under its feet would hand its number to the next one: it is shown the end instead.
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        raise
    return transport


async def _tunnel(loop: asyncio.AbstractEventLoop, sock: socket.socket, request: bytes) -> None:
    """Ask an http proxy for a tunnel on the bare socket: what comes behind its answer is TLS, and not ours to read.

    Raises ``TunnelRefused``.
    """
    await loop.sock_sendall(sock, request)
    received = bytearray()
    while not tunnel_opened(received):
        data = await loop.sock_recv(sock, MAX_HEAD)
        if not data:
            raise TunnelRefused("it closed the connection without an answer")
        received += data


def _server_name(origin: Origin) -> str:
    return (origin.tls and origin.tls.server_name) or origin.host


@lru_cache(maxsize=64)
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
