"""An upstream that does not speak the caller's dialect is asked in its words, and answers in the caller's."""

from __future__ import annotations

from typing import Any

import pytest
from tests.gateway.translating import CHAT, MESSAGES, asked, before, folded, playing

from tokenwire.dialects.prompt.fit import Note
from tokenwire.gateway.ways import told
from tokenwire.testing import chat_frames as frames
from tokenwire.testing import message_frames as messages
from tokenwire.testing.http_bytes import answer
from tokenwire.testing.relay import chat, message
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import REQUEST


def test_a_chat_upstream_read_as_messages() -> None:
    async def main() -> None:
        script = playing(*frames.answer("one", " two", with_usage=True))
        async with before("openai.chat", script) as (relay, upstream):
            client = await relay.connect()
            stream = await client.post(MESSAGES, message("hi", system="Be brief.")).whole()
            fold = folded("anthropic", bytes(stream.body))
            assert (stream.status, fold.choice().text, fold.choice().reason) == (200, "one two", "stop")
            assert fold.usage is not None
            assert (fold.usage.input, fold.usage.output) == (3, 5)
            line, _, body = asked(upstream)
            assert line == "/v1/chat/completions"
            assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
            assert (body["model"], body["stream_options"]) == ("claude", {"include_usage": True})

    run_in("uvloop", main)


@pytest.mark.parametrize("wanted", [False, True])
def test_the_usage_chunk_is_for_who_asked_for_it(wanted: bool) -> None:
    async def main() -> None:
        async with before("anthropic", playing(*messages.answer("one"))) as (relay, upstream):
            client = await relay.connect()
            options: dict[str, Any] = {"stream_options": {"include_usage": True}} if wanted else {}
            stream = await client.post(CHAT, chat(**options)).whole()
            assert folded("openai.chat", bytes(stream.body)).choice().text == "one"
            assert (b'"usage"' in stream.body) == wanted
            line, fields, body = asked(upstream)
            assert line == "/v1/messages"
            assert (fields["anthropic-version"], body["max_tokens"]) == ("2023-06-01", 4096)

    run_in("uvloop", main)


def test_a_whole_answer_is_the_fold_of_a_stream() -> None:
    async def main() -> None:
        async with before("anthropic", playing(*messages.answer("one", " two"))) as (relay, upstream):
            client = await relay.connect()
            whole = await client.post(CHAT, chat(stream=False)).whole()
            assert whole.json["choices"][0]["message"]["content"] == "one two"
            assert whole.json["usage"]["total_tokens"] == 8
            assert asked(upstream)[2]["stream"] is True

    run_in("uvloop", main)


def test_an_answer_that_came_whole_is_told_in_the_callers_words() -> None:
    """The upstream was asked for a stream, and did not care."""
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}'

    async def main() -> None:
        async with before("openai.chat", [REQUEST, answer(body), REQUEST, answer(body)]) as (relay, _):
            client = await relay.connect()
            whole = await client.post(MESSAGES, message(stream=False)).whole()
            assert whole.json["content"] == [{"type": "text", "text": "one"}]
            stream = await client.post(MESSAGES, message()).whole()
            assert folded("anthropic", bytes(stream.body)).choice().text == "one"

    run_in("uvloop", main)


def test_what_cannot_be_asked_is_refused_by_the_callers_name_of_it() -> None:
    async def main() -> None:
        async with before("anthropic") as (relay, upstream):
            client = await relay.connect()
            for fields, param in (({"n": 2}, "n"), ({"logit_bias": {"1": 1}}, "logit_bias"), ({"smoke": 1}, "smoke")):
                refused = await client.post(CHAT, chat(**fields)).whole()
                error = refused.json["error"]
                assert (refused.status, error["param"], error["code"]) == (400, param, "unsupported_parameter")
                assert "anthropic" in error["message"]
            assert (relay.streams, upstream.peers) == ([], [])

    run_in("uvloop", main)


