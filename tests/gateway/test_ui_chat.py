"""What the AI SDK's ``useChat`` asks: an answer, its rest after a reload, its stop; and AG-UI's runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tokenwire.gateway.chats import Chats
from tokenwire.gateway.settings import RetrySettings, ServerSettings, Settings, StoreSettings, UpstreamSettings
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, serving, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import FLUSHED, REQUEST, ScriptedUpstream, Step


@asynccontextmanager
async def before(*script: Step) -> AsyncIterator[tuple[Relay, ScriptedUpstream]]:
    """A relay with one upstream, whose model answers where nobody names one."""
    async with ScriptedUpstream(script) as upstream:
        up = UpstreamSettings(base_url=upstream.base_url, models=[], retry=RetrySettings(attempts=1))
        settings = Settings(upstreams={"up": up}, server=ServerSettings(default_model="up/m"))
        async with serving(settings) as relay:
            yield relay, upstream


def asked(text: str = "hi", **fields: Any) -> dict[str, Any]:
    """What ``useChat`` posts."""
    said = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": "chat1", "messages": [said], "trigger": "submit-message", **fields}


def parts(body: bytes | bytearray) -> list[Any]:
    """The parts of a body, ``[DONE]`` as it is."""
    found = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    return [each if each == "[DONE]" else json.loads(each) for each in found]


def text_of(found: Sequence[Any]) -> str:
    return "".join(part["delta"] for part in found if part != "[DONE]" and part["type"] == "text-delta")


def test_an_answer_in_the_ai_sdks_words() -> None:
    async def main() -> None:
        async with before(*streamed("one", " two")) as (relay, upstream):
            answer = await (await relay.connect()).post("/api/chat", asked()).whole()
            assert answer.status == 200
            assert answer.fields["x-vercel-ai-ui-message-stream"] == "v1"
            assert answer.fields["content-type"].startswith("text/event-stream")
            found = parts(answer.body)
            assert (text_of(found), found[0]["type"], found[-1]) == ("one two", "start", "[DONE]")
            sent = json.loads(upstream.requests[0].body)
            assert (sent["model"], sent["messages"][-1]["content"]) == ("m", "hi")
            stream = await relay.stream()
            assert stream.meta["session"] == "chat1"
            assert stream.policy.linger == 15.0

    run_in("uvloop", main)


@pytest.mark.parametrize("version", ["5", "6", "7"])
def test_a_reload_goes_on_under_the_same_message_id(version: str) -> None:
    fields = {"x-tokenwire-ui-messages": version}

    async def main() -> None:
        begun = chunks(frames.role(), frames.text("one"))
        rest = chunks(frames.text(" two"), frames.finish(), frames.DONE) + LAST_CHUNK
        go = asyncio.Event()
        async with before(REQUEST, STREAM_HEAD + begun, FLUSHED, go, rest) as (relay, _):
            first = await relay.connect()
            page = first.post("/api/chat", asked(), fields)
            await page.until(lambda answer: b"one" in answer.body)
            first.transport.abort()
            stream = await relay.stream()
            await until(lambda: not stream.readers)
            again = (await relay.connect()).get("/api/chat/chat1/stream", fields)
            await again.until(lambda answer: b"one" in answer.body)
            go.set()
            found = parts((await again.whole()).body)
            assert text_of(found) == "one two"
            assert found[0] == parts(page.body)[0], "the same message"
            over = await (await relay.connect()).get("/api/chat/chat1/stream", fields).whole()
            assert (over.status, bytes(over.body)) == (204, b"")

    run_in("uvloop", main)


def test_the_beginning_of_a_long_answer_comes_from_the_store(tmp_path: Path) -> None:
    words = [f"word{number} " for number in range(2000)]

    async def main() -> None:
        begun = chunks(frames.role(), *map(frames.text, words))
        async with ScriptedUpstream([REQUEST, STREAM_HEAD + begun]) as upstream:
            up = UpstreamSettings(base_url=upstream.base_url, models=[], retry=RetrySettings(attempts=1))
            store = StoreSettings(url=f"sqlite://{tmp_path}/streams.db", hot_bytes=1024)
            settings = Settings(upstreams={"up": up}, server=ServerSettings(default_model="up/m"), store=store)
            async with serving(settings) as relay:
                (await relay.connect()).post("/api/chat", asked())
                stream = await relay.stream()
                await until(lambda: stream.log.last > 2000 and not stream.log.whole)
                again = (await relay.connect()).get("/api/chat/chat1/stream")
                await again.until(lambda answer: b"word1999 " in answer.body)
                stopped = await (await relay.connect()).post("/api/chat/chat1/stop").whole()
                assert stopped.json == {"stopped": True}
                assert text_of(parts((await again.whole()).body)) == "".join(words)

    run_in("uvloop", main)


def test_a_tools_result_goes_on_in_the_same_message() -> None:
    """The page ran a tool and sends its result: what follows belongs to the message with the call, on resuming too."""
    call = {"type": "tool-f", "toolCallId": "c1", "state": "output-available", "input": {}, "output": {"ok": True}}
    turn = {"id": "answer1", "role": "assistant", "parts": [{"type": "step-start"}, call]}

    async def main() -> None:
        begun = chunks(frames.role(), frames.text("one"))
        async with before(REQUEST, STREAM_HEAD + begun) as (relay, upstream):
            body = asked()
            body["messages"].append(turn)
            page = (await relay.connect()).post("/api/chat", body)
            await page.until(lambda answer: b"one" in answer.body)
            assert parts(page.body)[0]["messageId"] == "answer1"
            assert [each["role"] for each in json.loads(upstream.requests[0].body)["messages"]] == [
                "user",
                "assistant",
                "tool",
            ]
            again = (await relay.connect()).get("/api/chat/chat1/stream")
            await again.until(lambda answer: b"one" in answer.body)
            found = parts(again.body)
            assert found[0]["messageId"] == "answer1"
            assert any(each["type"] == "tool-output-available" for each in found)

    run_in("uvloop", main)


def test_a_whole_message_for_who_does_not_want_a_stream() -> None:
    async def main() -> None:
        async with before(*streamed("one", " two")) as (relay, _):
            whole = await (await relay.connect()).post("/api/chat", asked(stream=False)).whole()
            assert [each["text"] for each in whole.json["parts"] if each["type"] == "text"] == ["one two"]

    run_in("uvloop", main)


def test_stopping_closes_the_upstream_and_tells_the_page() -> None:
    async def main() -> None:
        async with before(REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one"))) as (relay, upstream):
            page = (await relay.connect()).post("/api/chat", asked())
            await page.until(lambda answer: b"one" in answer.body)
            client = await relay.connect()
            stopped = await client.post("/api/chat/chat1/stop").whole()
            assert (stopped.status, stopped.json) == (200, {"stopped": True})
            await (await upstream.peer()).gone()
            assert parts((await page.whole()).body)[-1]["type"] == "abort"
            again = await client.post("/api/chat/chat1/stop").whole()
            assert again.json == {"stopped": False}
            assert (await client.get("/api/chat/chat1/stream").whole()).status == 204

    run_in("uvloop", main)


def test_a_repeated_post_attaches_by_its_key() -> None:
    async def main() -> None:
        async with before(*streamed("one")) as (relay, upstream):
            client = await relay.connect()
            for _ in range(2):
                answer = await client.post("/api/chat", asked(), {"idempotency-key": "k"}).whole()
                assert text_of(parts(answer.body)) == "one"
            assert len(upstream.requests) == 1

    run_in("uvloop", main)


def test_what_makes_no_sense_is_told_in_words_that_the_page_shows() -> None:
    async def main() -> None:
        async with before() as (relay, _):
            client = await relay.connect()
            for body, fields, words in (
                (asked(), {"x-tokenwire-ui-messages": "9"}, b"one of 5, 6, 7"),
                (asked(), {"x-tokenwire-ui-messages": "new"}, b"one of 5, 6, 7"),
                (asked(model="nobody/x"), {}, b"nobody/x"),
                ({"messages": "hi"}, {}, b"messages"),
            ):
                refused = await client.post("/api/chat", body, fields).whole()
                assert 400 <= refused.status < 500, body
                assert words in refused.body, body
            wrong = await client.get("/api/chat/chat1/stop").whole()
            assert (wrong.status, wrong.fields["allow"]) == (405, "POST")
            wrong = await client.post("/api/chat/chat1/stream").whole()
            assert (wrong.status, wrong.fields["allow"]) == (405, "GET")

    run_in("uvloop", main)


def test_the_newest_stream_of_a_chat_counts_and_old_chats_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with before(REQUEST, STREAM_HEAD + chunks(frames.text("one"))) as (relay, _):
            hub = relay.gateway.hub
            chats = Chats(hub)
            monkeypatch.setattr("tokenwire.gateway.chats.MAX_CHATS", 2)
            await (await relay.connect()).post("/api/chat", asked()).until(lambda answer: b"one" in answer.body)
            stream = await relay.stream()
            for chat in ("a", "b", "a", "c"):
                chats.put("me", chat, stream)
            assert chats.running("me", "b") is None
            assert chats.running("me", "a") is None, "somebody else's stream"
            chats.put("local", "mine", stream)
            assert chats.running("local", "mine") is stream
            stream.cancel()
            assert chats.running("local", "mine") is None

    run_in("uvloop", main)


# ---------------------------------------------------------------------- AG-UI


def run_of(text: str = "hi", **fields: Any) -> dict[str, Any]:
    said = {"id": "m1", "role": "user", "content": text}
    empty: dict[str, Any] = {"tools": [], "context": [], "state": {}, "forwardedProps": {}}
    return {"threadId": "t1", "runId": "r1", "messages": [said], **empty, **fields}


def test_a_run_in_ag_uis_words() -> None:
    async def main() -> None:
        async with before(*streamed("one", " two")) as (relay, upstream):
            client = await relay.connect()
            for _ in range(2):
                answer = await client.post("/agui", run_of(), {"idempotency-key": "k"}).whole()
                found = parts(answer.body)
                assert found[0] | {"timestamp": 0} == {
                    "type": "RUN_STARTED",
                    "threadId": "t1",
                    "runId": "r1",
                    "timestamp": 0,
                }
                said = [each["delta"] for each in found if each["type"] == "TEXT_MESSAGE_CONTENT"]
                assert ("".join(said), found[-1]["type"]) == ("one two", "RUN_FINISHED")
            assert len(upstream.requests) == 1
            assert (await relay.stream()).meta["session"] == "t1"

    run_in("uvloop", main)


def test_a_run_that_makes_no_sense() -> None:
    async def main() -> None:
        async with before() as (relay, _):
            client = await relay.connect()
            for body in ({"threadId": "t"}, run_of(forwardedProps={"model": "nobody/x"})):
                refused = await client.post("/agui", body).whole()
                assert refused.status in (400, 404)
                assert refused.json["error"]
            wrong = await client.get("/agui").whole()
            assert (wrong.status, wrong.fields["allow"]) == (405, "POST")

    run_in("uvloop", main)
