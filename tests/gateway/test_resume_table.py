"""Who is cut goes on without loss: from every id of every dialect that has them, before every kind of upstream.

Upstreams and readers are real sockets. What a reader is sent who was never cut is the oracle: from the id at every
place of it, while the answer is half there and when it is over, exactly the rest must come.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.deltas import (
    Delta,
    Finished,
    ReasoningDelta,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.engine.framing import encode
from tokenwire.gateway.settings import RetrySettings, Settings, UpstreamSettings
from tokenwire.testing.http_bytes import LAST_CHUNK, head
from tokenwire.testing.http_client import Answer
from tokenwire.testing.relay import Relay, chat, chunks, serving
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import CLOSE, FLUSHED, REQUEST, ScriptedUpstream, Step

#: A thought, two texts with a call between them: in most dialects several events are due at once here and there.
SAID: list[Delta] = [
    ReasoningDelta("hm"), TextDelta("one", block=1), TextDelta(" two", block=1),
    ToolCallStarted("call_1", "f", block=2), ToolCallDelta('{"a":', block=2), ToolCallDelta("1}", block=2),
    ToolCallEnded(block=2), Finished("tool_use"), Usage(3, 4),
]  # fmt: skip
SPEAKS = ("openai.chat", "openai.responses", "anthropic", "gemini", "ollama")
READS = tuple(
    name for name in dialects.names() if dialects.get(name).ids is not None and dialects.get(name).framing == "sse"
)
#: Estimates of the usage stand beside the log, twice a second: how many depends on how fast the machine is.
PLAIN = {"X-Tokenwire-Usage": "off"}
_ID = re.compile(rb"^id: (\S+)\n\n", re.MULTILINE)


def sent(dialect: str) -> list[bytes]:
    """SAID as a provider of that dialect sends it, a frame each."""
    spoken = dialects.get(dialect)
    encoder = spoken.encoder("st_up", 1.0, "m")
    frames = [frame for delta in SAID for frame in encoder.feed(delta)] + encoder.close(Terminal("completed"))
    return [encode([frame], spoken, None) for frame in frames]


@asynccontextmanager
async def before(dialect: str, *script: Step) -> AsyncIterator[Relay]:
    async with ScriptedUpstream(script) as upstream:
        fields: dict[str, Any] = {"base_url": upstream.base_url, "models": [], "dialect": dialect}
        up = UpstreamSettings(**fields, retry=RetrySettings(attempts=1))
        async with serving(Settings(upstreams={"up": up})) as relay:
            yield relay


def places(body: bytes) -> list[tuple[str, int]]:
    """Every id in *body*, and where what follows it begins."""
    return [(match[1].decode(), match.end()) for match in _ID.finditer(body)]


def rest_of(answer: Answer, cursor: str) -> bytes:
    """What came after the priming id, which only readers of the native dialect get."""
    return bytes(answer.body).removeprefix(f"id: {cursor}\n\n".encode())


class Reading:
    """One stream, read in one dialect by whoever comes."""

    def __init__(self, relay: Relay, stream: str, dialect: str) -> None:
        self._relay = relay
        self._path = f"/v1/streams/{stream}/events?dialect={dialect}"

    async def from_start(self) -> Answer:
        return (await self._relay.connect()).get(self._path, PLAIN)

    async def after(self, cursors: set[str]) -> dict[tuple[str, str], Answer]:
        """The answers to who goes on after each of *cursors*, told in either way."""
        answers: dict[tuple[str, str], Answer] = {}
        client = await self._relay.connect()
        for cursor in sorted(cursors):
            for how in ("after", "header"):
                path, fields = (
                    (f"{self._path}&after={cursor}", PLAIN)
                    if how == "after"
                    else (self._path, {"Last-Event-ID": cursor, **PLAIN})
                )
                answers[cursor, how] = client.get(path, fields)
                if how == "header":
                    client = await self._relay.connect()
        return answers


@pytest.mark.parametrize("end", ["whole", "cut"])
@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("speaks", SPEAKS)
def test_from_every_id_comes_exactly_the_rest(speaks: str, reads: str, end: str) -> None:
    frames = sent(speaks)
    half = len(frames) // 2
    opening = head(200, ("content-type", dialects.get(speaks).content_type), ("transfer-encoding", "chunked"))
    closing = chunks(*frames[half:]) + LAST_CHUNK if end == "whole" else chunks(*frames[half:-2])

    async def main() -> None:
        go = asyncio.Event()
        async with before(speaks, REQUEST, opening + chunks(*frames[:half]), FLUSHED, go, closing, CLOSE) as relay:
            fields = {
                "X-Tokenwire-Ids": "1", "X-Tokenwire-Dialect": reads, "X-Tokenwire-On-Disconnect": "finish", **PLAIN
            }  # fmt: skip
            uncut = (await relay.connect()).post("/v1/chat/completions", chat(), fields)
            stream = await relay.stream()
            await until(lambda: stream.log.last == half)
            await uncut.until(lambda answer: answer.ids)
            reading = Reading(relay, stream.id, reads)
            early = await reading.after({cursor for cursor, _ in places(bytes(uncut.body))})
            go.set()
            whole = bytes((await uncut.whole()).body)
            found = places(whole)
            assert stream.log.terminal is not None
            assert (stream.log.terminal.state == "completed") == (end == "whole")
            assert bytes((await (await reading.from_start()).whole()).body).endswith(whole)
            late = await reading.after({cursor for cursor, _ in found})
            wanted = {cursor: whole[place:] for cursor, place in found}
            for answers in (early, late):
                for (cursor, how), answer in answers.items():
                    await answer.whole()
                    status = 200 if wanted[cursor] else 204
                    assert (answer.status, rest_of(answer, cursor)) == (status, wanted[cursor]), (cursor, how)

    run_in("uvloop", main)


def test_there_are_ids_within_an_entry_in_the_table() -> None:
    """Otherwise it would prove less than it says."""
    assert len(READS) == 6
    for name in READS:
        assert len(dialects.get(name).encoder("st_1", 1.0, "m").feed(SAID[0])) >= (name != "openai.chat") + 1, name


#: Routes whose answer depends on what was asked -> path, more header fields, body, the dialect to go on in.
PARTICULAR: dict[str, tuple[str, dict[str, str], dict[str, Any], str]] = {
    "usage was not asked for": ("/v1/chat/completions", {}, chat(), "openai.chat"),
    "usage was asked for": ("/v1/chat/completions", {}, chat(stream_options={"include_usage": True}), "openai.chat"),
    "a run with a name": (
        "/agui",
        {},
        {
            "threadId": "t", "runId": "r", "state": {}, "tools": [], "context": [],
            "forwardedProps": {"model": "up/m"}, "messages": [{"id": "u", "role": "user", "content": "hi"}],
        },
        "agui",
    ),
    "ai 7, and a message that goes on": (
        "/api/chat",
        {"X-Tokenwire-Ui-Messages": "7"},
        {
            "id": "c", "model": "up/m",
            "messages": [
                {"id": "u", "role": "user", "parts": [{"type": "text", "text": "hi"}]},
                {"id": "a", "role": "assistant", "parts": [{"type": "text", "text": "well"}]},
            ],
        },
        "ui-messages",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PARTICULAR)
def test_the_rest_is_told_as_its_beginning_was(case: str) -> None:
    path, fields, body, reads = PARTICULAR[case]
    opening = head(200, ("content-type", "text/event-stream"), ("transfer-encoding", "chunked"))

    async def main() -> None:
        async with before("openai.responses", REQUEST, opening + chunks(*sent("openai.responses")), CLOSE) as relay:
            asked = (await relay.connect()).post(path, body, {"X-Tokenwire-Ids": "1", **fields})
            whole = bytes((await asked.whole()).body)
            reading = Reading(relay, (await relay.stream()).id, reads)
            assert bytes((await (await reading.from_start()).whole()).body) == whole
            found = places(whole)
            answers = await reading.after({cursor for cursor, _ in found})
            for cursor, place in found:
                assert bytes((await answers[cursor, "header"].whole()).body) == whole[place:]

    run_in("uvloop", main)
