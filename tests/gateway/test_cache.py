"""Answers that are kept and told again: which, for whom, for how long, and how they come."""

from __future__ import annotations

import asyncio
from array import array
from pathlib import Path

import pytest
from tests.gateway.caching import CHAT, asking, cached, said, scripted, settings, simulating

from tokenwire.engine.recording import Recording
from tokenwire.gateway.settings import from_mapping
from tokenwire.simulator import Simulator
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head
from tokenwire.testing.http_client import Client
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, serving, started, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, FLUSHED, REQUEST, ScriptedUpstream, Step


def test_the_headers_say_what_it_was() -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        path, body = asking("openai.chat")
        first = await client.post(path, body).whole()
        assert (cached(first), first.fields.get("age")) == ("miss", None)
        again = await client.post(path, body).whole()
        assert (cached(again), again.fields["age"]) == ("hit", "0")
        assert again.fields["x-tokenwire-stream"] != first.fields["x-tokenwire-stream"]
        assert "x-request-id" in first.fields
        assert "x-request-id" not in again.fields, "no provider was asked"
        look = (await client.get(f"/v1/streams/{again.fields['x-tokenwire-stream']}").whole()).json
        assert (look["cache"], look["attempts"], look["upstream"]) == ("hit", [], "openai.chat")
        assert look["usage"]["cost_usd"] == 0.0
        assert look["timing"]["ttft_ms"] < 100
        uncached = await client.post(path, body | {"model": "plain/instant"}).whole()
        assert cached(uncached) is None
        look = (await client.get(f"/v1/streams/{uncached.fields['x-tokenwire-stream']}").whole()).json
        assert "cache" not in look
        figures = (await client.get("/readyz").whole()).json["cache"]
        assert (figures["answers"], figures["hits"], figures["misses"], figures["stored"]) == (1, 1, 1, 1)
        assert figures["bytes"] > 1000

    simulating(main)


def long_answer(go: asyncio.Event, words: list[str]) -> list[Step]:
    """An answer whose end comes when *go* says so."""
    begun = chunks(frames.role(), *map(frames.text, words))
    return [REQUEST, STREAM_HEAD + begun, FLUSHED, go, chunks(frames.finish(), frames.DONE) + LAST_CHUNK, CLOSE]


@pytest.mark.parametrize("deleted", [False, True], ids=["kept", "deleted"])
def test_an_answer_whose_beginning_is_in_the_store_is_kept_whole(tmp_path: Path, deleted: bool) -> None:
    words = [f"word{number} " for number in range(2000)]

    async def main() -> None:
        go = asyncio.Event()
        store = {"url": f"sqlite://{tmp_path}/streams.db", "hot_bytes": 1024}
        scripts = [long_answer(go, words) for _ in range(1 + deleted)]
        async with ScriptedUpstream(*scripts) as upstream, serving(settings(upstream, store=store)) as relay:
            client = await relay.connect()
            first = client.post(CHAT, chat(), {"x-tokenwire-on-disconnect": "finish"})
            stream = await relay.stream()
            await until(lambda: stream.log.last > 2000 and not stream.log.present)
            if deleted:  # in the turn in which it ends: what is missing is being fetched
                stream.on_end.append(lambda: stream.hub.forget(stream))
            go.set()
            assert cached(await first.whole()) == "miss"
            cache = relay.gateway.cache
            await until(lambda: not stream.hub.errands)
            assert cache.statistics().stored == (not deleted)
            again = await client.post(CHAT, chat()).whole()
            assert cached(again) == ("miss" if deleted else "hit")
            assert said("openai.chat", bytes(again.body))[0] == "".join(words)

    run_in("uvloop", main)


def test_a_caller_may_want_it_fresh_or_not_at_all() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()

        async def ask(said: str | None = None) -> tuple[str | None, str]:
            told = await client.post(CHAT, chat(), {} if said is None else {"x-tokenwire-cache": said}).whole()
            return cached(told), told.text

        assert await ask("off") == (None, "one")
        assert await ask() == ("miss", "two")
        assert await ask() == ("hit", "two")
        assert await ask("off") == (None, "three")
        assert await ask() == ("hit", "two")
        assert await ask("refresh") == ("miss", "four")
        assert await ask() == ("hit", "four")
        refused = await client.post(CHAT, chat(), {"x-tokenwire-cache": "on"}).whole()
        assert (refused.status, refused.json["error"]["code"]) == (400, "bad_cache")
        assert len(upstream.requests) == 4

    scripted(main, [step for word in ("one", "two", "three", "four") for step in streamed(word)])


