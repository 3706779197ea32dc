"""What the engine's tests share: a hub on a clock that stands still, streams with a scripted source, checked sinks."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.dialects.deltas import (
    Delta,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import parse_event_id
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

FIXTURES = Path(__file__).parent.parent / "fixtures"
CHAT = ("openai-chat", "azure", "groq", "vllm", "llamacpp", "openrouter", "deepseek", "mistral", "xai")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "recorded" in metafunc.fixturenames:
        paths = sorted(path for folder in CHAT for path in (FIXTURES / folder).glob("*.sse"))
        assert paths
        metafunc.parametrize(
            "recorded", paths, ids=[f"{path.parent.name}/{path.stem}" for path in paths], indirect=True
        )


@pytest.fixture
def recorded(request: pytest.FixtureRequest) -> bytes:
    """The body of one recorded chat stream; a test that asks for it runs for each of them."""
    path = request.param
    assert isinstance(path, Path)
    return path.read_bytes()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hub(clock: ManualClock) -> Iterator[Hub]:
    made = Hub(clock)
    yield made
    made.close()


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource()


@pytest.fixture
def queued(hub: Hub) -> Callable[..., Stream]:
    """Opens a stream of the hub; the arguments are those of its policy, and ``dialect`` and ``hide_usage``."""

    def build(dialect: Dialect | None = None, hide_usage: bool = False, **policy: float) -> Stream:
        return hub.open(
            owner="me",
            dialect=dialect or dialects.get("openai.chat"),
            model="m",
            policy=Policy(**policy),  # type: ignore[arg-type]  # max_bytes is an int where it is given
            hide_usage=hide_usage,
        )

    return build


@pytest.fixture
def streaming(queued: Callable[..., Stream], source: ScriptedSource) -> Callable[..., Stream]:
    """The same, fed by ``source``, whose answer has begun."""

    def build(dialect: Dialect | None = None, hide_usage: bool = False, **policy: float) -> Stream:
        stream = queued(dialect, hide_usage, **policy)
        stream.connecting(source)
        stream.begin()
        return stream

    return build


@pytest.fixture
def sink() -> Iterator[Callable[..., ScriptedSink]]:
    """Makes sinks; in the end, none may have been used in breach of its contract."""
    made: list[ScriptedSink] = []

    def build(high_water: int | None = None) -> ScriptedSink:
        made.append(ScriptedSink(high_water))
        return made[-1]

    yield build
    assert [breach for one in made for breach in one.breaches] == []


@pytest.fixture
def follow(sink: Callable[..., ScriptedSink]) -> Callable[..., ScriptedSink]:
    """Attaches a reader that takes all at once, and starts it: by default of chat frames, from the start."""

    def attach(
        stream: Stream, dialect: str = "openai.chat", *, ids: bool = False, after: str | None = None
    ) -> ScriptedSink:
        made = sink()
        where = None if after is None else parse_event_id(after)
        stream.attach(made, dialects.get(dialect), ids=ids, after=where).start()
        return made

    return attach


@pytest.fixture(scope="module")
def long_answer() -> list[Delta]:
    """Some of everything, in runs that are long enough to be packed, and texts that are hard to cut."""
    words = random.Random(6).choices(
        [" the", "\n", ' "quoted" \\', " é", " 😀", "\u2028", "\x01", " <b>", " data: x"], k=900
    )
    call = [json.dumps({"text": "".join(words[:200])}, ensure_ascii=False)]
    pieces = [piece for whole in call for piece in re.findall(r".{1,5}", whole, re.DOTALL)]
    return [
        Started("x", "m", 1.0),
        *(ReasoningDelta(word, 0, 0) for word in words[:150]),
        *(TextDelta(word, 0, 1) for word in words),
        ToolCallStarted("call_1", "f", 0, 2),
        *(ToolCallDelta(piece, 0, 2) for piece in pieces),
        ToolCallEnded(0, 2),
        Usage(input=3, output=1200),
        Finished("tool_use", "tool_calls"),
    ]