@pytest.mark.parametrize("streaming", [True, False])
def test_what_was_left_out_is_told_in_a_header(streaming: bool) -> None:
    async def main() -> None:
        async with before("anthropic", playing(*messages.answer("one"))) as (relay, _):
            client = await relay.connect()
            said = await client.post(CHAT, chat(stream=streaming, store=True)).whole()
            assert said.status == 200
            assert said.fields["x-tokenwire-translation"].startswith("store is left out: ")
            plain = await client.post(CHAT, chat(stream=streaming)).whole()
            assert "x-tokenwire-translation" not in plain.fields

    run_in("uvloop", main)


def test_a_note_is_a_legal_header_whatever_the_caller_wrote() -> None:
    assert told([Note("a\r\nb\x00\u2028é", "dropped", "why")]) == "a??b??? is left out: why"
    assert len(told([Note("x" * 3000, "dropped", "why")])) == 2048


@pytest.mark.parametrize(("wanted", "path"), [({}, "/v1/messages"), ({"candidateCount": 2}, CHAT)])
def test_the_first_dialect_that_has_words_for_it_is_asked_in(wanted: dict[str, Any], path: str) -> None:
    """Messages have no word for several answers: an upstream that speaks chat as well is asked in that."""
    script = playing(*(frames.answer("one") if wanted else messages.answer("one")))

    async def main() -> None:
        async with before(["anthropic", "openai.chat"], script) as (relay, upstream):
            body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": wanted}
            client = await relay.connect()
            answer = await client.post("/v1beta/models/up/m:streamGenerateContent?alt=sse", body).whole()
            assert (answer.status, asked(upstream)[0]) == (200, path)

    run_in("uvloop", main)


@pytest.mark.parametrize(
    ("path", "dialect", "brought", "sent"),
    [
        (MESSAGES, "openai.chat", ("x-api-key", "k"), ("authorization", "Bearer k")),
        (MESSAGES, "openai.chat", ("authorization", "Bearer k"), ("authorization", "Bearer k")),
        (CHAT, "anthropic", ("authorization", "Bearer k"), ("x-api-key", "k")),
    ],
)
def test_a_key_of_the_callers_own_is_sent_as_the_upstream_wants_it(
    path: str, dialect: str, brought: tuple[str, str], sent: tuple[str, str]
) -> None:
    script = playing(*(frames.answer("one") if dialect == "openai.chat" else messages.answer("one")))

    async def main() -> None:
        async with before(dialect, script, api_key="passthrough") as (relay, upstream):
            body = chat() if path == CHAT else message()
            fields = {brought[0]: brought[1], "anthropic-beta": "x", "traceparent": "00-1-2-00"}
            stream = await (await relay.connect()).post(path, body, fields).whole()
            assert stream.status == 200
            _, got, _ = asked(upstream)
            assert got[sent[0]] == sent[1]
            assert got["traceparent"] == "00-1-2-00"
            assert "anthropic-beta" not in got

    run_in("uvloop", main)


def test_usage_is_not_asked_for_where_the_settings_say_so() -> None:
    async def main() -> None:
        async with before("openai.chat", playing(*frames.answer("one")), usage=False) as (relay, upstream):
            stream = await (await relay.connect()).post(MESSAGES, message()).whole()
            assert stream.status == 200
            assert "stream_options" not in asked(upstream)[2]

    run_in("uvloop", main)


def test_an_answer_in_another_dialect_than_the_request() -> None:
    async def main() -> None:
        async with before("openai.chat", playing(*frames.answer("one"))) as (relay, _):
            client = await relay.connect()
            stream = await client.post(CHAT, chat(), {"x-tokenwire-dialect": "anthropic"}).whole()
            assert folded("anthropic", bytes(stream.body)).choice().text == "one"
            bad = await client.post(CHAT, chat(), {"x-tokenwire-dialect": "smoke"}).whole()
            assert (bad.status, bad.json["error"]["code"]) == (400, "unknown_dialect")

    run_in("uvloop", main)


def test_a_prompt_of_the_plainest_form_reaches_any_upstream() -> None:
    async def main() -> None:
        async with before("anthropic", playing(*messages.answer("one"))) as (relay, _):
            client = await relay.connect()
            stream = await client.post("/api/chat", {"prompt": "hi", "model": "up/m"}).whole()
            assert bytes(stream.body) == b'data: {"text":"one"}\n\ndata: [DONE]\n\n'

    run_in("uvloop", main)
