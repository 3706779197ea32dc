"""measure/prices: what an answer cost, and where nobody knows."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tokenwire.dialects.deltas import Usage
from tokenwire.measure import prices
from tokenwire.measure.prices import Price, Seller, cost_usd, load, own_price, seller

#: Prices change; those of the past do not.
THEN = 1_750_000_000.0  # June 2025
OPENAI = seller("openai", "https://api.openai.com/v1", "openai.chat")


def cost(model: str, sold_by: Seller = OPENAI, **counts: Any) -> float | None:
    return cost_usd(sold_by, model, Usage(**counts), THEN)


def test_the_price_is_per_million_tokens() -> None:
    assert cost("gpt-4o", input=1000, output=100) == pytest.approx(1000 * 2.5e-6 + 100 * 10e-6)
    assert cost("gpt-4o", input=0, output=0) == 0.0


def test_cached_input_costs_what_it_costs() -> None:
    assert cost("gpt-4o", input=1000, output=0, cached_input=600) == pytest.approx(400 * 2.5e-6 + 600 * 1.25e-6)
    claude = seller("anthropic", "https://api.anthropic.com", "anthropic")
    usage = {"input": 1000, "output": 10, "cached_input": 100, "cache_write": 200}
    assert cost("claude-3-5-haiku-20241022", claude, **usage) == pytest.approx(
        700 * 0.8e-6 + 100 * 0.08e-6 + 200 * 1e-6 + 10 * 4e-6
    )


def test_a_provider_that_contradicts_itself_is_paid_in_full() -> None:
    assert cost("gpt-4o", input=10, output=0, cached_input=999) == pytest.approx(10 * 2.5e-6)


@pytest.mark.parametrize("model", ["nobodys-model", "", "x" * 100_000])
def test_an_unknown_model_has_no_price_which_is_not_zero(model: str) -> None:
    assert cost(model, input=1000, output=100) is None


def test_a_model_that_is_paid_for_by_the_hour_has_no_price_per_token() -> None:
    groq = seller("groq", "https://api.groq.com/openai/v1", "openai.chat")
    assert cost("whisper-large-v3", groq, input=10, output=10) is None


def test_counts_that_the_table_refuses_have_no_price() -> None:
    assert cost("gpt-4o", input=-5, output=10) is None


@pytest.mark.parametrize("counts", [{}, {"input": 3}, {"output": 3}])
def test_without_counts_there_is_no_cost(counts: dict[str, Any]) -> None:
    assert cost("gpt-4o", **counts) is None


@pytest.mark.parametrize(
    ("name", "url", "dialect", "priced"),
    [
        ("mine", "https://api.openai.com/v1", "openai.chat", True),
        ("openai", "http://127.0.0.1:4000/v1", "openai.chat", True),
        ("OpenAI", "https://llm.corp.example/v1", "openai.chat", True),
        ("mine", "https://llm.corp.example/v1", "openai.chat", False),
        ("local", "http://127.0.0.1:8000/v1", "openai.chat", False),
        ("local", "http://gpu-box:8000/v1", "openai.chat", False),
        ("local", "http://gpu.lan:8000/v1", "openai.chat", False),
        ("sim", "http://[::1]:8000/v1", "openai.chat", False),
    ],
)
def test_whose_price_it_is(name: str, url: str, dialect: str, priced: bool) -> None:
    assert (cost("gpt-4o", seller(name, url, dialect), input=10, output=10) is not None) is priced


def test_a_dialect_of_one_vendor_tells_it_behind_a_proxy() -> None:
    proxy = seller("claude", "https://models.example.org/", "anthropic")
    assert cost("claude-3-5-haiku-20241022", proxy, input=10, output=10) == pytest.approx(10 * 0.8e-6 + 10 * 4e-6)
    assert cost("llama3.2", proxy, input=10, output=10) is None
    own = seller("claude", "http://127.0.0.1:9/", "anthropic")
    assert cost("claude-3-5-haiku-20241022", own, input=10, output=10) is None, "nobody is paid on this machine"


def test_the_address_knows_better_than_the_name() -> None:
    azure = seller("openai", "https://mine.openai.azure.com/openai/v1", "openai.chat")
    assert cost("gpt-4o", azure, input=1000, output=0) == pytest.approx(1000 * 2.5e-6)
    groq = seller("fast", "https://api.groq.com/openai/v1", "openai.chat")
    assert cost("llama-3.3-70b-versatile", groq, input=1_000_000, output=0) == pytest.approx(0.59)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [({"cost": 0.0123}, 0.0123), ({"cost": 0}, 0.0), ({"cost": True}, None), ({"cost": -1}, None), ({}, None)],
)
def test_openrouter_says_itself_what_it_takes(raw: dict[str, Any], expected: float | None) -> None:
    router = seller("openrouter", "https://openrouter.ai/api/v1", "openai.chat")
    assert cost("nobody/nothing", router, input=1, output=1, raw=raw) == expected
    assert cost("gpt-4o", OPENAI, input=0, output=0, raw={"cost": 5}) == 0.0, "with others the word may mean anything"


def test_without_the_package_there_are_no_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    prices._table.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    try:
        assert not load()
        assert cost("gpt-4o", input=1, output=1) is None
    finally:
        monkeypatch.undo()
        prices._table.cache_clear()
    assert load()


def test_it_is_imported_only_for_a_price_and_asks_no_network() -> None:
    """In a process of its own: here it is imported already."""
    script = """
