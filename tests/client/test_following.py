"""Following: every event once and in order, however often and wherever the connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.client import Done, Dropped, Notice, Reset, Resumed, Retry
from tokenwire.dialects.deltas import Failed, Terminal, TextDelta, Usage
from tokenwire.errors import CursorLost, RelayRefused, RelayUnreachable, StreamNotFound, StreamOver
from tokenwire.testing.native_frames import (
    DELTAS,
    STREAM_HEAD,
    TEXT,
    chunks,
    events,
    farewell,
    from_snapshot,
    refused,
    streamed,
)
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import CLOSE, LAST_CHUNK, REQUEST, RESET
from tokenwire.wire import sse

Play = Callable[..., Any]
WHOLE = events()


def ids(sent: list[bytes]) -> list[str]:
    return [str(sse.Decoder().feed(event)[0].id) for event in sent]


async def everything(scene: Any) -> Any:
    """Follow st_1 to its end; the following, and its updates."""
    following = scene.client.follow("st_1")
    return following, await scene.collect(following)


def test_a_stream_is_followed_to_its_end(play: Play) -> None:
    following, updates = play(everything, [REQUEST, streamed(*WHOLE)])
    assert [update for update in updates if update in DELTAS] == DELTAS
    answer = following.answer
    assert (answer.text, answer.reasoning) == (TEXT, "Let me see.")
    assert [(call.name, call.arguments, call.ended) for call in answer.tool_calls] == [
        ("weather", '{"city":"Oslo"}', True)
    ]
    assert answer.usage == Usage(input=3, output=7)
    assert following.last_id == ids(WHOLE)[-1]
    assert updates[-1] == answer.done
    assert updates[-1] == Done(
        "completed", "tool_use", "tool_calls", Usage(input=3, output=7), ttft_ms=12.0, e2e_ms=34.0, verified=True
    )


async def rest(peer: Any) -> None:
    """Answer one request as the relay would: with what follows its cursor."""
    cursor = (await peer.request()).fields.get("last-event-id")
    peer.write(streamed(*WHOLE[ids(WHOLE).index(cursor) + 1 if cursor else 0 :]))


@pytest.mark.parametrize("end", ["reset", "close", "in mid-event", "whole response"])
def test_it_resumes_after_every_event(play: Play, end: str) -> None:
    for cut in range(len(WHOLE)):
        first = STREAM_HEAD + chunks(*WHOLE[:cut])
        ends: dict[str, list[list[Any]]] = {
            "reset": [[REQUEST, first, RESET], [rest]],
            "close": [[REQUEST, first, CLOSE], [rest]],
            "in mid-event": [[REQUEST, first + chunks(WHOLE[cut][:-1]), CLOSE], [rest]],
            "whole response": [[REQUEST, first + LAST_CHUNK, rest]],
        }
        following, updates = play(everything, *ends[end])
        assert [update for update in updates if update in DELTAS] == DELTAS
        assert following.answer.done.verified is True
        (drop,) = [update for update in updates if isinstance(update, Dropped)]
        (resumed,) = [update for update in updates if isinstance(update, Resumed)]
        assert drop.delay == 0.25
        if end != "reset":  # which may overtake what was sent before it
            assert resumed.after == (ids(WHOLE)[cut - 1] if cut else None)


def test_it_resumes_again_and_again(play: Play) -> None:
    """A connection for every event: what comes out is what one connection would have brought."""
    scripts = [[REQUEST, STREAM_HEAD + chunks(event), CLOSE] for event in WHOLE]
    following, updates = play(everything, *scripts)
    assert following.answer.done.verified is True
    assert [update for update in updates if update in DELTAS] == DELTAS
    drops = [update for update in updates if isinstance(update, Dropped)]
    # Half of the bound that doubles, as random() says; no connection was up for ten seconds.
    assert [drop.delay for drop in drops[:5]] == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert max(drop.delay for drop in drops) == 15.0
    assert [drop.attempt for drop in drops] == list(range(1, len(drops) + 1))


def test_a_connection_that_lived_long_begins_the_counting_anew(play: Play) -> None:
    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1", after="1-1")
        updates = []
        for _ in range(3):
            drop = await anext(following)
            updates.append(drop)
            resumed = await scene.after(anext(following), drop.delay)
            assert isinstance(resumed, Resumed)
            scene.clock.advance(10.0)
            peer = scene.relay.peers[-1]
            peer.close()
        following.close()
        return updates

    drops = play(main, [CLOSE], [REQUEST, STREAM_HEAD])
    assert [drop.delay for drop in drops] == [0.25, 0.25, 0.25]


def test_the_servers_retry_is_a_floor(play: Play) -> None:
    first = b"retry: 3000\n" + WHOLE[0]
    _, updates = play(everything, [REQUEST, STREAM_HEAD + chunks(first), CLOSE], [REQUEST, streamed(*WHOLE[1:])])
    assert [update.delay for update in updates if isinstance(update, Dropped)] == [3.0]


# ------------------------------------------------------------------ the watchdog


def test_three_heartbeats_of_silence_are_the_end_of_a_connection(play: Play) -> None:
    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1")
        started = [await anext(following), await anext(following)]
        step = asyncio.ensure_future(anext(following))
        peer = await scene.relay.peer(0)
        for _ in range(4):  # a heartbeat is a sign of life
            scene.clock.advance(29.9)
            peer.write(chunks(b": hb\n"))
            await until(lambda: following._reply._last_ns == scene.clock.now_ns())
        scene.clock.advance(29.9)
        assert not step.done()
        scene.clock.advance(0.2)
        drop = await step
        assert await peer.gone() is not None
        return started, drop, await scene.after(scene.collect(following), drop.delay), following

    _, drop, updates, following = play(
        main, [REQUEST, STREAM_HEAD + chunks(*WHOLE[:2])], [REQUEST, streamed(*WHOLE[2:])]
    )
    assert drop == Dropped("nothing came for 30 s", 1, 0.25)
    assert updates[0] == Resumed(ids(WHOLE)[1])
    assert following.answer.done.verified is True


def test_no_head_is_silence_too(play: Play) -> None:
    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1")
        step = asyncio.ensure_future(anext(following))
        await scene.request(0)
        scene.clock.advance(6.0)
        return await step

    assert play(main, [REQUEST], heartbeat=2.0) == Dropped("nothing came for 6 s", 1, 0.25)


def test_a_reader_that_is_slow_itself_is_not_the_connections_silence(play: Play) -> None:
    """Nothing is read while much waits: the socket is paused, and the watchdog with it."""
    text = [TextDelta("x" * 60_000) for _ in range(20)]
    sent = events(text)

    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1")
        await anext(following)
        peer = await scene.relay.peer(0)
        peer.write(chunks(*sent[1:]) + LAST_CHUNK)
        await until(lambda: following._reply is None or following._reply._waiting > 256 * 1024)
        scene.clock.advance(100.0)
        return following, await scene.collect(following)

    following, updates = play(main, [REQUEST, STREAM_HEAD + chunks(sent[0])])
    assert not [update for update in updates if isinstance(update, Dropped)]
    assert following.answer.done.verified is True


# ------------------------------------------------------------------ what the relay answers


@pytest.mark.parametrize(
    ("status", "kind"),
    [(204, StreamOver), (404, StreamNotFound), (409, CursorLost), (410, CursorLost), (400, RelayRefused)],
)
@pytest.mark.parametrize("when", ["at first", "later"])
def test_what_trying_again_does_not_cure_is_raised(
    play: Play, status: int, kind: type[RelayRefused], when: str
) -> None:
    no = [REQUEST, refused(status, "why", "because of that", ("x-tokenwire-earliest", "1-200"))]
    scripts = [no] if when == "at first" else [[REQUEST, STREAM_HEAD + chunks(*WHOLE[:3]), CLOSE], no]

    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1")
        with pytest.raises(RelayRefused) as caught:
            await scene.collect(following)
        assert await anext(following, None) is None, "it is over"
        return caught.value

    error = play(main, *scripts)
    assert type(error) is kind
    assert error.status == status
    assert not error.retryable
    if status != 204:
        assert (error.code, str(error)) == ("why", "because of that")
    if isinstance(error, CursorLost):
        assert error.earliest == "1-200"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again(play: Play, status: int) -> None:
    no = [REQUEST, refused(status, "overloaded", "too much", ("retry-after", "7"))]
    following, updates = play(everything, [*no, REQUEST, streamed(*WHOLE)])
    assert updates[:2] == [Dropped("too much", 1, 7.0), Resumed(None)]
    assert following.answer.done.verified is True


def test_what_is_no_event_stream_is_no_relay(play: Play) -> None:
    page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 12\r\n\r\n<h1>Hi</h1>\n"

    async def main(scene: Any) -> None:
        with pytest.raises(RelayRefused, match="status 200: <h1>Hi</h1>"):
            await scene.collect(scene.client.follow("st_1"))

    play(main, [REQUEST, page])


def test_it_gives_up_when_nothing_helps(play: Play) -> None:
    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1")
        updates = [await anext(following), await anext(following)]
        scene.relay.stop_listening()
        (await scene.relay.peer(0)).close()

        async def go_on() -> None:
            while True:
                updates.append(await scene.after(anext(following), getattr(updates[-1], "delay", 0.0)))

        with pytest.raises(RelayUnreachable) as caught:
            await go_on()
        return caught.value, updates

    error, updates = play(main, [REQUEST, STREAM_HEAD + chunks(*WHOLE[:2])], retry=Retry(give_up=20.0))
    assert "Connection refused; given up after" in str(error)
    assert error.url in str(error)
    drops = [update for update in updates if isinstance(update, Dropped)]
    assert 15 < sum(drop.delay for drop in drops) <= 20


# ------------------------------------------------------------------ what comes in-band


def test_a_reset_voids_what_came_and_a_snapshot_replaces_it(play: Play) -> None:
    reset = sse.encode('{"reason":"trimmed","earliest":"1-200"}', event="reset")
    later = from_snapshot(DELTAS[:3], DELTAS[3:])
    following, updates = play(everything, [REQUEST, streamed(*WHOLE[:6], reset, *later)])
    at = updates.index(Reset("trimmed", "1-200"))
    assert TextDelta("Héllo", block=1) in updates[at:]
    assert following.answer.text == TEXT
    assert following.answer.done.verified is True


def test_a_snapshot_to_begin_with(play: Play) -> None:
    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1", begin="snapshot")
        await scene.collect(following)
        return following.answer, (await scene.request(0)).target

    answer, target = play(main, [REQUEST, streamed(*from_snapshot(DELTAS[:6], DELTAS[6:]))])
    assert target == "/v1/streams/st_1/events?from=snapshot"
    assert (answer.text, answer.done.verified) == (TEXT, True)
    assert answer.transcript.started.id == "st_1"


@pytest.mark.parametrize(("option", "value"), [("after", "1-4"), ("begin", "now")])
def test_from_the_middle_nothing_can_be_verified(play: Play, option: str, value: str) -> None:
    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1", **{option: value})
        await scene.collect(following)
        return following.answer.done, scene.client.mismatches

    done, mismatches = play(main, [REQUEST, streamed(*WHOLE[4:])])
    assert (done.verified, done.mismatch, mismatches) == (None, None, 0)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([*WHOLE[:3], *WHOLE[4:]], "the text that came is not the one"),
        ([*WHOLE[:4], WHOLE[3], *WHOLE[4:]], "the text that came is not the one"),
        ([*WHOLE[:1], *WHOLE[2:]], "11 events came, 12 were sent"),
    ],
    ids=["text lost", "text doubled", "thinking lost"],
)
def test_what_is_not_what_was_sent_is_said_and_counted(play: Play, sent: list[bytes], said: str) -> None:
    async def main(scene: Any) -> Any:
        _, updates = await everything(scene)
        return updates[-1], scene.client.mismatches

    done, mismatches = play(main, [REQUEST, streamed(*sent)])
    assert done.verified is False
    assert mismatches == 1
    assert said in done.mismatch or (said.startswith("11") and "events came" in done.mismatch)


def test_a_failure_in_mid_stream_is_an_update_and_an_end(play: Play) -> None:
    failed = Failed("upstream_overloaded", "try later", retryable=True, upstream_status=529)
    sent = events(DELTAS[:3], Terminal("failed", error=failed))
    following, updates = play(everything, [REQUEST, streamed(*sent)])
    assert updates[-2] == failed
    assert (updates[-1].state, updates[-1].verified) == ("failed", True)
    assert following.answer.transcript.failed == failed


def test_an_error_that_is_only_this_connections_ends_nothing(play: Play) -> None:
    """A reader that was too slow is detached: it is told so, without an id, and goes on where it was."""
    first = [STREAM_HEAD + chunks(*WHOLE[:4], farewell("60 s without progress")) + LAST_CHUNK]
    following, updates = play(everything, [REQUEST, *first, REQUEST, streamed(*WHOLE[4:])])
    assert [update for update in updates if isinstance(update, Failed)] == []
    assert [update for update in updates if isinstance(update, Dropped)] == [Dropped("60 s without progress", 1, 0.25)]
    assert following.answer.done.verified is True


@pytest.mark.parametrize("together", [True, False])
def test_so_is_one_before_the_first_event(play: Play, together: bool) -> None:
    """The relay says where the reader stands before it says anything else: by an id that stands alone."""
    said = [b"id: 1-0\n\n", farewell("the store is away")]
    first = STREAM_HEAD + (chunks(b"".join(said)) if together else chunks(*said)) + LAST_CHUNK
    following, updates = play(everything, [REQUEST, first, REQUEST, streamed(*WHOLE)])
    assert [update for update in updates if isinstance(update, Failed)] == []
    assert following.answer.done.verified is True


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    "told",
    [[], [b"retry: 1500\n\n"], [farewell("shutting down")], [b"retry: 1500\n\n", farewell("shutting down")]],
    ids=["nothing", "when", "why", "when and why"],
)
def test_who_begins_now_comes_back_to_where_that_was(play: Play, told: list[bytes], together: bool) -> None:
    """Before the first event it knows only the id that stood alone. What came meanwhile is not to be missed, and a
    farewell is no failure of the answer."""

    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1", begin="now")
        updates = await scene.collect(following)
        requests = [await scene.request(0), await scene.request(0, 1)]
        return updates, [(request.target, request.fields.get("last-event-id")) for request in requests]

    said = [b"id: 1-4\n\n", *told]
    first = STREAM_HEAD + (chunks(b"".join(said)) if together else chunks(*said)) + LAST_CHUNK
    updates, asked = play(main, [REQUEST, first, REQUEST, streamed(*WHOLE[4:])])
    assert [update for update in updates if isinstance(update, Failed)] == []
    dropped = [update for update in updates if isinstance(update, Dropped)]
    assert len(dropped) == 1
    assert (dropped[0].cause == "shutting down") is any(each.startswith(b"event") for each in told)
    assert dropped[0].delay == (1.5 if b"retry: 1500\n\n" in told else 0.25)
    assert [path for path, _ in asked] == ["/v1/streams/st_1/events?from=now", "/v1/streams/st_1/events"]
    assert [cursor for _, cursor in asked] == [None, "1-4"]


def test_a_failure_of_the_log_may_be_the_first_event_of_who_begins_now(play: Play) -> None:
    async def main(scene: Any) -> Any:
        return await scene.collect(scene.client.follow("st_1", begin="now"))

    sent = events(DELTAS[:3], Terminal("failed", error=Failed("upstream_overloaded", "try later")))
    updates = play(main, [REQUEST, streamed(b"id: 1-3\n\n" + b"".join(sent[-2:]))])
    assert [type(update) for update in updates] == [Failed, Done]


def test_notices_are_told_and_not_counted(play: Play) -> None:
    notice = sse.encode('{"code":"queued","place":3}', event="notice")
    odd = sse.encode("{", event="notice")
    following, updates = play(everything, [REQUEST, streamed(WHOLE[0], notice, odd, *WHOLE[1:])])
    assert Notice("queued", {"place": 3}) in updates
    assert Notice("unknown", {}) in updates
    assert following.answer.done.verified is True


def test_an_event_beyond_all_bounds_ends_the_connection(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = sse.Decoder
    monkeypatch.setattr(sse, "Decoder", lambda limit=1000: decoder(limit))

    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1")
        updates = [await anext(following)]
        scene.relay.peers[0].write(chunks(b"data: " + b"x" * 2000))
        return following, updates + await scene.collect(following)

    following, updates = play(main, [REQUEST, STREAM_HEAD + chunks(*WHOLE[:2])], [rest])
    assert "larger than 1000 bytes" in next(update.cause for update in updates if isinstance(update, Dropped))
    assert following.answer.done.verified is True


# ------------------------------------------------------------------ leaving


def test_a_cancelled_wait_loses_nothing(play: Play) -> None:
    async def main(scene: Any) -> Any:
        following = scene.client.follow("st_1")
        updates: list[Any] = [await anext(following)]
        peer = await scene.relay.peer(0)
        for event in WHOLE[1:]:
            task = asyncio.ensure_future(anext(following))
            await asyncio.sleep(0)
            task.cancel()
            assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
            peer.write(chunks(event))
            await until(lambda: following._reply._events)
            updates.append(await anext(following))
        updates += [update async for update in following]
        return following, updates

    following, updates = play(main, [REQUEST, STREAM_HEAD + chunks(WHOLE[0])])
    assert following.answer.done.verified is True
    assert [update for update in updates if update in DELTAS] == DELTAS


def test_who_leaves_drops_the_connection(play: Play) -> None:
    async def main(scene: Any) -> Any:
        async with scene.client.follow("st_1") as following:
            await anext(following)
        following.close()
        assert await anext(following, None) is None
        return await scene.relay.peers[0].gone()

    assert play(main, [REQUEST, STREAM_HEAD + chunks(*WHOLE[:4])]) is not None
