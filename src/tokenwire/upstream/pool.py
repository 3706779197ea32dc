"""Keep-alive connections per origin. The newest idle one is used first, so that the others can age out."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohappyeyeballs

from tokenwire.engine.pacing import FrameClock
from tokenwire.errors import ConfigError, ConnectFailed
from tokenwire.upstream.connection import Connection
from tokenwire.upstream.patience import Patience

#: RFC 8305 section 5: the recommended wait before the other address family is tried as well.
HAPPY_EYEBALLS_DELAY = 0.25
#: What would end the request line early, or is no byte of one.
_NO_PATH = re.compile(r"[^\x21-\x7e]")


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def header(self) -> str:
        """The Host header's value: without the port where it is the scheme's own (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


def parse_base_url(url: str) -> tuple[Origin, str]:
    """A base URL as the vendor's SDK takes it -> origin and path prefix (without a slash at its end).

    Raises ``ConfigError`` saying what is wrong.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{url!r} must begin with http:// or https://")
    if not parts.hostname:
        raise ConfigError(f"{url!r} names no host")
    if parts.username or parts.password:
        raise ConfigError("credentials do not belong into a base_url; use api_key")
    if parts.query or parts.fragment:
        raise ConfigError(f"{url!r} must have no query and no fragment")
    if _NO_PATH.search(parts.path):
        raise ConfigError(f"{url!r}: the path must be percent-encoded ASCII")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    return Origin(parts.scheme, parts.hostname, port), parts.path.rstrip("/")


class PoolStatistics(NamedTuple):
    idle: int
    busy: int
    opened: int
    reused: int


class Pool:
    """Connections of one process.

    Args:
        now_ns: CLOCK_MONOTONIC, nanoseconds.
        pacing: where fast connections are read in frames; None: nowhere.
        idle_seconds: a connection that was idle for so long is not used again; below the 60–75 s after which common
            servers close.
        max_idle: idle connections kept for one origin.
        ssl_context: trust and ALPN for every https origin; default: the system's CAs.
    """

    def __init__(
        self,
        now_ns: Callable[[], int],
        pacing: FrameClock | None = None,
        *,
        idle_seconds: float = 45.0,
        max_idle: int = 1024,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._now_ns = now_ns
        self._pacing = pacing
        self._idle_ns = int(idle_seconds * 1e9)
        self._max_idle = max_idle
        self._idle: dict[Origin, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._opened = 0
        self._reused = 0
        self._context = ssl_context

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection to *origin*, at once; None if there is none."""
        idle = self._idle.get(origin)
        oldest = self._now_ns() - self._idle_ns
        while idle:
            connection = idle.pop()
            if connection.usable and connection.idle_since_ns >= oldest:
                self._reused += 1
                return connection
            connection.abort()
        return None

    async def connect(self, origin: Origin, timeout: float) -> Connection:
        """A new connection. Raises ``ConnectFailed`` naming host, phase and cause. Cancelling closes what was open."""
        loop = asyncio.get_running_loop()
        # Ours to follow from its first moment: a server may close it before the code below is told that it stands.
        connection = Connection(self._now_ns, self._pacing)
        connection.on_idle = lambda idle: self._give_back(origin, idle)
        connection.on_closed = lambda closed: self._gone(origin, closed)
        phase = "resolve"
        sock: socket.socket | None = None
        try:
            async with Patience(timeout):
                # An address is the loop's to connect to, in C; several addresses of a name are raced. With TLS it is
                # two steps all the same: an error then says which of them it was.
                where: dict[str, Any] = {"host": origin.host, "port": origin.port}
                if origin.scheme == "https" or not _is_address(origin.host):
                    infos = await _resolve(loop, origin)
                    phase = "connect"
                    sock = await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    where = {"sock": sock}
                phase = "connect"
                context: ssl.SSLContext | None = None
                if origin.scheme == "https":
                    phase = "TLS handshake"
                    context = self._tls()
                await loop.create_connection(
                    lambda: connection,
                    ssl=context,
                    server_hostname=origin.host if context is not None else None,
                    **where,
                )
                sock = None
        except TimeoutError as error:
            raise ConnectFailed(str(origin), phase, f"no answer within {timeout:g} s") from error
        except (OSError, RuntimeError, ValueError) as error:  # the latter: uvloop's sockets, and names that are none
            raise ConnectFailed(str(origin), phase, _cause(error)) from error
        finally:
            if sock is not None:
                sock.close()
        if not connection.usable:
            raise ConnectFailed(str(origin), phase, "the server closed the connection at once")
        self._all.add(connection)
        self._opened += 1
        return connection

    def close(self) -> None:
        """Close every connection, idle or not."""
        for connection in list(self._all):
            connection.abort()

    def statistics(self) -> PoolStatistics:
        """Frozen figures of this moment."""
        idle = sum(connection.usable for idle in self._idle.values() for connection in idle)
        return PoolStatistics(idle, len(self._all) - idle, self._opened, self._reused)

    def _tls(self) -> ssl.SSLContext:
        """Verified, with SNI; HTTP/1.1 by ALPN, for that is what we speak. Made once: it reads the system's CAs."""
        if self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context

    def _give_back(self, origin: Origin, connection: Connection) -> None:
        idle = self._idle.setdefault(origin, [])
        idle.append(connection)
        oldest = self._now_ns() - self._idle_ns
        # The oldest stand first: the few that aged out are closed here, and no timer is needed for it.
        while idle and (idle[0].idle_since_ns < oldest or len(idle) > self._max_idle):
            idle.pop(0).abort()

    def _gone(self, origin: Origin, connection: Connection) -> None:
        self._all.discard(connection)
        idle = self._idle.get(origin, ())
        if connection in idle:  # the server's own idle time-out
            self._idle[origin].remove(connection)


def _cause(error: Exception) -> str:
    """The reason in words. Loops word the same errno differently, and asyncio leaves it out."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {error.verify_message}"
    if isinstance(error, OSError) and error.errno and not isinstance(error, (ssl.SSLError, socket.gaierror)):
        return os.strerror(error.errno)
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or "the server closed the connection"


@lru_cache(maxsize=64)
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _resolve(loop: asyncio.AbstractEventLoop, origin: Origin) -> list[aiohappyeyeballs.AddrInfoType]:
    infos = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    return [(family, kind, proto, name, address) for family, kind, proto, name, address in infos]
