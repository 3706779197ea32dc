"""What providers do around a stream (reference, Q8 to Q14), seen over a socket: what the log holds, and how it ends."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.testing import chat_frames as chat
from tokenwire.testing.http_bytes import http_chunk
from tokenwire.testing.rig import Asked, Rig
from tokenwire.testing.upstream import CLOSE, REQUEST, ScriptedUpstream, Step, answer, head

Run = Callable[..., Any]

EVENTS = ("Content-Type", "text/event-stream")
PLAIN = head(200, EVENTS)
ANSWER = chat.answer("Hel", "lo")
CALL = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":'}}
ERROR = b'{"error":{"message":"too long","type":"invalid_request_error","code":400}}'


async def asked_of(rig: Rig, *script: Step) -> Asked:
    async with ScriptedUpstream([REQUEST, *script]) as upstream:
        asked = rig.ask(upstream.base_url)
        await asked.ended()
        return asked


ENDS: dict[str, tuple[bytes, str, str]] = {
    "q8 no blank line after [DONE]": (b"".join(ANSWER)[:-1], "completed", ""),
    "q9 no [DONE] after the finish": (b"".join(ANSWER[:-1]), "completed", ""),
    "q10 [DONE] twice, text after it": (b"".join([*ANSWER, chat.text("late"), chat.DONE]), "completed", ""),
    "q11 [DONE] and no finish": (b"".join([*ANSWER[:3], chat.DONE]), "completed", ""),
    "q11 [DONE] within a call": (
        b"".join([*ANSWER[:3], chat.chunk({"tool_calls": [CALL]}), chat.DONE]), "failed", "truncated",
    ),
    "q12 a clean end without anything": (b"", "failed", "truncated"),
    "q12 a clean end in the midst": (b"".join(ANSWER[:3]), "failed", "truncated"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "state", "code"), ENDS.values(), ids=ENDS)
def test_ends_that_were_taken_for_others(run: Run, body: bytes, state: str, code: str) -> None:
    async def main(rig: Rig) -> None:
        asked = await asked_of(rig, PLAIN + body, CLOSE)
        assert asked.failure[0] == state
        assert code in ("", asked.failure[1]) or not body
        assert "late" not in asked.text

    run(main)


@pytest.mark.parametrize("wbits", [31, 15])
def test_q13_compressed_events_come_out_one_by_one(run: Run, wbits: int) -> None:
    async def main(rig: Rig) -> None:
        packer = zlib.compressobj(wbits=wbits)
        packed = [packer.compress(frame) + packer.flush(zlib.Z_SYNC_FLUSH) for frame in ANSWER]
        coding = ("Content-Encoding", "gzip" if wbits == 31 else "deflate")
        opening = head(200, EVENTS, coding, ("Transfer-Encoding", "chunked"))
        async with ScriptedUpstream([REQUEST, opening, *map(http_chunk, packed[:3])]) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.entries(3)  # though nothing else has been sent
            (await upstream.peer()).write(b"".join(map(http_chunk, packed[3:])) + http_chunk(b""))
            assert (await asked.ended()).state == "completed"
            assert asked.text == "Hello"

    run(main)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("label", ["application/json", "text/event-stream", "text/plain"])
@pytest.mark.parametrize("body", [ERROR, b"\n " + ERROR, b"data: " + ERROR + b"\n\n"], ids=["bare", "blank", "event"])
def test_q14_an_error_is_one_whatever_its_status_and_label_say(run: Run, status: int, label: str, body: bytes) -> None:
    async def main(rig: Rig) -> None:
        asked = await asked_of(rig, answer(body, content_type=label, status=status))
        assert asked.failure[0] == "failed"
        assert asked.error.message == "too long"

    run(main)


def test_q14_a_compressed_error_with_status_200(run: Run) -> None:
    async def main(rig: Rig) -> None:
        fields = [("Content-Encoding", "gzip")]
        asked = await asked_of(rig, answer(gzip.compress(ERROR), content_type="application/json", fields=fields))
        assert (asked.failure[0], asked.error.message) == ("failed", "too long")

    run(main)


def test_q11_a_done_within_a_call_is_not_passed_on_and_the_error_is(run: Run) -> None:
    """Whoever reads the provider's own bytes would take the marker for a clean end."""

    async def main(rig: Rig) -> None:
        asked = await asked_of(rig, PLAIN + ENDS["q11 [DONE] within a call"][0], CLOSE)
        assert asked.failure == ("failed", "truncated")
        assert chat.DONE not in asked.frames
        assert asked.stream.log.done_seq is None

    run(main)


@pytest.mark.parametrize("arguments", ["", '{"x":1}'])
def test_q11_a_done_after_whole_calls_is_a_tool_use(run: Run, arguments: str) -> None:
    async def main(rig: Rig) -> None:
        call = {**CALL, "function": {"name": "f", "arguments": arguments or "{}"}}
        body = b"".join([*ANSWER[:3], chat.chunk({"tool_calls": [call]}), chat.DONE])
        asked = await asked_of(rig, PLAIN + body, CLOSE)
        terminal = asked.stream.terminal
        assert terminal is not None
        assert (terminal.state, terminal.reason) == ("completed", "tool_use")

    run(main)
