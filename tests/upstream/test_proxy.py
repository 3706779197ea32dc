"""Which proxy the environment means, which origins it leaves out, and what a proxy's answers mean."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.errors import ConfigError
from tokenwire.upstream.origin import Origin
from tokenwire.upstream.proxy import (
    MAX_HEAD,
    Found,
    Proxy,
    TunnelRefused,
    bypasses,
    connect_request,
    from_environment,
    parse_proxy,
    tunnel_opened,
)

# ---------------------------------------------------------------------- its URL


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.test:3128", Proxy("http", "proxy.test", 3128)),
        ("http://proxy.test:3128/", Proxy("http", "proxy.test", 3128)),
        ("proxy.test:3128", Proxy("http", "proxy.test", 3128)),
        ("http://proxy.test", Proxy("http", "proxy.test", 80)),
        ("https://proxy.test", Proxy("https", "proxy.test", 443)),
        ("HTTP://Proxy.Test:1", Proxy("http", "proxy.test", 1)),
        ("http://[::1]:3128", Proxy("http", "::1", 3128)),
    ],
)
def test_a_proxy_by_its_url(url: str, proxy: Proxy) -> None:
    assert parse_proxy(url) == proxy
    assert proxy.field == ""


@pytest.mark.parametrize(
    ("url", "pair"),
    [
        ("http://me:secret@proxy.test:3128", b"me:secret"),
        ("http://me@proxy.test", b"me:"),
        ("http://:secret@proxy.test", b":secret"),
        ("http://DOMAIN%5Cme:a%40b%3Ac@proxy.test", b"DOMAIN\\me:a@b:c"),
        ("http://m%C3%A9:x@proxy.test", "m\u00e9:x".encode()),
    ],
)
def test_credentials_are_sent_as_basic_and_never_shown(url: str, pair: bytes) -> None:
    proxy = parse_proxy(url)
    assert proxy.field == f"proxy-authorization: Basic {base64.b64encode(pair).decode()}\r\n"
    shown = f"{proxy} {proxy!r} {Origin('http', 'x', 80, None, proxy)!r}"
    assert "proxy.test" in shown
    assert "Basic" not in shown
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socks5://me:secret@proxy.test:1080", "socks5:// proxies are not supported; http:// and https:// ones are"),
        ("socks5h://proxy.test", "socks5h:// proxies are not supported"),
        ("ftp://proxy.test", "ftp:// is no proxy that we know"),
        ("http://me:secret@proxy.test:port", "cannot be read: write http://HOST:PORT"),
        ("http://me:secret@[::1", "cannot be read"),
        ("http://me:secret@", "a host and a port and nothing behind them"),
        ("http://proxy.test/path?secret", "nothing behind them"),
        ("", "a host and a port"),
    ],
)
def test_a_url_that_is_none_of_a_proxy(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_proxy(url)
    assert "secret" not in str(caught.value)


# ---------------------------------------------------------------------- the environment

HTTPS = ("https", "api.test", 443)
HTTP = ("http", "api.test", 80)


@pytest.mark.parametrize(
    ("environ", "origin", "found"),
    [
        ({}, HTTPS, None),
        ({"HTTPS_PROXY": "a"}, HTTPS, ("HTTPS_PROXY", "a")),
        ({"HTTPS_PROXY": "a"}, HTTP, None),
        ({"HTTP_PROXY": "a"}, HTTP, ("HTTP_PROXY", "a")),
        ({"HTTP_PROXY": "a"}, HTTPS, None),
        ({"http_proxy": " a "}, HTTP, ("http_proxy", "a")),
        ({"https_proxy": "a", "HTTPS_PROXY": "b"}, HTTPS, ("https_proxy", "a")),
        ({"ALL_PROXY": "a"}, HTTPS, ("ALL_PROXY", "a")),
        ({"all_proxy": "a", "ALL_PROXY": "b"}, HTTP, ("all_proxy", "a")),
        ({"ALL_PROXY": "a", "HTTPS_PROXY": "b"}, HTTPS, ("HTTPS_PROXY", "b")),
        ({"ALL_PROXY": "a", "HTTPS_PROXY": "b"}, HTTP, ("ALL_PROXY", "a")),
        # Said to be nothing, which is something else than not said.
        ({"https_proxy": "", "HTTPS_PROXY": "b"}, HTTPS, None),
        ({"HTTPS_PROXY": "", "ALL_PROXY": "a"}, HTTPS, None),
        # Under CGI the capitals may be a request's header.
        ({"HTTP_PROXY": "a", "REQUEST_METHOD": "GET"}, HTTP, None),
        ({"http_proxy": "a", "HTTP_PROXY": "b", "REQUEST_METHOD": "GET"}, HTTP, ("http_proxy", "a")),
        ({"HTTPS_PROXY": "a", "NO_PROXY": "api.test"}, HTTPS, None),
        ({"HTTPS_PROXY": "a", "no_proxy": "api.test", "NO_PROXY": "x"}, HTTPS, None),
        ({"HTTPS_PROXY": "a", "no_proxy": "x", "NO_PROXY": "api.test"}, HTTPS, ("HTTPS_PROXY", "a")),
        ({"ALL_PROXY": "a"}, ("http", "127.0.0.1", 8000), None),
        ({"ALL_PROXY": "a"}, ("http", "127.9.9.9", 8000), None),
        ({"ALL_PROXY": "a"}, ("http", "::1", 8000), None),
        ({"ALL_PROXY": "a"}, ("http", "localhost", 8000), None),
        ({"ALL_PROXY": "a"}, ("http", "sim.localhost.", 8000), None),
        ({"ALL_PROXY": "a"}, ("http", "mylocalhost", 8000), ("ALL_PROXY", "a")),
    ],
)
def test_the_usual_variables(
    environ: dict[str, str], origin: tuple[str, str, int], found: tuple[str, str] | None
) -> None:
    assert from_environment(*origin, environ) == (None if found is None else Found(*found))


@pytest.mark.parametrize(
    ("rules", "origin", "direct"),
    [
        ("", "api.test:443", False),
        ("*", "api.test:443", True),
        ("x,*", "10.0.0.1:80", True),
        ("api.test", "api.test:443", True),
        ("api.test", "v1.api.test:443", True),
        (".api.test", "v1.api.test:443", True),
        (".api.test", "api.test:443", True),
        ("*.api.test", "v1.api.test:443", True),
        ("api.test", "myapi.test:443", False),
        ("api.test", "api.test.evil:443", False),
        ("API.Test", "api.test:443", True),
        ("api.test", "API.TEST.:443", True),
        ("api.test.", "api.test:443", True),
        ("a, b ,api.test\tc", "api.test:443", True),
        ("a b api.test", "api.test:443", True),
        ("test", "api.test:443", True),
        (".", "api.test:443", False),
        ("api.test:443", "api.test:443", True),
        ("api.test:8443", "api.test:443", False),
        (".test:443", "api.test:443", True),
        ("10.0.0.1", "10.0.0.1:80", True),
        ("10.0.0.1", "10.0.0.10:80", False),
        ("10.0.0.1:80", "10.0.0.1:80", True),
        ("10.0.0.1:81", "10.0.0.1:80", False),
        ("0.0.1", "10.0.0.1:80", False),
        ("10.0.0.0/8", "10.200.3.4:80", True),
        ("10.0.0.0/8:80", "10.200.3.4:80", True),
        ("10.1.2.3/8", "10.200.3.4:80", True),
        ("10.0.0.0/8", "11.0.0.1:80", False),
        ("10.0.0.0/8", "ten.test:80", False),
        ("10.0.0.0/64", "10.0.0.1:80", False),
        ("fd00::/8", "fd12::1:80", True),
        ("fd00::/8", "10.0.0.1:80", False),
        ("2001:db8::1", "2001:db8::1:80", True),
        ("2001:DB8:0::1", "2001:db8::1:80", True),
        ("[2001:db8::1]", "2001:db8::1:80", True),
        ("[2001:db8::1]:80", "2001:db8::1:80", True),
        ("[2001:db8::1]:81", "2001:db8::1:80", False),
        ("2001:db8::2", "2001:db8::1:80", False),
    ],
)
def test_no_proxy(rules: str, origin: str, direct: bool) -> None:
    host, _, port = origin.rpartition(":")
    assert bypasses(rules, host, int(port)) is direct


@given(st.text(), st.sampled_from(["api.test", "10.0.0.1", "::1"]), st.integers(1, 65535))
def test_no_rule_breaks_it(rules: str, host: str, port: int) -> None:
    assert bypasses(rules, host, port) in (True, False)


# ---------------------------------------------------------------------- the tunnel


def test_what_is_asked() -> None:
    proxy = parse_proxy("http://me:secret@proxy.test")
    assert connect_request(proxy, "2001:db8::1", 443) == (
        b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nhost: [2001:db8::1]:443\r\nuser-agent: tokenwire\r\n"
        b"proxy-authorization: Basic bWU6c2VjcmV0\r\n\r\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200\r\nVia: x\r\n\r\n",
        b"HTTP/1.1 204 \n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_an_open_tunnel_is_seen_with_its_last_byte(answer: bytes) -> None:
    assert [tunnel_opened(answer[:end]) for end in range(len(answer) + 1)] == [False] * len(answer) + [True]


@pytest.mark.parametrize(
    ("answer", "words", "again"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n", "it answered 403 Forbidden", False),
        (b"HTTP/1.1 502 Bad  Gateway \r\n", "it answered 502 Bad Gateway", True),
        (b"HTTP/1.1 503\r\n", "it answered 503", True),
        (b"HTTP/1.1 403 \x1b[2J\r\n", "it answered 403", False),
        (
            b"HTTP/1.1 407 Who are you\r\n",
            "it answered 407 Who are you: it wants credentials, or others: http://U",
            False,
        ),
        (b"SSH-2.0-OpenSSH", "it does not speak HTTP: it answered 'SSH-2.0-OpenSSH'", True),
        (b"HTTP/2 200\r\n", "it does not speak HTTP: it answered 'HTTP/2 200'", True),
        (b"HTTP/1.1 twohundred\r\n", "it does not speak HTTP: it answered 'HTTP/1.1 twohundred'", True),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * MAX_HEAD, f"its answer has no end within {MAX_HEAD} bytes", True),
        (b"HTTP/1.1 200 OK\r\n\r\n\x15", "it sent bytes behind its answer", True),
    ],
)
def test_a_tunnel_that_is_not_opened(answer: bytes, words: str, again: bool) -> None:
    with pytest.raises(TunnelRefused) as caught:
        tunnel_opened(answer)
    assert str(caught.value).startswith(words)
    assert "\x1b" not in str(caught.value)
    assert caught.value.again is again
