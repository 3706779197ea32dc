"""A recorded body as our dialect understands it, and as a fixture has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tokenwire.dialects.deltas import GENERATED, Failed, Usage
from tokenwire.dialects.transcript import Transcript
from tokenwire.engine.framing import parse
from tokenwire.wire import sse

if TYPE_CHECKING:
    from live.record import Recording
    from tokenwire.dialects.base import Dialect
    from tokenwire.dialects.deltas import Delta


class Reading(NamedTuple):
    """*failed*: the first failure, be it the provider's or a missing end; *generated*: events that are output."""

    events: list[sse.Event]
    deltas: list[Delta]
    fold: Transcript
    failed: Failed | None
    generated: int


def understand(dialect: Dialect, status: int, body: bytes) -> Reading:
    """What *body* says. An HTTP error, or a body that is no stream, is one failure."""
    events: list[sse.Event] = []
    deltas: list[Delta]
    if status == 200:
        decoder, events = dialect.decoder(), _events(dialect, body)
        deltas = [delta for event in events for delta in decoder.feed(event)] + decoder.close()
    else:
        deltas = [dialect.describe_error(body, status)]
    fold = Transcript()
    for delta in deltas:
        fold.apply(delta)
    failed = next((delta for delta in deltas if isinstance(delta, Failed)), None)
    return Reading(events, deltas, fold, failed, sum(isinstance(delta, GENERATED) for delta in deltas))


def _events(dialect: Dialect, body: bytes) -> list[sse.Event]:
    if dialect.framing == "ndjson":
        return [event for line in body.splitlines() for event in parse(line, dialect)]
    parser = sse.Decoder()
    return parser.feed(body) + parser.close(lenient=True)


def expectation(reading: Reading) -> dict[str, Any]:
    """The ``expected`` of a fixture, as far as one can tell without a person: to be looked at before it is one."""
    choice = reading.fold.choice()
    calls = [
        {"id": call.id, "name": call.name, "arguments": _json(call.arguments)} for call in choice.tool_calls.values()
    ]
    usage = next((d.raw for d in reversed(reading.deltas) if isinstance(d, Usage) and d.raw is not None), None)
    failed = reading.failed
    error = None if failed is None or failed.code == "truncated" else (failed.raw or failed.message)
    return {
        "text": choice.text,
        "reasoning": choice.reasoning or None,
        "refusal": choice.refusal or None,
        "tool_calls": calls,
        "stop_reason": choice.native_reason,
        "usage": usage,
        "error": error,
        "complete": failed is None,
    }


def fixture(
    reading: Reading, recording: Recording, headers: dict[str, str], *, folder: str, case: str, file: str
) -> dict[str, Any]:
    """The ``.expected.json`` beside a recorded body; *recorded* in it is what a fixture does not keep."""
    return {
        "dialect": folder,
        "case": case,
        "file": file,
        "http": {"status": recording.status, "headers": headers},
        "expected": expectation(reading),
        "recorded": {
            "how": recording.how,
            "first_ms": None if recording.first_ms is None else round(recording.first_ms, 1),
            "reads": [[round(read.ms, 1), len(read.data)] for read in recording.reads],
        },
    }


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
