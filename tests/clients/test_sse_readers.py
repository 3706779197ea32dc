"""Any reader of Server-Sent Events: httpx-sse, and a bare socket that knows only the standard."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from tokenwire.testing.plain_sse import read
from tokenwire.testing.processes import Running
from tokenwire.wire.sse import Event

TEXT = "Grüße, 世界 \u2028 and \x85, 👩‍👩‍👧\r\nagain"
#: Estimates of the usage come twice a second: how many a reader is told depends on how fast the machine is.
PLAIN = {"X-Tokenwire-Usage": "off"}
Chat = Callable[..., dict[str, Any]]
Seen = list[tuple[str, str, str]]


@pytest.fixture
def events_path(relay: Running, fetch: Callable[..., Any], chat: Chat) -> str:
    """Where a stream of ours is: one with pauses, so that heartbeats are among the bytes."""
    request = chat("sim/echo", TEXT, ttft_ms=250, interval_ms=5)
    return str(fetch(f"{relay.url}/v1/streams", {"dialect": "openai.chat", "request": request})["events"])


def by_httpx_sse(relay: Running, method: str, path: str, **more: Any) -> Seen:
    """What httpx-sse gives for the events that have data (it makes one of each cursor without data, as well)."""
    more["headers"] = {**PLAIN, **more.get("headers", {})}
    with httpx.Client(timeout=20) as client, connect_sse(client, method, relay.url + path, **more) as source:
        events: Iterator[ServerSentEvent] = source.iter_sse()
        return [(event.id, event.event, event.data) for event in events if event.data]


def by_socket(relay: Running, method: str, path: str, body: Any = None, version: str = "1.1") -> tuple[str, Seen]:
    """The head of the answer, and the standard's reading of its body."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/{version}", f"Host: 127.0.0.1:{relay.port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in PLAIN.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    with socket.create_connection(("127.0.0.1", relay.port), 20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        wire = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, rest = wire.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        rest = dechunked(rest)
    return head.decode(), [(event.id or "", event.event, event.data) for event in read(rest).events]


def dechunked(wire: bytes) -> bytes:
    """The content of a whole chunked body; what is not whole fails."""
    content = b""
    while True:
        size, _, wire = wire.partition(b"\r\n")
        length = int(size, 16)
        assert wire[length : length + 2] == b"\r\n"
        if length == 0:
            assert wire == b"\r\n"
            return content
        content += wire[:length]
        wire = wire[length + 2 :]


def prove(seen: Seen) -> None:
    """Nothing is missing, nothing is doubled: what the last event of a native stream lets every client check."""
    kinds = [kind for _, kind, _ in seen]
    done = json.loads(seen[-1][2])
    text = "".join(json.loads(data)["t"] for _, kind, data in seen if kind == "text")
    assert text == TEXT
    assert (kinds[0], kinds[-1]) == ("started", "done")
    assert done["text_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert done["events"] == len(seen) - 1
    places = [tuple(map(int, place.replace("-", ".").split("."))) for place, _, _ in seen]
    assert places == sorted(set(places))


@pytest.mark.parametrize("moment", ["live", "replayed"])
def test_a_native_stream_is_the_same_for_all(relay: Running, events_path: str, moment: str) -> None:
    if moment == "replayed":
        by_socket(relay, "GET", events_path)
    first = by_httpx_sse(relay, "GET", events_path)
    prove(first)
    for version in ("1.1", "1.0"):
        _, seen = by_socket(relay, "GET", events_path, version=version)
        assert seen == first


@pytest.mark.parametrize("ids", [False, True], ids=["bare", "with ids"])
def test_a_vendors_stream_is_the_same_for_all(relay: Running, chat: Chat, ids: bool) -> None:
    body = chat("sim/echo", TEXT, seed=7, ttft_ms=250, interval_ms=5)
    path = "/v1/chat/completions"
    fields = {"X-Tokenwire-Ids": "1"} if ids else {}
    seen = by_httpx_sse(relay, "POST", path, json=body, headers=fields)
    text = "".join(
        choice["delta"].get("content") or ""
        for _, _, data in seen
        if data != "[DONE]"
        for choice in json.loads(data)["choices"]
    )
    assert text == TEXT
    assert [place for place, _, _ in seen][:3] == (["1-1", "1-2", "1-3"] if ids else ["", "", ""])
    _, others = by_socket(relay, "POST", path, body)
    assert [data for _, _, data in others] == [data for _, _, data in seen]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_the_head_says_what_proxies_must_know(relay: Running, events_path: str, version: str) -> None:
    head, _ = by_socket(relay, "GET", events_path, version=version)
    status, *lines = head.split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert status.endswith("200 OK")
    assert fields["content-type"].startswith("text/event-stream")
    assert fields["cache-control"] == "no-cache, no-transform"
    assert fields["x-accel-buffering"] == "no"
    assert fields["x-tokenwire-stream"] in events_path
    assert "content-length" not in fields
    assert fields.get("transfer-encoding") == (None if version == "1.0" else "chunked")


def test_a_reader_may_join_late_with_one_snapshot(relay: Running, events_path: str) -> None:
    _, whole = by_socket(relay, "GET", events_path)
    _, late = by_socket(relay, "GET", f"{events_path}?from=snapshot")
    told = [kind for _, kind, _ in late]
    assert told[:2] == ["started", "snapshot"]
    assert set(told[2:-1]) <= {"usage"}, "what ends an answer is no part of what was said"
    assert told[-1] == "done"
    assert json.loads(late[1][2])["text"] == TEXT
    assert json.loads(late[-1][2])["text_sha256"] == json.loads(whole[-1][2])["text_sha256"]


def test_the_standard_reads_what_was_written() -> None:
    """The oracle of this file can tell a difference."""
    assert read(b"data: a\n\nid: 1\n\ndata: b\n\n").events == [Event(data="a"), Event(data="b", id="1")]
