"""Tickets: what is signed, how long it is good, and that it is good for one stream and for reading only."""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.engine.clock import LoopClock
from tokenwire.engine.hub import Hub
from tokenwire.engine.keeping import Keep
from tokenwire.engine.states import Policy
from tokenwire.engine.stores.memory import MemoryStore
from tokenwire.engine.stream import Stream
from tokenwire.errors import RequestRefused, StoreFailed
from tokenwire.gateway.tickets import MOST, SECONDS, Tickets
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, started, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream

FIRST = STREAM_HEAD + chunks(frames.role(), frames.text("one"))
REST = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
EDGES = pytest.mark.parametrize("edge", ["tokenwire", "httptools", "h11"])


class Desk:
    """Tickets, by a clock of the test."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = Hub(self.clock)
        self.tickets = Tickets(self.clock)

    def open(self, owner: str = "team-a") -> Stream:
        return self.hub.open(owner=owner, dialect=dialects.get("openai.chat"), model="up/m", policy=Policy())

    def show(self, stream_id: str, text: str) -> Stream:
        return self.tickets.stream(self.hub, stream_id, text)


def refused(desk: Desk, stream_id: str, text: str) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as caught:
        desk.show(stream_id, text)
    assert text[:20] not in str(caught.value) or not text
    return caught.value.status, caught.value.code


def test_a_ticket_opens_its_stream_in_its_owners_name() -> None:
    desk = Desk()
    stream = desk.open("Größe/1")
    ticket = desk.tickets.issue(stream)
    assert ticket.expires == desk.clock.wall() + SECONDS
    assert desk.show(stream.id, ticket.text) is stream
    assert refused(desk, desk.open("Größe/1").id, ticket.text) == (403, "bad_ticket"), "one stream, not its owner's"


def test_a_ticket_must_be_used_soon_and_is_then_good_as_long_as_the_stream() -> None:
    desk = Desk()
    stream = desk.open()
    used, late = desk.tickets.issue(stream), desk.tickets.issue(stream)
    assert used == late, "nothing random is in it"
    desk.clock.advance(1)
    late = desk.tickets.issue(stream)
    desk.show(stream.id, used.text)
    desk.clock.advance(SECONDS)
    assert desk.show(stream.id, used.text) is stream, "a browser reconnects to the same address"
    assert desk.show(stream.id, late.text) is stream, "this very moment is still in time"
    stale = desk.tickets.issue(stream)
    desk.clock.advance(SECONDS + 0.01)
    assert refused(desk, stream.id, stale.text) == (403, "ticket_expired")
    stream.cancel()
    assert desk.show(stream.id, used.text) is stream, "what ended can still be read to its end"
    desk.clock.advance(desk.hub.retention.ended_seconds + 1)
    assert refused(desk, stream.id, used.text) == (404, "stream_not_found")


def test_the_tickets_that_a_stream_remembers_are_bounded() -> None:
    desk = Desk()
    stream = desk.open()
    tickets = []
    for _ in range(MOST + 1):
        tickets.append(desk.tickets.issue(stream).text)
        desk.show(stream.id, tickets[-1])
        desk.clock.advance(0.001)
    desk.clock.advance(SECONDS)
    assert refused(desk, stream.id, tickets[0]) == (403, "ticket_expired")
    assert desk.show(stream.id, tickets[1]) is stream


def test_what_was_not_signed_by_us_is_no_ticket() -> None:
    desk, other = Desk(), Desk()
    stream = desk.open()
    good = desk.tickets.issue(stream).text
    raw = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))
    forged = [
        bytes([raw[0] ^ 1]) + raw[1:],  # another signature
        raw[:32] + (2**60).to_bytes(8, "big") + raw[40:],  # valid for ever
        raw[:40] + b"team-b",  # another's name
        raw[:32],
        b"",
        b"x" * 39,
    ]
    texts = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in forged]
    texts += [
        Tickets(other.clock).issue(stream).text,
        good[:-1],
        good + "A" * (5 - len(good) % 4),
        "x" * 5000,
        "ü" * 60,
    ]
    for text in texts:
        assert refused(desk, stream.id, text) == (403, "bad_ticket"), text
    assert refused(desk, "st_\udcff", good) == (403, "bad_ticket")
    shared = Tickets(desk.clock, b"shared")
    assert Tickets(desk.clock, b"shared").stream(desk.hub, stream.id, shared.issue(stream).text) is stream


# ---------------------------------------------------------------------- over HTTP


@EDGES
def test_following_by_address_alone(relayed: Any, edge: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        events = await started(client)
        issued = await client.post(events.replace("/events", "/ticket")).whole()
        assert (issued.status, issued.fields["cache-control"]) == (200, "no-store")
        ticket = issued.json
        assert ticket["url"] == f"{events}?ticket={ticket['ticket']}"
        assert 0 < ticket["expires"] - relay.gateway.clock.wall() <= SECONDS
        native = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        first = await client.get(ticket["url"], native).until(lambda answer: "text" in answer.events)
        client.close()
        again = await other.get(ticket["url"], {**native, "Last-Event-ID": first.ids[-1]}).head()
        gate.set()
        await again.whole()
        assert again.native_text == " two"
        over = await other.get(ticket["url"], {**native, "Last-Event-ID": again.ids[-1]}).whole()
        assert (over.status, bytes(over.body)) == (204, b""), "EventSource asks no more"

    gate = asyncio.Event()
    relayed(main, [REQUEST, FIRST, gate, REST], edge=edge)


def test_a_ticket_reads_and_does_nothing_else(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = await started(client)
        path = events.removesuffix("/events")
        ticket = (await client.post(f"{path}/ticket").whole()).json["ticket"]
        stream = await relay.stream()
        stream.owner = "team-b"  # as if this caller were another: the ticket was for the first one
        assert (await client.get(f"{events}?ticket={ticket}").whole()).json["error"]["code"] == "stream_not_found"
        mine = relay.gateway.tickets.issue(stream).text
        follower = await relay.connect()
        await follower.get(f"{events}?ticket={mine}").until(lambda answer: "text" in answer.events)
        for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/cancel"), ("POST", f"{path}/ticket")):
            answer = await client.request(method, f"{where}?ticket={mine}").whole()
            assert (answer.status, answer.json["error"]["code"]) == (404, "stream_not_found"), where
        assert (await client.post(f"{events}?ticket={mine}").whole()).status == 405
        assert (await client.get(f"{path}/ticket").whole()).status == 404
        stream.owner = "local"
        wrong = await client.get(f"{path}/ticket").whole()
        assert (wrong.status, wrong.fields["allow"]) == (405, "POST")
        for bad in ("", "x", mine):
            answer = await client.get(f"{events}?ticket={bad}").whole()
            assert answer.status == (404 if bad == mine else 403), bad

    relayed(main, [REQUEST, FIRST])


def test_a_foreign_page_may_not_use_a_ticket_either(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = await started(client)
        url = (await client.post(events.replace("/events", "/ticket")).whole()).json["url"]
        foreign = await client.get(url, {"Origin": "https://evil.example"}).whole()
        assert (foreign.status, foreign.json["error"]["code"]) == (403, "foreign_origin")
        own = await client.get(url, {"Origin": f"http://127.0.0.1:{relay.port}"}).whole()
        assert own.status == 200
        for answer in (foreign, own):
            assert not [name for name in answer.fields if name.startswith("access-control")]

    relayed(main, streamed("one"))


def test_a_ticket_is_in_no_log_line(relayed: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = await started(client)
        url = (await client.post(events.replace("/events", "/ticket")).whole()).json["url"]
        tickets.append(url.partition("ticket=")[2])
        await client.get(url).until(lambda answer: "text" in answer.events)
        stream = await relay.stream()
        client.reset()
        await until(lambda: not stream.readers)
        other = await relay.connect()
        await other.get(url + "x").whole()
        await other.get(url + "&dialect=smoke").whole()
        stream.cancel()
        await other.get(url).whole()

    tickets: list[str] = []
    with caplog.at_level(logging.DEBUG):
        relayed(main, [REQUEST, FIRST])
    assert tickets[0]
    assert tickets[0] not in caplog.text


# ---------------------------------------------------------------------- native EventSource


@pytest.mark.parametrize(
    ("query", "fields", "told"),
    [
        ("", {"Accept": "text/event-stream"}, True),
        ("", {"Accept": "*/*"}, False),
        ("", {}, False),
        ("dialect=openai.chat", {"Accept": "text/event-stream"}, False),  # stock SDKs take a lone retry for an event
    ],
)
def test_who_may_come_back_is_told_when(relayed: Any, query: str, fields: dict[str, str], told: bool) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        events = await started(client)
        answer = await client.get(f"{events}?{query}", fields).whole()
        first = answer.blocks[0]
        assert first.startswith("retry: ") is told
        if told:
            assert 1000 <= int(first.removeprefix("retry: ")) < 3000
            assert answer.blocks[1] == "id: 1-0"

    relayed(main, streamed("one"))


def test_the_next_process_on_a_store_takes_the_tickets_of_the_one_before() -> None:
    async def main() -> None:
        store = await MemoryStore().open()
        desks: list[tuple[Hub, Tickets]] = []
        for _ in range(2):
            hub = Hub(LoopClock())
            hub.keep_in(store, Keep(), Policy())
            assert hub.recorder is not None
            tickets = Tickets(hub.clock)
            await tickets.share(hub.recorder)
            await hub.recorder.flush(5)
            desks.append((hub, tickets))
        (first, old), (second, new) = desks
        stream = first.open(owner="me", dialect=dialects.get("openai.chat"), model="m", policy=Policy())
        ticket = old.issue(stream)
        second.adopt(stream)
        assert new.stream(second, stream.id, ticket.text) is stream
        for hub, _ in desks:
            hub.close()

    run_in("asyncio", main)


def test_a_store_that_cannot_be_asked_leaves_tickets_to_this_process(caplog: pytest.LogCaptureFixture) -> None:
    class Away(MemoryStore):
        async def recall(self, kind: str, owner: str, key: str) -> bytes | None:
            raise StoreFailed("no answer")

    async def main() -> None:
        hub = Hub(LoopClock())
        hub.keep_in(await Away().open(), Keep(), Policy())
        assert hub.recorder is not None
        await Tickets(hub.clock).share(hub.recorder)
        hub.close()

    run_in("asyncio", main)
    assert "until the next restart only: no answer" in caplog.text