BROKEN: dict[str, list[Step]] = {
    "cut": [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one")), CLOSE],
    "without an end": [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one")) + LAST_CHUNK],
    "an error": [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"), frames.error()) + LAST_CHUNK],
    "refused": [REQUEST, answer(b'{"error":{"message":"no"}}', status=429)],
    "filtered": [
        REQUEST,
        STREAM_HEAD
        + chunks(frames.role(), frames.text("one"), frames.finish("content_filter"), frames.DONE)
        + LAST_CHUNK,
    ],
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_not_whole_is_never_kept(what: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat()).whole()
        assert relay.gateway.cache.statistics().stored == 0
        other = await relay.connect()
        again = await other.post(CHAT, chat()).whole()
        assert (again.status, cached(again), again.text) == (200, "miss", "whole")

    both = BROKEN[what] + ([] if BROKEN[what][-1] is CLOSE else streamed("whole"))
    scripted(main, both, streamed("whole"))


def test_what_a_client_left_is_not_kept() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        await client.post(CHAT, chat()).blocks_of(2)
        client.close()
        stream = await relay.stream()
        await until(lambda: stream.terminal is not None)
        assert stream.state.value == "cancelled"
        again = await other.post(CHAT, chat()).whole()
        assert (cached(again), again.text) == ("miss", "whole")

    scripted(main, [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))], streamed("whole"))


def test_what_is_too_large_is_not_kept() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for _ in range(2):
            assert cached(await client.post(CHAT, chat()).whole()) == "miss"
        assert relay.gateway.cache.statistics().stored == 0

    scripted(main, streamed("x" * 5000) * 2, limits={"cache_answer_bytes": 4096})


def test_two_at_once_without_sharing_are_two() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        clients = [await relay.connect() for _ in range(2)]
        answers = [client.post(CHAT, chat()) for client in clients]
        await until(lambda: len(upstream.requests) == 2)
        gate.set()
        texts = [(await each.whole()).text for each in answers]
        assert sorted(texts) == ["one", "two"]
        assert [cached(each) for each in answers] == ["miss", "miss"]
        last = await clients[0].post(CHAT, chat()).whole()
        assert cached(last) == "hit"
        assert last.text in texts
        assert relay.gateway.cache.statistics().answers == 1

    gate = asyncio.Event()
    one, two = ([REQUEST, gate, *streamed(word)[1:]] for word in ("one", "two"))
    scripted(main, one, two)


def test_an_idempotency_key_attaches_to_the_stream_that_was_told_again() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        await client.post(CHAT, chat()).whole()
        mine = [await client.post(CHAT, chat(), {"idempotency-key": "k"}).whole() for _ in range(2)]
        assert {each.fields["x-tokenwire-stream"] for each in mine} == {mine[0].fields["x-tokenwire-stream"]}
        assert [cached(each) for each in mine] == ["hit", "hit"]
        other = await client.post(CHAT, chat("other"), {"idempotency-key": "k"}).whole()
        assert other.status == 422

    scripted(main, streamed("one"))


def test_started_streams_are_told_again_too_and_can_be_resumed() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        first = await client.get(await started(client)).whole()
        events = await started(client, session="s", metadata={"m": 1})
        again = await client.get(events).whole()
        assert again.native_text == first.native_text == "one two three"
        assert [data for name, data in zip(again.events, again.data, strict=True) if name == "text"] == [
            {"t": "one"}, {"t": " two"}, {"t": " three"},
        ]  # fmt: skip
        rest = await client.get(events, {"last-event-id": again.ids[3]}).whole()
        assert again.body.endswith(rest.body)
        assert b'"t":"one"' not in rest.body
        look = (await client.get(events.removesuffix("/events")).whole()).json
        assert (look["cache"], look["session"], look["metadata"]) == ("hit", "s", {"m": 1})
        snapshot = await client.get(f"{events}?from=snapshot").whole()
        assert snapshot.events[:2] == ["started", "snapshot"]
        assert snapshot.data[1]["text"] == "one two three"

    scripted(main, streamed("one", " two", " three"))


@pytest.mark.parametrize("which", [0, 1])
def test_who_deletes_a_stream_deletes_what_was_kept_of_it(which: int) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        told = [await client.post(CHAT, chat()).whole() for _ in range(2)]
        assert [cached(each) for each in told] == ["miss", "hit"]
        path = f"/v1/streams/{told[which].fields['x-tokenwire-stream']}"
        assert (await client.request("DELETE", path).whole()).status == 204
        assert relay.gateway.cache.statistics().bytes == 0
        again = await client.post(CHAT, chat()).whole()
        assert (cached(again), again.text) == ("miss", "two")

    scripted(main, streamed("one") + streamed("two"))


def test_a_slow_client_of_a_long_answer_gets_all_of_it() -> None:
    text = [f"{n} " * 20 for n in range(3000)]

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        first = await client.post(CHAT, chat()).whole()
        slow = await relay.connect(receive_buffer=4096)
        again = slow.post(CHAT, chat())
        await again.blocks_of(1)
        slow.pause()
        stream = await relay.stream(1)
        await until(lambda: stream.terminal is not None)
        assert stream.readers, "it has not taken it all"
        slow.resume()
        await again.whole()
        assert again.body == first.body
        assert again.text == "".join(text)

    scripted(main, streamed(*text))


def test_paced_it_comes_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    def times(recording: Recording, longest_gap_ns: int) -> array[int]:
        return array("q", [0, 0, *[50_000_000] * (len(recording.arrivals_ns) - 2)])

    monkeypatch.setattr(Recording, "times", times)

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        first = await client.post(CHAT, chat()).whole()
        again = client.post(CHAT, chat())
        await again.blocks_of(2)
        stream = await relay.stream(1)
        assert (stream.log.last, stream.terminal) == (2, None), "the rest is not due yet"
        await again.whole()
        assert again.body == first.body
        assert stream.timeline[2] - stream.timeline[1] >= 50_000_000

    scripted(main, streamed("one", " two", " three"), replay="paced")


def test_a_route_of_several_is_told_again_by_whoever_answered() -> None:
    async def inside() -> None:
        async with ScriptedUpstream([REQUEST, answer(b"{}", status=503)]) as first:
            messages = b'{"message":{"role":"assistant","content":"hi"},"done":false}\n'
            end = b'{"message":{"content":""},"done":true,"done_reason":"stop","eval_count":1,"prompt_eval_count":2}\n'
            opening = head(200, ("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked"))
            async with ScriptedUpstream([REQUEST, opening + chunks(messages, end) + LAST_CHUNK]) as second:
                ups = {
                    "a": {"base_url": first.base_url, "models": [], "retry": {"attempts": 1}},
                    "b": {"base_url": second.base_url, "models": [], "dialect": "ollama"},
                }
                models = {"smart": {"route": ["a/m", "b/n"], "cache": {"seconds": 60}}}
                async with serving(from_mapping({"upstreams": ups, "models": models}, {})) as relay:
                    client = await relay.connect()
                    body = chat(model="smart")
                    one, two = [await client.post(CHAT, body).whole() for _ in range(2)]
                    assert [cached(one), cached(two)] == ["miss", "hit"]
                    assert (one.text, two.text) == ("hi", "hi")
                    look = (await client.get(f"/v1/streams/{two.fields['x-tokenwire-stream']}").whole()).json
                    assert (look["model"], look["upstream"], look["dialect"]) == ("b/n", "b", "ollama")
                    assert len(first.requests) == len(second.requests) == 1

    run_in("uvloop", inside)


def test_nothing_is_told_again_while_the_relay_drains() -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client: Client = await relay.connect()
        await client.post(CHAT, chat()).whole()
        relay.gateway.drain()
        assert (await client.post(CHAT, chat()).whole()).status == 503

    scripted(main, streamed("one"))
