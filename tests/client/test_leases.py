"""Leases: a reader says that it is there for as long as it reads, and not a moment longer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.client import Client, Done, Dropped, Reset, Resumed
from tokenwire.errors import CursorLost, StreamNotFound
from tokenwire.gateway import lease
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import head
from tokenwire.testing.native_frames import chunks, events
from tokenwire.testing.relay import STREAM_HEAD, chat, serving, settings_for
from tokenwire.testing.relay import chunks as http_chunks
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, LAST_CHUNK, REQUEST, ScriptedUpstream
from tokenwire.wire import sse

Play = Callable[..., Any]
WHOLE = events()


def leased(lease_id: str = "le_1", seconds: str = "15") -> bytes:
    return head(
        200,
        ("content-type", "text/event-stream"),
        ("transfer-encoding", "chunked"),
        ("x-tokenwire-lease", seconds),
        ("x-tokenwire-lease-id", lease_id),
    )


async def begin(following: Any) -> None:
    """Take what there is."""
    await anext(following)
    while following.waiting:
        await anext(following)


def said(status: int, body: bytes) -> bytes:
    return head(status, ("content-type", "application/json"), ("content-length", str(len(body)))) + body


RENEWED = said(200, b'{"leases":1,"seconds":15,"expires":1}')
LAPSED = said(404, b'{"error":{"code":"lease_not_found","message":"it lapsed"}}')


def test_it_is_asked_for_and_renewed_while_the_stream_is_read(play: Play) -> None:
    async def main(scene: Any) -> None:
        following = scene.client.follow("st_1", lease=15)
        await anext(following)
        asked = await scene.request(0)
        assert asked.fields["x-tokenwire-lease"] == "15"
        for renewal in range(3):  # over one connection, which is kept
            scene.clock.advance(5.0)
            request = await scene.request(1, renewal)
            assert (request.method, request.target) == ("POST", "/v1/streams/st_1/lease")
            assert request.fields["x-tokenwire-lease-id"] == "le_1"
            await until(lambda: following._renewing._timer is not None)
        scene.relay.peers[0].write(chunks(*WHOLE[1:]) + LAST_CHUNK)
        updates = await scene.collect(following)
        assert isinstance(updates[-1], Done)

    play(main, [REQUEST, leased() + chunks(WHOLE[0])], [REQUEST, RENEWED] * 3)


@pytest.mark.parametrize("fields", [{}, {"lease_id": ""}, {"seconds": "soon"}, {"seconds": "-1"}])
def test_a_relay_that_grants_none_is_asked_for_nothing(play: Play, fields: dict[str, str]) -> None:
    async def main(scene: Any) -> None:
        following = scene.client.follow("st_1", lease=15)
        await anext(following)
        assert following._renewing._timer is None
        following.close()

    begun = leased(**fields) if fields else STREAM_HEAD
    play(main, [REQUEST, begun + chunks(WHOLE[0])])


def test_each_connection_has_its_own(play: Play) -> None:
    async def main(scene: Any) -> None:
        following = scene.client.follow("st_1", lease=15)
        await anext(following)
        drop = await scene.after(anext(following), 0)
        while not isinstance(drop, Dropped):
            drop = await anext(following)
        assert scene.clock.pending == 0, "nothing is renewed of what is gone"
        resumed = await scene.after(anext(following), drop.delay)
        assert isinstance(resumed, Resumed)
        scene.clock.advance(5.0)
        request = await scene.request(2)
        assert request.fields["x-tokenwire-lease-id"] == "le_2"
        following.close()

    play(main, [REQUEST, leased() + chunks(WHOLE[0]), CLOSE], [REQUEST, leased("le_2")], [REQUEST, RENEWED])


def test_one_that_has_lapsed_is_come_back_from_at_once(play: Play) -> None:
    """The relay has let go, and nothing more will come on that connection."""

    async def main(scene: Any) -> None:
        following = scene.client.follow("st_1", lease=15)
        await begin(following)
        step = asyncio.ensure_future(anext(following))
        scene.clock.advance(5.0)
        drop = await step
        assert isinstance(drop, Dropped)
        resumed = await scene.after(anext(following), drop.delay)
        assert isinstance(resumed, Resumed)
        following.close()

    play(main, [REQUEST, leased() + chunks(WHOLE[0])], [REQUEST, LAPSED, REQUEST, leased("le_2")])


def test_a_renewal_that_is_lost_is_made_up_for(play: Play) -> None:
    async def main(scene: Any) -> None:
        following = scene.client.follow("st_1", lease=15)
        await anext(following)
        scene.clock.advance(5.0)
        await scene.request(1)
        await until(lambda: following._renewing._timer is not None)
        scene.clock.advance(5.0)
        assert (await scene.request(2)).fields["x-tokenwire-lease-id"] == "le_1"
        following.close()

    play(main, [REQUEST, leased() + chunks(WHOLE[0])], [REQUEST, CLOSE], [REQUEST, RENEWED])


def test_who_is_forgotten_renews_nothing(play: Play) -> None:
    async def main(scene: Any) -> None:
        following = scene.client.follow("st_1", lease=15)
        await begin(following)
        reply = following._reply
        del following
        gc.collect()
        scene.clock.advance(6.0)
        reply.close()
        assert scene.clock.pending == 0
        assert len(scene.relay.peers) == 1

    play(main, [REQUEST, leased() + chunks(WHOLE[0])])


def test_an_end_without_events_says_when_to_come_back(play: Play) -> None:
    """What a relay that is too busy answers to who could not see a 503."""
    busy = STREAM_HEAD + chunks(b"retry: 4000\n\n") + LAST_CHUNK

    async def main(scene: Any) -> None:
        following = scene.client.follow("st_1")
        drop = await anext(following)
        assert isinstance(drop, Dropped)
        assert drop.delay == 4.0
        following.close()

    play(main, [REQUEST, busy])


def test_a_retry_that_waits_for_an_event_can_be_asked_for() -> None:
    decoder = sse.Decoder()
    said = [decoder.retry]
    for data in (b"retry: 1500\n\n", b"data: x\n\n"):
        decoder.feed(data)
        said.append(decoder.retry)
    assert said == [None, 1500, None]


# ---------------------------------------------------------------------- against a relay


def related(main: Callable[..., Any], *scripts: Any, **limits: Any) -> None:
    async def inside() -> None:
        async with (
            ScriptedUpstream(*scripts) as upstream,
            serving(settings_for(upstream.base_url, **limits)) as relay,
            Client(f"http://127.0.0.1:{relay.port}") as client,
        ):
            await main(relay, client)

    run_in("uvloop", inside)


BEGUN = STREAM_HEAD + http_chunks(frames.role(), frames.text("one"))
REST = http_chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK


def test_a_relay_keeps_who_renews_and_drops_who_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEAST", 0.01)

    async def main(relay: Any, client: Client) -> None:
        name = await client.start(chat(), on_disconnect="cancel", lease=30)
        assert (await client.renew(name))["leases"] == 1
        following = client.follow(name, lease=0.3)
        await anext(following)
        [stream] = relay.streams
        watch = (await relay.connect()).get(f"/v1/streams/{name}/events", {"x-tokenwire-lease": "0.4"})
        reading = asyncio.ensure_future(_collect(following))
        await watch.whole()  # it was renewed by nobody
        assert (stream.terminal, len(stream.readers)) == (None, 1)
        with pytest.raises(StreamNotFound, match="lease"):
            await client.renew(name, "le_nobody")
        gate.set()
        updates = await reading
        assert isinstance(updates[-1], Done)
        assert following.answer.text == "one two"
        assert not any(isinstance(update, Dropped) for update in updates)

    gate = asyncio.Event()
    related(main, [REQUEST, BEGUN, gate, REST])


async def _collect(following: Any) -> list[Any]:
    return [update async for update in following]


def test_a_cursor_of_another_life_is_begun_anew() -> None:
    """What was a status (and is one to others) comes within the response: reset, snapshot, and the rest."""

    async def main(relay: Any, client: Client) -> None:
        name = await client.start(chat())
        first = client.follow(name, after="7-99")
        updates = await _collect(first)
        assert updates[0] == Reset("discontinuous", None)
        assert isinstance(updates[-1], Done)
        assert (first.answer.text, updates[-1].verified) == ("one two", True)

    related(main, [REQUEST, BEGUN, REST])


def test_a_relay_that_answers_by_status_is_understood_too(play: Play) -> None:
    async def main(scene: Any) -> None:
        with pytest.raises(CursorLost):
            await anext(scene.client.follow("st_1", after="7-99"))

    play(main, [REQUEST, said(409, b'{"error":{"code":"discontinuous","message":"no"}}')])
