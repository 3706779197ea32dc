"""Base URLs as people write them."""

from __future__ import annotations

import pytest

from tokenwire.errors import ConfigError
from tokenwire.upstream.pool import Origin, parse_base_url


@pytest.mark.parametrize(
    ("url", "origin", "path", "host"),
    [
        ("https://api.openai.com/v1", Origin("https", "api.openai.com", 443), "/v1", "api.openai.com"),
        ("https://API.OpenAI.com:443/v1/", Origin("https", "api.openai.com", 443), "/v1", "api.openai.com"),
        ("http://127.0.0.1:8000", Origin("http", "127.0.0.1", 8000), "", "127.0.0.1:8000"),
        ("http://localhost/", Origin("http", "localhost", 80), "", "localhost"),
        ("http://localhost:443", Origin("http", "localhost", 443), "", "localhost:443"),
        ("http://[::1]:11434/v1", Origin("http", "::1", 11434), "/v1", "[::1]:11434"),
        ("https://[2001:db8::1]", Origin("https", "2001:db8::1", 443), "", "[2001:db8::1]"),
        (
            "https://x.test/openai/deployments/a%20b",
            Origin("https", "x.test", 443),
            "/openai/deployments/a%20b",
            "x.test",
        ),
    ],
)
def test_origin_path_and_host_field(url: str, origin: Origin, path: str, host: str) -> None:
    assert parse_base_url(url) == (origin, path)
    assert origin.header == host


def test_an_origin_in_words() -> None:
    assert str(Origin("https", "api.openai.com", 443)) == "https://api.openai.com:443"
    assert str(Origin("http", "::1", 80)) == "http://[::1]:80"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("api.openai.com/v1", "must begin with http:// or https://"),
        ("ftp://x.test", "must begin with http:// or https://"),
        ("", "must begin with"),
        ("http://", "names no host"),
        ("http:///v1", "names no host"),
        ("http://user@x.test", "credentials do not belong"),
        ("http://:secret@x.test", "credentials do not belong"),
        ("http://x.test/v1?api-version=1", "no query and no fragment"),
        ("http://x.test/v1#a", "no query and no fragment"),
        ("http://x.test:port", "Port could not be cast"),
        ("http://x.test:99999", "Port out of range"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://x.test/v 1", "percent-encoded ASCII"),
        ("http://x.test/\u00fc", "percent-encoded ASCII"),
    ],
)
def test_what_cannot_be_used_is_said(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        parse_base_url(url)
    assert "secret" not in str(caught.value)
