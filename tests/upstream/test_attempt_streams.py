"""Event streams through an attempt: what reaches the log, and how each of them may end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.engine.states import Policy
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import Rig, settle, until
from tokenwire.testing.upstream import (
    CLOSE,
    FLUSHED,
    LAST_CHUNK,
    REQUEST,
    RESET,
    Peer,
    ScriptedUpstream,
    Step,
    answer,
    head,
    http_chunk,
)
from tokenwire.upstream.attempt import Attempt
from tokenwire.upstream.deadlines import Deadlines
from tokenwire.upstream.request import Request

Run = Callable[..., Any]

EVENTS = ("Content-Type", "text/event-stream; charset=utf-8")
STREAM = head(200, EVENTS, ("Transfer-Encoding", "chunked"))
FRAMES = chat.answer("Hel", "lo", with_usage=True)
FIXTURES = Path(__file__).parent.parent / "fixtures"
BODIES = sorted(path for folder in ("openai-chat", "groq", "llamacpp") for path in (FIXTURES / folder).glob("*.sse"))


def chunked(*frames: bytes) -> bytes:
    return b"".join(map(http_chunk, frames))


def test_a_stream_reaches_the_log_as_it_came_and_leaves_its_connection_for_the_next(run: Run) -> None:
    async def main(rig: Rig) -> None:
        script: list[Step] = [REQUEST, STREAM + chunked(*FRAMES) + LAST_CHUNK]
        async with ScriptedUpstream(script * 2) as upstream:
            for _ in range(2):
                asked = rig.ask(upstream.base_url)
                terminal = await asked.ended()
                assert asked.failure == ("completed", "")
                assert asked.frames == FRAMES
                assert asked.text == "Hello"
                assert (terminal.reason, terminal.usage and terminal.usage.output) == ("stop", 5)
                assert [(status, dict(headers)[b"content-type"]) for status, headers in asked.heads] == [
                    (200, b"text/event-stream; charset=utf-8")
                ]
            assert rig.pool.statistics() == (1, 0, 1, 1)

    run(main)


def test_nobody_need_care_for_the_head(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, STREAM + chunked(*FRAMES) + LAST_CHUNK]) as upstream:
            dialect = dialects.get("openai.chat")
            stream = rig.hub.open(owner="me", dialect=dialect, model="up/m", policy=Policy())
            request = Request(origin=rig.origin(upstream.base_url), path="/", fields=(), body=b"")
            Attempt(stream, rig.pool, request, streaming=True, deadlines=Deadlines()).start()
            await until(lambda: stream.terminal)
            assert stream.log.last_frame == len(FRAMES)

    run(main)


class Outlet:
    """A sink that takes HTTP/1.1 chunks as they are, as the gateway's does where its reader can."""

    def __init__(self) -> None:
        self.writable = True
        self.chunks: list[bytes] = []
        self.outlet = self
        self.unsent = 0
        self.lone = 0

    def queued(self) -> int:
        return 0

    def send(self, data: bytes) -> int:
        self.lone += 1  # through the express lane
        self.chunks.append(data)
        return len(data)

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        self.chunks.append(chunk or http_chunk(data))
        return True

    def close(self, terminal: object) -> None:
        self.chunks.append(LAST_CHUNK)


@pytest.mark.parametrize("end", [[chat.DONE], []], ids=["done", "no end marker"])
def test_a_live_reader_gets_the_upstreams_own_chunks_and_the_next_stream_has_a_lane_of_its_own(
    run: Run, end: list[bytes]
) -> None:
    frames = [*chat.answer(*"abcdefgh")[:-1], *end]

    async def main(rig: Rig) -> None:
        async def one_by_one(peer: Peer) -> None:
            peer.write(STREAM)
            for count, frame in enumerate(frames, 1):
                peer.write(http_chunk(frame))
                await asked.entries(count)
            peer.write(LAST_CHUNK)

        async with ScriptedUpstream([REQUEST, one_by_one, REQUEST, one_by_one]) as upstream:
            earlier = None
            for _ in range(2):
                asked = rig.ask(upstream.base_url)
                sink = Outlet()
                reader = asked.stream.attach(sink, asked.stream.dialect, ids=False)
                reader.start()
                await asked.entries(4)
                if earlier is not None:
                    earlier.leave()  # its stream is over: the connection's lane is no longer its business
                await asked.ended()
                assert b"".join(sink.chunks) == chunked(*frames) + LAST_CHUNK
                assert sink.lone > 3
                assert asked.frames == frames
                earlier = reader
            assert rig.pool.statistics().reused == 1

    run(main)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("path", BODIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recorded_bodies_in_every_framing(run_once: Run, path: Path, framing: Any) -> None:
    body = path.read_bytes()
    expected = json.loads(path.with_name(f"{path.stem}.expected.json").read_text(encoding="utf-8"))["expected"]
    pieces = [body[i : i + 700] for i in range(0, len(body), 700)]

    async def main(rig: Rig) -> None:
        wire = answer(pieces, framing=framing, content_type="text/event-stream")
        async with ScriptedUpstream([REQUEST, wire, CLOSE]) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert asked.text == (expected["text"] or "")
            assert (asked.failure[0] == "completed") is expected["complete"]

    run_once(main)


def test_informational_answers_come_before_it(run: Run) -> None:
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, hints + STREAM + chunked(*FRAMES) + LAST_CHUNK]) as upstream:
            asked = rig.ask(upstream.base_url)
            assert (await asked.ended()).state == "completed"
            assert [status for status, _ in asked.heads] == [200]

    run(main)


