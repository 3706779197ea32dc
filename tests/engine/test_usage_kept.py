"""engine/record: every stream that is paid for has its usage, however it ended, and finding it out is bounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.deltas import Failed, Usage
from tokenwire.engine import spoken
from tokenwire.engine.framing import parse
from tokenwire.engine.hub import Hub
from tokenwire.engine.record import SAMPLE
from tokenwire.engine.stream import Stream
from tokenwire.measure.prices import seller
from tokenwire.measure.usage import Meter
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

Streaming = Callable[..., Stream]
BODY = json.dumps({"messages": [{"role": "user", "content": "x" * 44}]}).encode()
#: One token each, by the rule.
WORD = "abcd"
NATIVE = dialects.get("native")


def metered(stream: Stream, upstream: str = "sim") -> Stream:
    stream.meter = Meter(BODY, seller(upstream, "http://127.0.0.1:1/v1", "openai.chat"), "gpt-4o")
    stream.sent = True
    return stream


def usage(stream: Stream) -> Usage | None:
    assert stream.settled is not None
    return stream.settled.usage


def test_there_is_none_before_the_end(streaming: Streaming) -> None:
    assert metered(streaming()).settled is None


@pytest.mark.parametrize("end", ["cancel", "fail", "cut"])
def test_a_stream_that_did_not_finish_has_an_estimate(streaming: Streaming, end: str) -> None:
    stream = metered(streaming())
    stream.append([chat.role(), *[chat.text(WORD)] * 110], 0)
    if end == "cancel":
        stream.cancel()
    else:
        stream.fail(Failed(code="upstream_closed" if end == "fail" else "shutting_down", message="over"))
    assert usage(stream) == Usage(14, 100, estimated=True)
    assert stream.settled is stream.settled, "found out once"


def test_a_stream_whose_provider_told_has_that(streaming: Streaming) -> None:
    stream = metered(streaming(), "openai")
    stream.append(chat.answer("a", with_usage=True), 0)
    stream.finish()
    found = usage(stream)
    assert found is not None
    assert (found.input, found.output, found.estimated) == (3, 5, False)
    assert found.cost_usd == pytest.approx(3 * 2.5e-6 + 5 * 10e-6)


def test_a_whole_answer_without_usage_has_an_estimate(streaming: Streaming) -> None:
    stream = metered(streaming())
    stream.append(chat.answer(*[WORD] * 110), 0)
    stream.finish()
    assert usage(stream) == Usage(14, 100, estimated=True)


def test_an_answer_that_was_not_streamed(hub: Hub, queued: Streaming, source: ScriptedSource) -> None:
    stream = metered(queued())
    stream.connecting(source)
    stream.begin(unary=True)
    message = {"role": "assistant", "content": WORD * 110}
    stream.append_unary(
        json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode(), 0
    )
    stream.finish()
    assert usage(stream) == Usage(14, 100, estimated=True)


def test_reasoning_and_tool_calls_are_paid_for(streaming: Streaming) -> None:
    stream = metered(streaming())
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": WORD * 11, "arguments": ""}}
    more = {"index": 0, "function": {"arguments": WORD * 11}}
    frames = [
        chat.chunk({"reasoning_content": WORD * 11}),
        chat.chunk({"tool_calls": [call]}),
        chat.chunk({"tool_calls": [more]}),
    ]
    stream.append([chat.role(), *frames], 0)
    stream.cancel()
    assert usage(stream) == Usage(14, 30, estimated=True)


@pytest.mark.parametrize("trimmed", [False, True])
def test_the_beginning_of_a_long_answer_speaks_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, streaming: Streaming, trimmed: bool
) -> None:
    stream = metered(streaming(dialects.get("ollama")))
    line = b'{"model":"m","message":{"role":"assistant","content":"%b"},"n":[%d]}\n'  # no two are in one envelope
    for at in range(100):
        stream.append([line % (WORD.encode(), 110 * at + n) for n in range(110)], 0)
    if trimmed:
        assert stream.trim(stream.log.size // 2)
        assert stream.log.first > 1
    decoded: list[bytes] = []

    def counting(frame: bytes, dialect: Any) -> Any:
        decoded.append(frame)
        return parse(frame, dialect)

    monkeypatch.setattr(spoken, "parse", counting)
    stream.cancel()
    assert usage(stream) == Usage(14, 10_000, estimated=True)
    assert len(decoded) == SAMPLE


def test_estimates_are_made_while_there_is_time(clock: ManualClock, hub: Hub, streaming: Streaming) -> None:
    """And in portions: no token waits for a thousand of them."""
    streams = [metered(streaming()) for _ in range(4)]
    for stream in streams:
        stream.append([chat.role(), *[chat.text(WORD)] * 110], 0)
        stream.cancel()
    assert [stream.estimates for stream in streams] == [True] * 4
    told = metered(streaming())
    told.append(chat.answer("a", with_usage=True), 0)
    told.finish()
    assert not told.estimates
    assert not metered(streaming()).estimates
    made: list[int] = []
    for _ in range(80):
        clock.advance(0.01)
        made.append(sum(not stream.estimates for stream in streams))
    assert sorted(set(made)) == [0, 1, 2, 3, 4]
    assert [stream.estimates for stream in streams] == [False] * 4
    assert usage(streams[0]) == Usage(14, 100, estimated=True)


def test_no_estimate_is_made_while_tokens_come(clock: ManualClock, hub: Hub, streaming: Streaming) -> None:
    stream, busy = metered(streaming()), streaming()
    stream.append([chat.role(), *[chat.text(WORD)] * 110], 0)
    stream.cancel()
    for _ in range(8):
        busy.append([chat.text(WORD)] * hub.PACK_QUIET, clock.now_ns())
        clock.advance(hub.TICK)
    assert stream.estimates
    clock.advance(2 * hub.TICK)
    assert not stream.estimates


# -- what nobody pays for


@pytest.mark.parametrize(("code", "sent", "expected"), [
    ("rate_limit_exceeded", True, None),
    ("connect_failed", False, None),
    ("upstream_timeout", True, Usage(14, 0, estimated=True)),
    ("upstream_timeout", False, None),
    ("shutting_down", True, Usage(14, 0, estimated=True)),
])  # fmt: skip
def test_failing_before_the_first_token(
    queued: Streaming, source: ScriptedSource, code: str, sent: bool, expected: Usage | None
) -> None:
    stream = metered(queued())
    stream.connecting(source)
    stream.sent = sent
    stream.fail(Failed(code=code, message="no"))
    assert usage(stream) == expected


@pytest.mark.parametrize(("sent", "expected"), [(True, Usage(14, 0, estimated=True)), (False, None)])
def test_cancelled_before_the_first_token(
    queued: Streaming, source: ScriptedSource, sent: bool, expected: Usage | None
) -> None:
    stream = metered(queued())
    stream.connecting(source)
    stream.sent = sent
    stream.cancel()
    assert usage(stream) == expected


def test_without_a_meter_only_what_was_told_is_known(streaming: Streaming) -> None:
    stream = streaming()
    stream.append([chat.role(), chat.text("a")], 0)
    stream.cancel()
    assert usage(stream) is None


# -- native readers


def events(sink: ScriptedSink) -> list[tuple[str, dict[str, Any]]]:
    lines = [block.split("\n") for block in sink.data.decode().split("\n\n") if "event: " in block]
    return [(block[0][7:], json.loads(block[1][6:])) for block in lines]


@pytest.mark.parametrize("late", [False, True])
def test_native_readers_are_told_before_the_end(
    streaming: Streaming, sink: Callable[..., ScriptedSink], late: bool
) -> None:
    stream = metered(streaming(), "openai")
    watching = sink()
    if not late:
        stream.attach(watching, NATIVE, ids=True).start()
    stream.append([chat.role(), *[chat.text(WORD)] * 110], 0)
    stream.cancel()
    if late:
        stream.attach(watching, NATIVE, ids=True).start()
    told = {"input": 14, "output": 100, "cost_usd": pytest.approx(14 * 2.5e-6 + 100 * 10e-6), "estimated": True}
    last = events(watching)[-3:]
    assert [name for name, _ in last] == ["usage", "error", "done"]
    assert (last[0][1], last[2][1]["usage"]) == (told, told)
    counted = sum(said.get("events", 1) for _, said in events(watching)[:-1])  # told at once, where it was late
    assert last[2][1]["events"] == counted - 1, "neither itself nor an estimate"


def test_a_cost_is_told_beside_the_providers_counts(streaming: Streaming, sink: Callable[..., ScriptedSink]) -> None:
    stream = metered(streaming(), "openai")
    watching = sink()
    stream.attach(watching, NATIVE, ids=True).start()
    stream.append(chat.answer("a", with_usage=True), 0)
    stream.finish()
    told = [data for name, data in events(watching) if name == "usage"]
    assert told == [{"input": 3, "output": 5}, {"input": 3, "output": 5, "cost_usd": pytest.approx(57.5e-6)}]


def test_an_estimate_does_not_pass_for_a_count_in_a_vendors_dialect(clock: ManualClock, streaming: Streaming) -> None:
    encoder = dialects.get("openai.chat").encoder("st_1", 0.0, "m")
    stream = metered(streaming())
    stream.append(chat.answer("a"), 0)
    stream.finish()
    assert stream.settled is not None
    assert stream.settled.usage is not None
    assert not any('"usage"' in frame.data for frame in encoder.close(stream.settled))


# -- news of the relay


def test_a_notice_reaches_native_readers_that_are_live_and_moves_nothing(
    hub: Hub, streaming: Streaming, sink: Callable[..., ScriptedSink]
) -> None:
    stream = streaming()
    native, plain, vendor, slow = sink(), sink(), sink(), sink(high_water=0)
    stream.attach(native, NATIVE, ids=True).start()
    stream.attach(plain, NATIVE, ids=False).start()
    stream.attach(vendor, dialects.get("openai.chat"), ids=False).start()
    stream.attach(slow, NATIVE, ids=True).start()
    stream.append([chat.role(), chat.text("a")], 0)
    before = vendor.data, slow.data
    hub.notice("shutting_down", seconds=30.0)
    notice = b'event: notice\ndata: {"code":"shutting_down","seconds":30.0}\n'
    assert native.data.endswith(notice + b"id: 1-2\n\n")
    assert plain.data.endswith(notice + b"\n")
    assert (vendor.data, slow.data) == before
    stream.append(chat.answer("b")[1:], 0)
    stream.finish()
    assert stream.log.last == 6
    assert events(native)[-1][1]["events"] == len(events(native)) - 2, "neither itself nor the notice"
