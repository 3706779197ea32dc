"""``/api/chat`` by GET: what a native EventSource does, and who else could send such a request."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest

from tokenwire.dialects.deltas import Failed
from tokenwire.errors import RequestRefused
from tokenwire.gateway.guard import LOCAL, admit_spending_get
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.http_client import Answer
from tokenwire.testing.plain_sse import read
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, streamed
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream

FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
EDGES = pytest.mark.parametrize("edge", ["tokenwire", "httptools", "h11"])
#: What Chromium's EventSource sends from our own page: no Origin, for the request is same-origin.
NATIVE = {
    "Accept": "text/event-stream",
    "Cache-Control": "no-cache",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0",
}


def link(prompt: str = "hi", **parameters: str) -> str:
    return "/api/chat?" + urlencode({"prompt": prompt, "model": "up/m", **parameters})


def texts(answer: Answer) -> list[str]:
    return [data.get("text", data) if isinstance(data, dict) else data for data in answer.data]


@EDGES
def test_an_event_source_goes_on_where_it_was(relayed: Any, edge: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        first = await client.get(link(run="r1"), NATIVE).until(lambda answer: b"one" in answer.body)
        assert first.fields["content-type"].startswith("text/event-stream")
        assert first.blocks[0].startswith("retry: ")
        assert first.blocks[1] == 'data: {"text":"one"}\nid: 1-2'
        client.reset()
        again = await other.get(link(run="r1"), {**NATIVE, "Last-Event-ID": "1-2"}).head()
        gate.set()
        await again.whole()
        assert texts(again) == [" two", "[DONE]"]
        assert again.ids == ["1-3", "1-6"]
        over = await other.get(link(run="r1"), {**NATIVE, "Last-Event-ID": "1-6"}).whole()
        assert (over.status, bytes(over.body)) == (204, b"")
        assert len(relay.streams) == 1

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], edge=edge)


def test_every_id_is_a_place_to_go_on_from(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        whole = await client.get(link(run="r1"), NATIVE).whole()
        events = read(bytes(whole.body)).events
        assert len(events) == 4
        for at, event in enumerate(events):
            for query, fields in (("", {"Last-Event-ID": event.id or ""}), (f"&after={event.id}", {})):
                rest = await client.get(link(run="r1") + query, {**NATIVE, **fields}).whole()
                left = read(bytes(rest.body)).events if rest.status == 200 else []
                assert [each.data for each in left] == [each.data for each in events[at + 1 :]]
                assert rest.status == (200 if left else 204)

    relayed(main, streamed("one", " two", " three"))


def test_who_lost_the_line_before_the_first_event_begins_nothing_new(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        await client.get(link(run="r1"), NATIVE).head()
        client.reset()
        again = other.get(link(run="r1"), NATIVE)
        await again.head()
        gate.set()
        await again.whole()
        assert texts(again) == ["one", " two", "[DONE]"]
        assert len(relay.streams) == 1

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, FIRST, REST])


def test_heartbeats_are_comments(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        stream = (await relay.connect()).get(link(), NATIVE)
        await stream.until(lambda answer: answer.body.count(b": hb\n") >= 2)
        gate.set()
        await stream.whole()
        seen = [(event.event, event.data) for event in read(bytes(stream.body)).events]
        assert seen == [("message", data) for data in ('{"text":"one"}', '{"text":" two"}', "[DONE]")]

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], heartbeat=0.02)


@pytest.mark.parametrize(
    "script",
    [
        [REQUEST, answer(b'{"error":{"message":"slow down","type":"tokens","code":"x"}}', status=429)],
        [REQUEST, FIRST, CLOSE],
    ],
    ids=["before the first token", "in mid-stream"],
)
def test_a_failure_is_an_event_for_an_event_source_shows_no_status(relayed: Any, script: Any) -> None:
    """And it comes back even then: it must be told to stop, not be given a second answer, which fails as well."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        failed = await client.get(link(run="r1"), NATIVE).whole()
        assert (failed.status, failed.complete) == (200, True)
        assert failed.data[-1]["error"]["message"]
        assert "[DONE]" not in failed.data
        again = await client.get(link(run="r1"), {**NATIVE, "Last-Event-ID": failed.ids[-1]}).whole()
        assert again.status == 204
        assert len(relay.streams) == 1

    relayed(main, script)


