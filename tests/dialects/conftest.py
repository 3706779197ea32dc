"""What the dialect tests share: fixtures of recorded bodies, and short ways to write a chat stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Dialect, Encoder, encode_frames
from tokenwire.dialects.deltas import Delta, Failed, Terminal
from tokenwire.dialects.openai_chat.dialect import Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

FIXTURES = Path(__file__).parent.parent / "fixtures"
CHAT = ("openai-chat", "azure", "groq", "vllm", "llamacpp", "openrouter", "deepseek", "mistral", "xai")


def cases(suffix: str, *folders: str) -> list[str]:
    """Recorded bodies as ``folder/name.suffix``."""
    return sorted(
        str(path.relative_to(FIXTURES)) for folder in folders for path in (FIXTURES / folder).glob(f"*{suffix}")
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "chat_stream" in metafunc.fixturenames:
        metafunc.parametrize("chat_stream", cases(".sse", *CHAT))
    if "anthropic_stream" in metafunc.fixturenames:
        metafunc.parametrize("anthropic_stream", cases(".sse", "anthropic"))
    if "chat_error" in metafunc.fixturenames:
        metafunc.parametrize("chat_error", [case for case in cases(".json", *CHAT) if "expected" not in case])


@pytest.fixture
def body() -> Callable[[str], bytes]:
    return lambda case: (FIXTURES / case).read_bytes()


@pytest.fixture
def expected() -> Callable[[str], dict[str, Any]]:
    def load(case: str) -> dict[str, Any]:
        path = FIXTURES / case
        loaded: dict[str, Any] = json.loads(path.with_name(path.stem + ".expected.json").read_text(encoding="utf-8"))
        return loaded

    return load


@pytest.fixture
def fold() -> Callable[[list[Delta]], Transcript]:
    def apply(deltas: list[Delta]) -> Transcript:
        transcript = Transcript()
        for delta in deltas:
            transcript.apply(delta)
        return transcript

    return apply


@pytest.fixture
def read() -> Callable[[Dialect, bytes], list[Delta]]:
    """The deltas of a whole body."""

    def decode(dialect: Dialect, body: bytes) -> list[Delta]:
        decoder, parser = dialect.decoder(), sse.Decoder()
        events = parser.feed(body) + parser.close(lenient=True)
        return [delta for event in events for delta in decoder.feed(event)] + decoder.close()

    return decode


@pytest.fixture
def write() -> Callable[..., bytes]:
    """The whole body that an encoder makes of deltas. It ends as the engine would end it, after *stream* (all deltas,
    where only the last were given)."""

    def encode(encoder: Encoder, deltas: list[Delta], stream: list[Delta] | None = None) -> bytes:
        failure = next((delta for delta in stream or deltas if isinstance(delta, Failed)), None)
        terminal = Terminal("failed", error=failure) if failure else Terminal("completed")
        frames = [frame for delta in deltas for frame in encoder.feed(delta)] + encoder.close(terminal)
        return encode_frames(frames)

    return encode


@pytest.fixture
def chunk() -> Callable[..., dict[str, Any]]:
    """A chunk of one choice: its delta, and more members of the choice."""

    def build(delta: Any = None, index: int = 0, **more: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": None, **more}
        return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    return build


@pytest.fixture
def feed() -> Callable[..., list[Delta]]:
    """The deltas of a stream given as JSON values, or as text where it is none; closed at the end."""

    def run(*datas: Any, decoder: Decoder | None = None) -> list[Delta]:
        decoder = decoder or Decoder()
        deltas: list[Delta] = []
        for data in datas:
            text = data if isinstance(data, str) else json.dumps(data)
            deltas += decoder.feed(sse.Event(data=text))
        return deltas + decoder.close()

    return run


@pytest.fixture
def deltas_of() -> Callable[..., list[Delta]]:
    """The deltas of a Messages stream: bytes of events, or JSON values without a line ``event:``; closed."""

    def run(*events: Any) -> list[Delta]:
        parser, decoder = sse.Decoder(), dialects.get("anthropic").decoder()
        deltas: list[Delta] = []
        for event in events:
            wire = event if isinstance(event, bytes) else b"data: %b\n\n" % json.dumps(event).encode()
            deltas += [delta for parsed in parser.feed(wire) for delta in decoder.feed(parsed)]
        return deltas + decoder.close()

    return run


@pytest.fixture
def call() -> Callable[..., dict[str, Any]]:
    """One entry of ``tool_calls``; what is not given is not in it."""

    def build(index: int | None = None, id: str | None = None, name: Any = None, args: Any = None) -> dict[str, Any]:
        function = {key: value for key, value in (("name", name), ("arguments", args)) if value is not None}
        entry = {"index": index, "id": id, "type": "function", "function": function}
        return {key: value for key, value in entry.items() if value is not None}

    return build
