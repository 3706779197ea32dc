"""What an answer cost, by one's own prices, else by those that come with the package genai-prices. Nothing is fetched.

The package takes a fifth of a second to import: it is imported when the first price is asked for, which is never
where all models are one's own. ``load`` does it beforehand, from a thread.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Usage

#: Usual names of upstreams -> the provider as the package calls it.
_NAMES: Final = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "gemini": "google",
    "google": "google",
    "groq": "groq",
    "mistral": "mistral",
    "moonshotai": "moonshotai",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "vertex": "google",
    "xai": "x-ai",
}
#: A dialect that (nearly) one vendor's models alone are asked in: behind a proxy their names still tell the price.
_DIALECTS: Final = {"anthropic": "anthropic", "gemini": "google"}


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars for a million tokens. Cached input and cache writes cost what input does, unless they are set."""

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None

    def of(self, usage: Usage) -> float:
        """The price of *usage*, whose input and output are known. A provider whose cached input is more than its input
        contradicts itself: then all of it is at the full price."""
        assert usage.input is not None
        assert usage.output is not None
        cached, written = usage.cached_input or 0, usage.cache_write or 0
        if cached + written > usage.input:
            cached = written = 0
        total = (usage.input - cached - written) * self.input + usage.output * self.output
        total += cached * (self.input if self.cached_input is None else self.cached_input)
        total += written * (self.input if self.cache_write is None else self.cache_write)
        return total / 1e6


class Seller(NamedTuple):
    """Whose prices hold: *own* ones, else those of the provider at *url*, else those of *provider*. Nothing of it:
    nobody's.

    *own*: prices by model, as UPSTREAM/MODEL or alone, ``*`` and ``?`` standing for anything; *name* is the upstream's.
    """

    url: str | None
    provider: str | None
    own: tuple[tuple[str, Price], ...] = ()
    name: str = ""


@lru_cache(maxsize=256)
def seller(name: str, base_url: str, dialect: str, own: tuple[tuple[str, Price], ...] = ()) -> Seller:
    """Whose prices the upstream *name* has: *own* ones; else by its address; where that is a proxy's or unknown, by its
    name (that of a vendor) or its dialect. A server on this machine or network has its vendor's prices only if it has
    its name."""
    public = _public(urlsplit(base_url).hostname or "")
    provider = _NAMES.get(name.lower()) or (_DIALECTS.get(dialect) if public else None)
    return Seller(base_url if public else None, provider, own, name)


@lru_cache(maxsize=1024)
def own_price(sold_by: Seller, model: str) -> Price | None:
    """One's own price of *model*: UPSTREAM/MODEL before the model's name alone, a name before a pattern, and of several
    patterns the longest; None without any."""
    names = (f"{sold_by.name}/{model}", model)
    prices = dict(sold_by.own)
    for name in names:
        if name in prices:
            return prices[name]
    for pattern in sorted(prices, key=len, reverse=True):
        if any(fnmatchcase(name, pattern) for name in names):
            return prices[pattern]
    return None


def load() -> bool:
    """Import the prices now; whether there are any. To be called from a thread."""
    return _table() is not None


def cost_usd(sold_by: Seller, model: str, usage: Usage, when: float) -> float | None:
    """The price of *usage* of *model* in US dollars, at *when* (seconds since 1970). Cached input and cache writes cost
    what the provider asks for them.

    None where the price, or a count, is not known. That is never 0; a model that is free costs 0.
    """
    if usage.input is None or usage.output is None:
        return None
    if (told := _told(sold_by, usage)) is not None:
        return told
    if sold_by.own and (own := own_price(sold_by, model)) is not None:
        return own.of(usage)
    table = _table() if sold_by.url or sold_by.provider else None
    if table is None:
        return None
    found = _find(table, sold_by, model)
    if found is None:
        return None
    provider, entry = found
    counts = {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_read_tokens": usage.cached_input or None,
        "cache_write_tokens": usage.cache_write or None,
    }
    at = datetime.fromtimestamp(when, UTC)
    price: Any = None
    # A provider whose cached input is more than its input contradicts itself: then all of it at the full price.
    for counted in (counts, {"input_tokens": usage.input, "output_tokens": usage.output}):
        try:
            price = entry.calc_price(table.types.Usage(**counted), provider, genai_request_timestamp=at)
        except (ValueError, LookupError):
            continue
        break
    if price is None or (price.model_price.input_mtok is None and price.model_price.output_mtok is None):
        return None
    return float(price.total_price)


def _told(sold_by: Seller, usage: Usage) -> float | None:
    """OpenRouter says in its usage what it takes, in dollars."""
    if usage.raw is None or not (sold_by.provider == "openrouter" or "openrouter.ai" in (sold_by.url or "")):
        return None
    cost = usage.raw.get("cost")
    return float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0 else None


def _find(table: Any, sold_by: Seller, model: str) -> tuple[Any, Any] | None:
    """Provider and model of the table. The address first: it knows best whom one pays."""
    snapshot = table.data_snapshot.get_snapshot()
    for provider, url in ((None, sold_by.url), (sold_by.provider, None)):
        if provider is None and url is None:
            continue
        try:
            found: tuple[Any, Any] = snapshot.find_provider_model(model[:200], None, provider, url)
        except LookupError:
            continue
        return found
    return None


@lru_cache(maxsize=1)
def _table() -> Any:
    try:
        import genai_prices
    except ImportError:  # a build without it: no prices
        return None
    genai_prices.data_snapshot.get_snapshot()  # the table itself, a megabyte of it
    return genai_prices


def _public(host: str) -> bool:
    """Whether *host* may be a vendor's: a full name, no address, and not of this network."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".lan", ".localhost"))
    return False
