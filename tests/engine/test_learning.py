"""engine/learning: which ended streams teach how many tokens their models make of a text, and at what price."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.engine import spoken
from tokenwire.engine.framing import parse
from tokenwire.engine.hub import Hub
from tokenwire.engine.learning import MOST_WAITING, PORTION
from tokenwire.engine.stream import Stream
from tokenwire.measure.estimator import Estimator
from tokenwire.testing import chat_frames as chat
from tokenwire.testing import message_frames as messages
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSource

Streaming = Callable[..., Stream]
#: 20 tokens a piece by the static rule: 88 letters and blanks.
PIECE = "four more words come and go, " * 3
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


class Noting(Estimator):
    """Notes what it is taught."""

    def __init__(self) -> None:
        super().__init__()
        self.lessons: list[tuple[str, str, int]] = []

    def learn(self, model: str, text: str, tokens: int) -> bool:
        self.lessons.append((model, text, tokens))
        return super().learn(model, text, tokens)


@pytest.fixture
def hub(clock: ManualClock) -> Any:
    made = Hub(clock, estimator=Noting())
    yield made
    made.close()


def lessons(hub: Hub) -> list[tuple[str, str, int]]:
    assert isinstance(hub.estimator, Noting)
    return hub.estimator.lessons


def usage(output: int, reasoning: int | None = None) -> bytes:
    counts: dict[str, Any] = {"prompt_tokens": 3, "completion_tokens": output}
    if reasoning is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return chat.chunk({}, usage=counts, choices=[])


def ended(stream: Stream, *frames: bytes, told: bytes | None = None, reason: str = "stop") -> None:
    counted = [told] if told else []
    stream.append([chat.role(), *frames, chat.finish(reason), *counted, chat.DONE], 0)
    stream.finish()


def test_a_whole_answer_teaches_when_there_is_time(clock: ManualClock, hub: Hub, streaming: Streaming) -> None:
    ended(streaming(), *[chat.text(PIECE)] * 10, told=usage(150))
    assert lessons(hub) == []
    clock.advance(hub.TICK * 2)
    assert lessons(hub) == [("m", PIECE * 10, 150)]
    assert hub.estimator.count("m", PIECE * 10) == pytest.approx(150, rel=0.05)


def test_told_reasoning_is_no_part_of_the_text(clock: ManualClock, hub: Hub, streaming: Streaming) -> None:
    thought = chat.chunk({"reasoning_content": "hm, " * 50})
    ended(streaming(), thought, *[chat.text(PIECE)] * 3, told=usage(160, reasoning=100))
    ended(streaming(), *[chat.text(PIECE)] * 3, told=usage(1060, reasoning=1000), reason="length")
    clock.advance(hub.TICK * 2)
    assert lessons(hub) == [("m", PIECE * 3, 60)] * 2


@pytest.mark.parametrize("frames", [
    [chat.chunk({"reasoning_content": "hm"}), chat.text(PIECE)],
    [chat.text(PIECE), chat.chunk({"tool_calls": [CALL]})],
], ids=["thoughts that are not told apart", "a call"])  # fmt: skip
def test_what_else_was_counted_spoils_nothing(
    clock: ManualClock, hub: Hub, streaming: Streaming, frames: list[bytes]
) -> None:
    ended(streaming(), *frames, told=usage(150))
    clock.advance(hub.TICK * 2)
    assert lessons(hub) == []


def test_only_what_is_whole_and_was_counted(clock: ManualClock, hub: Hub, streaming: Streaming) -> None:
    ended(streaming(), chat.text(PIECE))
    ended(streaming(), chat.text(PIECE), told=usage(150), reason="content_filter")
    cut = streaming()
    cut.append([chat.role(), chat.text(PIECE), usage(150)], 0)
    cut.cancel()
    long = streaming()
    for _ in range(110):
        long.append([chat.text("a")] * 100, 0)
    ended(long, told=usage(11_000))
    clock.advance(hub.TICK * 4)
    assert lessons(hub) == []


def test_an_answer_that_was_not_streamed(
    clock: ManualClock, hub: Hub, queued: Streaming, source: ScriptedSource
) -> None:
    for size in (1, spoken.MOST_BODY):
        stream = queued()
        stream.connecting(source)
        stream.begin(unary=True)
        choice = {"index": 0, "message": {"role": "assistant", "content": PIECE * 9}, "finish_reason": "stop"}
        counts = {"prompt_tokens": 3, "completion_tokens": 170}
        stream.append_unary(json.dumps({"choices": [choice], "usage": counts, "x": "x" * size}).encode(), 0)
        stream.finish()
    clock.advance(hub.TICK * 2)
    assert [text for _, text, _ in lessons(hub)] == [PIECE * 9, ""], "who knows what is in a body that large"


def test_anthropics_answers_teach_too(clock: ManualClock, hub: Hub, streaming: Streaming) -> None:
    stream = streaming(dialects.get("anthropic"))
    pieces = [messages.text(PIECE)] * 10
    stream.append(
        [messages.start(), messages.block(), *pieces, messages.end(), messages.finish(output=170), messages.STOP], 0
    )
    stream.finish()
    clock.advance(hub.TICK * 2)
    assert lessons(hub) == [("m", PIECE * 10, 170)]


def test_it_is_done_in_portions_and_of_a_crowd_the_newest_do(
    monkeypatch: pytest.MonkeyPatch, clock: ManualClock, hub: Hub, streaming: Streaming
) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(spoken, "parse", _noting(decoded))
    line = b'{"model":"m","message":{"role":"assistant","content":"abcd "},"n":[%d]}\n'  # no two are in one envelope
    last = b'{"model":"m","done":true,"done_reason":"stop","prompt_eval_count":1,"eval_count":400}\n'
    for _ in range(MOST_WAITING + 4):
        stream = streaming(dialects.get("ollama"))
        stream.append([*[line % at for at in range(399)], last], 0)
        stream.finish()
    most = 0
    for _ in range(400):
        before = len(decoded)
        clock.advance(hub.TICK)
        most = max(most, len(decoded) - before)
        if len(lessons(hub)) == MOST_WAITING:
            break
    assert len(lessons(hub)) == MOST_WAITING
    assert most <= 2 * PORTION


def _noting(decoded: list[bytes]) -> Callable[[bytes, Dialect], Any]:
    def noting(frame: bytes, dialect: Dialect) -> Any:
        decoded.append(frame)
        return parse(frame, dialect)

    return noting


def test_half_of_a_pair_harms_nobody(clock: ManualClock, hub: Hub, streaming: Streaming) -> None:
    """Providers cut where they like, also within a character that JSON escapes as two."""
    plain = chat.text("PLACE")
    halves = [plain.replace(b"PLACE", half) for half in (b"a\\ud83d", b"\\ude00b", b"\\ud83d")]
    ended(streaming(), *[chat.text(PIECE)] * 10, *halves, told=usage(150))
    clock.advance(hub.TICK * 2)
    [(_, text, _)] = lessons(hub)
    assert text == PIECE * 10 + "a\U0001f600b\ufffd"