import socket, sys
def never(*arguments): raise AssertionError("a connection")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = never
import tokenwire.gateway.server
from tokenwire.dialects.deltas import Usage
from tokenwire.measure.prices import cost_usd, seller
local = seller("local", "http://127.0.0.1:1/v1", "openai.chat")
assert cost_usd(local, "gpt-4o", Usage(1, 1), 0.0) is None
assert "genai_prices" not in sys.modules
assert cost_usd(seller("openai", "http://127.0.0.1:1/v1", "openai.chat"), "gpt-4o", Usage(1, 1), 1.75e9)
assert "genai_prices" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ, timeout=60)


# ---------------------------------------------------------------------- one's own

OWN = (
    ("*", Price(input=1, output=1)),
    ("gpt-4*", Price(input=2, output=2)),
    ("openai/*", Price(input=3, output=3)),
    ("gpt-4o", Price(input=4, output=8, cached_input=1, cache_write=5)),
    ("local/gpt-4o", Price(input=0, output=0)),
    ("meta/llama-?", Price(input=6, output=6)),
)


@pytest.mark.parametrize(("upstream", "model", "found"), [
    ("openai", "gpt-4o", 4),
    ("local", "gpt-4o", 0),
    ("openai", "gpt-4.1", 3),
    ("other", "gpt-4.1", 2),
    ("other", "meta/llama-3", 6),
    ("meta", "llama-3", 6),
    ("other", "llama-33", 1),
])  # fmt: skip
def test_the_nearest_of_ones_own_prices_holds(upstream: str, model: str, found: float) -> None:
    price = own_price(seller(upstream, "http://127.0.0.1:1/v1", "openai.chat", OWN), model)
    assert price is not None
    assert price.input == found


def test_ones_own_price_comes_before_the_table() -> None:
    mine = seller("openai", "https://api.openai.com/v1", "openai.chat", OWN[3:5])
    counts = {"input": 1000, "output": 100, "cached_input": 300, "cache_write": 200}
    assert cost("gpt-4o", mine, **counts) == pytest.approx((500 * 4 + 300 * 1 + 200 * 5 + 100 * 8) / 1e6)
    assert cost("gpt-4o", mine, input=1000, output=100, cached_input=999, cache_write=2) == pytest.approx(4.8e-3)
    assert cost("gpt-4o-mini", mine, input=1000, output=100) == pytest.approx(1000 * 0.15e-6 + 100 * 0.6e-6)
    local = seller("local", "http://127.0.0.1:8000/v1", "openai.chat", OWN[3:5])
    assert cost("gpt-4o", local, input=1000, output=100) == 0.0, "free, and known to be"
    assert cost("other", local, input=1000, output=100) is None
    plain = seller("local", "http://127.0.0.1:8000/v1", "openai.chat", OWN[:1])
    assert cost("any", plain, input=100, output=0, cached_input=50, cache_write=20) == pytest.approx(1e-4)


def test_openrouters_own_figure_comes_first() -> None:
    router = seller("openrouter", "https://openrouter.ai/api/v1", "openai.chat", OWN)
    assert cost("gpt-4o", router, input=1, output=1, raw={"cost": 0.5}) == 0.5
