"""Without keys only this machine may ask, and a web page that it shows may not."""

from __future__ import annotations

from typing import Any

import pytest

from tokenwire.errors import RequestRefused
from tokenwire.gateway.guard import LOCAL, admit
from tokenwire.testing.relay import Relay, chat, streamed
from tokenwire.testing.upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"


def scope(method: str = "POST", **fields: str) -> dict[str, Any]:
    headers = {"host": "127.0.0.1:8787", "content-type": "application/json", "content-length": "2", **fields}
    return {
        "type": "http",
        "method": method,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value],
    }


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8787", "127.9.9.9:1", "localhost:8787", "LOCALHOST", "app.localhost:80", "[::1]:8787", ""],
)
def test_a_host_of_this_machine_is_served(host: str) -> None:
    assert admit(scope(host=host)) == LOCAL


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8787",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "localhost.evil.example",
        "notlocalhost",
        "192.168.1.5:8787",
        "0.0.0.0:8787",
        "[::]:8787",
        "[::1",
        "[",
        "\xff",
        "169.254.169.254",
    ],
)
def test_a_foreign_host_is_refused(host: str) -> None:
    """A name that was pointed at 127.0.0.1 (DNS rebinding): the page's Origin is then its own."""
    with pytest.raises(RequestRefused) as caught:
        admit(scope(host=host, origin=f"http://{host}"))
    assert (caught.value.status, caught.value.code) == (403, "foreign_host")


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8787", "HTTP://127.0.0.1:8787", "https://127.0.0.1:8787", ""], ids=repr
)
def test_our_own_page_and_no_page_are_served(origin: str) -> None:
    assert admit(scope(origin=origin)) == LOCAL
    assert admit(scope("GET", origin=origin)) == LOCAL


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1",  # another port of this machine is another program's page
        "http://127.0.0.1:3000",
        "http://localhost:8787",
        "http://127.0.0.1:8787.evil.example",
        "http://evil.example/127.0.0.1:8787",
        "null",
        "file://",
        "chrome-extension://abc",
        "http://[",
        "127.0.0.1:8787",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_a_foreign_page_is_refused(origin: str, method: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        admit(scope(method, origin=origin))
    assert (caught.value.status, caught.value.code) == (403, "foreign_origin")


def test_an_origin_without_a_host_is_nobodys() -> None:
    with pytest.raises(RequestRefused):
        admit(scope(host="", origin="http://127.0.0.1:8787"))


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_taken(kind: str) -> None:
    assert admit(scope(**{"content-type": kind})) == LOCAL


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/plain;application/json", "application/x-www-form-urlencoded", "multipart/form-data", ""],
)
@pytest.mark.parametrize("framing", [{"content-length": "2"}, {"content-length": "", "transfer-encoding": "chunked"}])
def test_a_body_that_a_page_could_send_unasked_is_refused(kind: str, framing: dict[str, str]) -> None:
    """These types need no CORS preflight."""
    with pytest.raises(RequestRefused) as caught:
        admit(scope(**{"content-type": kind, **framing}))
    assert (caught.value.status, caught.value.code) == (415, "not_json")


@pytest.mark.parametrize("length", ["0", ""])
def test_a_post_without_a_body_needs_no_type(length: str) -> None:
    assert admit(scope(**{"content-type": "", "content-length": length})) == LOCAL


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"Origin": "https://evil.example"}, 403, "foreign_origin"),
        ({"Host": "evil.example"}, 403, "foreign_host"),
        ({"Content-Type": "text/plain"}, 415, "not_json"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/streams", "/v1/models"])
def test_every_route_is_guarded(relayed: Any, path: str, fields: dict[str, str], status: int, code: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(path, chat(), fields).whole()
        assert (refused.status, refused.json["error"]["code"]) == (status, code)
        assert "access-control-allow-origin" not in refused.fields
        assert upstream.peers == []

    relayed(main, streamed("one"))


def test_a_preflight_is_not_answered(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        fields = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        for path in (CHAT, "/v1/streams"):
            assert (await client.request("OPTIONS", path, None, fields).whole()).status == 403

    relayed(main)


def test_our_own_page_may(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        own = {"Origin": f"http://127.0.0.1:{relay.port}"}
        assert (await client.post(CHAT, chat(), own).whole()).text == "one"
        assert (await client.get("/v1/models", own).whole()).status == 200

    relayed(main, streamed("one"))


def test_the_health_check_is_anybodys(relayed: Any) -> None:
    """A load balancer asks by address; nothing is told and nothing can be spent."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert (await client.get("/healthz", {"Host": "10.0.0.1", "Origin": "http://x"}).whole()).status == 200

    relayed(main)
