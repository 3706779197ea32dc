"""The rules of the settings that types cannot say. Every refusal names the place and what may stand there."""

from __future__ import annotations

import ipaddress
import math
import re
from typing import TYPE_CHECKING

import msgspec

from tokenwire import dialects
from tokenwire.errors import ConfigError, RequestRefused
from tokenwire.gateway.vendors import VENDORS
from tokenwire.upstream.pool import parse_base_url

if TYPE_CHECKING:
    from tokenwire.gateway.settings import Settings, UpstreamSettings

#: At once, in each case: cancel when the last reader leaves, cut streams at shutdown, send the head before any token.
_MAY_BE_ZERO = ("linger", "drain", "hold")


def check(settings: Settings) -> Settings:
    """The rules that types cannot say. Returns *settings*; raises ``ConfigError``."""
    if not 0 <= settings.server.port <= 65535:
        raise ConfigError(f"{settings.server.port} is no port", where="server.port")
    if not loopback(settings.server.host):
        raise ConfigError(
            f"{settings.server.host!r} can be reached by others, and this release knows no keys for them yet: "
            "bind 127.0.0.1 and put an authenticating proxy in front",
            where="server.host",
        )
    if settings.store.url != "memory://":
        raise ConfigError(f"{settings.store.url!r}: this release has memory:// only", where="store.url")
    for name, upstream in settings.upstreams.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ConfigError(
                "an upstream's name has letters, digits, '_', '.' and '-' only", where=f"upstreams.{name}"
            )
        _check_upstream(upstream, f"upstreams.{name}")
    for name, model in settings.models.items():
        for target in model.route:
            prefix, slash, model_name = target.partition("/")
            if prefix not in settings.upstreams or not slash or not model_name:
                known = ", ".join(settings.upstreams) or "none"
                message = f"{target!r} is no UPSTREAM/MODEL of a configured upstream (there are: {known})"
                raise ConfigError(message, where=f"models.{name}.route")
        if not model.route:
            raise ConfigError("a route needs at least one UPSTREAM/MODEL", where=f"models.{name}.route")
    for limit, value in msgspec.structs.asdict(settings.limits).items():
        _check_number(value, f"limits.{limit}", zero=limit in _MAY_BE_ZERO, infinite=limit == "linger")
    return settings


def _check_upstream(upstream: UpstreamSettings, where: str) -> None:
    try:
        parse_base_url(upstream.base_url)
    except ConfigError as error:
        raise ConfigError(str(error), where=f"{where}.base_url") from error
    for dialect in upstream.dialects:
        try:
            dialects.get(dialect)
        except RequestRefused as error:
            raise ConfigError(str(error), where=f"{where}.dialect") from error
        if dialect not in VENDORS:
            raise ConfigError(f"{dialect} is ours: no provider speaks it", where=f"{where}.dialect")
    if not upstream.dialects or len(set(upstream.dialects)) < len(upstream.dialects):
        raise ConfigError("name each dialect that it speaks once, and at least one", where=f"{where}.dialect")
    if upstream.api_key is not None and not re.fullmatch(r"[\x21-\x7e]+", upstream.api_key):
        raise ConfigError("a key is printable ASCII without blanks and line ends", where=f"{where}.api_key")
    for name, value in upstream.headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ConfigError(f"{name!r} is no header name", where=f"{where}.headers")
        if not re.fullmatch(r"[\t\x20-\x7e\xa0-\xff]*", value):
            raise ConfigError("has a character that no header may hold", where=f"{where}.headers.{name}")
    for deadline, value in msgspec.structs.asdict(upstream.deadlines).items():
        _check_number(value, f"{where}.deadlines.{deadline}")


def _check_number(value: float, where: str, *, zero: bool = False, infinite: bool = False) -> None:
    if not (value > 0 or (zero and value == 0)):  # said this way round, NaN is refused as well
        raise ConfigError("must be 0 or more" if zero else "must be above 0", where=where)
    if value == math.inf and not infinite:
        raise ConfigError("must be finite", where=where)


def loopback(host: str) -> bool:
    """Whether *host* (a name or address, without a port) can be reached from this machine only."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