def test_a_run_that_failed_before_it_began_can_be_tried_again(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        assert "error" in (await client.get(link(run="r1"), NATIVE).whole()).data[-1]
        assert texts(await client.get(link(run="r1"), NATIVE).whole()) == ["one", "[DONE]"]

    relayed(main, [REQUEST, answer(b"{}", status=503), *streamed("one")], streamed("one"))


@pytest.mark.parametrize(
    ("path", "fields", "status", "code"),
    [
        ("/api/chat", {}, 400, "missing_prompt"),
        (link(""), {}, 400, "missing_prompt"),
        (link(model="nobodys"), {}, 404, "model_not_found"),
        (link(model=""), {}, 400, "no_default_model"),
        (link(run="x" * 201), {}, 400, "bad_run"),
        (link(run="r1", after="x"), {}, 400, "not_an_id"),
        (link(run="r1"), {"Last-Event-ID": "1-2"}, 404, "stream_not_found"),
        (link(), {"Last-Event-ID": "1-2"}, 204, None),
        (link(), {"Origin": "https://evil.example"}, 403, "foreign_origin"),
        (link(), {"Host": "evil.example"}, 403, "foreign_host"),
        (link(), {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, 403, "foreign_site"),
    ],
)
def test_what_begins_nothing(relayed: Any, path: str, fields: dict[str, str], status: int, code: str | None) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        refused = await (await relay.connect()).get(path, fields).whole()
        assert refused.status == status
        assert (refused.json["error"]["code"] if refused.body else None) == code
        assert not [name for name in refused.fields if name.startswith("access-control")]
        assert relay.streams == []

    relayed(main)


def test_who_saw_more_than_is_left_of_an_answer_that_failed_is_told_why_it_did(relayed: Any) -> None:
    """Behind a restart that is why the stream was orphaned; a page that reads plain text has no word for a reset."""

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        asked = client.get(link("a", run="r1"))
        await asked.until(lambda answer: b"one" in answer.body)
        (stream,) = relay.streams
        stream.fail(Failed(code="orphaned", message="the relay was restarted", retryable=True))
        beyond = await (await relay.connect()).get(link("a", run="r1"), {"Last-Event-ID": "1-99"}).whole()
        assert (beyond.status, beyond.json["error"]["code"]) == (409, "orphaned")
        assert beyond.json["error"]["message"] == "the relay was restarted; without an id, this address tells it"

    relayed(main, [REQUEST, FIRST])


def test_a_run_is_one_question(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.get(link("a", run="r1")).whole()
        other = await client.get(link("b", run="r1")).whole()
        assert (other.status, other.json["error"]["code"]) == (422, "run_mismatch")
        beyond = await client.get(link("a", run="r1"), {"Last-Event-ID": "1-99"}).whole()
        assert (beyond.status, beyond.json["error"]["code"]) == (409, "discontinuous")
        relay.gateway.hub.forget(relay.streams[0])
        gone = await client.get(link("a", run="r1")).whole()
        assert (gone.status, gone.json["error"]["code"]) == (410, "stream_expired")
        key = {"Idempotency-Key": "r1"}
        assert (await client.post("/api/chat", {"prompt": "c", "model": "up/m"}, key).whole()).status == 200

    relayed(main, streamed("one") * 2)


def test_without_a_run_each_request_is_a_new_question(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for _ in range(2):
            assert texts(await client.get(link(system="s")).whole()) == ["one", "[DONE]"]
        assert len(relay.streams) == 2

    relayed(main, streamed("one") * 2)


def test_the_line_may_be_lost_for_a_while(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.get(link(run="r1"), NATIVE).until(lambda answer: b"one" in answer.body)
        client.reset()
        stream = await relay.stream()
        assert stream.policy.linger == 0.1
        await until(lambda: stream.terminal is not None)
        again = await (await relay.connect()).get(link(run="r1"), {**NATIVE, "Last-Event-ID": "1-2"}).whole()
        assert again.data[-1]["error"]["code"] == "client_left"

    relayed(main, [REQUEST, FIRST], linger=0.1)


# ---------------------------------------------------------------------- who may


def scope(**fields: str) -> dict[str, Any]:
    headers = [(b"host", b"127.0.0.1:8787"), *((name.encode(), value.encode()) for name, value in fields.items())]
    return {"type": "http", "method": "GET", "headers": headers}


@pytest.mark.parametrize(
    "fields",
    [
        {"user-agent": "curl/8.14.1", "accept": "*/*"},
        {"user-agent": "node", "sec-fetch-mode": "cors"},
        {},
        {name.lower(): value for name, value in NATIVE.items()},
        {"origin": "http://127.0.0.1:8787", "sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"},
    ],
)
def test_our_own_page_and_what_is_no_browser_may(fields: dict[str, str]) -> None:
    assert admit_spending_get(scope(**fields)) == LOCAL


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}, "foreign_site"),
        ({"sec-fetch-site": "same-site", "sec-fetch-dest": "empty"}, "foreign_site"),  # another port of this machine
        ({"sec-fetch-site": "same-origin", "sec-fetch-dest": "image"}, "foreign_site"),  # a picture in a model's answer
        ({"sec-fetch-site": "same-origin", "sec-fetch-dest": "document"}, "foreign_site"),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, "foreign_site"),  # a link in a mail
        ({"user-agent": "Mozilla/5.0 (Macintosh) Safari/605.1.15"}, "foreign_site"),  # before Fetch Metadata
        ({"sec-fetch-site": "same-origin", "sec-fetch-dest": "empty", "sec-purpose": "prefetch"}, "prefetch"),
        ({"purpose": "prefetch"}, "prefetch"),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, "foreign_origin"),
    ],
)  # fmt: skip
def test_an_image_a_link_and_a_guess_may_not(fields: dict[str, str], code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        admit_spending_get(scope(**fields))
    assert (caught.value.status, caught.value.code) == (403, code)
