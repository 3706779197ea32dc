"""Keep-alive connections per origin. The newest idle one is used first, so that the others can age out."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import NamedTuple

from tokenwire.engine.pacing import FrameClock
from tokenwire.errors import ConnectFailed
from tokenwire.upstream.connection import Connection
from tokenwire.upstream.dialing import Dialer
from tokenwire.upstream.origin import Origin, parse_base_url
from tokenwire.upstream.resolving import Resolver

__all__ = ["Origin", "Pool", "PoolStatistics", "parse_base_url"]


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
            servers close. What a server itself says (``Keep-Alive``) counts if it is less.
        max_idle: idle connections kept for one origin.
        max_age_seconds: a connection that was opened so long ago is not used again: its address may have left DNS, and
            a busy pool would hold on to it for ever. The usual life of a record; a handshake that often is nothing.
        ssl_context: trust and ALPN for origins without TLS settings of their own; default: the system's CAs.
        resolver: default: the system's.
    """

    def __init__(
        self,
        now_ns: Callable[[], int],
        pacing: FrameClock | None = None,
        *,
        idle_seconds: float = 45.0,
        max_idle: int = 1024,
        max_age_seconds: float = 300.0,
        ssl_context: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._now_ns = now_ns
        self._pacing = pacing
        self._idle_ns = int(idle_seconds * 1e9)
        self._max_idle = max_idle
        self._max_age_ns = int(max_age_seconds * 1e9)
        self._idle: dict[Origin, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._opened = 0
        self._reused = 0
        self._dialer = Dialer(resolver or Resolver(now_ns), ssl_context)

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection to *origin*, at once; None if there is none."""
        idle = self._idle.get(origin)
        now = self._now_ns()
        while idle:
            connection = idle.pop()
            if connection.usable and connection.expires_ns >= now:
                self._reused += 1
                return connection
            connection.abort()
        return None

    async def connect(self, origin: Origin, timeout: float) -> Connection:
        """A new connection. Raises ``ConnectFailed`` naming host, phase and cause. Cancelling closes what was open."""
        # Ours to follow from its first moment: a server may close it before the code below is told that it stands.
        connection = Connection(self._now_ns, self._pacing)
        connection.on_idle = lambda idle: self._give_back(origin, idle)
        connection.on_closed = lambda closed: self._gone(origin, closed)
        await self._dialer.dial(origin, connection, timeout)
        if not connection.usable:
            phase = "TLS handshake" if origin.scheme == "https" else "connect"
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

    def _give_back(self, origin: Origin, connection: Connection) -> None:
        now = connection.idle_since_ns
        rest_ns = self._idle_ns if connection.rest_ns is None else min(self._idle_ns, connection.rest_ns)
        connection.expires_ns = min(now + rest_ns, connection.born_ns + self._max_age_ns)
        idle = self._idle.setdefault(origin, [])
        idle.append(connection)
        # The oldest stand first: the few that aged out are closed here, and no timer is needed for it.
        while idle and (idle[0].expires_ns < now or len(idle) > self._max_idle):
            idle.pop(0).abort()

    def _gone(self, origin: Origin, connection: Connection) -> None:
        self._all.discard(connection)
        idle = self._idle.get(origin, ())
        if connection in idle:  # the server's own idle time-out
            self._idle[origin].remove(connection)
