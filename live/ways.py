"""The ways to ask the configured providers: one for each dialect that each of them speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.base import Dialect
    from tokenwire.gateway.directory import Directory
    from tokenwire.gateway.upstreams import Provider, Upstream
    from tokenwire.upstream.request import Request


class Way(NamedTuple):
    """*label*: how it is called in what is printed, and where its recordings lie."""

    label: str
    upstream: Upstream
    provider: Provider

    @property
    def dialect(self) -> Dialect:
        return self.provider.dialect

    def request(self, model: str, body: bytes) -> Request:
        """A request for an answer, with the provider's own authentication."""
        fields = [*self.provider.fields(), ("accept", "text/event-stream")]
        return self.provider.request(self.provider.vendor.ask(model, True), body, fields)


def ways(directory: Directory, names: Sequence[str]) -> list[Way]:
    """In the order of *names*. An upstream of several dialects is several ways, told apart in their labels."""
    found = []
    for upstream in (directory.upstreams[name] for name in names):
        for dialect, provider in upstream.providers.items():
            label = upstream.name if len(upstream.providers) == 1 else f"{upstream.name}-{dialect}"
            found.append(Way(label, upstream, provider))
    return found
