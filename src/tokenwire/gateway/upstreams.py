"""A configured provider, ready to be asked, in each dialect that it speaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.errors import RequestRefused
from tokenwire.gateway.settings import PASSTHROUGH, UpstreamSettings
from tokenwire.gateway.vendors import BESIDE, VENDORS, Caller, Vendor
from tokenwire.measure.prices import Price, Seller, seller
from tokenwire.upstream.fetch import fetch
from tokenwire.upstream.pool import Origin, Pool
from tokenwire.upstream.request import Request, encode_fields

#: A caller's fields that go on to the provider, by how they begin (INTERFACES section 1).
_FORWARDED = (b"openai-", b"anthropic-")
#: Pages of a list of models; Anthropic's have up to a thousand each.
_MOST_PAGES = 20


class Provider(NamedTuple):
    """An upstream in one of its dialects.

    Attributes:
        base: what the paths of all its requests begin with.
        head: the fields of every request, encoded.
        required: fields that a request must have, if the caller did not send them.
        passthrough: a caller's fields that are his own key for it, if the upstream has none of ours.
        seller: whose prices hold.
    """

    vendor: Vendor
    dialect: Dialect
    origin: Origin
    base: str
    head: bytes
    required: tuple[tuple[str, str], ...]
    passthrough: tuple[bytes, ...]
    seller: Seller

    def fields(self, given: Iterable[tuple[bytes, bytes]] = ()) -> list[tuple[str, str]]:
        """The fields of one request besides ``head``: of the *given* ones, a caller's, those that are meant for the
        provider; and what is required."""
        fields = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in given
            if name.startswith(_FORWARDED) or name == b"traceparent" or name in self.passthrough
        ]
        names = {name for name, _ in fields}
        return fields + [field for field in self.required if field[0] not in names]

    def foreign_fields(self, given: Iterable[tuple[bytes, bytes]], caller: Caller) -> list[tuple[str, str]]:
        """The same for a request that came in another dialect: what was meant for its vendor stays here, but for the
        caller's own key, where that is what the upstream is asked with."""
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in given if name == b"traceparent"]
        if self.passthrough:
            brought = {name: value.decode("latin-1") for name, value in given if name in caller.credentials}
            for name in caller.credentials:
                if name in brought:
                    fields.append(self.vendor.key(brought[name].removeprefix("Bearer ").strip()))
                    break
        return fields + list(self.required)

    def request(self, path: str, body: bytes, extra: Iterable[tuple[str, str]] = (), method: str = "POST") -> Request:
        """A request with this provider's own authentication and headers."""
        fields = [("content-type", "application/json"), *extra] if method == "POST" else list(extra)
        path = self.base + path
        return Request(origin=self.origin, path=path, head=self.head, fields=fields, body=body, method=method)


class Upstream(NamedTuple):
    """A configured provider. ``providers``: by dialect; at least one."""

    name: str
    settings: UpstreamSettings
    providers: dict[str, Provider]

    @property
    def first(self) -> Provider:
        """In the dialect that is named first: it is asked for its models in that."""
        return next(iter(self.providers.values()))

    def provider(self, vendor: Vendor, model: str) -> Provider:
        """This upstream in the dialect of *vendor*. Raises ``RequestRefused`` (400) if it does not speak that, naming
        what to ask instead."""
        provider = self.providers.get(vendor.dialect)
        if provider is not None:
            return provider
        spoken = ", ".join(self.settings.dialects)
        message = f"the upstream {self.name!r} of {model!r} does not speak {vendor.dialect}, but {spoken}"
        raise RequestRefused(400, "unsupported_dialect", message, param="model")


def upstream_of(name: str, settings: UpstreamSettings, prices: Mapping[str, Price] | None = None) -> Upstream:
    """The upstream that *settings* describe, checked already. *prices*: one's own."""
    own = tuple((prices or {}).items())
    origin, path = settings.origin()
    providers: dict[str, Provider] = {}
    spoken = [VENDORS[dialect] for dialect in settings.dialects]
    for vendor in [*spoken, *(BESIDE[each.dialect] for each in spoken if each.dialect in BESIDE)]:
        ours = {field.lower() for field in settings.headers}
        providers[vendor.dialect] = Provider(
            vendor=vendor,
            dialect=dialects.get(vendor.dialect),
            origin=origin,
            base=vendor.base(path),
            head=_head(settings, vendor),
            required=tuple(field for field in vendor.required if field[0] not in ours),
            passthrough=vendor.credentials if settings.api_key == PASSTHROUGH else (),
            seller=seller(name, settings.base_url, vendor.dialect, own),
        )
    return Upstream(name, settings, providers)


def _head(settings: UpstreamSettings, vendor: Vendor) -> bytes:
    fields = [("accept-encoding", "identity"), ("user-agent", "tokenwire")]
    if settings.api_key and settings.api_key != PASSTHROUGH:
        fields.append(vendor.key(settings.api_key))
    return encode_fields([*fields, *settings.headers.items()])


async def list_models(pool: Pool, upstream: Upstream) -> list[str]:
    """The models that *upstream* says it has. Raises what ``fetch`` does; ``RemoteProtocolError`` for no list."""
    provider = upstream.first
    names: list[str] = []
    after: str | None = ""
    for _ in range(_MOST_PAGES):
        path = provider.vendor.models + (after or "")
        body = await fetch(pool, provider.request(path, b"", provider.fields(), method="GET"), timeout=10.0)
        page, after = provider.vendor.listed(body)
        names += page
        if after is None:
            break
    return names
