"""The rules of the settings that types cannot say. Every refusal names the place and what may stand there."""

from __future__ import annotations

import ipaddress
import math
import re
from typing import TYPE_CHECKING

import msgspec

from tokenwire import dialects
from tokenwire.engine.stores.address import parse_store_url
from tokenwire.errors import ConfigError, RequestRefused
from tokenwire.gateway.cache_settings import check_cache
from tokenwire.gateway.vendors import VENDORS
from tokenwire.measure.tokenizers import tokenizer
from tokenwire.upstream import proxy
from tokenwire.upstream.origin import parse_base_url
from tokenwire.upstream.tls import Tls, make_context

if TYPE_CHECKING:
    from tokenwire.gateway.settings import ModelSettings, Settings, UpstreamSettings

#: At once, in each case: cancel when the last reader leaves, cut streams at shutdown, send the head before any token.
_MAY_BE_ZERO = ("linger", "drain", "hold")
#: Without end. Of the last two, 0 would say either "nothing" or "no bound": it is refused.
_MAY_BE_INFINITE = ("linger", "unread_cost_usd", "unread_tokens")


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
    if settings.store.url is not None:
        try:
            parse_store_url(settings.store.url)
        except ConfigError as error:
            raise ConfigError(error.message, where="store.url") from error
    for field, value in msgspec.structs.asdict(settings.store).items():
        if field != "url":
            _check_number(value, f"store.{field}", zero=field == "rest_seconds")
    for name, upstream in settings.upstreams.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ConfigError(
                "an upstream's name has letters, digits, '_', '.' and '-' only", where=f"upstreams.{name}"
            )
        _check_upstream(upstream, f"upstreams.{name}")
    for name, model in settings.models.items():
        _check_model(settings, name, model)
    for name, price in settings.prices.items():
        if not name.strip("/"):
            raise ConfigError("say whose price it is: UPSTREAM/MODEL, or MODEL", where=f"prices.{name!r}")
        for field, value in msgspec.structs.asdict(price).items():
            if value is not None:
                _check_number(value, f"prices.{name}.{field}", zero=True)
    default = settings.server.default_model
    if default is not None and default not in settings.models:
        prefix, _, model_name = default.partition("/")
        if prefix not in settings.upstreams or not model_name:
            message = f"{default!r} is neither one of [models] nor UPSTREAM/MODEL of a configured upstream"
            raise ConfigError(message, where="server.default_model")
    for limit, value in msgspec.structs.asdict(settings.limits).items():
        _check_number(value, f"limits.{limit}", zero=limit in _MAY_BE_ZERO, infinite=limit in _MAY_BE_INFINITE)
    return settings


def _check_upstream(upstream: UpstreamSettings, where: str) -> None:
    try:
        origin, _ = parse_base_url(upstream.base_url)
    except ConfigError as error:
        raise ConfigError(str(error), where=f"{where}.base_url") from error
    if upstream.proxy is not None and upstream.proxy != proxy.NONE:
        try:
            proxy.parse_proxy(upstream.proxy)
        except ConfigError as error:
            raise ConfigError(f'{error}; or "none"', where=f"{where}.proxy") from error
    if upstream.tokenizer is not None:
        try:
            tokenizer(upstream.tokenizer)
        except ConfigError as error:
            raise ConfigError(str(error), where=f"{where}.tokenizer") from error
    if upstream.tls != Tls():
        _check_tls(upstream.tls, origin.scheme, where)
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
    for name, value in msgspec.structs.asdict(upstream.retry).items():
        _check_number(value, f"{where}.retry.{name}", zero=name != "attempts")


def _check_model(settings: Settings, name: str, model: ModelSettings) -> None:
    where = f"models.{name}"
    if not model.route and "/" not in name:
        raise ConfigError("a route needs at least one UPSTREAM/MODEL", where=f"{where}.route")
    for target in model.route or [name]:
        prefix, slash, model_name = target.partition("/")
        if prefix not in settings.upstreams or not slash or not model_name:
            known = ", ".join(settings.upstreams) or "none"
            message = f"{target!r} is no UPSTREAM/MODEL of a configured upstream (there are: {known})"
            raise ConfigError(message, where=f"{where}.route")
    for deadline, value in msgspec.structs.asdict(model.deadlines).items():
        if value is not None:
            _check_number(value, f"{where}.deadlines.{deadline}")
    _check_number(model.cache.seconds, f"{where}.cache.seconds", zero=True)
    check_cache(model.cache, f"{where}.cache")


def _check_tls(tls: Tls, scheme: str, where: str) -> None:
    if scheme != "https":
        raise ConfigError("the base_url begins with http://: there is no TLS", where=f"{where}.tls")
    if tls.server_name is not None and not re.fullmatch(r"[A-Za-z0-9.:_-]+", tls.server_name):
        raise ConfigError("must be a host's name or address, without a port", where=f"{where}.tls.server_name")
    if not tls.verify and tls.ca_file is not None:
        raise ConfigError("nothing is verified: remove ca_file or verify = false", where=f"{where}.tls.verify")
    try:
        make_context(tls)
    except ConfigError as error:
        raise ConfigError(error.message, where=f"{where}.{error.where}") from error


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
