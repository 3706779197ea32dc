"""The settings of the way to an upstream: TLS and proxies, from the file and from the environment."""

from __future__ import annotations

import logging
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trustme

from tokenwire.errors import ConfigError
from tokenwire.gateway.directory import Directory
from tokenwire.gateway.settings import Settings, from_environment, from_mapping, tokenizers_of
from tokenwire.gateway.settings_check import check
from tokenwire.measure.prices import Price
from tokenwire.upstream.pool import Pool
from tokenwire.upstream.proxy import Proxy
from tokenwire.upstream.tls import Tls

URL = "https://api.test/v1"


def settings(environ: dict[str, str] | None = None, **upstream: Any) -> Settings:
    return from_mapping({"upstreams": {"up": {"base_url": URL, **upstream}}}, environ or {})


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    path = str(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(path)
    return path


def test_the_documented_settings_are_the_ones_that_there_are() -> None:
    text = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text("utf-8")
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    shown = tomllib.loads(block[1].replace("# verify", "verify"))["upstreams"]["inhouse"]
    assert set(shown.pop("tls")) == set(Tls.__struct_fields__)
    upstream = settings({"PROXY_PASSWORD": "s3cret"}, **shown).upstreams["up"]
    assert upstream.origin()[0].proxy == Proxy("http", "proxy.example.internal", 3128, "Basic dXNlcjpzM2NyZXQ=")


# ---------------------------------------------------------------------- TLS


def test_tls_of_an_upstream(ca_file: str) -> None:
    upstream = settings({"CA": ca_file}, tls={"ca_file": "${CA}", "server_name": "other.test"}).upstreams["up"]
    assert upstream.tls == Tls(ca_file=ca_file, server_name="other.test")
    origin, path = upstream.origin()
    assert (origin.tls, origin.proxy, path) == (upstream.tls, None, "/v1")
    usual, _ = settings().upstreams["up"].origin()
    assert usual.tls is None
    assert usual != origin


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"cafile": "x"}, "upstreams.up.tls.cafile: unknown key; did you mean 'ca_file'?"),
        ({"verify": "no"}, "upstreams.up.tls.verify: Expected bool, got str"),
        ({"ca_file": "/nonexistent.pem"}, "upstreams.up.tls.ca_file: cannot read /nonexistent.pem: No such file"),
        ({"key_file": "/x.pem"}, "upstreams.up.tls.cert_file: a key is of no use without its certificate"),
        ({"server_name": "a:b/c"}, "upstreams.up.tls.server_name: must be a host's name or address"),
        ({"server_name": ""}, "upstreams.up.tls.server_name: must be a host's name"),
        ({"verify": False, "ca_file": "x"}, "upstreams.up.tls.verify: nothing is verified: remove ca_file or"),
    ],
)
def test_tls_settings_that_cannot_work_are_said_before_anything_starts(tls: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tls=tls)
    assert str(caught.value).startswith(words)


def test_tls_settings_of_a_plain_upstream_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"upstreams\.up\.tls: the base_url begins with http://: there is no TLS"):
        settings(base_url="http://api.test", tls={"verify": False})


