"""``/v1/responses/{id}``: look, resume and stop as OpenAI's clients do it, whoever the upstream is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tokenwire.gateway.settings import RetrySettings, Settings, UpstreamSettings
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import LAST_CHUNK, answer
from tokenwire.testing.http_client import Answer
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, serving
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, FLUSHED, REQUEST, ScriptedUpstream, Step

PATH = "/v1/responses"
ASKED: dict[str, Any] = {"model": "up/m", "input": "hi", "stream": True}
FINISH = {"x-tokenwire-on-disconnect": "finish"}


def own(*texts: str) -> list[bytes]:
    """What OpenAI sends of a short answer: only what a reader must have."""
    message = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    whole = {**message, "status": "completed", "content": [{**part, "text": "".join(texts)}]}
    said: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "resp_theirs", "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": message},
        {"type": "response.content_part.added", **place, "part": part},
        *({"type": "response.output_text.delta", **place, "delta": text, "logprobs": []} for text in texts),
        {"type": "response.output_text.done", **place, "text": "".join(texts)},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": {"id": "resp_theirs", "status": "completed", "output": [whole]}},
    ]
    return [
        f"event: {each['type']}\ndata: {json.dumps({**each, 'sequence_number': number})}\n\n".encode()
        for number, each in enumerate(said)
    ]


#: Dialect of the upstream -> what it sends before and after the first word.
SENT = {
    "openai.chat": (
        chunks(frames.role(), frames.text("one")),
        chunks(frames.text(" two"), frames.finish(), frames.DONE),
    ),
    "openai.responses": (chunks(*own("one", " two")[:4]), chunks(*own("one", " two")[4:])),
}


@asynccontextmanager
async def before(dialect: str, *script: Step) -> AsyncIterator[tuple[Relay, ScriptedUpstream]]:
    async with ScriptedUpstream(script) as upstream:
        fields: dict[str, Any] = {"base_url": upstream.base_url, "dialect": dialect, "models": []}
        up = UpstreamSettings(**fields, retry=RetrySettings(attempts=1))
        async with serving(Settings(upstreams={"up": up})) as relay:
            yield relay, upstream


def events(body: bytes | bytearray) -> list[Any]:
    lines = body.decode().split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def text_of(found: list[Any]) -> str:
    return "".join(each["delta"] for each in found if each["type"] == "response.output_text.delta")


@pytest.mark.parametrize("dialect", SENT)
def test_going_on_after_a_sequence_number(dialect: str) -> None:
    first, rest = SENT[dialect]

    async def main() -> None:
        go = asyncio.Event()
        script: list[Step] = [REQUEST, STREAM_HEAD + first, FLUSHED, go, rest + LAST_CHUNK]
        async with before(dialect, *script) as (relay, _):
            client = await relay.connect()
            begun = client.post(PATH, ASKED, FINISH)
            await begun.until(lambda answer: b'"delta":"one"' in answer.body or b'"delta": "one"' in answer.body)
            seen = events(begun.body)
            name = seen[0]["response"]["id"]
            client.transport.abort()
            looking = await relay.connect()
            half = (await looking.get(f"{PATH}/{name}").whole()).json
            assert half["status"] == "in_progress"
            for cut in (None, *range(len(seen))):
                again = (await relay.connect()).get(
                    f"{PATH}/{name}?stream=true" + ("" if cut is None else f"&starting_after={cut}")
                )
                wanted = seen if cut is None else seen[cut + 1 :]
                await again.until(partial(_has, len(wanted)))
                assert events(_whole(again.body)) == wanted
            too_far = await looking.get(f"{PATH}/{name}?stream=true&starting_after=99").whole()
            assert (too_far.status, "99" in too_far.json["error"]["message"]) == (409, True)
            go.set()
            last = await looking.get(f"{PATH}/{name}?stream=true&starting_after={seen[-1]['sequence_number']}").whole()
            found = events(last.body)
            assert text_of(seen + found) == "one two"
            numbers = [each["sequence_number"] for each in seen + found]
            assert numbers == list(range(len(numbers)))
            done = (await looking.get(f"{PATH}/{name}").whole()).json
            assert (done["status"], done["output"][0]["content"][0]["text"]) == ("completed", "one two")
            over = await looking.get(f"{PATH}/{name}?stream=true&starting_after={numbers[-1]}").whole()
            assert (over.status, over.json["error"]["code"]) == (404, "over")

    run_in("uvloop", main)


@pytest.mark.parametrize("dialect", SENT)
def test_going_on_after_every_event_of_an_answer_that_was_cut(dialect: str) -> None:
    """The end is in our words: it counts on, and is found by its numbers."""

    async def main() -> None:
        async with before(dialect, REQUEST, STREAM_HEAD + SENT[dialect][0], CLOSE) as (relay, _):
            client = await relay.connect()
            seen = events((await client.post(PATH, ASKED).whole()).body)
            assert [each["type"] for each in seen][-2:] == ["error", "response.failed"]
            assert [each["sequence_number"] for each in seen] == list(range(len(seen)))
            name = seen[0]["response"]["id"]
            assert seen[-1]["response"]["id"] == name
            for number in range(len(seen) - 1):
                rest = await client.get(f"{PATH}/{name}?stream=true&starting_after={number}").whole()
                assert events(rest.body) == seen[number + 1 :]
            over = await client.get(f"{PATH}/{name}?stream=true&starting_after={len(seen) - 1}").whole()
            assert (over.status, over.json["error"]["code"]) == (404, "over")

    run_in("uvloop", main)


def _has(count: int, answer: Answer) -> bool:
    return len(events(_whole(answer.body))) >= count


def _whole(body: bytes | bytearray) -> bytes:
    """The events of *body* that have come whole."""
    return bytes(body[: body.rfind(b"\n\n") + 2])


@pytest.mark.parametrize("dialect", SENT)
def test_cancelling_closes_the_upstream(dialect: str) -> None:
    async def main() -> None:
        async with before(dialect, REQUEST, STREAM_HEAD + SENT[dialect][0]) as (relay, upstream):
            client = await relay.connect()
            begun = client.post(PATH, ASKED)
            await begun.until(lambda answer: b"one" in answer.body)
            name = events(_whole(begun.body))[0]["response"]["id"]
            cancelled = await (await relay.connect()).post(f"{PATH}/{name}/cancel").whole()
            assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
            await (await upstream.peer()).gone()
            assert b"response.failed" in (await begun.whole()).body

    run_in("uvloop", main)


def test_a_failed_response_says_why() -> None:
    async def main() -> None:
        sent = STREAM_HEAD + chunks(frames.text("one"), frames.error("it broke"))
        async with before("openai.chat", REQUEST, sent) as (relay, _):
            client = await relay.connect()
            stream = await client.post(PATH, ASKED).whole()
            name = events(stream.body)[0]["response"]["id"]
            looked = (await client.get(f"{PATH}/{name}").whole()).json
            assert (looked["status"], looked["error"]["message"]) == ("failed", "it broke")

    run_in("uvloop", main)


def test_a_whole_response_can_be_looked_at_again() -> None:
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "one"}]}
    body = json.dumps({"id": "resp_theirs", "object": "response", "status": "completed", "output": [message]}).encode()

    async def main() -> None:
        async with before("openai.responses", REQUEST, answer(body)) as (relay, _):
            client = await relay.connect()
            whole = await client.post(PATH, {**ASKED, "stream": False}).whole()
            assert bytes(whole.body) == body
            assert bytes((await client.get(f"{PATH}/resp_theirs").whole()).body) == body
            replay = await client.get(f"{PATH}/resp_theirs?stream=true").whole()
            assert text_of(events(replay.body)) == "one"

    run_in("uvloop", main)


def test_what_is_not_there_or_makes_no_sense() -> None:
    async def main() -> None:
        async with before("openai.chat", REQUEST, STREAM_HEAD + SENT["openai.chat"][0]) as (relay, _):
            client = await relay.connect()
            assert (await client.get(f"{PATH}/resp_none").whole()).status == 404
            assert (await client.post(f"{PATH}/none/cancel").whole()).status == 404
            wrong = await client.get(f"{PATH}/resp_none/cancel").whole()
            assert (wrong.status, wrong.fields["allow"]) == (405, "POST")
            begun = (await relay.connect()).post(PATH, ASKED)
            await begun.until(lambda answer: b"one" in answer.body)
            stream = await relay.stream()
            name = "resp_" + stream.id.removeprefix("st_")
            bad = await client.get(f"{PATH}/{name}?stream=true&starting_after=x").whole()
            assert (bad.status, bad.json["error"]["param"]) == (400, "starting_after")
            await until(lambda: stream.generated_ns is not None)

    run_in("uvloop", main)
