"""What a translated token costs: the same at the end of a long answer as at its beginning. Times: see ``alone``."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.engine.folded import FoldedView
from tokenwire.engine.stream import Stream
from tokenwire.testing import chat_frames as chat
from tokenwire.testing import message_frames as messages
from tokenwire.testing.sinks import ScriptedSink

Streaming = Callable[..., Stream]

FEW, MANY = 10_000, 100_000
BATCH = 250
TARGETS = ("anthropic", "openai.chat", "native")
TRIES = 8
_WORDS = (" a", " relay", "ing", " \u00fcber", "\n\n", " \u4ee4\u724c", ',"', " after")

CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":"'}}
OPENINGS: dict[str, list[bytes]] = {
    "openai.chat": [chat.role()],
    "anthropic": [messages.start(), messages.block()],
    "openai.chat, a call": [chat.role(), chat.chunk({"tool_calls": [CALL]})],
    "anthropic, a call": [messages.start(), messages.block(0, "tool_use"), messages.tool_input('{"x":"')],
}


def token(kind: str, number: int) -> bytes:
    """One token of an answer of that kind."""
    word = _WORDS[number % len(_WORDS)]
    if kind == "openai.chat":
        return chat.text(word)
    if kind == "anthropic":
        return messages.text(word, padding=number % 14)
    escaped = word.replace('"', "").replace("\n", "")
    if kind == "anthropic, a call":
        return messages.tool_input(escaped)
    return chat.chunk({"tool_calls": [{"index": 0, "function": {"arguments": escaped}}]})


@pytest.fixture
def seconds(streaming: Streaming, sink: Callable[..., ScriptedSink]) -> Callable[[str, Dialect, int], float]:
    """CPU time in which a live reader of another dialect is told an answer of so many tokens, checkpoints and all."""

    def measure(kind: str, target: Dialect, tokens: int) -> float:
        stream = streaming(dialects.get(kind.partition(",")[0]), max_bytes=1 << 30)
        one = sink(1 << 40)
        stream.attach(one, target, ids=False).start()
        stream.append(OPENINGS[kind], 0)
        (view,) = (view for view in stream.views if isinstance(view, FoldedView))
        frames = [token(kind, number) for number in range(BATCH)]  # again and again: caches hold them either way
        gc.collect()
        gc.disable()
        began = time.process_time()
        for start in range(0, tokens, BATCH):
            view.push(frames, start + 1, None, False)
            one.writes.clear()  # and memory that was never used before would be cleared first
            one.chunks.clear()
        took = time.process_time() - began
        gc.enable()
        assert view.told() == tokens
        stream.cancel()
        return took

    return measure


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    ("kind", "target"),
    [(kind, target) for kind in OPENINGS for target in TARGETS if not kind.startswith(target)],
)
def test_ten_times_the_tokens_cost_ten_times_the_time(
    kind: str, target: str, seconds: Callable[[str, Dialect, int], float]
) -> None:
    dialect = dialects.get(target)
    ratio = float("inf")
    for _ in range(TRIES):  # one after the other, each as long as the other: the same mood of the machine meets both
        few = sum(seconds(kind, dialect, FEW) for _ in range(MANY // FEW))
        ratio = min(ratio, seconds(kind, dialect, MANY) / few)
        if ratio <= 1.1:
            break
    assert ratio <= 1.1