def test_what_is_not_verified_is_told_aloud(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    Directory(settings(), Pool(lambda: 0))
    assert caplog.messages == []
    Directory(settings(tls={"verify": False}), Pool(lambda: 0))
    assert caplog.messages == [
        "upstreams.up: NOT SECURE: tls.verify = false, anybody on the way can pose as it and read its key"
    ]


# ---------------------------------------------------------------------- proxies


def test_a_proxy_of_an_upstream_goes_before_the_environment() -> None:
    environ = {"HTTPS_PROXY": "http://other.test:1", "PASSWORD": "s3cret", "NO_PROXY": "*"}
    own = settings(environ, proxy="http://me:${PASSWORD}@proxy.test:3128").upstreams["up"]
    proxy = own.origin()[0].proxy
    assert proxy == Proxy("http", "proxy.test", 3128, "Basic bWU6czNjcmV0")
    none = settings({"HTTPS_PROXY": "http://other.test:1"}, proxy="none").upstreams["up"]
    assert none.origin()[0].proxy is None
    loopback = settings(base_url="http://127.0.0.1:1", proxy="proxy.test:2").upstreams["up"]
    assert loopback.origin()[0].proxy == Proxy("http", "proxy.test", 2)


def test_the_environment_names_one_for_whoever_has_none() -> None:
    environ = {"https_proxy": "proxy.test:3128", "NO_PROXY": "internal.test", "OPENAI_API_KEY": "sk"}
    raw = {
        name: {"base_url": url}
        for name, url in {
            "far": URL,
            "plain": "http://api.test",
            "near": "https://llm.internal.test",
            "here": "https://127.0.0.1:1",
        }.items()
    }
    found = from_mapping({"upstreams": raw}, environ)
    proxies = {name: upstream.origin()[0].proxy for name, upstream in found.upstreams.items()}
    proxy = Proxy("http", "proxy.test", 3128)
    assert proxies == {"far": proxy, "plain": None, "near": None, "here": None}
    assert check(found) is found
    usual = from_environment({**environ, "ALL_PROXY": "http://all.test:1"}, "http://127.0.0.1:8789/v1")
    assert usual.upstreams["openai"].origin()[0].proxy == proxy
    assert usual.upstreams["sim"].origin()[0].proxy is None


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (
            "socks5://me:s3cret@proxy.test:1080",
            'socks5:// proxies are not supported; http:// and https:// ones are; or "none"',
        ),
        ("http://me:s3cret@proxy.test:none", 'the proxy\'s URL cannot be read: write http://HOST:PORT; or "none"'),
        ("", "the proxy's URL must be a host and a port"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_said_before_anything_starts(proxy: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(proxy=proxy)
    assert str(caught.value).startswith(f"upstreams.up.proxy: {words}")
    assert "s3cret" not in str(caught.value)


def test_so_is_one_of_the_environment_if_it_concerns_anybody() -> None:
    environ = {"all_proxy": "socks5h://me:s3cret@proxy.test:1080"}
    with pytest.raises(ConfigError) as caught:
        settings(environ)
    assert str(caught.value) == (
        "upstreams.up.proxy: all_proxy in the environment: socks5h:// proxies are not supported; http:// and https:// "
        'ones are (or proxy = "none" here)'
    )
    assert settings(environ, proxy="none").upstreams["up"].origin()[0].proxy is None
    assert settings(environ, base_url="http://127.0.0.1:1").upstreams["up"].proxy is None


# ---------------------------------------------------------------------- what is counted, and what it costs


def test_the_documented_prices_are_the_ones_that_there_are() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cost.md").read_text("utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    shown = [from_mapping(tomllib.loads(block), {}) for block in blocks]
    assert shown[1].prices["gpt-4o"] == Price(input=2.5, output=10, cached_input=1.25, cache_write=2.5)
    assert shown[0].upstreams["openai"].tokenizer == "tiktoken:o200k_base"
    assert list(tokenizers_of(shown[0])) == ["openai"]


@pytest.mark.parametrize(("prices", "words"), [
    ({"m": {"inptu": 1, "output": 1}}, "prices.m.inptu: unknown key; did you mean 'input'?"),
    ({"m": {"input": 1}}, "prices.m: Object missing required field output"),
    ({"m": {"input": -1, "output": 1}}, "prices.m.input: must be 0 or more"),
    ({"m": {"input": 1, "output": float("inf")}}, "prices.m.output: must be finite"),
    ({"m": {"input": "1", "output": 1}}, "prices.m.input: Expected float, got str"),
    ({"input": 1}, "prices.input: Expected object, got int"),
    ({"": {"input": 1, "output": 1}}, "say whose price it is"),
])  # fmt: skip
def test_prices_that_are_none(prices: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        from_mapping({"prices": prices}, {})


def test_a_tokenizer_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"upstreams\.up\.tokenizer: tiktoken has no encoding 'x'"):
        settings(tokenizer="tiktoken:x")