def test_the_stream_opens_with_the_first_generated_event(run: Run) -> None:
    async def main(rig: Rig) -> None:
        gate = asyncio.Event()
        rest = chunked(*FRAMES[1:]) + LAST_CHUNK
        async with ScriptedUpstream([REQUEST, STREAM + http_chunk(FRAMES[0]), gate, rest]) as upstream:
            asked = rig.ask(upstream.base_url)
            assert asked.stream.statistics().state == "connecting"
            await asked.entries(1)
            assert asked.stream.statistics().state == "streaming"
            assert asked.stream.generated_ns is None
            opened: list[str] = []
            asked.stream.on_open.append(lambda: opened.append(asked.stream.statistics().state))
            gate.set()
            terminal = await asked.ended()
            assert opened == ["streaming"]
            assert terminal.ttft_ms is not None

    run(main)


# ---------------------------------------------------------------------- ends

DONE = chunked(*FRAMES)
FINISHED = chunked(*FRAMES[:-1])  # a finish_reason, but no [DONE]
CUT_SHORT = chunked(*FRAMES[:3])
PLAIN = head(200, EVENTS)

ENDS: dict[str, tuple[list[Step], str, str]] = {
    "the last chunk after [DONE]": ([STREAM + DONE + LAST_CHUNK], "completed", ""),
    "the last chunk after the finish": ([STREAM + FINISHED + LAST_CHUNK], "completed", ""),
    "the last chunk in mid-answer": ([STREAM + CUT_SHORT + LAST_CHUNK], "failed", "truncated"),
    "FIN after [DONE]": ([STREAM + DONE, CLOSE], "completed", ""),
    "RST after [DONE]": ([STREAM + DONE, FLUSHED, RESET], "completed", ""),
    "nonsense after [DONE]": ([STREAM + DONE + b"\x00"], "completed", ""),
    "FIN in mid-answer": ([STREAM + CUT_SHORT, CLOSE], "failed", "upstream_closed"),
    "FIN within a chunk": ([STREAM + DONE[:-9], CLOSE], "failed", "upstream_closed"),
    "RST in mid-answer": ([STREAM + CUT_SHORT, FLUSHED, RESET], "failed", "upstream_closed"),
    "nonsense in mid-answer": ([STREAM + CUT_SHORT + b"zz"], "failed", "upstream_closed"),
    "no framing, FIN after [DONE]": ([PLAIN + b"".join(FRAMES), CLOSE], "completed", ""),
    "no framing, FIN before the blank line": ([PLAIN + b"".join(FRAMES)[:-2], CLOSE], "completed", ""),
    "no framing, FIN after the finish": ([PLAIN + b"".join(FRAMES[:-1]), CLOSE], "completed", ""),
    "no framing, FIN in mid-answer": ([PLAIN + b"".join(FRAMES[:3]), CLOSE], "failed", "truncated"),
    "no framing, RST after the finish": (
        [PLAIN + b"".join(FRAMES[:-1]), FLUSHED, RESET],
        "failed",
        "upstream_closed",
    ),
    "an error event": ([STREAM + chunked(*FRAMES[:3], chat.error()) + LAST_CHUNK], "failed", "server_error"),
    "an error event that SDKs swallow": (
        [STREAM + chunked(*FRAMES[:3], chat.swallowed_error()) + LAST_CHUNK],
        "failed",
        "InternalServerError",
    ),
    "malformed JSON in mid-stream": (
        [STREAM + chunked(*FRAMES[:3], b'data: {"choices":[{"index":0,"del\n\n', *FRAMES[3:]) + LAST_CHUNK],
        "failed",
        "upstream_error",
    ),
}


@pytest.mark.parametrize(("script", "state", "code"), ENDS.values(), ids=ENDS)
def test_every_end_is_told_from_every_other(run: Run, script: list[Step], state: str, code: str) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, *script]) as upstream:
            asked = rig.ask(upstream.base_url)
            terminal = await asked.ended()
            assert asked.failure == (state, code)
            assert terminal.error is None or terminal.error.message
            assert asked.frames[:3] == FRAMES[:3], "what came whole stays"
            assert asked.text.startswith("Hello")

    run(main)


def test_a_body_that_does_not_end_after_its_end_marker_is_not_waited_for(run: Run) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, STREAM + DONE]) as upstream:
            asked = rig.ask(upstream.base_url, policy=Policy(drain=2.0))
            await asked.entries(len(FRAMES))
            clock.advance(1.99)
            assert asked.stream.terminal is None
            clock.advance(0.03)
            assert (await asked.ended()).state == "completed"
            assert await upstream.peers[0].gone() in ("fin", "reset")

    run(main, clock=clock)


def test_an_event_above_the_bound_fails_the_stream_and_closes(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async def go_on(peer: Peer) -> None:
            while not asked.stream.terminal:
                peer.write(http_chunk(b"x" * 1000))
                await settle()

        begin = STREAM + chunked(*FRAMES[:3], b"data: ")
        async with ScriptedUpstream([REQUEST, begin, go_on]) as upstream:
            asked = rig.ask(upstream.base_url, max_event=4096)
            await asked.ended()
            assert asked.failure == ("failed", "event_too_large")
            assert "4096 bytes" in asked.error.message
            assert asked.frames == FRAMES[:3]
            peer = upstream.peers[0]
            assert await peer.gone() in ("fin", "reset")

    run(main)


def test_a_full_log_without_readers_fails_the_stream_and_closes(run: Run) -> None:
    async def main(rig: Rig) -> None:
        more = chat.text("x" * 1000)
        async with ScriptedUpstream([REQUEST, STREAM + chunked(*FRAMES[:3], *[more] * 40)]) as upstream:
            asked = rig.ask(upstream.base_url, policy=Policy(max_bytes=8000))
            await asked.ended()
            assert asked.failure == ("failed", "log_limit")
            assert await upstream.peers[0].gone() in ("fin", "reset")

    run(main)
