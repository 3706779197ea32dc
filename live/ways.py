"""The ways to ask the configured providers: one for each dialect that each of them speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.base import Dialect
    from tokenwire.gateway.directory import Directory, Upstream
    from tokenwire.upstream.pool import Origin
    from tokenwire.upstream.request import Request


class Way(NamedTuple):
    """*label*: how it is called in what is printed, and where its recordings lie."""

    label: str
    upstream: Upstream
    dialect: Dialect
    origin: Origin

    def request(self, path: str, body: bytes) -> Request:
        """A request with the provider's own authentication. *path*: below its base URL."""
        return self.upstream.request(path, body, [("accept", "text/event-stream")])


def ways(directory: Directory, names: Sequence[str]) -> list[Way]:
    """In the order of *names*."""
    upstreams = [directory.upstreams[name] for name in names]
    return [Way(upstream.name, upstream, upstream.dialect, upstream.origin) for upstream in upstreams]
