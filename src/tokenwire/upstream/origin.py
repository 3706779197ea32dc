"""Where an upstream is, and how it is reached: what two connections must share to be each other's equal."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from tokenwire.errors import ConfigError, ConnectFailed
from tokenwire.upstream.proxy import Proxy, refusal, with_port
from tokenwire.upstream.tls import Tls

# What would end the request line early, or is no byte of one.
_NO_PATH = re.compile(r"[^\x21-\x7e]")
PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """*tls*: None is the usual trust. *proxy*: None is the direct way."""

    scheme: str
    host: str
    port: int
    tls: Tls | None = None
    proxy: Proxy | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{with_port(self.host, self.port)}"

    @property
    def header(self) -> str:
        """The Host header's value: without the port where it is the scheme's own (RFC 9110 section 7.2)."""
        return with_port(self.host, None if self.port == PORTS[self.scheme] else self.port)

    @property
    def relayed(self) -> Proxy | None:
        """The proxy that has to be told with every request where it goes (RFC 9112 section 3.2.2); https goes
        through a tunnel, where requests look as on the direct way."""
        return self.proxy if self.scheme == "http" else None


def parse_base_url(url: str) -> tuple[Origin, str]:
    """A base URL as the vendor's SDK takes it -> origin and path prefix (without a slash at its end).

    Raises ``ConfigError`` saying what is wrong.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}") from error
    if parts.scheme not in PORTS:
        raise ConfigError(f"{url!r} must begin with http:// or https://")
    if not parts.hostname:
        raise ConfigError(f"{url!r} names no host")
    if parts.username or parts.password:
        raise ConfigError("credentials do not belong into a base_url; use api_key")
    if parts.query or parts.fragment:
        raise ConfigError(f"{url!r} must have no query and no fragment")
    if _NO_PATH.search(parts.path):
        raise ConfigError(f"{url!r}: the path must be percent-encoded ASCII")
    return Origin(parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port), parts.path.rstrip("/")


def refused_by_proxy(origin: Origin, status: int) -> ConnectFailed | None:
    """An answer of *status* that is the proxy's own, as the failure that it is; None: it is the origin's."""
    if status != 407 or origin.relayed is None:
        return None
    cause = f"{origin.relayed}: {refusal(status, b'Proxy Authentication Required')}"
    return ConnectFailed(str(origin), "proxy", cause, retryable=False)
