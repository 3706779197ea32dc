"""Who may ask. Without keys only this machine may, and a web page on it may not: it would spend the owner's money.

A page in a browser can reach a loopback port. It gives itself away by its Origin; by a Host that is not ours, when a
name was pointed at 127.0.0.1 (DNS rebinding); or by a body type that needs no CORS preflight.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tokenwire.errors import RequestRefused
from tokenwire.gateway.answers import header
from tokenwire.gateway.settings_check import loopback

if TYPE_CHECKING:
    from tokenwire.gateway.sinks import Scope

#: The caller when there are no keys: everybody on this machine.
LOCAL = "local"


def admit(scope: Scope) -> str:
    """The caller of this request. Raises ``RequestRefused`` (403, 415) for what a foreign page could have sent."""
    host = header(scope, b"host")
    if host is not None and not _is_loopback(host):
        raise RequestRefused(
            403,
            "foreign_host",
            f"the Host {host!r} is not this machine's loopback; without keys only loopback is served",
        )
    origin = header(scope, b"origin")
    if origin is not None and not _own_origin(origin, host):
        raise RequestRefused(
            403,
            "foreign_origin",
            f"a page of {origin!r} may not use this relay; without keys only its own page may",
        )
    if scope["method"] == "POST":
        kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        length = header(scope, b"content-length")
        has_body = length not in (None, "0") or header(scope, b"transfer-encoding") is not None
        if has_body and kind != "application/json":
            raise RequestRefused(415, "not_json", f"send the body as application/json, not {kind or 'without a type'}")
    return LOCAL


def admit_spending_get(scope: Scope) -> str:
    """``admit``, for a GET that begins generation. The address of an image is enough to send one, without an Origin.

    Browsers say where a request comes from and what for (Fetch Metadata), and pages cannot change that. One that does
    not say it is too old to be told from an attack; what is no browser does not call itself Mozilla. An image on our
    own page is refused as well: its address may be of a model's making. Raises ``RequestRefused`` (403).
    """
    owner = admit(scope)
    site = header(scope, b"sec-fetch-site")
    browser = site is not None or "mozilla/" in (header(scope, b"user-agent") or "").lower()
    by_script = header(scope, b"sec-fetch-dest") == "empty"
    # A site of "none" is the address bar, but also a link that another program opened.
    if browser and not (site == "same-origin" and by_script):
        raise RequestRefused(
            403,
            "foreign_site",
            "in a browser only a script of the relay's own page may begin an answer by GET; "
            "use POST with application/json",
        )
    if "prefetch" in (header(scope, b"sec-purpose") or header(scope, b"purpose") or "").lower():
        raise RequestRefused(403, "prefetch", "a guess of the browser may not begin an answer")
    return owner


@lru_cache(maxsize=256)
def _is_loopback(host: str) -> bool:
    """Asked with every request, about the same few Host headers."""
    try:
        return loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:  # half a bracket
        return False


def _own_origin(origin: str, host: str | None) -> bool:
    """Same origin as the address that was asked. Another port of this machine is another program's page."""
    scheme, _, address = origin.partition("://")
    return host is not None and scheme.lower() in ("http", "https") and address.lower() == host.lower()
