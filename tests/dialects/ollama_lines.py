"""What the tests of Ollama's dialects share: bodies of NDJSON read and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenwire import dialects
from tokenwire.dialects.base import Dialect, Frame
from tokenwire.dialects.deltas import Delta, Terminal
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import ndjson, sse

FIXTURES = Path(__file__).parent.parent / "fixtures"
OLLAMA = dialects.get("ollama")
GENERATE = dialects.get("ollama.generate")
STREAMS = sorted(path.stem for path in (FIXTURES / "ollama").glob("*.ndjson"))


def recorded(case: str) -> bytes:
    return (FIXTURES / "ollama" / f"{case}.ndjson").read_bytes()


def as_generate(body: bytes) -> bytes:
    """A body of ``/api/chat`` as ``/api/generate`` would have sent it."""
    lines = [json.loads(line) for line in body.splitlines()]
    for line in lines:
        message = line.pop("message", None)
        if message is not None:
            line["response"] = message.pop("content")
            line |= {name: value for name, value in message.items() if name != "role"}
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def deltas_of(body: bytes | list[Any], dialect: Dialect = OLLAMA) -> list[Delta]:
    """The deltas of a whole body, given as bytes or as JSON values; closed."""
    if isinstance(body, list):
        body = b"".join((each if isinstance(each, str) else json.dumps(each)).encode() + b"\n" for each in body)
    decoder, lines = dialect.decoder(), ndjson.Decoder()
    found = lines.feed(body) + lines.close(lenient=True)
    return [delta for line in found for delta in decoder.feed(sse.Event(data=line))] + decoder.close()


def text_line(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "created_at": "2026-11-20T10:00:00Z", "message": {"content": text}, "done": False, **more}


def fold_of(deltas: list[Delta]) -> Transcript:
    fold = Transcript()
    for delta in deltas:
        fold.apply(delta)
    return fold


def terminal_of(deltas: list[Delta]) -> Terminal:
    """How the engine would end a stream of these."""
    fold = fold_of(deltas)
    if fold.failed is not None:
        return Terminal("failed", error=fold.failed)
    choice = fold.choice()
    return Terminal("completed", choice.reason, choice.native_reason, usage=fold.usage)


def join(frames: list[Frame]) -> bytes:
    assert all(frame.event is None for frame in frames)
    return b"".join(ndjson.encode(frame.data) for frame in frames)


def written(deltas: list[Delta], dialect: Dialect = OLLAMA, terminal: Terminal | None = None) -> bytes:
    """The whole body that the encoder makes of *deltas*."""
    encoder = dialect.encoder("st_1", 1794000000.5, "m")
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    return join(frames + encoder.close(terminal or terminal_of(deltas)))


def joined(deltas: list[Delta], at: int, dialect: Dialect = OLLAMA) -> bytes:
    """What a reader gets who joins after *at* deltas: the prefix of one encoder, the tail of another."""
    head, tail = (dialect.encoder("st_1", 1794000000.5, "m") for _ in range(2))
    frames = head.prefix(fold_of(deltas[:at]))
    for delta in deltas[:at]:
        tail.feed(delta)
    rest = [frame for delta in deltas[at:] for frame in tail.feed(delta)]
    own = [frame for delta in deltas[at:] for frame in head.feed(delta)]
    assert own == rest, "the encoder that wrote the prefix goes on otherwise"
    return join(frames + rest + tail.close(terminal_of(deltas)))


def arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def summary(fold: Transcript) -> dict[str, Any]:
    """What a client of Ollama's is left with."""
    choice = fold.choice()
    return {
        "text": choice.text,
        "reasoning": choice.reasoning or None,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": arguments(call.arguments)}
            for call in choice.tool_calls.values()
        ],
        "logprobs": choice.logprobs,
        "stop_reason": choice.native_reason,
        "usage": None if fold.usage is None else fold.usage.raw,
        "error": None if fold.failed is None else fold.failed.message,
        "complete": fold.failed is None,
    }
