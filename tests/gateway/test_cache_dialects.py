"""Answers that are kept are told again the same in every dialect that providers speak, and read in all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.gateway.caching import CHAT, QUESTION, SPOKEN, asking, cached, said, simulating
from tests.translation.answers import TARGETS, fold

from tokenwire import dialects
from tokenwire.simulator import Simulator
from tokenwire.testing.relay import Relay, chat, message

KINDS = [(dialect, kind) for dialect in SPOKEN for kind in ("text", "thoughts", "tools")]
KINDS.remove(("openai.chat", "thoughts"))


@pytest.mark.parametrize(("dialect", "kind"), KINDS)
def test_the_same_text_tools_and_usage_in_each_dialect(dialect: str, kind: str) -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        path, body = asking(dialect, kind)
        if dialect == "openai.chat":
            body["stream_options"] = {"include_usage": True}
        first = await client.post(path, body).whole()
        again = await client.post(path, body).whole()
        assert (first.status, again.status) == (200, 200)
        assert (cached(first), cached(again)) == ("miss", "hit")
        assert again.body == first.body, "byte for byte"
        text, reasoning, calls, _, counts = said(dialect, bytes(first.body))
        assert counts is not None
        assert text or kind == "tools"
        assert bool(reasoning) == (kind == "thoughts")
        assert [name for name, _ in calls] == (["get_weather"] if kind == "tools" else [])
        for name in TARGETS:
            told = await client.post(path, body, {"x-tokenwire-dialect": name}).whole()
            assert cached(told) == "hit"
            events = f"/v1/streams/{first.fields['x-tokenwire-stream']}/events?dialect={name}"
            expected = await client.get(events).whole()
            assert said(name, bytes(told.body)) == said(name, bytes(expected.body)), name
            assert said(name, bytes(told.body))[0] == text, name
        streams = (await client.get("/v1/streams").whole()).json["streams"]
        assert len(streams) == 2 + len(TARGETS)
        assert {stream["state"] for stream in streams} == {"completed"}
        assert len({json.dumps({**stream["usage"], "cost_usd": None}) for stream in streams}) == 1
        assert simulator.stats.requests == 1

    simulating(main)


@pytest.mark.parametrize("kind", ["text", "tools"])
@pytest.mark.parametrize("dialect", SPOKEN)
@pytest.mark.parametrize("streamed_first", [True, False])
def test_whole_answers_and_streams_answer_each_other(dialect: str, kind: str, streamed_first: bool) -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        first = await client.post(*asking(dialect, kind, stream=streamed_first)).whole()
        other = await client.post(*asking(dialect, kind, stream=not streamed_first)).whole()
        assert (first.status, other.status) == (200, 200)
        assert (cached(first), cached(other)) == ("miss", "miss" if dialect == "openai.responses" else "hit")
        whole, stream = (other, first) if streamed_first else (first, other)
        text, _, calls, reason, _ = said(dialect, bytes(stream.body))
        of_body = fold(dialects.get(dialect).decode_response(bytes(whole.body))).choice()
        assert of_body.text == text
        assert [call.name for call in of_body.tool_calls.values()] == [name for name, _ in calls]
        assert of_body.reason == reason
        if dialect == "openai.chat":
            assert (b'"usage":{' in stream.body, b'"usage":{' in whole.body) == (False, True), (
                "not asked for in a stream"
            )
        again = await client.post(*asking(dialect, kind, stream=streamed_first)).whole()
        assert (cached(again), again.body) == ("hit", first.body)

    simulating(main)


def test_who_did_not_ask_for_the_usage_is_not_told_and_who_did_is() -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        path, body = asking("openai.chat")
        wanted = body | {"stream_options": {"include_usage": True}}
        plain = await client.post(path, body).whole()
        told = await client.post(path, wanted).whole()
        again = await client.post(path, body).whole()
        assert [cached(each) for each in (plain, told, again)] == ["miss", "hit", "hit"]
        assert b'"usage":{' in told.body
        assert again.body == plain.body
        assert b'"usage":{' not in plain.body

    simulating(main)


def test_a_question_in_another_dialect_is_the_same_if_the_upstream_is_asked_the_same() -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        model = "openai.chat/instant"
        first = await client.post("/v1/messages", message(QUESTION, model=model)).whole()
        body = chat(QUESTION, model=model, max_tokens=50)
        other = await client.post(CHAT, body).whole()
        assert (cached(first), cached(other)) == ("miss", "hit")
        assert said("openai.chat", bytes(other.body))[0] == said("anthropic", bytes(first.body))[0]
        assert cached(await client.post(CHAT, {**body, "max_tokens": 51}).whole()) == "miss"

    simulating(main)


def test_notes_on_the_translation_are_told_again() -> None:
    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        body = chat(QUESTION, model="anthropic/instant", store=True)
        first, again = [await client.post(CHAT, body).whole() for _ in range(2)]
        assert (cached(first), cached(again)) == ("miss", "hit")
        assert again.fields["x-tokenwire-translation"] == first.fields["x-tokenwire-translation"]

    simulating(main)


def test_a_chat_of_the_ai_sdk_and_a_run_of_ag_ui_are_told_again() -> None:
    def ui(number: int) -> dict[str, Any]:
        part = {"type": "text", "text": QUESTION}
        turn = {"id": f"m{number}", "role": "user", "parts": [part]}
        return {"id": f"chat{number}", "model": "anthropic/instant", "messages": [turn]}

    def run(number: int) -> dict[str, Any]:
        turn = {"id": f"m{number}", "role": "user", "content": QUESTION}
        props = {"model": "anthropic/instant"}
        rest: dict[str, Any] = {"state": {}, "tools": [], "context": [], "forwardedProps": props}
        return {"threadId": f"t{number}", "runId": f"r{number}", "messages": [turn], **rest}

    async def main(relay: Relay, simulator: Simulator) -> None:
        client = await relay.connect()
        for path, body, dialect in (("/api/chat", ui, "ui-messages"), ("/agui", run, "agui")):
            first = await client.post(path, body(1), {"x-tokenwire-cache": "refresh"}).whole()
            again = await client.post(path, body(2)).whole()
            assert (cached(first), cached(again)) == ("miss", "hit"), path
            assert said(dialect, bytes(again.body)) == said(dialect, bytes(first.body))
        assert (await client.get("/api/chat/chat2/stream").whole()).status == 204

    simulating(main)
