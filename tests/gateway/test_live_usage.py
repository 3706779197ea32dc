"""Usage while it grows, as callers see it: native events, comments for those who ask, and what resuming makes of it."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
import tiktoken

from tokenwire.client.answer import Answer as Folded
from tokenwire.dialects.deltas import Usage
from tokenwire.engine import live
from tokenwire.gateway.settings import RetrySettings, Settings, UpstreamSettings
from tokenwire.measure import tokenizers
from tokenwire.measure.prices import Price
from tokenwire.simulator.texts import library
from tokenwire.simulator.tokens import pieces
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.http_client import Answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chat, chunks, message, serving, started
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, in_turn
from tokenwire.wire import sse

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
LIVE = {"x-tokenwire-usage": "live"}
#: 110 tokens by the static rule, after 14 of prompt.
SAID = [frames.text("abcd")] * 121
BEGUN = STREAM_HEAD + chunks(frames.role(), *SAID)
REST = chunks(frames.text(" end"), frames.finish(), frames.usage(12, 111), frames.DONE) + LAST_CHUNK
PROMPT = "x" * 44
ESTIMATE = {"input": 14, "output": 110, "cost_usd": pytest.approx(124e-6), "estimated": True}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """50 times a second, so that nobody waits for it."""
    monkeypatch.setattr(live, "PERIOD", 0.02)


def settings(url: str, **upstream: Any) -> Settings:
    one = UpstreamSettings(base_url=url, models=[], retry=RetrySettings(attempts=1), **upstream)
    return Settings(upstreams={"up": one}, prices={"up/*": Price(input=1, output=1)})


def comments(answer: Answer) -> list[dict[str, Any]]:
    lines = answer.body.decode().split("\n")
    return [json.loads(line[8:]) for line in lines if line.startswith(": usage ") and line.endswith("}")]


def estimates(answer: Answer) -> list[dict[str, Any]]:
    return [data for name, data in zip(answer.events, answer.data, strict=False) if name == "usage"]


def fold(body: bytes) -> Folded:
    folded = Folded()
    for event in sse.Decoder().feed(body):
        folded.feed(event)
    return folded


def test_vendor_readers_get_comments_if_they_ask() -> None:
    gate = asyncio.Event()

    async def main() -> None:
        async with (
            ScriptedUpstream([REQUEST, BEGUN, gate, REST]) as upstream,
            serving(settings(upstream.base_url)) as relay,
        ):
            asking, plain, other = [await relay.connect() for _ in range(3)]
            live_one = asking.post(CHAT, chat(PROMPT, stream_options={"include_usage": True}), LIVE)
            await live_one.until(comments)
            plain_one = plain.post(CHAT, chat(PROMPT, stream_options={"include_usage": True}))
            with_ids = other.post(MESSAGES, message(PROMPT), LIVE | {"x-tokenwire-ids": "1"})
            await with_ids.until(comments)
            await plain_one.until(lambda answer: len(answer.data) == 122)
            gate.set()
            for each in (live_one, plain_one, with_ids):
                await each.whole()
                assert each.complete
            assert comments(live_one) == [ESTIMATE]
            whole = [block for block in live_one.blocks if not block.startswith(":")]
            assert whole == plain_one.blocks, "frames are whole, and no other byte differs"
            assert b": usage" not in plain_one.body
            assert comments(with_ids) == [ESTIMATE]
            assert b'"estimated":true}\nevent: ' in with_ids.body, "one newline where ids are on"

    run_in("uvloop", main)


def test_native_readers_need_not_ask_and_lose_nothing() -> None:
    gate = asyncio.Event()

    async def main() -> None:
        async with (
            ScriptedUpstream([REQUEST, BEGUN, gate, REST]) as upstream,
            serving(settings(upstream.base_url)) as relay,
        ):
            first, second, third = [await relay.connect() for _ in range(3)]
            path = await started(first, request=chat(PROMPT))
            reading = second.get(path)
            await reading.until(estimates)
            silent = third.get(path, {"x-tokenwire-usage": "off"})
            at = reading.events.index("usage")
            assert (reading.data[at], reading.ids[at + 1]) == (ESTIMATE, reading.ids[at])  # one before: the priming id
            late = first.get(path, {"last-event-id": reading.ids[at + 1]})
            joined = (await relay.connect()).get(f"{path}?from=snapshot")
            await joined.until(estimates)
            gate.set()
            for each in (reading, silent, late, joined):
                await each.whole()
            told = {"input": 12, "output": 111}
            priced = told | {"cost_usd": pytest.approx(123e-6)}
            assert estimates(silent) == [told, priced]
            assert estimates(reading) == [ESTIMATE, told, priced]
            assert late.native_text == " end"
            for body in (reading.body, silent.body, joined.body):
                folded = fold(bytes(body))
                assert folded.done is not None
                assert (folded.done.verified, folded.done.mismatch) == (True, None)
                assert folded.usage == Usage(12, 111, cost_usd=pytest.approx(123e-6))  # type: ignore[arg-type]
            # Resumed behind the estimate: what was there before it, and what came after it.
            cut = bytes(reading.body).split(b"event: usage\n")[0] + bytes(late.body)
            again = fold(cut)
            assert again.done is not None
            assert again.done.verified is True

    run_in("uvloop", main)


def test_another_word_is_refused_before_anything_is_spent() -> None:
    async def main() -> None:
        async with ScriptedUpstream([REQUEST]) as upstream, serving(settings(upstream.base_url)) as relay:
            client = await relay.connect()
            refused = await client.post(CHAT, chat(), {"x-tokenwire-usage": "on"}).whole()
            assert refused.status == 400
            assert "live or off" in refused.json["error"]["message"]
            assert relay.streams == []

    run_in("uvloop", main)


def test_who_cannot_bear_comments_gets_none() -> None:
    async def main() -> None:
        async with (
            ScriptedUpstream([REQUEST, BEGUN]) as upstream,
            serving(settings(upstream.base_url)) as relay,
        ):
            client, other = await relay.connect(), await relay.connect()
            body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
            gemini = client.post("/v1beta/models/up/m:streamGenerateContent?alt=sse", body, LIVE)
            ollama = other.post("/ollama/api/chat", {"model": "up/m", "messages": chat()["messages"]}, LIVE)
            for answer in (gemini, ollama):
                await answer.until(lambda each: each.body.count(b"abcd") == 121)
            assert len(relay.gateway.hub.live) == 0

    run_in("uvloop", main)


@pytest.mark.parametrize("language", ["greek", "japanese", "vietnamese"])
def test_after_one_answer_in_a_language_the_next_is_within_a_twentieth(language: str) -> None:
    """By the simulator's tokens: the provider tells them of the first answer, the second is cut after 220 of them."""
    text = next(each.body for each in library() if each.name == language)
    half = pieces(text[: len(text) // 2])
    first = STREAM_HEAD + chunks(*frames.answer(*half)[:-1], frames.usage(9, len(half)), frames.DONE) + LAST_CHUNK
    second = STREAM_HEAD + chunks(frames.role(), *map(frames.text, (pieces(text[len(text) // 2 :]) * 4)[:220]))

    async def main() -> None:
        async with (
            ScriptedUpstream(in_turn([[first], [second]])) as upstream,
            serving(settings(upstream.base_url)) as relay,
        ):
            client = await relay.connect()
            await client.post(CHAT, chat()).whole()
            await until(lambda: len(relay.gateway.hub.estimator) == 2)  # the model and its family
            reading = client.post(CHAT, chat(), LIVE)
            await reading.until(lambda answer: len(answer.data) == 221 and comments(answer))
            await reading.until(lambda answer: comments(answer)[-1]["output"] > 180)
            assert comments(reading)[-1]["output"] == pytest.approx(220, rel=0.05)

    run_in("uvloop", main)


def test_a_tokenizer_counts_along_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for nobody: of an answer that is cut, the usage is then exact but for its newest word."""
    bytes_only = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("bytes", pat_str=r"\S+|\s+", mergeable_ranks=bytes_only, special_tokens={})
    threads: set[int] = set()

    def known(name: str) -> Any:
        threads.add(threading.get_ident())
        return encoding

    monkeypatch.setattr(tokenizers, "_encoding", known)
    begun = STREAM_HEAD + chunks(frames.role(), *[frames.text(" abcd")] * 100)

    async def main() -> None:
        async with (
            ScriptedUpstream([REQUEST, begun]) as upstream,
            serving(settings(upstream.base_url, tokenizer="tiktoken:o200k_base")) as relay,
        ):
            client = await relay.connect()
            reading = client.post(CHAT, chat(PROMPT))
            await reading.until(lambda answer: len(answer.data) == 101)
            stream = relay.streams[0]
            await until(lambda: stream.tally is not None and stream.tally.tokens(stream) > 490)
            client.close()
            await until(lambda: stream.terminal is not None)
            assert stream.settled is not None
            assert stream.settled.usage is not None
            assert stream.settled.usage.output == 496  # 99 words of 5 bytes, and an estimate of the last
            assert threads
            assert threading.get_ident() not in threads

    run_in("uvloop", main)


def test_plain_readers_keep_the_express_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with (
            ScriptedUpstream([REQUEST, BEGUN]) as upstream,
            serving(settings(upstream.base_url)) as relay,
        ):
            lanes = await _lanes(relay, monkeypatch)
            for fields in ({}, LIVE):
                client = await relay.connect()
                await client.post(CHAT, chat(), fields).until(lambda answer: len(answer.data) == 122)
            assert len(lanes) == 2

    run_in("uvloop", main)


async def _lanes(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The ids of streams that an express lane was made for, from now on."""
    from tokenwire.engine.ingest import Ingest

    seen: set[int] = set()
    route = Ingest.route

    def noting(self: Ingest, lane: Any) -> None:
        if lane is not None:
            seen.add(id(self._stream))
        route(self, lane)

    monkeypatch.setattr(Ingest, "route", noting)
    return seen
