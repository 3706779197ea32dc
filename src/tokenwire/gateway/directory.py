"""Which upstream serves a model name (INTERFACES section 1, "Model names")."""

from __future__ import annotations

import asyncio
import difflib
import logging
from typing import TYPE_CHECKING, NamedTuple

from tokenwire.errors import RequestRefused, TokenwireError, UnknownModel
from tokenwire.gateway.cache_settings import OFF, CacheSettings
from tokenwire.gateway.settings import DeadlineOverrides, Settings, UpstreamSettings
from tokenwire.gateway.upstreams import Provider, Upstream, list_models, upstream_of
from tokenwire.upstream.deadlines import Deadlines
from tokenwire.upstream.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tokenwire.gateway.vendors import Vendor

log = logging.getLogger(__name__)

#: Lists change by the week; a failed fetch is tried again sooner.
REFRESH_SECONDS = 600.0
RETRY_SECONDS = 15.0
#: So many names an error holds: of those near to the one asked for, and of any where none is near.
NEAR_NAMES = 5
MOST_NAMES = 8
#: A vendor's usual prefixes, for a bare name that no list holds (a list may be missing or late).
PREFIXES = {
    "openai": ("gpt-", "o1", "o3", "o4", "chatgpt-"),
    "anthropic": ("claude-",),
    "gemini": ("gemini-",),
    "deepseek": ("deepseek-",),
    "xai": ("grok-",),
}


class Target(NamedTuple):
    """A model of an upstream; *overrides* are the deadlines that the name asked for sets."""

    upstream: Upstream
    model: str
    overrides: DeadlineOverrides | None = None

    @property
    def deadlines(self) -> Deadlines:
        deadlines = self.upstream.settings.deadlines
        return deadlines if self.overrides is None else self.overrides.over(deadlines)

    def provider(self, vendor: Vendor) -> Provider:
        """The upstream in the dialect of *vendor*. Raises ``RequestRefused`` (400) if it does not speak that."""
        return self.upstream.provider(vendor, self.model)


class Directory:
    """Resolves model names; ``run`` keeps the providers' lists fresh."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self.upstreams: dict[str, Upstream] = {}
        self._lists: dict[str, list[str]] = {}
        for name, upstream in settings.upstreams.items():
            self.add(name, upstream)

    def add(self, name: str, upstream: UpstreamSettings) -> None:
        """From now on there is *upstream*, under that name."""
        if not upstream.tls.verify:
            log.warning(
                "upstreams.%s: NOT SECURE: tls.verify = false, anybody on the way can pose as it and read its key",
                name,
            )
        self.upstreams[name] = upstream_of(name, upstream, self._settings.prices)
        if upstream.models is not None:
            self._lists[name] = list(upstream.models)

    def resolve(self, name: str) -> Target:
        """Raises ``UnknownModel`` (404) or ``RequestRefused`` (400: ambiguous), both with the candidates."""
        return self.route(name)[0]

    def route(self, name: str) -> list[Target]:
        """Who is asked for that model, in this order. Raises as ``resolve`` does."""
        alias = self._settings.models.get(name)
        if alias is None:
            return [self._find(name)]
        return [self._find(each)._replace(overrides=alias.deadlines) for each in alias.route or (name,)]

    def cache(self, name: str, targets: Sequence[Target]) -> CacheSettings:
        """Whether answers to who asks for *name*, which *targets* serve, are kept: what is set for that name, else for
        the UPSTREAM/MODEL that it stands for."""
        model = self._settings.models.get(name)
        if model is None:
            model = self._settings.models.get(f"{targets[0].upstream.name}/{targets[0].model}")
        return OFF if model is None else model.cache

    def _find(self, name: str) -> Target:
        prefix, slash, rest = name.partition("/")
        if slash and prefix in self.upstreams and rest:
            return Target(self.upstreams[prefix], rest)
        holders = [upstream for upstream, models in self._lists.items() if name in models]
        if not holders:
            holders = [upstream for upstream in self.upstreams if name.startswith(PREFIXES.get(upstream, ("\0",)))]
        if len(holders) == 1:
            return Target(self.upstreams[holders[0]], name)
        if holders:
            candidates = ", ".join(f"{holder}/{name}" for holder in holders)
            raise RequestRefused(
                400,
                "ambiguous_model",
                f"several upstreams serve {name!r}; say which: {candidates}",
                param="model",
            )
        # The simulator's faults are names like others, but nobody means one who does not say so.
        known = [each for each in self.names() if "/fault-" not in each or "fault" in name]
        near = difflib.get_close_matches(name, known, NEAR_NAMES, 0.4)
        raise UnknownModel(name, near or known[:MOST_NAMES])

    def default(self) -> str:
        """The model of a request that names none: the setting, else the first alias, else the first listed model.

        Raises ``RequestRefused`` (400) when there is none of these.
        """
        named = self._settings.server.default_model
        if named is not None:
            return named
        for alias in self._settings.models:
            return alias
        for upstream in self.upstreams:  # as they are configured; lists come in any order
            for model in self._lists.get(upstream, ()):
                return f"{upstream}/{model}"
        raise RequestRefused(
            400,
            "no_default_model",
            "say which 'model': no upstream has listed any, and [server] default_model is not set",
            param="model",
        )

    def names(self) -> list[str]:
        """Every name that a caller may use: aliases, then UPSTREAM/MODEL."""
        names = list(self._settings.models)
        for upstream, models in self._lists.items():
            names += [f"{upstream}/{model}" for model in models]
        return list(dict.fromkeys(names))

    def dialects(self, name: str) -> list[str]:
        """What requests for that model may be written in, as its upstream has them; for an alias, its first target's.

        Empty while no upstream is known to serve it: its list may be late.
        """
        alias = self._settings.models.get(name)
        try:
            target = self._find(alias.route[0] if alias is not None and alias.route else name)
        except RequestRefused:
            return []
        return list(target.upstream.settings.dialects)

    async def run(self, on_change: Callable[[], None] | None = None) -> None:
        """Fetch the lists now and again, until cancelled."""
        while True:
            complete = await self.refresh()
            if on_change is not None:
                on_change()
            await asyncio.sleep(REFRESH_SECONDS if complete else RETRY_SECONDS)

    async def refresh(self) -> bool:
        """Ask every provider that has a list of its own; False if one did not answer (its old list stays)."""
        asked = [upstream for upstream in self.upstreams.values() if upstream.settings.models is None]
        results = await asyncio.gather(*(self._fetch(upstream) for upstream in asked))
        return all(results)

    async def _fetch(self, upstream: Upstream) -> bool:
        try:
            self._lists[upstream.name] = await list_models(self._pool, upstream)
        except TokenwireError as error:
            log.warning("no model list from %s (%s): %s", upstream.name, upstream.first.origin, error)
            return False
        return True
