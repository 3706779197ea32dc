"""engine/live, tally, spoken: usage while it grows. What is told, when, and to whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.dialects.deltas import Usage
from tokenwire.engine import spoken
from tokenwire.engine.framing import parse
from tokenwire.engine.hub import Hub
from tokenwire.engine.live import PERIOD, PORTION
from tokenwire.engine.stream import Stream
from tokenwire.measure.prices import Price, seller
from tokenwire.measure.usage import SMALL, Meter, said
from tokenwire.testing import chat_frames as chat
from tokenwire.testing import message_frames as messages
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink

Streaming = Callable[..., Stream]
Sinks = Callable[..., ScriptedSink]
#: 14 tokens.
BODY = json.dumps({"messages": [{"role": "user", "content": "x" * 44}]}).encode()
#: 1/1.1 of a token, by the static rule.
WORD = "abcd"
NATIVE, CHAT, MESSAGES = (dialects.get(name) for name in ("native", "openai.chat", "anthropic"))
OURS = (("m", Price(input=1000, output=10_000)),)


def metered(stream: Stream, body: bytes = BODY) -> Stream:
    stream.meter = Meter(body, seller("local", "http://127.0.0.1:1/v1", "openai.chat", OURS), "m")
    stream.sent = True
    return stream


def following(stream: Stream, sink: ScriptedSink, dialect: Any = NATIVE, *, ids: bool = True) -> ScriptedSink:
    reader = stream.attach(sink, dialect, ids=ids)
    reader.start()
    stream.hub.live.follow(reader)
    return sink


def told(sink: ScriptedSink) -> list[dict[str, Any]]:
    """The usage that *sink* got, as events or as comments."""
    lines = sink.take().decode().split("\n")
    comments = [line[8:] for line in lines if line.startswith(": usage ")]
    return [json.loads(line) for line in comments] + [
        json.loads(after[6:]) for line, after in pairwise(lines) if line == "event: usage"
    ]


def test_a_native_reader_is_told_twice_a_second_and_only_news(
    clock: ManualClock, hub: Hub, streaming: Streaming, sink: Sinks
) -> None:
    stream = metered(streaming())
    watching = following(stream, sink())
    clock.advance(PERIOD * 2)
    assert told(watching) == [], "nothing was said"
    seen = []
    for _ in range(30):  # 1.5 s
        stream.append([chat.text(WORD)] * 11, clock.now_ns())
        clock.advance(0.05)
        seen += told(watching)
    outputs = [usage["output"] for usage in seen]
    assert len(outputs) == 3
    assert [later - outputs[0] for later in outputs] == pytest.approx([0, 100, 200], abs=20)
    assert seen[0] == {"input": 14, "output": seen[0]["output"], "estimated": True, "cost_usd": pytest.approx(
        14e-3 + seen[0]["output"] * 10e-3)}  # fmt: skip
    clock.advance(PERIOD * 2)
    assert [usage["output"] for usage in told(watching)] == [300]
    clock.advance(5)
    assert told(watching) == [], "nothing new"
    stream.cancel()
    clock.advance(PERIOD * 2)
    assert len(hub.live) == 0


def test_its_id_is_that_of_the_newest_entry_and_no_count_has_it(
    clock: ManualClock, streaming: Streaming, sink: Sinks
) -> None:
    stream = metered(streaming())
    watching = following(stream, sink())
    stream.append([chat.role(), chat.text(WORD)], clock.now_ns())
    clock.advance(PERIOD * 2)
    stream.append([chat.text(WORD), chat.finish(), chat.DONE], clock.now_ns())
    stream.finish()
    blocks = [block for block in watching.data.decode().split("\n\n") if "event: " in block]
    names = [block.split("\n")[0][7:] for block in blocks]
    assert names == ["started", "text", "usage", "text", "usage", "done"]
    assert blocks[2].endswith("\nid: 1-2")
    done = json.loads(blocks[-1].split("\n")[1][6:])
    assert done["events"] == 3


@pytest.mark.parametrize(("ids", "end"), [(False, b"\n\n"), (True, b"\n")])
def test_others_get_comments_between_whole_frames(
    clock: ManualClock, streaming: Streaming, sink: Sinks, ids: bool, end: bytes
) -> None:
    stream = metered(streaming())
    watching = following(stream, sink(), CHAT, ids=ids)
    plain = sink()
    stream.attach(plain, CHAT, ids=ids).start()
    frames = [chat.role(), *[chat.text(WORD)] * 11]
    stream.append(frames, clock.now_ns())
    clock.advance(PERIOD * 2)
    comment = b': usage {"input":14,"output":10,"cost_usd":0.114,"estimated":true}' + end
    assert watching.writes[-1] == comment
    assert plain.data == watching.data.replace(comment, b""), "who did not ask gets none"


def test_never_while_it_cannot_take_more(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = metered(streaming())
    watching = following(stream, sink(400))
    stream.append([chat.role(), *[chat.text(WORD)] * 11], clock.now_ns())
    assert watching.full
    clock.advance(PERIOD * 4)  # the sink itself notes a write while it is full
    watching.drain()
    stream.readers[0].resume()
    watching.drain()
    watching.take()
    stream.append([chat.text("x" * 400)], clock.now_ns())
    clock.advance(PERIOD * 2)
    assert told(watching) == [], "full again"
    watching.drain()
    stream.readers[0].resume()
    clock.advance(PERIOD * 2)


def test_a_comment_may_fill_the_sink(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = metered(streaming())
    watching = following(stream, sink(), CHAT, ids=False)
    stream.append([chat.role(), chat.text(WORD)], clock.now_ns())
    watching.take()
    watching.high_water = 1
    clock.advance(PERIOD * 2)
    stream.append([chat.text(WORD)], clock.now_ns())
    assert len(told(watching)) == 1
    watching.drain()
    stream.readers[0].resume()
    assert watching.take() == chat.text(WORD)


def test_what_the_provider_told_replaces_the_estimate(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = metered(streaming())
    watching, beside = following(stream, sink()), following(stream, sink(), CHAT, ids=False)
    stream.append([chat.role(), *[chat.text(WORD)] * 11, chat.usage(50, 40)], clock.now_ns())
    clock.advance(PERIOD * 2)
    assert told(watching) == [{"input": 50, "output": 40}], "the provider's event, and none of ours"
    assert told(beside) == [{"input": 50, "output": 40, "cost_usd": pytest.approx(0.45)}]
    stream.append([chat.text(WORD)] * 11, clock.now_ns())
    clock.advance(PERIOD * 2)
    expected = {"input": 50, "output": 50, "cost_usd": pytest.approx(0.55), "estimated": True}
    assert (told(watching), told(beside)) == ([expected], [expected])


def test_anthropics_first_event_tells_the_input(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = metered(streaming(MESSAGES))
    watching = following(stream, sink(), MESSAGES, ids=False)
    frames = messages.answer(*[WORD] * 11)
    stream.append(frames[:-3], clock.now_ns())
    clock.advance(PERIOD * 2)
    (usage,) = told(watching)
    assert usage == {"input": 3, "output": 10, "cost_usd": pytest.approx(0.103), "estimated": True}


def test_a_large_request_is_read_in_a_thread(clock: ManualClock, hub: Hub, streaming: Streaming, sink: Sinks) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x" * SMALL}]}).encode()
    stream = metered(streaming(), body)
    watching = following(stream, sink())
    stream.append([chat.text(WORD)] * 11, clock.now_ns())
    clock.advance(PERIOD + 0.1)
    assert "input" not in told(watching)[0]
    hub.worker.drain()
    clock.advance(PERIOD)
    assert told(watching)[0]["input"] == round(SMALL / 4.4) + 4


def test_the_final_usage_goes_on_from_it(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = metered(streaming())
    following(stream, sink())
    for _ in range(4):
        stream.append([chat.text(WORD)] * 55, clock.now_ns())
        clock.advance(PERIOD)
    stream.append([chat.text(WORD)] * 55, clock.now_ns())
    stream.cancel()
    assert stream.settled is not None
    assert stream.settled.usage == Usage(14, 250, estimated=True, cost_usd=pytest.approx(2.514))  # type: ignore[arg-type]


def test_a_reader_that_left_is_forgotten(clock: ManualClock, hub: Hub, streaming: Streaming, sink: Sinks) -> None:
    stream = metered(streaming())
    first = stream.attach(sink(), NATIVE, ids=True)
    first.start()
    hub.live.follow(first)
    assert (len(hub.live), stream.tally is not None) == (1, True)
    first.leave()
    clock.advance(PERIOD * 3)
    assert len(hub.live) == 0
    watching = following(stream, sink())
    stream.append([chat.text(WORD)] * 11, clock.now_ns())
    clock.advance(PERIOD * 2)
    assert [usage["output"] for usage in told(watching)] == [10]


def test_many_streams_are_looked_at_in_portions(
    clock: ManualClock, hub: Hub, streaming: Streaming, sink: Sinks
) -> None:
    sinks = []
    for _ in range(PORTION * 3):
        stream = metered(streaming())
        sinks.append(following(stream, sink()))
        stream.append([chat.text(WORD)] * 11, clock.now_ns())
    counts = []
    for _ in range(60):
        clock.advance(0.01)
        counts.append(sum(b"event: usage" in each.data for each in sinks))
    assert sorted(set(counts)) == [0, PORTION, PORTION * 2, PORTION * 3]


# ---------------------------------------------------------------------- reading the log


FRAMES = [
    chat.role(),
    *[chat.text(word) for word in ("Sei", " \"kühn\"", "\\n\n", " 😀", " and") * 30],
    *[chat.chunk({"reasoning_content": f"r{n}"}) for n in range(20)],
    chat.chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
    *[chat.chunk({"tool_calls": [{"index": 0, "function": {"arguments": f"{n},"}}]}) for n in range(40)],
    *[chat.text(str(n)) for n in range(20)],
    chat.usage(7, 9),
]  # fmt: skip


@pytest.mark.parametrize("budget", [1, 7, 1000])
def test_it_reads_what_decoding_every_frame_reads(streaming: Streaming, clock: ManualClock, budget: int) -> None:
    stream = streaming()
    reading = spoken.Spoken()
    got: list[Any] = []
    for at in range(0, len(FRAMES), 13):
        stream.append(FRAMES[at : at + 13], clock.now_ns())
        stream.reroute()
        stream.log.envelope()
        got += reading.read(stream, budget)
    while reading.seq < reading.end(stream):
        got += reading.read(stream, budget)
    decoder = CHAT.decoder()
    expected = [delta for frame in FRAMES for event in parse(frame, CHAT) for delta in decoder.feed(event)]
    assert _joined(got) == _joined(expected)
    assert reading.spent < len(FRAMES)


def _joined(deltas: list[Any]) -> list[tuple[Any, ...]]:
    out: list[Any] = []
    for delta in deltas:
        text = getattr(delta, "text", getattr(delta, "json", None))
        key = (type(delta), getattr(delta, "choice", None), getattr(delta, "block", None))
        if text is None:
            out.append((key, delta))
        elif out and out[-1][0] == key:
            out[-1] = (key, out[-1][1] + text)
        else:
            out.append((key, text))
    return out


ODD = [
    [chat.chunk({"content": f"a{n}", "reasoning_content": "b"}) for n in range(200)],
    [chat.chunk({}, choices=[], obfuscation="x" * n) for n in range(200)],
]


@pytest.mark.parametrize("frames", ODD, ids=["two texts", "none"])
def test_what_an_envelope_does_not_tell_is_decoded(
    streaming: Streaming, clock: ManualClock, frames: list[bytes]
) -> None:
    stream = streaming()
    for at in range(0, len(frames), 20):
        stream.append(frames[at : at + 20], clock.now_ns())
    reading = spoken.Spoken()
    got: list[Any] = []
    while reading.seq < reading.end(stream):
        got += reading.read(stream, 64)
    decoder = CHAT.decoder()
    expected = [delta for frame in frames for event in parse(frame, CHAT) for delta in decoder.feed(event)]
    assert got == expected
    assert reading.spent == len(frames)


@pytest.mark.parametrize("where", ["trimmed", "in the store only"])
def test_what_cannot_be_read_is_taken_to_be_like_the_rest(
    clock: ManualClock, hub: Hub, streaming: Streaming, sink: Sinks, where: str
) -> None:
    stream = metered(streaming())
    for _ in range(30):
        stream.append([chat.text(WORD)] * 110, clock.now_ns())
    half = stream.log.size // 2
    assert stream.trim(half) if where == "trimmed" else stream.log.cool(0, stream.log.last // 2)
    tally = hub.live.watch(stream)
    tally.look(stream)
    assert tally.tokens(stream) == pytest.approx(3000, rel=0.01)


def test_entries_in_envelopes_are_not_decoded(
    monkeypatch: pytest.MonkeyPatch, streaming: Streaming, clock: ManualClock
) -> None:
    stream = streaming()
    for n in range(10):
        stream.append([chat.text(f"w{n}")] * 110, clock.now_ns())
    decoded: list[bytes] = []
    monkeypatch.setattr(spoken, "parse", _noting(decoded))
    reading = spoken.Spoken()
    text = "".join(map(said, reading.read(stream, 256)))
    assert text == "".join(f"w{n}" * 110 for n in range(10))
    assert len(decoded) < 40


def _noting(decoded: list[bytes]) -> Callable[[bytes, Dialect], Any]:
    def noting(frame: bytes, dialect: Dialect) -> Any:
        decoded.append(frame)
        return parse(frame, dialect)

    return noting
