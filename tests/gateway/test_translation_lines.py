"""Upstreams and callers of lines of JSON (Ollama's), translated from and to server-sent events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.gateway.translating import CHAT, asked, before, folded, playing

from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_bytes import head
from tokenwire.testing.relay import chat, chunks
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import CLOSE, FLUSHED, REQUEST, Step


def lines(*texts: str, done: bool = True) -> Sequence[bytes]:
    """What Ollama sends of an answer."""
    said = [{"model": "m", "message": {"role": "assistant", "content": text}, "done": False} for text in texts]
    last = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    counts = {"prompt_eval_count": 3, "eval_count": 5}
    return [json.dumps(each).encode() + b"\n" for each in [*said, *([{**last, **counts}] if done else [])]]


def ollama_chat(**fields: Any) -> dict[str, Any]:
    return {"model": "up/m", "messages": [{"role": "user", "content": "hi"}], **fields}


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json"])
def test_an_upstream_that_sends_lines(kind: str) -> None:
    async def main() -> None:
        async with before("ollama", playing(*lines("one", " two"), kind=kind)) as (relay, upstream):
            client = await relay.connect()
            own = await client.post("/ollama/api/chat", ollama_chat()).whole()
            assert own.fields["content-type"] == "application/x-ndjson"
            assert bytes(own.body) == b"".join(lines("one", " two"))
            stream = await client.post(CHAT, chat(stream_options={"include_usage": True})).whole()
            fold = folded("openai.chat", bytes(stream.body))
            assert fold.choice().text == "one two"
            assert fold.usage is not None
            assert (fold.usage.input, fold.usage.output) == (3, 5)
            assert asked(upstream)[0] == "/api/chat"

    run_in("uvloop", main)


def test_lines_of_any_upstream_without_ids_and_heartbeats() -> None:
    async def main() -> None:
        async with before("openai.chat", playing(*frames.answer("one"))) as (relay, _):
            client = await relay.connect()
            stream = await client.post("/ollama/api/chat", ollama_chat(), {"x-tokenwire-ids": "1"}).whole()
            said = [json.loads(line) for line in bytes(stream.body).splitlines()]
            assert [each["message"]["content"] for each in said] == ["one", ""]
            assert [each["done"] for each in said] == [False, True]
            whole = await client.post("/ollama/api/chat", ollama_chat(stream=False)).whole()
            assert (whole.json["message"]["content"], whole.json["done"]) == ("one", True)

    run_in("uvloop", main)


def test_lines_that_were_cut_or_tell_an_error() -> None:
    async def main() -> None:
        opening = head(200, ("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked"))
        cut: list[Step] = [REQUEST, opening + chunks(*lines("one", done=False))]
        broken = playing(*lines("one", done=False), b'{"error":"no memory"}\n', kind="application/x-ndjson")
        async with before("ollama", [*cut, FLUSHED, CLOSE], broken) as (relay, _):
            client = await relay.connect()
            for words in (b"", b"no memory"):
                stream = await client.post(CHAT, chat()).whole()
                fold = folded("openai.chat", bytes(stream.body))
                assert fold.choice().text == "one"
                assert fold.failed is not None
                assert words in stream.body
                assert b"[DONE]" not in stream.body

    run_in("uvloop", main)
