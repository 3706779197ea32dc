"""HTTP proxies: which one the environment names for an origin, and how a tunnel through it is asked for.

The rules are curl's, for that is what people test their settings with: small letters before capitals, ``HTTPS_PROXY``
and ``HTTP_PROXY`` by the origin's scheme, else ``ALL_PROXY``; ``NO_PROXY`` as ``bypasses`` says.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from tokenwire.errors import ConfigError

#: As an upstream's ``proxy``: the direct way, whatever the environment says.
NONE: Final = "none"
#: The head of an answer to CONNECT. Squid's has 400 bytes.
MAX_HEAD: Final = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n")


class Proxy(NamedTuple):
    """*authorization*: the value of Proxy-Authorization; never shown."""

    scheme: str
    host: str
    port: int
    authorization: str | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{with_port(self.host, self.port)}"

    def __repr__(self) -> str:
        return f"Proxy({self})"

    @property
    def field(self) -> str:
        """The header line that shows who we are, or nothing."""
        return "" if self.authorization is None else f"proxy-authorization: {self.authorization}\r\n"


def with_port(host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def parse_proxy(url: str) -> Proxy:
    """``http(s)://[USER:PASSWORD@]HOST[:PORT]``; without a scheme it is http. Raises ``ConfigError``, which does not
    repeat a password."""
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        port = parts.port
    except ValueError as error:
        raise ConfigError("the proxy's URL cannot be read: write http://HOST:PORT") from error
    if parts.scheme.startswith("socks"):
        raise ConfigError(f"{parts.scheme}:// proxies are not supported; http:// and https:// ones are")
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{parts.scheme}:// is no proxy that we know; write http://HOST:PORT or https://HOST:PORT")
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError("the proxy's URL must be a host and a port and nothing behind them: http://HOST:PORT")
    authorization = None
    if parts.username is not None or parts.password is not None:
        pair = unquote_to_bytes(f"{parts.username or ''}:{parts.password or ''}")
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    return Proxy(parts.scheme, parts.hostname, port, authorization)


# ---------------------------------------------------------------------- the environment


class Found(NamedTuple):
    """*variable* of the environment says *url*."""

    variable: str
    url: str


def from_environment(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Found | None:
    """What the environment says of the way to an origin; None: the direct way. This machine is never far."""
    if _is_loopback(host) or bypasses(_variable(environ, "NO_PROXY")[1], host, port):
        return None
    names = [f"{scheme.upper()}_PROXY", "ALL_PROXY"]
    for name in names:
        if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ and "http_proxy" not in environ:
            continue  # under CGI it is a request's header "Proxy", and whoever asks must not choose it
        variable, url = _variable(environ, name)
        if variable in environ:
            return Found(variable, url) if url else None
    return None


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable that is there, and its value: small letters first."""
    found = name.lower() if name.lower() in environ else name
    return found, environ.get(found, "").strip()


def bypasses(rules: str, host: str, port: int) -> bool:
    """Whether ``NO_PROXY`` = *rules* wants the direct way to *host* and *port*.

    Rules stand between commas or blanks. ``*`` is everything; ``example.com`` and ``.example.com`` are that name and
    all below it; an address is itself, ``10.0.0.0/8`` a net (names are not resolved for it); ``:PORT`` at the end of a
    name or address (IPv6: in brackets) makes it that port only.
    """
    host = host.rstrip(".").lower()
    address = _address(host)
    return any(_covers(rule.lower(), host, address, port) for rule in re.split(r"[,\s]+", rules) if rule)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _covers(rule: str, host: str, address: _Address | None, port: int) -> bool:
    if rule == "*":
        return True
    name, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        rule = name
    rule = rule.removeprefix("[").removesuffix("]")
    if address is not None:
        try:
            return address in ipaddress.ip_network(rule, strict=False)  # of an address: the net of one
        except ValueError:
            return False
    rule = rule.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(rule) and (host == rule or host.endswith(f".{rule}"))


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    host = host.rstrip(".").lower()
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


# ---------------------------------------------------------------------- the tunnel (RFC 9110 section 9.3.6)


class TunnelRefused(Exception):
    """The proxy did not open the tunnel. *again*: it may yet."""

    def __init__(self, message: str, *, again: bool = True) -> None:
        self.again = again
        super().__init__(message)


def connect_request(proxy: Proxy, host: str, port: int) -> bytes:
    """What asks *proxy* for a tunnel."""
    target = with_port(host, port)
    head = f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nuser-agent: tokenwire\r\n{proxy.field}\r\n"
    return head.encode("latin-1")


def tunnel_opened(received: bytes | bytearray) -> bool:
    """Whether the proxy's answer, as far as it came, opened the tunnel; False: there must be more of it.

    Raises ``TunnelRefused``.
    """
    first, newline, _ = received.partition(b"\n")
    if newline:
        match = _STATUS.match(received)
        if match is None:
            shown = bytes(first[:40]).decode("latin-1").rstrip()
            raise TunnelRefused(f"it does not speak HTTP: it answered {shown!r}")
        if not 100 <= int(match[1]) < 300:
            raise refusal(int(match[1]), match[2] or b"")
    elif not b"HTTP/1.".startswith(received[:7]):
        raise TunnelRefused(f"it does not speak HTTP: it answered {bytes(received[:40]).decode('latin-1')!r}")
    head, blank, rest = received.replace(b"\r\n", b"\n").partition(b"\n\n")
    if not blank:
        if len(received) > MAX_HEAD:
            raise TunnelRefused(f"its answer has no end within {MAX_HEAD} bytes")
        return False
    if head.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):
        return tunnel_opened(rest)
    if rest:  # over TLS the client speaks first
        raise TunnelRefused("it sent bytes behind its answer, before anybody asked")
    return True


def refusal(status: int, reason: bytes) -> TunnelRefused:
    """What a proxy's refusing status means."""
    words = " ".join(reason.decode("latin-1").split())
    said = f"it answered {status} {words}".rstrip() if words.isprintable() else f"it answered {status}"
    if status == 407:
        return TunnelRefused(
            f"{said}: it wants credentials, or others: http://USER:PASSWORD@HOST:PORT as its URL", again=False
        )
    return TunnelRefused(said, again=status >= 500)
